"""How fast a link may be used, and how fast it was seen to be."""

import threading
import time
from typing import Final

from stemma.lifecycle.moving.orders import LinkRates
from stemma.planning.situation import StreamRate
from stemma.planning.streams import ENOUGH_SECONDS, observed

SAMPLE_SECONDS: Final = 1.0
_LATELY_SECONDS: Final = 5.0
"""What was seen counts half after so much more watching."""
_BURST_SECONDS: Final = 0.1
_NEWEST: Final = 0.2
"""How much the newest request counts."""


class Bucket:
    """A limit of bytes a second that streams share."""

    def __init__(self) -> None:
        self.bytes_per_second: float | None = None
        self._lock = threading.Lock()
        self._paid_until = 0.0

    def debt(self, count: int) -> float:
        """Seconds that who has just taken ``count`` bytes waits before it takes more."""
        with self._lock:
            rate = self.bytes_per_second
            if rate is None:
                return 0.0
            now = time.monotonic()
            self._paid_until = max(self._paid_until, now - _BURST_SECONDS) + count / rate
            return max(0.0, self._paid_until - now)


class Meter:
    """What came over a link, while how many streams were at work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = 0
        self._since = time.monotonic()
        self._moved = 0
        self._requests = 0
        self._rates: tuple[StreamRate, ...] = ()
        self._lately = (0.0, 0.0)
        self._request_seconds: float | None = None

    def begin(self) -> None:
        """A stream goes to work."""
        with self._lock:
            self._sample(time.monotonic())
            self._busy += 1

    def end(self) -> None:
        """A stream has no work."""
        with self._lock:
            self._sample(time.monotonic())
            self._busy -= 1

    def count(self, moved_bytes: int) -> None:
        """Bytes came."""
        with self._lock:
            self._moved += moved_bytes
            now = time.monotonic()
            if now - self._since >= SAMPLE_SECONDS:
                self._sample(now)

    def answered(self, seconds: float) -> None:
        """A request was answered, so long after it was made."""
        with self._lock:
            self._requests += 1
            before = self._request_seconds
            self._request_seconds = seconds if before is None else before + _NEWEST * (seconds - before)

    @property
    def rates(self) -> tuple[StreamRate, ...]:
        """By number of streams."""
        return self._rates

    def seen(self) -> LinkRates:
        """All of it."""
        with self._lock:
            self._sample(time.monotonic())
            moved, seconds = self._lately
            by_streams = {
                rate.streams: rate.moved_bytes / rate.seconds for rate in self._rates if rate.seconds >= ENOUGH_SECONDS
            }
            return LinkRates(
                moved / seconds if seconds and moved else None, self._rates, self._request_seconds or 0.0, by_streams
            )

    def _sample(self, now: float) -> None:
        seconds, moved, requests = now - self._since, self._moved, self._requests
        self._since, self._moved, self._requests = now, 0, 0
        if not self._busy or seconds <= 0:
            return
        self._rates = observed(self._rates, self._busy, moved, seconds, requests)
        fade = 0.5 ** (seconds / _LATELY_SECONDS)
        self._lately = self._lately[0] * fade + moved, self._lately[1] * fade + seconds
