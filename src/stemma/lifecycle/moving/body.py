"""The bytes of one version of a file, as far as they are here: in its part file, its digests and its parts.

A transfer that begins anew gets another body, so that a stream which comes late writes to nothing that counts.
"""

import logging
import threading
import time
import zlib
from collections.abc import Callable
from typing import Final

from stemma.errors import StorageFull
from stemma.lifecycle.moving.hashing import BLOCK_BYTES, Digests
from stemma.lifecycle.moving.journal import Journal, decoded
from stemma.lifecycle.moving.segments import Claim, Kept, Segments
from stemma.store.partial import PartClosed, PartFile, StoreUnwritable

logger = logging.getLogger(__name__)

NOTE_SECONDS: Final = 2.0
"""What came in so long is brought again after a kill, at most."""


class Body:
    """What is here of a file. ``lock`` guards ``segments``."""

    def __init__(self, segments: Segments, digests: Digests, part: PartFile | None, source: str) -> None:
        self.lock = threading.Lock()
        self.segments = segments
        self.digests = digests
        self.part = part
        """None for a small file, which is gathered in memory."""
        self.gathered = bytearray()
        self._source = source
        self._noting = threading.Lock()
        self._noted_at = time.monotonic()

    @classmethod
    def small(cls, size_bytes: int, *, also: str | None) -> "Body":
        """Of a file that is gathered in memory."""
        return cls(Segments.of(size_bytes, is_divisible=False), Digests(also), None, "")

    @classmethod
    def opened(
        cls,
        part: PartFile,
        source: str,
        size_bytes: int | None,
        *,
        is_divisible: bool,
        also: str | None,
        is_wanted: Callable[[], bool],
    ) -> "Body":
        """Of a file that goes to ``part``, with what is in that already and is as it was noted.

        Raises:
            StorageFull: there is no space for the rest.
            PartClosed: it is not wanted any more (to read what is there takes its time).
        """
        digests = Digests(also)
        kept: list[Kept] = []
        journal = decoded(part.journal()) if part.can_be_resumed else None
        if journal is not None and (journal.source, journal.size_bytes) == (source, size_bytes):
            block = bytearray(BLOCK_BYTES)
            for view in part.blocks(0, journal.prefix, block):
                if not is_wanted():
                    raise PartClosed
                digests.update(view)
            if (digests.position, digests.sha256) == (journal.prefix, journal.sha256):
                kept = [
                    Kept(start, end, crc, end)
                    for start, end, crc in journal.parts
                    if _crc(part, start, end, 0, block) == (crc, end)
                ]
            else:
                logger.warning("what was kept of a file that was cut is damaged (%s); it is brought anew", part.path)
                digests = Digests(also)
        if not digests.position and not kept:
            part.forget()
        if size_bytes is not None:
            part.reserve(size_bytes)
        segments = Segments.of(size_bytes, hashed=digests.position, kept=kept, is_divisible=is_divisible)
        return cls(segments, digests, part, source)

    @property
    def arrived_bytes(self) -> int:
        """How much is here."""
        with self.lock:
            return self.segments.arrived_bytes

    def take(self, limit_bytes: int | None) -> Claim | None:
        """See :meth:`Segments.take`."""
        with self.lock:
            return self.segments.take(limit_bytes)

    def split(self, least_bytes: int) -> Claim | None:
        """See :meth:`Segments.split`."""
        with self.lock:
            return self.segments.split(least_bytes)

    def can_be_split(self, least_bytes: int) -> bool:
        """Whether :meth:`split` would give something."""
        with self.lock:
            return self.segments.longest(least_bytes) is not None

    def write(self, claim: Claim, chunk: bytes) -> None:
        """Keep what came for ``claim``, whose ``promised`` is where it ends.

        Raises:
            StorageFull, StoreUnwritable: it cannot be kept.
            PartClosed: it is not wanted any more.
        """
        if self.part is None:
            with self.lock:
                if not claim.is_void:
                    self.gathered += chunk
                    self.digests.update(chunk)
                    claim.position = claim.promised
            return
        offset = claim.position
        self.part.write(offset, chunk)
        with self.lock:
            claim.position = claim.promised
        self.digests.follow(self.part, chunk, offset, self._reach)
        self.note_sometimes()

    def is_whole(self) -> bool:
        """Whether all of it is here and in the digests.

        Raises:
            StoreUnwritable: the part file was changed by somebody else.
        """
        with self.lock:
            if not self.segments.is_complete:
                return False
        fed = self.part is None or self.digests.follow(self.part, b"", -1, self._reach)
        if self.digests.position == self.segments.size_bytes:
            return True
        if fed:
            raise StoreUnwritable("a file that was being written was changed by somebody else")
        return False  # the thread that feeds them asks next

    def void(self) -> None:
        """Nothing more is to be written by anybody."""
        with self.lock:
            for claim in self.segments.claims:
                claim.is_void = True

    def leave(self, timeout_seconds: float) -> None:
        """Let go of it, so that somebody can go on with it, where that can be."""
        if self.part is not None and self.part.can_be_resumed:
            self._note(self.part, timeout_seconds)
            self.part.leave()
        else:
            self.discard()

    def discard(self) -> None:
        """Let go of it and remove it."""
        if self.part is not None:
            self.part.discard()

    def note_sometimes(self) -> None:
        """Write down what is here, for who goes on with it after a kill, where that was not done lately."""
        part = self.part
        if part is None or not part.can_be_resumed or time.monotonic() - self._noted_at < NOTE_SECONDS:
            return
        if not self.segments.is_complete:
            self._note(part, 0.0)

    def _note(self, part: PartFile, timeout_seconds: float) -> None:
        if not self._noting.acquire(timeout=timeout_seconds):
            return
        try:
            self._noted_at = time.monotonic()
            snapshot = self.digests.snapshot(timeout_seconds)
            if snapshot is not None:
                parts = self._counted(part, snapshot[0])
                part.note(Journal(self._source, self.segments.size_bytes or 0, *snapshot, parts).encoded())
        except PartClosed:
            return
        except (StorageFull, StoreUnwritable) as error:
            logger.warning("what was brought of a file cannot be noted, a cut would lose it: %s", error)
        finally:
            self._noting.release()

    def _counted(self, part: PartFile, hashed: int) -> tuple[tuple[int, int, int], ...]:
        """What is on disk behind ``hashed``, with checksums: of most bytes none is ever needed, since they are hashed
        before anything is noted again."""
        with self.lock:
            ahead = self.segments.ahead(hashed)
        block, noted = bytearray(BLOCK_BYTES), []
        for one, end in ahead:
            crc, counted = _crc(part, one.counted, end, one.crc, block)
            with self.lock:
                one.crc, one.counted = crc, counted
            if counted == end:
                noted.append((one.start, end, crc))
        return tuple(noted)

    def _reach(self, hashed: int) -> int:
        with self.lock:
            self.segments.forget_hashed(hashed)
            return self.segments.reach()


def _crc(part: PartFile, start: int, end: int, crc: int, block: bytearray) -> tuple[int, int]:
    """``crc`` continued with what ``part`` holds from ``start`` to ``end``, and how far that could be read."""
    for view in part.blocks(start, end, block):
        crc, start = zlib.crc32(view, crc), start + len(view)
    return crc, start
