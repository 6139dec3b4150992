"""Files that are being written, in the store's folder ``incoming``: each held by one writer, who is known to live.

A writer locks its file (flock) for as long as it writes. What is not locked was left behind: by a transfer that was
cut, with a journal beside it that says what of it can be used (``name.part``, ``name.journal``), or by a writer that
died, which :func:`sweep` removes. A lock ends with its process, however that ends.
"""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from stemma import clock
from stemma.errors import StorageFull, Unavailable

PART: Final = ".part"
JOURNAL: Final = ".journal"
_JOURNAL_LIMIT_BYTES: Final = 1024 * 1024
_READ_ONLY: Final = 0o444
_PRIVATE: Final = 0o600


class StoreUnwritable(Unavailable):
    """The folder in which contents are kept takes no files, though there may be space."""

    code = "store-unwritable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the service cannot write where it keeps files: {reason}; its operators have to see to that")
        self.reason = reason


class PartClosed(Exception):
    """The part was given up while somebody still wrote to it. Never leaves the mover."""


class PartFile:
    """One file in ``incoming`` and the lock on it. Several threads may write to it, each its own range."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._users = 0
        self._is_closed = False

    @classmethod
    def create(cls, folder: Path) -> "PartFile":
        """One under a new name, which nobody can resume.

        Raises:
            StorageFull, StoreUnwritable: it cannot be made.
        """
        while True:
            made = cls._held(folder / str(clock.new_uuid()))
            if made is not None:
                return made

    @classmethod
    def resume(cls, folder: Path, name: str) -> "PartFile":
        """The one of this name, with what lies in it; a new one where somebody else holds that.

        Raises:
            StorageFull, StoreUnwritable: it cannot be made.
        """
        return cls._held(folder / (name + PART)) or cls.create(folder)

    @classmethod
    def _held(cls, path: Path) -> "PartFile | None":
        """The file at ``path``, locked; None where another writer holds it, or it was swept meanwhile."""
        with telling():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _PRIVATE)
        if _lock(descriptor) and _is_at(path, descriptor):
            return cls(path, descriptor)
        os.close(descriptor)
        return None

    @property
    def can_be_resumed(self) -> bool:
        """Whether the next one who asks for its name finds it."""
        return self.path.suffix == PART

    @property
    def size_bytes(self) -> int:
        """How long the file is, holes included."""
        with self._used() as descriptor:
            return os.fstat(descriptor).st_size

    def reserve(self, size_bytes: int) -> None:
        """Take the space now, so that a full disk is known before anything comes.

        Raises:
            StorageFull: there is not so much.
        """
        with self._used() as descriptor, telling():
            if size_bytes:
                os.posix_fallocate(descriptor, 0, size_bytes)

    def write(self, offset: int, chunk: bytes | bytearray) -> None:
        """Put ``chunk`` there.

        Raises:
            StorageFull, StoreUnwritable: it cannot be written.
            PartClosed: it was given up.
        """
        view = memoryview(chunk)
        with self._used() as descriptor, telling():
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written

    def blocks(self, start: int, end: int, block: bytearray) -> Iterator[memoryview]:
        """What lies between ``start`` and ``end``, each time read into ``block``; less where the file ends."""
        view = memoryview(block)
        while start < end:
            with self._used() as descriptor, telling():
                count = os.preadv(descriptor, [view[: min(len(block), end - start)]], start)
            if not count:
                return
            yield view[:count]
            start += count

    def cut(self, size_bytes: int) -> None:
        """Make it exactly so long."""
        with self._used() as descriptor, telling():
            os.ftruncate(descriptor, size_bytes)

    def journal(self) -> bytes | None:
        """What was noted last about it; None where nothing was."""
        try:
            with self._journal.open("rb") as stream:
                return stream.read(_JOURNAL_LIMIT_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise translated(error) from error

    def note(self, journal: bytes) -> None:
        """Write ``journal`` beside it, wholly or not at all. Outlives the process, not the machine: it is a hint that
        is checked against the bytes."""
        with self._used(), telling():
            aside = self._journal.with_suffix(JOURNAL + ".new")
            aside.write_bytes(journal)
            aside.rename(self._journal)

    def forget(self) -> None:
        """Begin anew: nothing in it, no journal."""
        if self.can_be_resumed:
            self._journal.unlink(missing_ok=True)
        self.cut(0)

    def move_to(self, place: Path) -> None:
        """Flush it, and give it its final name.

        Raises:
            StorageFull, StoreUnwritable: that cannot be done; nothing has the final name.
        """
        with self._used() as descriptor, telling():
            os.fchmod(descriptor, _READ_ONLY)
            os.fsync(descriptor)
            place.parent.mkdir(parents=True, exist_ok=True)
            self.path.rename(place)
            sync_folder(place.parent)
            if self.can_be_resumed:
                self._journal.unlink(missing_ok=True)
        self.leave()

    def discard(self) -> None:
        """Remove it."""
        if self._is_closed:
            return
        with suppress(OSError):  # what cannot be removed now is swept later
            if self.can_be_resumed:
                self._journal.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Let go of it as it is. Who still writes finds it closed; the last one ends the lock."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            if not was_closed and not self._users:
                os.close(self._descriptor)

    @property
    def _journal(self) -> Path:
        return self.path.with_suffix(JOURNAL)

    @contextmanager
    def _used(self) -> Iterator[int]:
        with self._lock:
            if self._is_closed:
                raise PartClosed
            self._users += 1
        try:
            yield self._descriptor
        finally:
            with self._lock:
                self._users -= 1
                if self._is_closed and not self._users:
                    os.close(self._descriptor)


def sweep(folder: Path, keep_seconds: float) -> int:
    """Remove from ``folder`` what no living writer holds, and return the bytes that this frees.

    Parts that can be resumed stay for ``keep_seconds`` after something was noted of them last. Safe beside writers at
    work, in this process and others.
    """
    freed = 0
    with suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            if path.name.endswith((JOURNAL, JOURNAL + ".new")):
                _sweep_journal(path)
            elif not _is_fresh(path, keep_seconds):
                freed += _remove_abandoned(path)
    return freed


def _is_fresh(path: Path, keep_seconds: float) -> bool:
    if path.suffix != PART:
        return False
    try:
        noted = path.with_suffix(JOURNAL).stat().st_mtime
    except FileNotFoundError:
        return False
    return time.time() - noted < keep_seconds


def _remove_abandoned(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP, errno.EISDIR}:
            raise translated(error) from error
        return 0
    try:
        if not _lock(descriptor) or not _is_at(path, descriptor):
            return 0
        freed = os.fstat(descriptor).st_blocks * 512
        path.unlink(missing_ok=True)
        path.with_suffix(JOURNAL).unlink(missing_ok=True)
        return freed
    finally:
        os.close(descriptor)


def _sweep_journal(path: Path) -> None:
    """Remove a journal without a part. One whose part is being made this moment may go too: it is only a hint."""
    part = path.with_name(path.name.removesuffix(".new")).with_suffix(PART)
    if not part.exists():
        path.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file still has this name: it may have been swept or published before it was locked."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def sync_folder(folder: Path) -> None:
    """Flush the names in ``folder``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def telling() -> Iterator[None]:
    """Say in our own words that something cannot be written.

    Raises:
        StorageFull, StoreUnwritable: instead of the operating system's error.
    """
    try:
        yield
    except OSError as error:
        raise translated(error) from error


def translated(error: OSError) -> StorageFull | StoreUnwritable:
    """What ``error`` means for who wanted to write."""
    return StorageFull() if is_full(error) else StoreUnwritable(error.strerror or type(error).__name__)


def is_full(error: OSError) -> bool:
    """Whether ``error`` says that no space is left, or none that we may use."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}
