"""Slower than a byte a second counts as silence."""

from typing import Final

SLOWEST_BYTES_PER_SECOND: Final = 1.0


class TooSlow(Exception):
    """So little has come in so much time that it never ends."""


class Pace:
    """What came over one connection in the time that was waited for it. Time in which nobody waited does not count."""

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._bytes = 0
        self._seconds = 0.0

    def came(self, count: int, waited_seconds: float) -> None:
        """``count`` bytes came after so long.

        Raises:
            TooSlow: over a window's length they were fewer than one a second.
        """
        self._bytes += count
        self._seconds += waited_seconds
        if self._seconds < self._window_seconds:
            return
        if self._bytes < self._seconds * SLOWEST_BYTES_PER_SECOND:
            raise TooSlow
        self._bytes, self._seconds = 0, 0.0
