"""The digests of a file whose parts come in any order."""

import hashlib
import threading
from collections.abc import Callable

from stemma.store.partial import PartFile

BLOCK_BYTES = 256 * 1024
"""What is read back at a time."""


class Digests:
    """SHA-256, and another where that is to be compared: of all bytes up to ``position``, which only grows.

    Whichever stream finds that bytes lie ready feeds them; the others go on bringing more.
    """

    def __init__(self, also: str | None = None) -> None:
        self.position = 0
        self._sha256 = hashlib.sha256()
        self._other = hashlib.new(also, usedforsecurity=False) if also else None
        self._lock = threading.Lock()

    def update(self, chunk: bytes | memoryview) -> None:
        """Feed the next bytes. The caller is alone, or holds the lock."""
        self._sha256.update(chunk)
        if self._other is not None:
            self._other.update(chunk)
        self.position += len(chunk)

    @property
    def sha256(self) -> str:
        """Of what was fed."""
        return self._sha256.hexdigest()

    @property
    def other(self) -> str | None:
        """The other one, of what was fed; None where there is none."""
        return None if self._other is None else self._other.hexdigest()

    def snapshot(self, timeout_seconds: float) -> tuple[int, str] | None:
        """Position and SHA-256 that belong together; None where another thread feeds for so long."""
        if not self._lock.acquire(timeout=timeout_seconds):
            return None
        try:
            return self.position, self.sha256
        finally:
            self._lock.release()

    def follow(self, part: PartFile, chunk: bytes, offset: int, reach: Callable[[int], int]) -> bool:
        """Feed what lies ready: ``chunk``, where it is next, and what ``part`` holds up to ``reach(position)``.

        ``reach`` is told how far the digests are, and says how far the bytes are on disk without a gap. Where another
        thread feeds already, nothing happens: that one looks again before it ends, after it has let go of the lock.

        Returns:
            Whether this thread was the one, and fed all that is there.
        """
        while self._lock.acquire(blocking=False):
            try:
                if offset == self.position:
                    self.update(chunk)
                block: bytearray | None = None
                while (end := reach(self.position)) > self.position:
                    block = block or bytearray(BLOCK_BYTES)
                    before = self.position
                    for view in part.blocks(self.position, end, block):
                        self.update(view)
                    if self.position == before:
                        return True  # the file was cut behind our back: the end finds what is missing
            finally:
                self._lock.release()
            if reach(self.position) <= self.position:
                return True
        return False
