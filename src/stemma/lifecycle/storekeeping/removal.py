"""Taking out of the store what may go: copies that no run needs, and contents that nothing refers to any more.

Each removal is between two gives-out (:mod:`stemma.lifecycle.replicate.guard`), after a fresh look at what refers to
it. Others may be at work meanwhile; killed at any point, nothing is lost but the time.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session

from stemma import clock
from stemma.database.queries import archive, eviction, storekeeping
from stemma.database.queries.storekeeping import Held
from stemma.errors import ArchiveUnavailable
from stemma.lifecycle.archive.upkeep import evict_archived, lies_there, remove_unused, route_of, unused_since
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.guard import dropping
from stemma.lifecycle.storekeeping.inventory import batches, enough
from stemma.records import Content

SAFE_AGE: Final = timedelta(days=1)
"""How long an upload or a transfer may take until it is written down that a run has it."""
_LOOKED_AT: Final = 500
_DROPPED_AT_A_TIME: Final = 50
"""Meanwhile no run is given a file, so it must not take long."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken out, or would be."""

    files: int = 0
    freed_bytes: int = 0
    left_bytes: int = 0
    """Of what writers left behind that died: parts of transfers and uploads."""
    archived_files: int = 0
    """Beside those: dropped from the store since they lie in the archive, or removed from the archive."""
    archived_bytes: int = 0
    archive_error: str | None = None
    """Why the archive was left alone."""


def evict(
    installation: Installation, *, wanted_bytes: int | None = None, on_freed: Callable[[int], None] = lambda _: None
) -> Removed:
    """Drop copies that no run which goes on needs, the one first that was used longest ago, until so much is freed;
    then outputs and uploads that lie in the archive too. All of them without ``wanted_bytes``."""
    with installation.database.reading() as session:
        candidates = storekeeping.droppable(session, installation.home_id)
    files = freed = 0
    silence: str | None = None
    for part in batches(candidates, _DROPPED_AT_A_TIME):
        chosen = enough(part, wanted_bytes, freed)
        if not chosen:
            break
        asked: dict[str, bool] = {}
        if silence is None:  # one that does not answer is not asked again and again
            asked, silence = _asked_for(installation, chosen)
        may_go = [held.id for held in chosen if asked.get(held.sha256, True)]
        dropped, more = _drop(installation, may_go, {digest for digest, is_there in asked.items() if is_there})
        files, freed = files + dropped, freed + more
        on_freed(more)
    if installation.archive is None or (wanted_bytes is not None and freed >= wanted_bytes):
        return Removed(files, freed)
    if silence is not None:
        return Removed(files, freed, archive_error=silence)
    try:
        rest = None if wanted_bytes is None else wanted_bytes - freed
        archived = evict_archived(installation, rest, on_freed)
    except ArchiveUnavailable as error:
        return Removed(files, freed, archive_error=error.reason)
    return Removed(files, freed, archived_files=archived[0], archived_bytes=archived[1])


def _asked_for(installation: Installation, copies: Sequence[Held]) -> tuple[dict[str, bool], str | None]:
    """Of what came from the archive and may go because it lies there: whether it does, now that it is asked; and why it
    could not be asked."""
    if installation.archive is None:
        return {}, None
    with installation.database.reading() as session:
        asked = dict.fromkeys(sorted(_came_from_archive(session, installation, copies)), False)
    try:
        for digest in asked:
            asked[digest] = lies_there(installation, installation.archive, digest)
    except ArchiveUnavailable as error:
        return asked, error.reason
    return asked, None


def _came_from_archive(session: Session, installation: Installation, copies: Sequence[Held]) -> set[str]:
    """The contents of copies that came from the archive, are something else too, and may go because they lie there."""
    again = sorted({held.sha256 for held in copies if held.address.startswith(storekeeping.ARCHIVED_ADDRESS)})
    if installation.archive is None or not again:
        return set()
    ids = {held.id for held in copies}
    return archive.droppable(session, route_of(installation, installation.archive), again, but=ids)


def _drop(installation: Installation, replica_ids: Collection[int], sure: Collection[str]) -> tuple[int, int]:
    """Drop those of the copies that are still here and needed by no run; how many, and the bytes freed. What came from
    the archive goes if it is among ``sure``, and nobody asked for it just now; other bytes if nobody kept them anew."""
    database, home = installation.database, installation.home_id
    with dropping(installation.settings.home):
        with database.reading() as session:
            fresh = storekeeping.droppable(session, home, among=replica_ids)
            digests = {held.sha256 for held in fresh}
            kept = storekeeping.kinds(session, home, sorted(digests), but={held.id for held in fresh})
            free = _came_from_archive(session, installation, fresh)
            came = eviction.latest_arrivals(session, home, digests)
        # The file first: a row without one heals itself, a file without a row would be lost space.
        store = installation.store
        sizes = {one: store.remove_unkept(one, unused_since(came.get(one))) for one in sorted(digests - kept.keys())}
        sizes |= {one: store.remove_unused(one, unused_since()) for one in sorted(free.intersection(sure))}
        stay = free.difference(sure).union(one for one, size in sizes.items() if size is None)
        ids = sorted(held.id for held in fresh if held.sha256 not in stay)
        dropped = database.write(lambda session: sum(eviction.evict(session, home, each) for each in ids))
        return dropped, sum(size or 0 for size in sizes.values())


def collect(
    installation: Installation,
    *,
    age: timedelta = SAFE_AGE,
    dry_run: bool = False,
    on_look: Callable[[int], None] = lambda _: None,
) -> Removed:
    """Remove the contents that nothing refers to, and what dead writers left, from the store and from the archive; only
    say how much, in a ``dry_run``.

    What came, was written anew, or was let go of by the deletion of a run less than ``age`` ago stays: somebody may be
    about to write down that it is used.
    """
    before = clock.now() - age
    left = 0 if dry_run else installation.store.sweep(keep_seconds=age.total_seconds())
    files = freed = 0
    for part in batches(installation.store.contents(), _LOOKED_AT):
        with installation.database.reading() as session:
            unused = _unused(
                session, installation, [one for one in part if _is_older(installation, one, before)], before
            )
        on_look(len(part))
        for some in batches(unused, _DROPPED_AT_A_TIME):
            sizes = [one.size_bytes for one in some] if dry_run else _remove(installation, some, before)
            files, freed = files + len(sizes), freed + sum(sizes)
    try:
        archived = remove_unused(installation, before, dry_run=dry_run)
    except ArchiveUnavailable as error:
        return Removed(files, freed, left, archive_error=error.reason)
    return Removed(files, freed, left, *archived)


def _remove(installation: Installation, contents: Sequence[Content], before: datetime) -> list[int]:
    """Remove those of ``contents`` that are still unused; the sizes of those that were."""
    with dropping(installation.settings.home):
        with installation.database.reading() as session:
            unused = _unused(session, installation, contents, before)
        return [
            one.size_bytes
            for one in unused
            if installation.store.remove_unused(one.sha256, before.timestamp()) is not None
        ]


def _unused(
    session: Session, installation: Installation, contents: Sequence[Content], before: datetime
) -> list[Content]:
    digests = [one.sha256 for one in contents]
    used = storekeeping.kinds(session, installation.home_id, digests, deleted_since=before)
    return [one for one in contents if one.sha256 not in used]


def _is_older(installation: Installation, content: Content, before: datetime) -> bool:
    """Whether it came before that: by the time that its name was given or kept, which a tool cannot choose."""
    try:
        return installation.store.path(content.sha256).stat().st_ctime < before.timestamp()
    except FileNotFoundError:
        return False
