"""The archive: one folder or bucket of the service, where contents are kept for good under their digests.

It is named by the operators and not by users, so it has a way out of its own: what may be asked for on somebody's
behalf is neither more nor less because of it.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from stemma import clock
from stemma.errors import (
    ArchiveUnavailable,
    ContentMissing,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    StemmaError,
)
from stemma.records import Content
from stemma.settings import Settings
from stemma.storages.protocol import Listed, RemoteSettings, SourceInfo, Storage

if TYPE_CHECKING:
    from stemma.storages.opening import Opening

_MARK: Final = "stemma-archive"
"""A file that says that a folder or bucket is an archive: a disk that is not mounted has none."""
_MARKED: Final = b"Stemma keeps files here for good, under their SHA-256.\n"
_LEFTOVER: Final = ".part"


@dataclass(frozen=True, slots=True)
class _Open:
    """A storage, and what it needs."""

    storage: Storage
    context: "Opening"

    def close(self) -> None:
        self.storage.close()
        self.context.close()


class Archive:
    """Contents by their digest, in a place elsewhere. Used by several threads; opened when it is first asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._where = settings.archive or ""
        self._folder = settings.archive_folder
        endpoint = settings.archive_endpoint or settings.archive_region or ""
        self.name = hashlib.sha256(f"{self._where}\n{endpoint if self._folder is None else ''}".encode()).hexdigest()
        """Tells it from others."""
        self._guard = threading.Lock()
        self._opened: _Open | None = None

    @property
    def shown(self) -> str:
        """Where it is, for operators."""
        endpoint = self._settings.archive_endpoint
        return f"{self._where} at {endpoint}" if endpoint and self._folder is None else self._where

    def put(self, content: Content, chunks: Iterable[bytes]) -> None:
        """Keep ``content``; what lies there under its digest is replaced.

        Raises:
            ArchiveUnavailable: that cannot be done now. Whatever ``chunks`` raises is raised.
        """
        if self._folder is not None and not (self._folder / _MARK).is_file():
            raise self._another()
        relayed = _Relayed(chunks)
        try:
            with self._told():
                found = self._storage().write(self._address(content.sha256), relayed, content.size_bytes)
        except Exception:
            if relayed.error is not None:
                raise relayed.error from None
            raise
        if found.size_bytes != content.size_bytes:
            raise ArchiveUnavailable(f"it has {found.size_bytes} of {content.size_bytes} bytes that it took")

    def size_of(self, sha256: str) -> int | None:
        """How long what lies there under this digest is; None where nothing does.

        Raises:
            ArchiveUnavailable: it cannot be asked.
        """
        try:
            with self._told():
                return self._storage().info(self._address(sha256)).size_bytes
        except SourceNotFound:
            self.prepare(was_used=True)
            return None

    @contextmanager
    def read(self, sha256: str, *, offset: int = 0, length: int | None = None) -> Iterator[Iterator[bytes]]:
        """What lies there under this digest, from ``offset`` on. Nothing says that these are the bytes of it.

        Raises:
            ContentMissing: nothing lies there.
            ArchiveUnavailable: it cannot be read now, or breaks off.
        """
        address = self._address(sha256)
        with ExitStack() as stack:
            try:
                with self._told():
                    read = self._storage().read(address, version="", offset=offset, length=length)
                    chunks = stack.enter_context(read)
            except SourceNotFound as error:
                self.prepare(was_used=True)
                raise ContentMissing(sha256) from error
            yield self._as_they_come(chunks)  # what goes wrong with who reads them is not the archive's

    def remove(self, sha256: str) -> None:
        """Keep it no more; nothing happens where it does not lie there.

        Raises:
            ArchiveUnavailable: it cannot be removed now.
        """
        self.prepare(was_used=True)
        with self._told():
            self._storage().delete(self._address(sha256))

    def prepare(self, *, was_used: bool) -> None:
        """Return when it is ready. ``was_used``: contents lie there, so that one which says nothing is another one.

        Raises:
            ArchiveUnavailable: it is not.
        """
        address = self._address_of(_MARK)
        try:
            with self._told():
                self._storage().info(address)
        except SourceNotFound:
            if was_used:
                raise self._another() from None
            with self._told(missing="the folder or bucket is not there"):
                self._storage().write(address, iter([_MARKED]), len(_MARKED))
        self._make_folders()

    def _another(self) -> ArchiveUnavailable:
        return ArchiveUnavailable(
            f"{self.shown} is not there, or is not the archive that files were copied to: it has no file {_MARK}. "
            "Is the disk mounted?"
        )

    def check(self) -> None:
        """Return when it can be written to, read, and removed from.

        Raises:
            ArchiveUnavailable: it cannot.
        """
        address, said = self._address_of(f"check-{clock.new_uuid()}"), b"can this be read?"
        with self._told(missing="the folder or bucket is not there"):
            storage = self._storage()
            storage.write(address, iter([said]), len(said))
            try:
                with storage.read(address, version="") as chunks:
                    found = b"".join(chunks)
            finally:
                storage.delete(address)
        if found != said:
            raise ArchiveUnavailable("it gives other bytes than it took")

    def sweep(self, before: float) -> int:
        """Remove what writers left behind that died before that time; how many bytes that frees. A bucket shows nothing
        of that."""
        if self._folder is None:
            return 0
        freed = 0
        for path in (self._folder / "sha256").glob(f"*/.*{_LEFTOVER}"):
            try:
                found = path.lstat()
                if found.st_mtime < before:
                    path.unlink()
                    freed += found.st_size
            except FileNotFoundError:
                continue
        return freed

    def close(self) -> None:
        """Let go of connections."""
        with self._guard:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _as_they_come(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with self._told(missing="a file went away while it was read"):
            yield from chunks

    def _address(self, sha256: str) -> str:
        return self._address_of(f"sha256/{sha256[:2]}/{sha256[2:]}")

    def _address_of(self, path: str) -> str:
        base = self._where if self._folder is None else f"file://{quote(os.fsencode(self._folder.resolve()))}"
        return f"{base}/{path}"

    def _make_folders(self) -> None:
        """All folders of an archive in a folder at once, flushed: they are there after whatever happens."""
        if self._folder is None:
            return
        try:
            folder = self._folder / "sha256"
            if len(list(folder.glob("??"))) < 256:  # noqa: PLR2004 - the first byte of a digest
                for number in range(256):
                    (folder / f"{number:02x}").mkdir(parents=True, exist_ok=True)
                _flush(folder)
                _flush(self._folder)
        except OSError as error:
            raise ArchiveUnavailable(f"{self.shown}: {error.strerror}") from error

    def _storage(self) -> Storage:
        with self._guard:
            if self._opened is None:
                self._opened = self._open()
            return self._opened.storage

    def _open(self) -> _Open:
        from stemma.storages.local import FileRoot  # noqa: PLC0415 - a start need not load what moves bytes
        from stemma.storages.opening import Opening, open_storage  # noqa: PLC0415 - see above
        from stemma.storages.outgoing import Outgoing  # noqa: PLC0415 - see above

        roots = () if self._folder is None else (FileRoot(self._folder, is_writable=True),)
        context = Opening(Outgoing(self._way_out()), file_roots=roots)
        return _Open(open_storage(self._remote(), self._address_of(_MARK), context), context)

    def _remote(self) -> RemoteSettings | None:
        if self._folder is not None:
            return None
        parts, settings = urlsplit(self._where), self._settings
        told = {
            "bucket": parts.netloc,
            "prefix": parts.path.strip("/"),
            "region": settings.archive_region,
            "endpoint": settings.archive_endpoint,
        }
        keys = {
            "access_key_id": settings.archive_access_key_id,
            "secret_access_key": settings.archive_secret_access_key,
        }
        return RemoteSettings(
            "archive",
            "s3",
            {name: value for name, value in told.items() if value},
            {name: key.get_secret_value() for name, key in keys.items() if key is not None},
        )

    def _way_out(self) -> Settings:
        """The rules of the way to the archive: to its server alone, directly where that is one of our own."""
        endpoint = self._settings.archive_endpoint
        rules: dict[str, object] = {"outgoing_hosts": "", "allow_private_hosts": "", "allow_plain_http": False}
        if endpoint:
            parts = urlsplit(endpoint)
            port = f":{parts.port}" if parts.port else ""
            rules |= {
                "allow_private_hosts": f"{parts.hostname}{port}",
                "allow_plain_http": parts.scheme == "http",
                "outgoing_proxy": None,
            }
        return self._settings.model_copy(update=rules)

    @contextmanager
    def _told(self, *, missing: str | None = None) -> Iterator[None]:
        """Say what goes wrong there in our own words: whatever it is, it is the operators' to mend.

        Raises:
            SourceNotFound: nothing lies there, unless ``missing`` says what that means.
        """
        try:
            yield
        except ArchiveUnavailable:
            raise
        except SourceNotFound as error:
            if missing is None:
                raise
            raise ArchiveUnavailable(f"{self.shown}: {missing}") from error
        except SourceUnavailable as error:
            raise ArchiveUnavailable(f"{self.shown}: {error.reason}") from error
        except StemmaError as error:
            raise ArchiveUnavailable(f"{self.shown}: {error}") from error


class ArchiveStorage:
    """The archive as copies come from it: by addresses such as ``archive:<sha256>``."""

    def __init__(self, archive: Archive, digest_in: Callable[[str], str]) -> None:
        self._archive, self._digest_in = archive, digest_in

    def info(self, address: str) -> SourceInfo:
        """See :class:`~stemma.storages.protocol.Storage`."""
        sha256 = self._digest_in(address)
        size = self._archive.size_of(sha256)
        if size is None:
            raise SourceNotFound(address)
        return SourceInfo(address, sha256, size, sha256, sha256=sha256)

    @contextmanager
    def read(
        self,
        address: str,
        *,
        version: str,  # noqa: ARG002 - as the protocol has it; there is one version of a digest
        offset: int = 0,
        length: int | None = None,
    ) -> Iterator[Iterator[bytes]]:
        """See :class:`~stemma.storages.protocol.Storage`."""
        try:
            with self._archive.read(self._digest_in(address), offset=offset, length=length) as chunks:
                yield chunks
        except ContentMissing as error:
            raise SourceNotFound(address) from error

    def list(self, address: str, *, limit: int) -> Iterator[Listed]:  # noqa: ARG002 - as the protocol has it
        """It has no folders."""
        raise SourceUnusable(address, "it is a file")

    def write(self, address: str, chunks: Iterable[bytes], size_bytes: int) -> SourceInfo:  # noqa: ARG002 - see above
        """Nobody writes there by such an address."""
        raise SourceForbidden(address)

    def delete(self, address: str) -> None:
        """Nobody removes anything there by such an address."""
        raise SourceForbidden(address)

    def signed(self, address: str, seconds: int) -> str | None:  # noqa: ARG002 - see above
        """There are none."""
        return None

    def close(self) -> None:
        """The archive stays open."""


class _Relayed:
    """Chunks, and what they raised: a library may wrap it."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except Exception as error:
            self.error = error
            raise


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
