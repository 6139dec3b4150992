"""Contents that the store let go, read from the archive: checked while they come, gone on with after a cut."""

import hashlib
import itertools
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from stemma.database.queries import archive as queries
from stemma.errors import ArchiveUnavailable, ContentDamaged, ContentMissing
from stemma.lifecycle.installation import Installation
from stemma.records import Content
from stemma.storages.archive import Archive
from stemma.store.partial import PartFile

logger = logging.getLogger(__name__)

_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.5
_ASKING: Final = threading.BoundedSemaphore(8)
"""So many requests wait at a time in this process: an archive that does not answer must not use up its threads."""
_ASKING_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class ArchivedContent:
    """A content that lies in the archive."""

    archive: Archive
    content: Content

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return self.content.size_bytes

    def check(self) -> None:
        """Return when the archive answers, and has it.

        Raises:
            ContentMissing: it does not have it.
            ArchiveUnavailable: it does not answer.
        """
        with _asking():
            size = self.archive.size_of(self.content.sha256)
        if size != self.content.size_bytes:
            logger.error("the archive does not have %s, which was copied to it", self.content.sha256)
            raise ContentMissing(self.content.sha256)

    def begun(self, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Its bytes; the first of them have come, so that whoever answers with them knows that there are any.

        Raises:
            ContentMissing, ContentDamaged, ArchiveUnavailable: see :func:`archived_chunks`.
        """
        chunks = archived_chunks(self.archive, self.content, offset, length)
        with _asking():
            first = next(chunks, b"")
        return itertools.chain([first], chunks)


@contextmanager
def _asking() -> Iterator[None]:
    """One of those who wait for the archive's first word.

    Raises:
        ArchiveUnavailable: there are too many.
    """
    if not _ASKING.acquire(timeout=_ASKING_SECONDS):
        raise ArchiveUnavailable("many wait for its first word")
    try:
        yield
    finally:
        _ASKING.release()


def archived(installation: Installation, sha256: str) -> ArchivedContent:
    """A content that is not in the store.

    Raises:
        ContentMissing: it was not archived either.
    """
    if installation.archive is None:
        raise ContentMissing(sha256)
    with installation.database.reading() as session:
        return ArchivedContent(installation.archive, queries.content_of(session, sha256))


def archived_chunks(archive: Archive, content: Content, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
    """The bytes of an archived content, from ``offset`` on. Of a whole one the last bytes come only where all were
    those of its digest: who gets less than its size knows that something is wrong.

    Raises:
        ContentMissing: the archive does not have it.
        ContentDamaged: it has something else.
        ArchiveUnavailable: it does not answer, or not any more.
    """
    end = content.size_bytes if length is None else min(content.size_bytes, offset + length)
    is_whole = (offset, end) == (0, content.size_bytes)
    chunks = _as_long_as_it_answers(archive, content.sha256, offset, end)
    try:
        yield from checked(chunks, content, None if is_whole else end - offset)
    except ContentMissing as error:
        logger.warning("the archive does not have %s, which was copied to it", error.sha256)
        raise
    except ContentDamaged as error:
        told = "the archive has something else as %s (stemma store verify tells whose it is)"
        logger.error(told, error.expected)  # noqa: TRY400 - it is no fault in here, and the trace tells nothing
        raise


def checked(chunks: Iterable[bytes], content: Content, length: int | None = None) -> Iterator[bytes]:
    """``chunks``, which are to be all of ``content``, or so many bytes of it: the last of them only if they are.

    Raises:
        ContentDamaged: they are something else.
    """
    digest, size, held = hashlib.sha256(), 0, b""
    due = content.size_bytes if length is None else length
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        if size > due:
            break
        if held:
            yield held
        held = chunk
    if size != due or (length is None and digest.hexdigest() != content.sha256):
        raise ContentDamaged(content.sha256, digest.hexdigest() if length is None else f"{size} bytes")
    if held:
        yield held


def _as_long_as_it_answers(archive: Archive, sha256: str, position: int, end: int) -> Iterator[bytes]:
    """What comes of a range; where it breaks off, the rest is asked for."""
    failures, begin = 0, position
    while position < end:
        try:
            with archive.read(sha256, offset=position, length=end - position) as chunks:
                for chunk in chunks:
                    position, failures = position + len(chunk), 0
                    yield chunk
        except ArchiveUnavailable as error:
            failures += 1
            if position == begin or failures > _TRIES:
                logger.warning("%s cannot be read from the archive: %s", sha256, error.reason)
                raise
            time.sleep(_PAUSE_SECONDS * failures)
        else:
            return


def bring_back(installation: Installation, content: Content) -> None:
    """Put an archived content into the store again.

    Raises:
        ContentMissing, ContentDamaged, ArchiveUnavailable: see :func:`archived_chunks`.
        StorageFull, StoreUnwritable: it cannot be kept.
    """
    if installation.archive is None:
        raise ContentMissing(content.sha256)
    part: PartFile = installation.store.part()
    try:
        position = 0
        for chunk in archived_chunks(installation.archive, content):
            part.write(position, chunk)
            position += len(chunk)
        installation.store.publish(part, content)
    finally:
        part.discard()
