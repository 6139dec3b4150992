"""How often a server is asked: one limiter for all that ask it, whatever their number."""

import threading
import time
from collections.abc import Callable
from typing import Final

_LOWEST_PER_SECOND: Final = 0.5
_RECOVERY_SECONDS: Final = 30.0
"""How long it takes after a refusal until the full rate is used again."""
_LONGEST_PAUSE: Final = 60.0


class Limiter:
    """A bucket that holds one request and fills ``per_second`` times a second; refusals make it slower for a while."""

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._full = per_second
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._next = 0.0
        """When the next request may go."""
        self._lowered: tuple[float, float] | None = None
        """The rate after the last refusal, and when that was."""
        self._refusals = 0

    def wait(self) -> None:
        """Return when it is this caller's turn: whoever asks first goes first."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + 1 / self._rate(now)
        if turn > now:
            self._sleep(turn - now)

    def refused(self, retry_after_seconds: float | None = None) -> None:
        """The server says that it is asked too often: nobody asks for a while, and then at half the rate."""
        with self._lock:
            now = self._clock()
            if self._lowered is None or now - self._lowered[1] > 1:  # refusals of one moment count once
                self._lowered = max(self._rate(now) / 2, min(_LOWEST_PER_SECOND, self._full)), now
                self._refusals += 1
            pause = 2.0 ** min(self._refusals - 1, 4) if retry_after_seconds is None else retry_after_seconds
            self._next = max(self._next, now + min(max(pause, 0.0), _LONGEST_PAUSE))

    def answered(self) -> None:
        """The server answered: its next refusal is the first again."""
        self._refusals = 0

    @property
    def per_second(self) -> float:
        """How many requests may go now."""
        with self._lock:
            return self._rate(self._clock())

    def _rate(self, now: float) -> float:
        if self._lowered is None:
            return self._full
        lowered, since = self._lowered
        rate = lowered + (self._full - lowered) * (now - since) / _RECOVERY_SECONDS
        if rate >= self._full:
            self._lowered = None
            return self._full
        return rate
