"""Files that no run needs yet: fetched ahead over links, and into space, that runs leave.

They come behind everything that runs need, and only where that has room beside them. What is here of them goes like any
copy that nobody needs; what is under way is given up when runs want its room.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Final

from stemma.database.queries.hints import Wish
from stemma.database.queries.replicas import LONG_AGO, Replica

MOST_FILES: Final = 10_000
"""How many files a group may want ahead at a time."""


def in_turns(wishes: Iterable[Wish]) -> Iterator[Wish]:
    """One of each group, then the next of each: what running steps read first, then what was told of first."""
    of_group: dict[str, list[Wish]] = {}
    for wish in sorted(wishes, key=lambda one: (not one.is_running, one.since, one.replica_id)):
        of_group.setdefault(wish.group, []).append(wish)
    for turn in zip_longest(*of_group.values()):
        yield from (wish for wish in turn if wish is not None)


class Space:
    """A bounded store in one round, as those see it who fetch ahead."""

    def __init__(
        self,
        limit_bytes: int,
        *,
        kept_bytes: int,
        held: Sequence[Replica],
        needed: frozenset[int],
        wished: frozenset[int],
        wanted: Sequence[Replica],
        moving: frozenset[int],
        ahead: Sequence[Replica],
    ) -> None:
        """Look.

        Args:
            limit_bytes: what there may be in all.
            kept_bytes: of that what is never dropped.
            held: the copies that are here.
            needed: the numbers of those that runs need.
            wished: the numbers of all copies that are wanted ahead.
            wanted: what runs wait for.
            moving: the numbers of the copies that have their room already.
            ahead: what is fetched ahead now, the first first.
        """
        here = {one.id: one.size_bytes or 0 for one in held}
        self._limit = limit_bytes
        self._ahead = list(ahead)
        self._ahead_bytes = _sum(ahead)
        self._spare = limit_bytes - kept_bytes - _sum(one for one in held if one.id in needed) - _sum(wanted)
        self._fetched = sum(size for number, size in here.items() if number in wished - needed)
        self._used = kept_bytes + sum(here.values()) + _sum(one for one in wanted if one.id in moving)
        self._used += self._ahead_bytes
        idle = (one for one in held if one.id not in needed and one.id not in wished)
        self._idle = sorted(idle, key=lambda one: (one.used_at or LONG_AGO, one.id), reverse=True)

    def given_up(self) -> list[Replica]:
        """Of what is fetched ahead now, what gives way to what runs need: the last first."""
        over = []
        while self._ahead and self._ahead_bytes > self._spare:
            over.append(self._ahead.pop())
            self._count(-(over[-1].size_bytes or 0))
        return over

    def may_take(self, replica: Replica) -> bool:
        """Whether another may be fetched ahead, once there is room for it."""
        return (replica.size_bytes or 0) + self._fetched + self._ahead_bytes <= self._spare

    def has_room(self, replica: Replica) -> bool:
        """Whether there is."""
        return self._used + (replica.size_bytes or 0) <= self._limit

    def next_to_drop(self) -> Replica | None:
        """What nobody needs nor wants ahead, the longest unused first; None where all is needed."""
        return self._idle.pop() if self._idle else None

    def dropped(self, replica: Replica) -> None:
        """It is gone."""
        self._used -= replica.size_bytes or 0

    def take(self, replica: Replica) -> None:
        """It is fetched."""
        self._ahead.append(replica)
        self._count(replica.size_bytes or 0)

    def _count(self, size: int) -> None:
        self._ahead_bytes += size
        self._used += size


def _sum(copies: Iterable[Replica]) -> int:
    return sum(one.size_bytes or 0 for one in copies)
