"""The content store: files under their SHA-256, written once, read by all.

Bytes are hashed while they come in, written aside (:mod:`stemma.store.partial`), flushed, and renamed into place, so
that a name in the store always has its whole content, whatever dies when. Two writers of the same bytes end with one
file. What is removed is renamed aside first: a name is there wholly, or not at all.
"""

import fcntl
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, Literal, Protocol

from stemma import clock
from stemma.errors import ContentDamaged, ContentMissing, TooLarge
from stemma.records import Content
from stemma.store.partial import PartFile, is_full, sweep, sync_folder, telling

__all__ = ["CHUNK_BYTES", "ContentStore", "Readable", "Verdict", "digest_of", "is_full"]

CHUNK_BYTES = 1024 * 1024
KEEP_SECONDS: Final = 24 * 3600.0
"""How long what came of a transfer that was cut waits for who goes on with it."""
_READ_ONLY = 0o444
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Verdict = Literal["ok", "damaged", "missing"]


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

    def keep(self, sha256: str) -> bool:
        """Whether the bytes are here; if so, they count as new from now on.

        For who is about to write down that they are used: until then :meth:`remove_unused` leaves them alone.
        """
        try:
            os.utime(self.path(sha256))
        except FileNotFoundError:
            return False
        except OSError:  # another's file, say, on a file system that several share
            return self.has(sha256)
        return True

    def touch(self, sha256: str) -> bool:
        """Whether the bytes are here; if so, they are asked for now. They are as old as before."""
        path = self.path(sha256)
        try:
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        except FileNotFoundError:
            return False
        except OSError:  # see above
            return self.has(sha256)
        return True

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
            StorageFull, StoreUnwritable: it cannot be written; nothing is kept.
        """
        with self._aside() as aside:
            content = _written(stream, aside, limit_bytes, what)
            self.publish(aside, content)
            return content

    def part(self, name: str | None = None) -> PartFile:
        """A file to write to, which :meth:`publish` takes; with ``name`` one that can be resumed under that name.

        Raises:
            StorageFull, StoreUnwritable: it cannot be made.
        """
        return PartFile.create(self._incoming) if name is None else PartFile.resume(self._incoming, name)

    def publish(self, part: PartFile, content: Content) -> None:
        """Give what ``part`` holds, which is ``content``, its name, unless the store has it.

        Raises:
            StorageFull, StoreUnwritable: that cannot be done.
        """
        place = self.path(content.sha256)
        if self._has_all_of(content) and self.keep(content.sha256):
            part.discard()
        else:
            part.move_to(place)

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
        if self.keep(found):
            return Content(found, size)
        if self._may_rename(source):
            with telling():
                self._rename_into_place(source, target)
            return Content(found, size)
        with source.open("rb") as stream, self._aside() as copy:
            content = _written(stream, copy, sys.maxsize, str(source.name))
            if content.sha256 != found:
                raise ContentDamaged(found, content.sha256)
            self.publish(copy, content)
            return content

    def remove(self, sha256: str) -> int:
        """Take the content away, and return how many bytes that frees; 0 where it is not here.

        Who has it open goes on reading.

        Raises:
            StoreUnwritable: it cannot be removed.
        """
        aside = self._incoming / str(clock.new_uuid())
        with telling():
            self._incoming.mkdir(parents=True, exist_ok=True)
            try:
                self.path(sha256).rename(aside)
            except FileNotFoundError:
                return 0
            size = 0
            with suppress(FileNotFoundError):  # a sweep may be quicker
                size = aside.stat().st_size
                aside.unlink()
        return size

    def remove_unused(self, sha256: str, before: float) -> int | None:
        """Take the content away unless it came, was kept anew, or was asked for after ``before``; return how many bytes
        that frees, None where it stays.

        Who keeps it in this very moment (:meth:`keep`) finds it afterwards, or is told that it is not here.

        Raises:
            StoreUnwritable: it cannot be removed.
        """
        return self._remove_unless(sha256, lambda seen: seen.st_ctime >= before)

    def remove_unkept(self, sha256: str, before: float) -> int | None:
        """As :meth:`remove_unused`, but only who keeps it counts: not who asks for it, nor links that come and go.

        Raises:
            StoreUnwritable: it cannot be removed.
        """
        # Links change the one, tools that have one may choose the other.
        return self._remove_unless(sha256, lambda seen: min(seen.st_ctime, seen.st_mtime) >= before)

    def _remove_unless(self, sha256: str, is_used: Callable[[os.stat_result], bool]) -> int | None:
        place, aside = self.path(sha256), self._incoming / str(clock.new_uuid())
        gone = suppress(FileNotFoundError, BlockingIOError)  # another removes it, or publishes it just now
        with telling(), gone, place.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # so that no sweep takes it for abandoned
            seen = os.fstat(held.fileno())
            if is_used(seen):
                return None
            self._incoming.mkdir(parents=True, exist_ok=True)
            place.rename(aside)
            if os.fstat(held.fileno()).st_mtime_ns != seen.st_mtime_ns:
                aside.rename(place)
                return None
            aside.unlink()
            return seen.st_size
        return None if self.has(sha256) else 0

    def set_aside(self, sha256: str) -> Path | None:
        """Take what lies under this digest, and is something else, out of the way; where it lies then.

        It is kept for people to look at: what is left of it may be all that there is.

        Raises:
            StoreUnwritable: it cannot be moved.
        """
        folder = self._folder / "damaged"
        with telling():
            folder.mkdir(parents=True, exist_ok=True)
            aside = folder / f"{sha256}.{clock.new_uuid().hex[-12:]}"
            with suppress(FileNotFoundError):
                self.path(sha256).rename(aside)
                return aside
        return None

    def verify(self, sha256: str) -> Verdict:
        """Whether the bytes that lie here are those of this digest: all of them are read."""
        try:
            found, _ = digest_of(self.path(sha256))
        except FileNotFoundError:
            return "missing"
        return "ok" if found == sha256 else "damaged"

    def contents(self) -> Iterator[Content]:
        """What lies here, by name, as long as each file is. Contents that come and go meanwhile may be among them."""
        try:
            folders = sorted(os.scandir(self._folder / "sha256"), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        for folder in folders:
            if not folder.is_dir(follow_symlinks=False):
                continue
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                digest = folder.name + entry.name
                with suppress(FileNotFoundError):
                    if _DIGEST.fullmatch(digest) and entry.is_file(follow_symlinks=False):
                        yield Content(digest, entry.stat(follow_symlinks=False).st_size)

    def sweep(self, *, keep_seconds: float = KEEP_SECONDS) -> int:
        """Remove what writers left behind that died, and return the bytes that this frees. Safe beside writers at work.

        What a transfer left that can be resumed stays for ``keep_seconds``.
        """
        return sweep(self._incoming, keep_seconds)

    def _may_rename(self, source: Path) -> bool:
        """Whether nobody else holds these very bytes (by a hard link), on this file system, as one plain file."""
        about = source.lstat()
        self._folder.mkdir(parents=True, exist_ok=True)
        return not source.is_symlink() and about.st_nlink == 1 and about.st_dev == self._folder.stat().st_dev

    def _has_all_of(self, content: Content) -> bool:
        """Whether it is here, as long as it should be: a file that was cut by hand is replaced."""
        with telling():
            try:
                return self.path(content.sha256).stat().st_size == content.size_bytes
            except FileNotFoundError:
                return False

    @contextmanager
    def _aside(self) -> Iterator[PartFile]:
        aside = self.part()
        try:
            yield aside
        finally:
            aside.discard()

    @staticmethod
    def _rename_into_place(source: Path, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        source.chmod(_READ_ONLY)
        with source.open("rb") as stream:
            os.fsync(stream.fileno())
        source.rename(place)
        sync_folder(place.parent)


def _written(stream: Readable, target: PartFile, limit_bytes: int, what: str) -> Content:
    """All of ``stream``, written to ``target``."""
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK_BYTES):
        if size + len(chunk) > limit_bytes:
            raise TooLarge(what, limit_bytes)
        digest.update(chunk)
        target.write(size, chunk)
        size += len(chunk)
    return Content(digest.hexdigest(), size)


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 and size of the file at ``path``, read in bounded memory."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return digest.hexdigest(), stream.tell()
