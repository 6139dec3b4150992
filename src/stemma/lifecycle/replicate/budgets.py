"""What may be claimed of each link, and what a bounded store has room for, while a plan is carried out."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

from stemma.database.queries.replicas import Replica
from stemma.lifecycle.moving.orders import LinkRates
from stemma.planning.situation import LinkState, Plan, Situation, WantedFile

AHEAD_FILES: Final = 4096
AHEAD_BYTES: Final = 32 * 1024 * 1024
AHEAD_SECONDS: Final = 2.0
"""How much is claimed of a link before it begins: so many files at most, and so many bytes, or what the link brings in
that time, beside two files for each stream. Small files then follow each other without a pause between two rounds."""


class Budget:
    """What may still be claimed of one link."""

    def __init__(self, link: LinkState, streams: int) -> None:
        self._sure = 2 * streams
        self._files = AHEAD_FILES
        self._bytes = max(float(AHEAD_BYTES), (link.bytes_per_second or 0.0) * AHEAD_SECONDS)

    @property
    def is_open(self) -> bool:
        """Whether any more may be."""
        return self._sure > 0 or (self._files > 0 and self._bytes > 0)

    def take(self, size: int) -> None:
        """One more is."""
        self._sure -= 1
        self._files -= 1
        self._bytes -= size


def budgets(decided: Plan, situation: Situation, moving: Iterable[WantedFile]) -> dict[str, Budget]:
    """What may still be claimed of each link, beside what moves."""
    budgets = {link.name: Budget(link, decided.streams.get(link.name, 1)) for link in situation.links}
    for file in moving:
        if file.is_moving:
            budgets[file.remote].take((file.size_bytes or 0) - file.arrived_bytes)
    return budgets


class Supply:
    """How much of what was claimed of each link is left to move."""

    def __init__(self, claimed: Iterable[Replica] = ()) -> None:
        self._links = {replica.id: link_of(replica) for replica in claimed}
        self._left = Counter(self._links.values())
        self._halves = {link: count // 2 for link, count in self._left.items()}

    def ended(self, replica_id: int) -> None:
        """It moves no more."""
        link = self._links.pop(replica_id, None)
        if link is not None:
            self._left[link] -= 1

    @property
    def is_running_dry(self) -> bool:
        """Whether a link has no more than half of what it had."""
        return any(self._left[link] <= half for link, half in self._halves.items())


class Room:
    """The space of a bounded store, while a plan is carried out."""

    def __init__(self, situation: Situation, decided: Plan) -> None:
        store = situation.store
        self._sizes = {file.key: file.size_bytes for file in store.files}
        self._candidates: Iterator[str] = iter(decided.evict)
        moving = sum(file.size_bytes or 0 for file in situation.files if file.is_moving)
        used = store.kept_bytes + sum(self._sizes.values()) + moving
        self._free = None if store.limit_bytes is None else store.limit_bytes - used

    def has(self, needed: int) -> bool:
        """Whether so much is free."""
        return self._free is None or needed <= self._free

    def take(self, needed: int) -> None:
        """Something comes."""
        if self._free is not None:
            self._free -= needed

    def next_to_drop(self) -> str | None:
        """What may go for it; None where nothing may."""
        return next(self._candidates, None)

    def dropped(self, key: str) -> None:
        """It is gone."""
        if self._free is not None:
            self._free += self._sizes.get(key, 0)


def link_of(replica: Replica) -> str:
    """The way that a copy comes over: copies of one place share it."""
    if replica.remote_id is not None:
        return f"remote {replica.remote_id}"
    parts = urlsplit(replica.address)
    return f"{parts.scheme}://{parts.hostname or ''}:{parts.port or ''}"


def link_state(name: str, rates: LinkRates | None, most_streams: int) -> LinkState:
    """What is known of a link."""
    if rates is None:
        return LinkState(name, most_streams=most_streams)
    return LinkState(name, rates.rates, rates.bytes_per_second, most_streams, rates.seconds_per_request)
