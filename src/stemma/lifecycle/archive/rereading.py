"""Everything that counts as archived, read again: what is damaged there is copied anew where the store has it still."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stemma.database.queries import archive as queries
from stemma.database.queries import archiving, storekeeping
from stemma.database.queries.storekeeping import Owner
from stemma.errors import ArchiveUnavailable, ContentDamaged, ContentMissing
from stemma.lifecycle.archive.reading import archived_chunks
from stemma.lifecycle.archive.upkeep import route_of
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.guard import dropping
from stemma.records import Content
from stemma.storages.archive import Archive
from stemma.store.content import Verdict


@dataclass(frozen=True, slots=True)
class ArchiveFault:
    """A content that does not lie in the archive as it should."""

    sha256: str
    verdict: Verdict
    owners: tuple[Owner, ...]
    is_copied_anew: bool
    """The store has it."""

    @property
    def is_lost(self) -> bool:
        """Whether somebody may miss it."""
        return bool(self.owners) and not self.is_copied_anew


@dataclass(frozen=True, slots=True)
class Reread:
    """What was read of an archive."""

    files: int = 0
    size_bytes: int = 0
    faults: tuple[ArchiveFault, ...] = ()
    error: str | None = None
    """Why some of it, or the rest, was not read."""


def read_again(installation: Installation, *, on_read: Callable[[int], None] = lambda _: None) -> Reread:
    """Read all that counts as archived, and compare the digests; nothing where there is no archive."""
    archive = installation.archive
    if archive is None:
        return Reread()
    files = size = 0
    faults: list[ArchiveFault] = []
    unread: list[str] = []
    try:
        for content in _archived(installation, archive):
            try:
                verdict = _verdict(archive, content, on_read)
            except ArchiveUnavailable as error:
                archive.prepare(was_used=True)  # this one alone cannot be read, or the whole archive
                unread.append(f"{content.sha256} cannot be read: {error.reason}")
                continue
            files, size = files + 1, size + content.size_bytes
            if verdict != "ok":
                faults += _fault(installation, archive, content.sha256, verdict)
    except ArchiveUnavailable as error:
        return Reread(files, size, tuple(faults), error.reason)
    return Reread(files, size, tuple(faults), _summary(unread))


def _summary(unread: Sequence[str]) -> str | None:
    more = f" (and {len(unread) - 1} more files)" if len(unread) > 1 else ""
    return f"{unread[0]}{more}" if unread else None


def _archived(installation: Installation, archive: Archive) -> Iterator[Content]:
    after = ""
    while True:
        with installation.database.reading() as session:
            page = queries.archived_after(session, archive.name, after)
        if not page:
            return
        yield from page
        after = page[-1].sha256


def _verdict(archive: Archive, content: Content, on_read: Callable[[int], None]) -> Verdict:
    try:
        for chunk in archived_chunks(archive, content):
            on_read(len(chunk))
    except ContentMissing:
        return "missing"
    except ContentDamaged:
        return "damaged"
    return "ok"


def _fault(installation: Installation, archive: Archive, sha256: str, verdict: Verdict) -> list[ArchiveFault]:
    """The fault, unless it was removed from the archive meanwhile; what the store has is noted to be copied anew."""
    route = route_of(installation, archive)
    with dropping(installation.settings.home):  # the store must not let it go because it seems to lie there
        with installation.database.reading() as session:
            is_due = bool(queries.archived_of(session, [sha256], archive.name))
            owners = tuple(storekeeping.owners(session, installation.home_id, sha256))
        if not is_due:
            return []
        is_here = installation.store.has(sha256)
        if is_here:
            installation.database.write(lambda session: archiving.again(session, route, sha256))
    return [ArchiveFault(sha256, verdict, owners, is_here)]
