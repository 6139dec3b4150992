"""What the store lets go because it lies in the archive, and what the archive lets go because nothing refers to it."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from stemma import clock
from stemma.database.queries import archive as queries
from stemma.database.queries import archiving
from stemma.database.queries.archive import Route
from stemma.database.queries.archiving import Claimed
from stemma.errors import ArchiveUnavailable
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.guard import dropping
from stemma.lifecycle.storekeeping.inventory import batches, enough
from stemma.storages.archive import Archive

logger = logging.getLogger(__name__)

IN_USE_SECONDS: Final = 300.0
"""What came, was kept or was asked for so lately stays: somebody may be about to open it, or to write down that it is
used, which a submission does after it has looked around elsewhere."""
_LOOKED_AT: Final = 500
_AT_A_TIME: Final = 50
_REMOVAL: Final = timedelta(hours=1)
"""How long a removal may take until another may finish it."""


@dataclass(frozen=True, slots=True)
class Lying:
    """A content in the store that lies in the archive too, and may go."""

    sha256: str
    size_bytes: int
    used_at: float


def route_of(installation: Installation, archive: Archive) -> Route:
    """From our store to the archive."""
    return Route(installation.home_id, archive.name)


def droppable(installation: Installation) -> list[Lying]:
    """What the store may let go, the one first that was used longest ago; nothing that was asked for just now."""
    archive = installation.archive
    if archive is None:
        return []
    before = unused_since()
    found: list[Lying] = []
    for part in batches((content.sha256 for content in installation.store.contents()), _LOOKED_AT):
        with installation.database.reading() as session:
            free = queries.droppable(session, route_of(installation, archive), part)
        found += filter(None, (_lying(installation, digest) for digest in sorted(free)))
    return sorted((one for one in found if one.used_at < before), key=lambda one: (one.used_at, one.sha256))


def unused_since(came_at: datetime | None = None) -> float:
    """What was asked for after that time stays in the store; that it came, at ``came_at``, does not count."""
    return max(clock.now().timestamp() - IN_USE_SECONDS, 0.0 if came_at is None else came_at.timestamp())


def _lying(installation: Installation, sha256: str) -> Lying | None:
    try:
        seen = installation.store.path(sha256).stat()
    except FileNotFoundError:
        return None
    return Lying(sha256, seen.st_size, seen.st_ctime)


def let_go(installation: Installation, digests: Sequence[str]) -> dict[str, int]:
    """Take those of ``digests`` out of the store that lie in the archive, which is asked for each; the bytes of those
    that are gone.

    Raises:
        ArchiveUnavailable: it cannot be asked; nothing is taken out.
    """
    archive = installation.archive
    if archive is None:
        return {}
    sure = [digest for digest in digests if lies_there(installation, archive, digest)]
    before = unused_since()
    gone: dict[str, int] = {}
    with dropping(installation.settings.home):
        with installation.database.reading() as session:
            fresh = queries.droppable(session, route_of(installation, archive), sure)
        for digest in sorted(fresh):
            freed = installation.store.remove_unused(digest, before)
            if freed is not None:
                gone[digest] = freed
    return gone


def lies_there(installation: Installation, archive: Archive, sha256: str) -> bool:
    """Whether the archive has all of it, whatever was written down; where it does not, it is copied anew.

    Raises:
        ArchiveUnavailable: it cannot be asked.
    """
    with installation.database.reading() as session:
        sizes = queries.archived_of(session, [sha256], archive.name)
    if sha256 not in sizes:
        return False
    if archive.size_of(sha256) == sizes[sha256]:
        return True
    logger.error("the archive does not have %s, which was copied to it; it is copied anew", sha256)
    installation.database.write(lambda session: archiving.again(session, route_of(installation, archive), sha256))
    return False


def evict_archived(
    installation: Installation, wanted_bytes: int | None, on_freed: Callable[[int], None]
) -> tuple[int, int]:
    """Let go what lies in the archive until so much is freed, all of it without ``wanted_bytes``; files and bytes.

    Raises:
        ArchiveUnavailable: it cannot be asked.
    """
    files = freed = 0
    for part in batches(droppable(installation), _AT_A_TIME):
        chosen = enough(part, wanted_bytes, freed)
        if not chosen:
            break
        gone = let_go(installation, [one.sha256 for one in chosen])
        files, freed = files + len(gone), freed + sum(gone.values())
        on_freed(sum(gone.values()))
    return files, freed


def remove_unused(installation: Installation, before: datetime, *, dry_run: bool) -> tuple[int, int]:
    """Remove from the archive what nothing refers to since that time, and what writers left there; files and bytes.
    Only say how much, in a ``dry_run``. What this service did not note itself is left alone.

    Raises:
        ArchiveUnavailable: something cannot be removed now.
    """
    archive = installation.archive
    if archive is None:
        return 0, 0
    files = size = 0
    last = ""
    while True:
        with installation.database.reading() as session:
            page = queries.old_after(session, archive.name, last, before)
            unused = queries.unused(session, installation.home_id, page, before)
            sizes = queries.sizes_of(session, archive.name, unused)
        if not page:
            break
        last = page[-1]
        if not dry_run:
            sizes = [
                removed
                for part in batches(unused, _AT_A_TIME)
                for removed in _remove(installation, archive, part, before)
            ]
        files, size = files + len(sizes), size + sum(sizes)
    if not dry_run:
        archive.sweep(before.timestamp())
    return files, size


def _remove(installation: Installation, archive: Archive, digests: Sequence[str], before: datetime) -> Iterator[int]:
    """Remove those that are still unused; the sizes of those that lay there."""
    database, route = installation.database, route_of(installation, archive)
    until = clock.now() + _REMOVAL
    claimed = database.write(lambda session: archiving.claim_removal(session, route, digests, before, until))
    left = {one.content.sha256: one.fence for one, _ in claimed}
    try:
        for one, lay_there in claimed:
            if not _is_still_ours(installation, archive, one):  # it was stopped for so long that another went on
                del left[one.content.sha256]
                continue
            archive.remove(one.content.sha256)
            del left[one.content.sha256]
            database.write(
                lambda session, it=one: archiving.forget(session, route.archive, it.content.sha256, it.fence)  # type: ignore[misc]
            )
            if lay_there:
                yield one.content.size_bytes
    except ArchiveUnavailable:
        database.write(lambda session: archiving.let_be(session, route.archive, left))
        raise


def _is_still_ours(installation: Installation, archive: Archive, claimed: Claimed) -> bool:
    """Whether a removal is nobody else's by now, nor a copy that was made anew; if so, it stays ours for a while."""
    sha256, until = claimed.content.sha256, clock.now() + _REMOVAL
    fences = {sha256: claimed.fence}
    return not installation.database.write(lambda session: archiving.renew(session, archive.name, fences, until))
