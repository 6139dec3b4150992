"""The SHA-1 of files of this service, which knows them by their SHA-256: CWL writes digests so (``File.checksum``)."""

import hashlib
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import Final

from stemma.errors import TooManyFetches
from stemma.lifecycle.archive.reading import archived_chunks
from stemma.lifecycle.installation import Installation
from stemma.records import Content
from stemma.store.content import CHUNK_BYTES

TOGETHER_SECONDS: Final = 60.0
"""For all files of a submission: whoever submits waits for it."""
MOST_BYTES: Final = 30 * 10**9
"""Larger than this no file is read: no disk gives it in that time."""
_READERS: Final = 4
"""So many submissions read files at a time in this process, one of each person: they must not use up its threads, nor
the disk."""
_READER_SECONDS: Final = 5.0
_MOST_KNOWN: Final = 10_000
_known: Final[dict[tuple[str, str], str]] = {}
"""What was found out, by group and SHA-256. Of each group, so that not even the time tells what another asked for."""
_guard: Final = threading.Lock()
_reading: Final[set[str]] = set()
"""Who reads at the moment."""
_ended: Final = threading.Condition()


def sha1_of(installation: Installation, group: str, subject: str, contents: Collection[Content]) -> dict[str, str]:
    """The SHA-1 of each of ``contents``, which lie in the store or in the archive, by its SHA-256; without those for
    which there was no time.

    Raises:
        TooManyFetches: as many as may be read at the moment.
        ContentMissing, ContentDamaged, ArchiveUnavailable: one cannot be read.
    """
    found = {one.sha256: digest for one in contents if (digest := _known.get((group, one.sha256)))}
    left = {one for one in contents if one.sha256 not in found and one.size_bytes <= MOST_BYTES}
    if not left:
        return found
    with _turn_of(subject):
        end = time.monotonic() + TOGETHER_SECONDS
        for content in sorted(left, key=lambda one: (one.size_bytes, one.sha256)):
            digest = _digest(_chunks(installation, content), end)
            if digest is None:
                break
            found[content.sha256] = digest
            _remember(group, content.sha256, digest)
    return found


@contextmanager
def _turn_of(subject: str) -> Iterator[None]:
    """Meanwhile ``subject`` is one of those who read."""
    with _ended:
        if not _ended.wait_for(lambda: len(_reading) < _READERS and subject not in _reading, _READER_SECONDS):
            raise TooManyFetches("read files for their digests")
        _reading.add(subject)
    try:
        yield
    finally:
        with _ended:
            _reading.discard(subject)
            _ended.notify_all()


def _digest(chunks: Iterator[bytes], end: float) -> str | None:
    digest = hashlib.sha1(usedforsecurity=False)
    for chunk in chunks:
        if time.monotonic() > end:
            return None
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(installation: Installation, content: Content) -> Iterator[bytes]:
    if installation.archive is not None and not installation.store.has(content.sha256):
        yield from archived_chunks(installation.archive, content)
        return
    with closing(installation.store.open(content.sha256)) as stream:
        yield from iter(lambda: stream.read(CHUNK_BYTES), b"")


def _remember(group: str, sha256: str, sha1: str) -> None:
    with _guard:
        if len(_known) >= _MOST_KNOWN:
            del _known[next(iter(_known))]
        _known[group, sha256] = sha1
