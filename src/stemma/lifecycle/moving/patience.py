"""How long to wait for a source that does not answer, and how often."""

import random
import time

from stemma.lifecycle.moving.orders import Limits
from stemma.lifecycle.moving.segments import MEBIBYTE


class Patience:
    """With one file. The caller locks."""

    def __init__(self, limits: Limits) -> None:
        self.until = 0.0
        """On the monotonic clock: when its source may be asked again."""
        self._limits = limits
        self._failures = self._arrived_bytes = 0

    def has_more(self, arrived_bytes: int) -> bool:
        """Its source failed, when so much was here: wait. False where it was asked often enough for nothing."""
        now = time.monotonic()
        if now < self.until:
            return True  # the streams that were cut at once count once
        if arrived_bytes - self._arrived_bytes >= MEBIBYTE:
            self._failures = 0
        self._arrived_bytes = arrived_bytes
        self._failures += 1
        pause = self._limits.pause_seconds * 2.0 ** (self._failures - 1)
        self.until = now + pause * random.uniform(0.5, 1.5)  # noqa: S311 - only that not all come back at once
        return self._failures < self._limits.tries
