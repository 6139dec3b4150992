"""The content store: files under their SHA-256, written once, read by all.

Bytes are hashed while they come in, written aside, flushed, and renamed into place, so that a name in the
store always has its whole content, whatever dies when. Two writers of the same bytes end with one file.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol

from stemma import clock
from stemma.errors import ContentDamaged, ContentMissing, StorageFull, TooLarge
from stemma.records import Content

CHUNK_BYTES = 1024 * 1024
_READ_ONLY = 0o444


class Readable(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; empty at the end."""


class ContentStore:
    """Contents in a folder: ``sha256/ab/cdef…`` below it, what is being written in ``incoming``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"

    def path(self, sha256: str) -> Path:
        """Where the content of this digest lies, or would."""
        return self._folder / "sha256" / sha256[:2] / sha256[2:]

    def has(self, sha256: str) -> bool:
        """Whether the bytes are here."""
        return self.path(sha256).is_file()

    def open(self, sha256: str) -> BinaryIO:
        """The bytes, for reading.

        Raises:
            ContentMissing: they are not here.
        """
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError as error:
            raise ContentMissing(sha256) from error

    def read(self, sha256: str) -> bytes:
        """All the bytes: for small contents only.

        Raises:
            ContentMissing: they are not here.
        """
        with self.open(sha256) as stream:
            return stream.read()

    def put_bytes(self, content: bytes) -> Content:
        """Keep ``content``."""
        return self.put_stream(BytesIO(content), limit_bytes=len(content))

    def put_stream(self, stream: Readable, *, limit_bytes: int, what: str = "the file") -> Content:
        """Keep all that ``stream`` gives.

        Raises:
            TooLarge: it gives more than ``limit_bytes``; nothing is kept.
            StorageFull: there is no space for it; nothing is kept.
        """
        with self._aside() as (aside, target):
            digest, size = hashlib.sha256(), 0
            while chunk := stream.read(CHUNK_BYTES):
                size += len(chunk)
                if size > limit_bytes:
                    raise TooLarge(what, limit_bytes)
                digest.update(chunk)
                target.write(chunk)
            return self._publish(aside, target, digest.hexdigest(), size)

    def take_file(self, source: Path, *, expected: str | None = None) -> Content:
        """Keep the file at ``source``, which may be moved away: cheap where both lie on one file system.

        Raises:
            ContentDamaged: its digest is not ``expected``; it stays where it is.
            StorageFull: there is no space for it; it stays where it is.
        """
        found, size = digest_of(source)
        if expected is not None and found != expected:
            raise ContentDamaged(expected, found)
        target = self.path(found)
        if target.is_file():
            return Content(found, size)
        if self._may_rename(source):
            with _telling_when_full():
                self._rename_into_place(source, target)
            return Content(found, size)
        with source.open("rb") as stream, self._aside() as (aside, copy):
            shutil.copyfileobj(stream, copy, CHUNK_BYTES)
            copy.flush()
            copied, _ = digest_of(aside)
            if copied != found:
                raise ContentDamaged(found, copied)
            return self._publish(aside, copy, found, size)

    def sweep(self) -> None:
        """Remove what writers left behind that died. Only when no writer is at work on this folder."""
        shutil.rmtree(self._incoming, ignore_errors=True)

    def _may_rename(self, source: Path) -> bool:
        """Whether nobody else holds these very bytes (by a hard link), on this file system, as one plain file."""
        about = source.lstat()
        self._folder.mkdir(parents=True, exist_ok=True)
        return not source.is_symlink() and about.st_nlink == 1 and about.st_dev == self._folder.stat().st_dev

    @contextmanager
    def _aside(self) -> Iterator[tuple[Path, BinaryIO]]:
        with _telling_when_full():
            self._incoming.mkdir(parents=True, exist_ok=True)
        aside = self._incoming / str(clock.new_uuid())
        try:
            with _telling_when_full(), aside.open("xb") as target:
                yield aside, target
        finally:
            aside.unlink(missing_ok=True)

    def _publish(self, aside: Path, target: BinaryIO, sha256: str, size: int) -> Content:
        place = self.path(sha256)
        if not place.is_file():
            target.flush()
            self._rename_into_place(aside, place)
        return Content(sha256, size)

    @staticmethod
    def _rename_into_place(source: Path, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        source.chmod(_READ_ONLY)
        with source.open("rb") as stream:
            os.fsync(stream.fileno())
        source.rename(place)
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _telling_when_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFull from error
        raise


def is_full(error: OSError) -> bool:
    """Whether ``error`` says that no space is left, or none that we may use."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 and size of the file at ``path``, read in bounded memory."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return digest.hexdigest(), stream.tell()
