"""What is missing or damaged in the store, looked for in the archive and brought back from there."""

import logging
from collections.abc import Callable, Iterable, Sequence

from stemma.database.queries import archive as queries
from stemma.database.queries import contents
from stemma.errors import ArchiveUnavailable, ContentDamaged, ContentMissing
from stemma.lifecycle.archive.reading import bring_back
from stemma.lifecycle.installation import Installation
from stemma.records import Content

logger = logging.getLogger(__name__)


def held_there(installation: Installation, digests: Sequence[str]) -> tuple[set[str], str | None]:
    """Those of ``digests`` that were archived and that the archive has; and why it could not be asked. What was
    archived is believed to be there then."""
    if installation.archive is None:
        return set(), None
    with installation.database.reading() as session:
        archived = queries.archived_of(session, digests)
    found: set[str] = set()
    for digest, size in sorted(archived.items()):
        try:
            if installation.archive.size_of(digest) == size:
                found.add(digest)
        except ArchiveUnavailable as error:
            return set(archived), error.reason
    return found, None


def bring_back_all(
    installation: Installation, digests: Iterable[str], *, on_look: Callable[[int], None] = lambda _: None
) -> set[str]:
    """Bring back those of ``digests`` that the archive has, whether or not that was written down; which they are.

    Raises:
        ArchiveUnavailable: it cannot be asked.
    """
    wanted = sorted(set(digests))
    if installation.archive is None or not wanted:
        return set()
    with installation.database.reading() as session:
        sizes = contents.sizes_of(session, wanted)
    healed: set[str] = set()
    for digest in wanted:
        try:
            if digest in sizes and installation.archive.size_of(digest) == sizes[digest]:
                bring_back(installation, Content(digest, sizes[digest]))
                healed.add(digest)
        except (ContentDamaged, ContentMissing) as error:
            logger.warning("not brought back from the archive: %s", error)
        on_look(len(healed))
    return healed
