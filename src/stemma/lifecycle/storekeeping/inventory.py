"""What lies in the store, and what of it is for what."""

import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from stemma.database.connection import Database
from stemma.database.queries import replication_figures, storekeeping
from stemma.database.queries.archive import Archived, amount
from stemma.database.queries.replication_figures import Needs
from stemma.database.queries.storekeeping import AT_A_TIME, Held
from stemma.lifecycle.installation import Installation
from stemma.store.content import ContentStore


class _Sized(Protocol):
    @property
    def size_bytes(self) -> int: ...


T = TypeVar("T")
S = TypeVar("S", bound=_Sized)

UNUSED: Final = "unused"
"""The kind of what nothing refers to: deleted runs', abandoned uploads, what a crash left."""


@dataclass(frozen=True, slots=True)
class Amount:
    """So many files of so many bytes."""

    files: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Inventory:
    """A store as it was counted."""

    kinds: Mapping[str, Amount]
    """By :class:`Kind`, and ``unused``. What is of several kinds counts as the one that stays longest."""
    limit_bytes: int | None
    free_bytes: int
    """That may still come: under the limit where there is one, and never more than the disk has."""
    reserved_bytes: int
    """Of the free ones, for what is being moved."""
    moving: int
    needs: Needs
    moved_bytes: int
    first_to_drop: tuple[Held, ...]
    archived: Archived | None = None
    """What lies in the archive, where there is one."""

    @property
    def held(self) -> Amount:
        """All that lies there."""
        parts = self.kinds.values()
        return Amount(sum(part.files for part in parts), sum(part.size_bytes for part in parts))


def take_inventory(installation: Installation, *, first: int = 5) -> Inventory:
    """Count what lies in the store; with the ``first`` copies that would be dropped."""
    database, home = installation.database, installation.home_id
    kinds = amounts(database, installation.store, home)
    with database.reading() as session:
        reserved, moving = storekeeping.reserved_bytes(session, home)
        needs = replication_figures.needs_between(session, 0, replication_figures.newest_need(session))
        moved = replication_figures.moved_bytes(session)
        to_drop = tuple(storekeeping.droppable(session, home, limit=first))
        archive = installation.archive
        archived = None if archive is None else amount(session, archive.name)
    folder = installation.settings.store_folder
    folder.mkdir(parents=True, exist_ok=True)
    limit, free = installation.settings.store_bytes, shutil.disk_usage(folder).free
    if limit is not None:
        free = max(0, min(free, limit - sum(amount.size_bytes for amount in kinds.values())))
    return Inventory(kinds, limit, free, reserved, moving, needs, moved, to_drop, archived)


def amounts(database: Database, store: ContentStore, home: str) -> dict[str, Amount]:
    """How much lies in ``store`` of each kind. Reads no contents; what comes and goes meanwhile may be counted."""
    counted = {kind: [0, 0] for kind in (*storekeeping.Kind, UNUSED)}
    for part in batches(store.contents(), AT_A_TIME):
        with database.reading() as session:
            kinds = storekeeping.kinds(session, home, [content.sha256 for content in part])
        for content in part:
            counts = counted[kinds.get(content.sha256, UNUSED)]
            counts[0] += 1
            counts[1] += content.size_bytes
    return {str(kind): Amount(*counts) for kind, counts in counted.items()}


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """``items``, so many at a time."""
    rest = iter(items)
    while part := list(itertools.islice(rest, size)):
        yield part


def enough(items: Iterable[S], wanted_bytes: int | None, freed_bytes: int) -> list[S]:
    """The first of ``items``, until with what is freed they make up what is wanted; all of them where all is."""
    chosen: list[S] = []
    for item in items:
        if wanted_bytes is not None and freed_bytes >= wanted_bytes:
            break
        chosen.append(item)
        freed_bytes += item.size_bytes
    return chosen
