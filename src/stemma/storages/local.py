"""Files of this machine and of what is mounted on it, below the folders that the operators allow.

A path is resolved once, and what it resolves to must lie below an allowed folder; then it is walked from that folder
on, part by part and following no link, so that nobody can put a link in between.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from stemma.errors import (
    AddressRefused,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    StemmaError,
    StorageFull,
    TooLarge,
)
from stemma.storages.paths import MAX_DEPTH, checked_path, exactly, last_part
from stemma.storages.protocol import CHUNK_BYTES, Listed, SourceInfo

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HERE: Final = frozenset({"", "localhost"})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_NOT_ALLOWED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@dataclass(frozen=True, slots=True)
class FileRoot:
    """A folder whose files may be had; and be changed, where it is writable."""

    path: Path
    is_writable: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a path leads to: below which folder, by which parts."""

    root: str
    parts: tuple[str, ...]
    is_writable: bool
    what: str

    @property
    def real(self) -> str:
        """The path itself, without links."""
        return "/".join((self.root.rstrip("/"), *self.parts))


class LocalStorage:
    """The folders that one group may read. Keeps nothing open."""

    def __init__(self, roots: Sequence[FileRoot], *, below: str | None = None) -> None:
        """``below`` is the folder of a remote, which has to lie in one of ``roots``."""
        self._roots = [(os.path.realpath(root.path), root.is_writable) for root in roots]
        if below is not None:
            place = self._place(_address(below))
            self._roots = [(place.real, place.is_writable)]

    def info(self, address: str) -> SourceInfo:
        """See :class:`~stemma.storages.protocol.Storage`."""
        with self._opened(address) as (descriptor, what):
            return _info(address, _checked(descriptor, what))

    @contextmanager
    def read(
        self, address: str, *, version: str, offset: int = 0, length: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        """See :class:`~stemma.storages.protocol.Storage`."""
        with self._opened(address) as (descriptor, what):
            found = _checked(descriptor, what)
            if version and _version(found) != version:
                raise SourceChanged(what)
            yield _chunks(descriptor, offset, length, _version(found), what)

    def list(self, address: str, *, limit: int) -> Iterator[Listed]:
        """See :class:`~stemma.storages.protocol.Storage`: links are followed within the allowed folders."""
        place = self._place(address)
        found: list[tuple[str, str]] = []
        with _told(place.what):
            for one in self._walked(place, "", frozenset()):
                found.append(one)
                if len(found) > limit:
                    raise TooLarge(place.what, limit, "files")
        if not found:
            raise SourceNotFound(place.what)
        for path, there in sorted(found):
            yield Listed(checked_path(path, place.what), self.info(there))

    def _walked(self, place: _Place, path: str, above: frozenset[str]) -> Iterator[tuple[str, str]]:
        """Path below the folder and address of each file; a link to a folder that it lies in is not walked again."""
        if place.real in above or len(above) > MAX_DEPTH:
            raise SourceUnusable(place.what, "its folders lie in one another")
        folder = self._folder_of(place, whole=True)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    below, there = f"{path}{entry.name}", _address(f"{place.real}/{entry.name}")
                    if entry.is_dir():
                        yield from self._walked(self._place(there), f"{below}/", above | {place.real})
                    else:
                        yield below, there
        finally:
            os.close(folder)

    def write(self, address: str, chunks: Iterable[bytes], size_bytes: int) -> SourceInfo:
        """See :class:`~stemma.storages.protocol.Storage`."""
        place = self._changed(address)
        with _told(place.what):
            folder = self._folder_of(place, make=True)
            try:
                aside = f".{secrets.token_hex(8)}.part"
                try:
                    _put(folder, aside, exactly(chunks, size_bytes, place.what))
                    os.rename(aside, place.parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
                    os.fsync(folder)
                except BaseException:
                    _removed(folder, aside)
                    raise
            finally:
                os.close(folder)
        return self.info(address)

    def delete(self, address: str) -> None:
        """See :class:`~stemma.storages.protocol.Storage`."""
        place = self._changed(address)
        try:
            with _told(place.what):
                folder = self._folder_of(place)
                try:
                    _removed(folder, place.parts[-1])
                finally:
                    os.close(folder)
        except SourceNotFound:
            return

    def signed(self, address: str, seconds: int) -> str | None:  # noqa: ARG002 - as the protocol has it
        """There are none."""
        return None

    def close(self) -> None:
        """Nothing is open."""

    def _place(self, address: str) -> _Place:
        """Where ``address`` leads to.

        Raises:
            AddressRefused: to nothing that is allowed, or it is none.
        """
        what = address[:200].partition("?")[0]
        try:
            parts = urlsplit(address)
            path = unquote(parts.path, errors="surrogateescape")
        except ValueError as error:
            raise AddressRefused(what) from error
        is_odd = parts.query or parts.fragment or "\0" in path or len(path) > 4096  # noqa: PLR2004 - as the system has it
        if parts.scheme != "file" or (parts.netloc or "") not in _HERE or is_odd or not path.startswith("/"):
            raise AddressRefused(what)
        try:
            real = os.path.realpath(path)
        except OSError as error:  # a link on the way was changed at this very moment
            raise SourceNotFound(what) from error
        for root, is_writable in self._roots:
            if real == root or real.startswith(root.rstrip("/") + "/"):
                rest = real[len(root.rstrip("/")) :].strip("/")
                return _Place(root, tuple(rest.split("/")) if rest else (), is_writable, what)
        raise AddressRefused(what)

    def _changed(self, address: str) -> _Place:
        place = self._place(address)
        if not place.is_writable:
            raise SourceForbidden(place.what)
        if not place.parts or address.endswith("/"):
            raise SourceUnusable(place.what, "it is a folder")
        checked_path("/".join(place.parts), place.what)
        return place

    @contextmanager
    def _opened(self, address: str) -> Iterator[tuple[int, str]]:
        place = self._place(address)
        with _told(place.what):
            if not place.parts:
                raise SourceUnusable(place.what, "it is a folder")
            folder = self._folder_of(place)
            try:
                descriptor = os.open(place.parts[-1], _FILE, dir_fd=folder)
            finally:
                os.close(folder)
        try:
            yield descriptor, place.what
        finally:
            os.close(descriptor)

    @staticmethod
    def _folder_of(place: _Place, *, make: bool = False, whole: bool = False) -> int:
        """The folder that the file lies in, or with ``whole`` that it is, opened part by part."""
        descriptor = os.open(place.root, _FOLDER)
        for part in place.parts if whole else place.parts[:-1]:
            try:
                if make:
                    _made(descriptor, part)
                inner = os.open(part, _FOLDER, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor


def _made(folder: int, name: str) -> None:
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return


def _removed(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def _put(folder: int, name: str, chunks: Iterable[bytes]) -> None:
    with os.fdopen(os.open(name, _NEW, 0o666, dir_fd=folder), "wb", buffering=0) as file:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[file.write(view) :]
        os.fsync(file.fileno())


def _checked(descriptor: int, what: str) -> os.stat_result:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise SourceUnusable(what, "it is a folder" if stat.S_ISDIR(found.st_mode) else "it is not a plain file")
    return found


def _version(found: os.stat_result) -> str:
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"


def _info(address: str, found: os.stat_result) -> SourceInfo:
    return SourceInfo(address, last_part(unquote(urlsplit(address).path)), found.st_size, _version(found))


def _chunks(descriptor: int, offset: int, length: int | None, version: str, what: str) -> Iterator[bytes]:
    """The bytes; a file that is written to meanwhile is noticed at the end of them."""
    left = length
    with _told(what):
        while left is None or left > 0:
            chunk = os.pread(descriptor, CHUNK_BYTES if left is None else min(left, CHUNK_BYTES), offset)
            if not chunk:
                break
            offset += len(chunk)
            left = None if left is None else left - len(chunk)
            yield chunk
        if _version(os.fstat(descriptor)) != version:
            raise SourceChanged(what)


def _address(path: str) -> str:
    return f"file://{quote(os.fsencode(path))}"


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Say what the system says in our own words."""
    try:
        yield
    except StemmaError:
        raise
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise SourceNotFound(what) from error
        if error.errno in _NOT_ALLOWED:
            raise SourceForbidden(what) from error
        if error.errno in _FULL:
            raise StorageFull from error
        if error.errno == errno.ELOOP:
            raise SourceChanged(what) from error
        raise SourceUnavailable(what, error.strerror or type(error).__name__) from error
