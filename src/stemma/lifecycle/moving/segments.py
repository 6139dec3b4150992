"""Which parts of a file are on disk, which are on their way, and which nobody has claimed yet. No input, no output."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from stemma.planning.situation import StreamRate

MEBIBYTE: Final = 1024**2
SMALLEST: Final = MEBIBYTE
LARGEST: Final = 64 * MEBIBYTE
LAST: Final = MEBIBYTE // 4
"""No part is smaller, but what is left of a file at last."""
USUAL: Final = 4 * MEBIBYTE
_SEGMENT_SECONDS: Final = 1.0
"""A segment is about what a stream brings in this time: long against a request, short against a step that waits."""


@dataclass(slots=True, eq=False)
class Kept:
    """Bytes that are on disk, ahead of those hashed."""

    start: int
    end: int
    crc: int = 0
    """CRC-32 of those before ``counted``, to know them again after a cut."""
    counted: int = 0


@dataclass(slots=True, eq=False)
class Claim:
    """A range that one stream brings."""

    start: int
    end: int | None
    """None: as much as comes."""
    position: int = 0
    """What lies between ``start`` and it is on disk."""
    promised: int = 0
    """What lies before it is being written."""
    crc: int = 0
    counted: int = 0
    """As those of :class:`Kept`."""
    is_void: bool = False
    """Nothing more is to be written for it."""

    def __post_init__(self) -> None:
        """Begin at its beginning."""
        self.position = self.promised = self.counted = self.start

    @property
    def left(self) -> int | None:
        """How much is still to come."""
        return None if self.end is None else self.end - self.position


@dataclass(slots=True)
class Segments:
    """One file's parts. The caller locks."""

    size_bytes: int | None
    hashed: int = 0
    """All before it is on disk and in the digest."""
    is_divisible: bool = True
    claims: list[Claim] = field(default_factory=list)
    _kept: list[Kept] = field(default_factory=list)
    _free: list[tuple[int, int | None]] = field(default_factory=list)
    """Sorted, neither overlapping nor adjacent."""

    @classmethod
    def of(
        cls, size_bytes: int | None, *, hashed: int = 0, kept: Iterable[Kept] = (), is_divisible: bool = True
    ) -> "Segments":
        """A file of which the first ``hashed`` bytes and ``kept`` are on disk."""
        made = cls(size_bytes, hashed, is_divisible and size_bytes is not None)
        reach = hashed
        for part in sorted(kept, key=lambda part: part.start):
            if part.start > reach:
                made._free.append((reach, part.start))
            if part.end > hashed:
                made._kept.append(part)
            reach = max(reach, part.end)
        if not size_bytes or reach < size_bytes:  # an empty file is asked for too: that it is empty is to be seen
            made._free.append((reach, size_bytes))
        return made

    @property
    def has_free(self) -> bool:
        """Whether there is something to claim."""
        return bool(self._free)

    @property
    def free_bytes(self) -> int:
        """How much nobody has claimed; 0 where the size is not known."""
        return sum(end - start for start, end in self._free if end is not None)

    @property
    def arrived_bytes(self) -> int:
        """How much is on disk."""
        total = reach = self.hashed
        for start, end in self._on_disk():
            total += max(0, end - max(start, reach))
            reach = max(reach, end)
        return total

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to bring."""
        return not self._free and not self.claims

    def take(self, limit_bytes: int | None) -> Claim | None:
        """The first part that nobody has claimed: ``limit_bytes`` of it at most, where the file may be divided."""
        if not self._free:
            return None
        start, end = self._free.pop(0)
        claim = Claim(start, end)
        if limit_bytes is not None and self.is_divisible and end is not None and end - start > limit_bytes:
            claim.end = start + limit_bytes
            self._free.insert(0, (claim.end, end))
        self.claims.append(claim)
        return claim

    def longest(self, least_bytes: int) -> Claim | None:
        """The claim with the most to bring, where each half of that has ``least_bytes``."""
        if not self.is_divisible:
            return None
        longest, most = None, 2 * least_bytes - 1
        for claim in self.claims:
            rest = 0 if claim.end is None or claim.is_void else claim.end - claim.promised
            if rest > most:
                longest, most = claim, rest
        return longest

    def split(self, least_bytes: int) -> Claim | None:
        """Half of what the longest claim has still to bring, where both halves have ``least_bytes``."""
        longest = self.longest(least_bytes)
        if longest is None or longest.end is None:
            return None
        made = Claim(longest.promised + (longest.end - longest.promised + 1) // 2, longest.end)
        longest.end = made.start
        self.claims.append(made)
        return made

    def release(self, claim: Claim) -> None:
        """The stream ends here: what it brought is kept, the rest is anybody's."""
        self.claims.remove(claim)
        claim.is_void = True
        if claim.position > max(claim.start, self.hashed):
            self._kept.append(Kept(claim.start, claim.position, claim.crc, claim.counted))
        if claim.end is None or claim.position < claim.end:
            self._give_back(claim.position, claim.end)

    def ended(self, claim: Claim) -> None:
        """The source has no more: the size is known now."""
        self.size_bytes = claim.end = claim.position

    def forget_hashed(self, hashed: int) -> None:
        """All before ``hashed`` is in the digest."""
        self.hashed = hashed
        if any(part.end <= hashed for part in self._kept):
            self._kept = [part for part in self._kept if part.end > hashed]

    def reach(self) -> int:
        """The end of what is on disk without a gap, from the beginning."""
        reach = self.hashed
        for start, end in sorted(self._on_disk()):
            if start > reach:
                break
            reach = max(reach, end)
        return reach

    def ahead(self, hashed: int) -> list[tuple[Claim | Kept, int]]:
        """What is on disk behind ``hashed``, each with where it ends at present."""
        parts: list[tuple[Claim | Kept, int]] = [(claim, claim.position) for claim in self.claims]
        parts += [(part, part.end) for part in self._kept]
        return [(part, end) for part, end in parts if end > max(part.start, hashed)]

    def _on_disk(self) -> list[tuple[int, int]]:
        parts = [(part.start, part.end) for part in self._kept]
        return sorted(parts + [(claim.start, claim.position) for claim in self.claims])

    def _give_back(self, start: int, end: int | None) -> None:
        gaps = sorted([*self._free, (start, end)], key=lambda gap: gap[0])
        merged = gaps[:1]
        for gap in gaps[1:]:
            if merged[-1][1] == gap[0]:
                merged[-1] = (merged[-1][0], gap[1])
            else:
                merged.append(gap)
        self._free = merged


def segment_bytes(rates: Sequence[StreamRate]) -> int:
    """How much one stream brings at a time, by how fast a stream was seen to be."""
    moved = sum(rate.moved_bytes for rate in rates)
    seconds = sum(rate.seconds * rate.streams for rate in rates)
    if not moved or not seconds:
        return USUAL
    return int(min(max(moved / seconds * _SEGMENT_SECONDS, SMALLEST), LARGEST))


def claim_bytes(free_bytes: int, streams: int, segment: int) -> int | None:
    """How much of a file with ``free_bytes`` left a stream claims; None for all of it.

    A single stream asks once, for all. Several take segments, smaller ones toward the end, so that they end together:
    whoever ends before the others goes on to a less urgent file, and takes of the link what the last part could have.
    """
    if streams <= 1:
        return None
    return max(LAST, min(segment, -(-free_bytes // streams)))
