"""Files on remotes, on behalf of somebody: looked at, listed, taken, put there and copied."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sqlmodel import Session

from stemma import clock
from stemma.auth.principal import Principal
from stemma.engines.protocol import Owner
from stemma.errors import (
    AddressRefused,
    Finding,
    InvalidRequest,
    RemoteUnreadable,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    StemmaError,
    TooLarge,
)
from stemma.lifecycle import audit
from stemma.lifecycle.audit import Deed
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.remotes import Remote, address_at
from stemma.storages.protocol import Listed, SourceInfo, Storage

MOST_LISTED: Final = 100_000
"""Files in a folder and below. More are not looked through."""
_TASTED_BYTES: Final = 1024
_OF_THE_REMOTE: Final = (
    AddressRefused,
    RemoteUnreadable,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    TooLarge,
)
"""What a try of a remote is there to find out."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path at a remote, ready to be asked."""

    remote: Remote
    path: str
    address: str
    storage: Storage

    def info(self) -> SourceInfo:
        """What lies there."""
        return self.storage.info(self.address)

    def read(self, version: str, offset: int = 0, length: int | None = None) -> AbstractContextManager[Iterator[bytes]]:
        """Its bytes."""
        return self.storage.read(self.address, version=version, offset=offset, length=length)


@dataclass(frozen=True, slots=True)
class Listing:
    """Files below a folder."""

    files: tuple[Listed, ...]
    is_cut: bool
    """Whether there are more."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What became of a try."""

    seconds: float
    found: Listed | None = None
    """A file that is there, whose beginning was read."""
    problem: StemmaError | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A file that lies on a remote now."""

    remote: str
    path: str
    size_bytes: int
    sha256: str
    seconds: float


def place(installation: Installation, principal: Principal, remote: Remote, path: str) -> Place:
    """``path`` at ``remote``, which ``principal`` may use.

    Raises:
        InvalidRequest: it is no path.
        RemoteUnreadable: the credentials cannot be opened.
        AddressRefused: nobody may ask there.
    """
    address = address_at(remote, path)
    owner = Owner(principal.subject, remote.group or "")
    return Place(remote, path, address, installation.remotes.storage(remote, address, owner))


def tried(installation: Installation, principal: Principal, remote: Remote, path: str) -> Tested:
    """Whether ``remote`` answers, and gives the file at ``path``, or the first one that it lists."""
    began = time.monotonic()
    try:
        chosen = place(installation, principal, remote, path)
        found = Listed(path, chosen.info()) if path else _first(chosen)
        if found is not None and found.info.size_bytes != 0:
            file = chosen if path else place(installation, principal, remote, found.path)
            with file.read(found.info.version, length=_TASTED_BYTES) as chunks:
                next(chunks, b"")
    except _OF_THE_REMOTE as problem:
        return Tested(time.monotonic() - began, problem=problem)
    return Tested(time.monotonic() - began, found)


def listing(chosen: Place, limit: int) -> Listing:
    """The files below a folder, ``limit`` of them at most.

    Raises:
        InvalidRequest: there are more than are looked through.
        SourceNotFound: there is no such folder.
    """
    try:
        found = list(islice(chosen.storage.list(chosen.address, limit=MOST_LISTED), limit + 1))
    except SourceNotFound:
        if chosen.path:
            raise
        found = []  # an empty bucket has no folder
    except TooLarge as error:
        message = f"there are more than {MOST_LISTED} files; name a folder with fewer"
        raise InvalidRequest(message, [Finding(message, "remote/too-many")]) from error
    return Listing(tuple(found[:limit]), is_cut=len(found) > limit)


def write(
    installation: Installation, principal: Principal, chosen: Place, chunks: Iterable[bytes], size_bytes: int
) -> Written:
    """Put a file there, in place of what there was.

    Raises:
        InvalidRequest: fewer or more bytes come than ``size_bytes``.
    """
    began = time.monotonic()
    counted = _Counted(chunks, size_bytes)
    _put(chosen, counted, size_bytes)
    written = Written(chosen.remote.name, chosen.path, size_bytes, counted.sha256, time.monotonic() - began)
    _record(installation, principal, Deed.REMOTE_WRITE, chosen)
    return written


@dataclass(frozen=True, slots=True)
class Copying:
    """A copy that may be made."""

    source: Place
    target: Place
    version: str
    size_bytes: int


def to_copy(installation: Installation, source: Place, target: Place) -> Copying:
    """The copy of ``source`` to ``target``, when it may be made.

    Raises:
        TooLarge: it has more bytes than may be uploaded.
        SourceUnusable: nobody says how large it is.
        InvalidRequest: both are the same.
    """
    info = source.info()
    what = f"{source.path} on {source.remote.name}"
    if info.size_bytes is None:
        raise SourceUnusable(what, "its server does not tell how large it is")
    limit = installation.settings.max_upload_bytes
    if info.size_bytes > limit:
        raise TooLarge(what, limit)
    if source.address == target.address and source.remote.uuid == target.remote.uuid:
        message = "source and target are the same file"
        raise InvalidRequest(message, [Finding(message, "remote/same-file")])
    return Copying(source, target, info.version, info.size_bytes)


def copy(
    installation: Installation, principal: Principal, copying: Copying, moved: Callable[[int], None] | None = None
) -> Written:
    """Let the file lie at the target as well; ``moved`` is told how far it is. It passes through here, and is not kept.

    Raises:
        SourceChanged: it changes meanwhile.
    """
    began = time.monotonic()
    target, size = copying.target, copying.size_bytes
    with copying.source.read(copying.version) as chunks:
        counted = _Counted(chunks, size, moved)
        _put(target, counted, size)
    seconds = time.monotonic() - began
    _record(installation, principal, Deed.REMOTE_COPY, target)
    return Written(target.remote.name, target.path, size, counted.sha256, seconds)


def _put(target: Place, counted: "_Counted", size_bytes: int) -> None:
    """Write what comes; what was wrong with that is said as it was, whatever the storage made of it."""
    try:
        target.storage.write(target.address, counted, size_bytes)
    except Exception:
        if counted.failure is not None:
            raise counted.failure from None
        raise
    counted.check()


class _Counted:
    """Chunks on their way through: counted, and their digest taken."""

    def __init__(self, chunks: Iterable[bytes], size_bytes: int, moved: Callable[[int], None] | None = None) -> None:
        self._chunks = chunks
        self._size = self._left = size_bytes
        self._moved = moved
        self._digest = hashlib.sha256()
        self.failure: Exception | None = None
        """What was wrong with what came."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                self._left -= len(chunk)
                if self._left < 0:
                    break
                self._digest.update(chunk)
                yield chunk
                if self._moved is not None:
                    self._moved(self._size - self._left)
            self.check()
        except Exception as error:
            self.failure = error
            raise

    @property
    def sha256(self) -> str:
        """Of all that came."""
        return self._digest.hexdigest()

    def check(self) -> None:
        """Return when as many bytes came as were announced.

        Raises:
            InvalidRequest: there were fewer or more.
        """
        if self._left != 0:
            message = f"there were {'more' if self._left < 0 else 'fewer'} bytes than announced"
            raise InvalidRequest(message, [Finding(message, "remote/size")])


def _first(chosen: Place) -> Listed | None:
    """The first file that it lists; None where there is nothing."""
    try:
        return next(iter(chosen.storage.list(chosen.address, limit=MOST_LISTED)), None)
    except SourceNotFound:  # an empty bucket has no folder
        return None


def _record(installation: Installation, principal: Principal, deed: Deed, chosen: Place) -> None:
    remote = chosen.remote
    what = f"{remote.name}/{chosen.path}"

    def write_down(session: Session) -> None:
        audit.record(session, principal, deed, what, group=remote.group, now=clock.now())

    installation.database.write(write_down)
