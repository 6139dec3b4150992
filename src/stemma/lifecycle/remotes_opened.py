"""Storages that are open: one for each remote as it is now, shared by all threads, so that connections live on."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit
from uuid import UUID

from stemma.settings import Settings
from stemma.storages.protocol import Listed, RemoteSettings, SourceInfo, Storage

if TYPE_CHECKING:
    from stemma.storages.opening import Opening
    from stemma.storages.outgoing import Outgoing

MOST_OPEN: Final = 200
"""Beyond that, the one that was not asked for longest is given up."""


def load() -> None:
    """Load what speaks with most places, so that the first who asks one need not wait for it."""
    from stemma.storages import https, objects, objects_open, opening  # noqa: F401, PLC0415 - see above


class Opener(Protocol):
    """What storages are opened with."""

    def open(self, remote: RemoteSettings | None, address: str) -> Storage:
        """A storage for a remote, or for an address that lies at none.

        Raises:
            InvalidRequest: there can be no such remote.
            AddressRefused: nobody may ask there.
        """

    def close(self) -> None:
        """End what it keeps for all storages."""


class InstalledOpener:
    """Opens storages as the settings of an installation allow; what speaks with them is loaded when one is asked."""

    def __init__(self, settings: Settings, outgoing: Callable[[], "Outgoing"]) -> None:
        self._settings = settings
        self._outgoing = outgoing
        self._guard = threading.Lock()
        self._context: Opening | None = None

    def open(self, remote: RemoteSettings | None, address: str) -> Storage:
        """See :class:`Opener`."""
        from stemma.storages.local import FileRoot  # noqa: PLC0415 - see above
        from stemma.storages.opening import Opening, open_storage  # noqa: PLC0415 - see above

        with self._guard:
            if self._context is None:
                roots = [FileRoot(path, is_writable) for path, is_writable in self._settings.allowed_file_roots]
                self._context = Opening(self._outgoing(), file_roots=roots)
            context = self._context
        return open_storage(remote, address, context)

    def close(self) -> None:
        """See :class:`Opener`."""
        with self._guard:
            context, self._context = self._context, None
        if context is not None:
            context.close()


class OpenStorages:
    """The open storages of a process. Safe to use from several threads."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._open: OrderedDict[tuple[UUID | str, Hashable], _Shared] = OrderedDict()
        self._guard = threading.Lock()
        self._is_closed = False

    def check(self, remote: RemoteSettings, address: str) -> None:
        """Return when there may be such a remote. Nobody is asked for it.

        Raises:
            InvalidRequest: there can be none.
            AddressRefused: nobody may ask there.
        """
        self._opener.open(remote, address).close()

    def of(self, uuid: UUID, version: datetime, address: str, opened: Callable[[], RemoteSettings]) -> Storage:
        """The one of the remote ``uuid`` as it was changed at ``version``; ``opened`` gives its credentials."""
        key = (uuid, version)
        return self._kept(key) or self._keep(key, self._opener.open(opened(), address))

    def anonymous(self, address: str) -> Storage:
        """The one for addresses such as this one, asked without credentials."""
        parts = urlsplit(address)
        key = (parts.scheme, parts.netloc)
        return self._kept(key) or self._keep(key, self._opener.open(None, address))

    def forget(self, uuid: UUID) -> None:
        """Open nothing more with what is known of the remote by now. Who is using it goes on."""
        with self._guard:
            dropped = [self._open.pop(key) for key in list(self._open) if key[0] == uuid]
        del dropped  # closing them may take a while

    def close(self) -> None:
        """Let go of all connections; nobody uses any of them any more."""
        with self._guard:
            self._is_closed = True
            shared = list(self._open.values())
            self._open.clear()
        for one in shared:
            one.close()
        self._opener.close()

    def _kept(self, key: tuple[UUID | str, Hashable]) -> "Storage | None":
        with self._guard:
            found = self._open.get(key)
            if found is not None:
                self._open.move_to_end(key)
            return found

    def _keep(self, key: tuple[UUID | str, Hashable], storage: Storage) -> Storage:
        shared = _Shared(storage)
        dropped = []
        with self._guard:
            if self._is_closed:
                return shared
            first = self._open.setdefault(key, shared)  # another thread may have been quicker
            while len(self._open) > MOST_OPEN:
                dropped.append(self._open.popitem(last=False))
        del dropped  # closing them may take a while
        return first


class _Shared:
    """A storage that is closed when the last one who uses it has let go of it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._guard = threading.Lock()
        self._is_closed = False

    def __del__(self) -> None:
        self.close()

    def info(self, address: str) -> SourceInfo:
        return self._storage.info(address)

    @contextmanager
    def read(
        self, address: str, *, version: str, offset: int = 0, length: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        with self._storage.read(address, version=version, offset=offset, length=length) as chunks:
            yield chunks

    def list(self, address: str, *, limit: int) -> Iterator[Listed]:
        yield from self._storage.list(address, limit=limit)

    def write(self, address: str, chunks: Iterable[bytes], size_bytes: int) -> SourceInfo:
        return self._storage.write(address, chunks, size_bytes)

    def delete(self, address: str) -> None:
        self._storage.delete(address)

    def signed(self, address: str, seconds: int) -> str | None:
        return self._storage.signed(address, seconds)

    def close(self) -> None:
        with self._guard:
            is_first, self._is_closed = not self._is_closed, True
        if is_first:
            self._storage.close()
