"""Opens the storage that an address lies at. What moves bytes is loaded when the first of its kind is opened."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from stemma.errors import AddressRefused, SourceUnusable
from stemma.storages.kinds import check_remote
from stemma.storages.outgoing import Outgoing
from stemma.storages.protocol import RemoteSettings, Storage

if TYPE_CHECKING:
    from stemma.storages.gate import Gate
    from stemma.storages.local import FileRoot
    from stemma.storages.rclone_daemon import RcloneDaemon

_BUCKETS: Final = {"s3": "bucket", "gs": "bucket", "az": "container"}


class Opening:
    """What the storages of a process share: the way out, the gate, rclone, and the folders that may be read."""

    def __init__(self, outgoing: Outgoing, *, file_roots: "Sequence[FileRoot]" = ()) -> None:
        self.outgoing = outgoing
        self.file_roots = tuple(file_roots)
        """For who opens without saying which: see :func:`open_storage`."""
        self._guard = threading.Lock()
        self._gate: Gate | None = None
        self._rclone: RcloneDaemon | None = None

    def gate(self) -> "Gate":
        """The gate for libraries that connect by themselves."""
        from stemma.storages.gate import Gate  # noqa: PLC0415 - see above

        with self._guard:
            if self._gate is None:
                self._gate = Gate(self.outgoing)
            return self._gate

    def rclone(self) -> "RcloneDaemon":
        """The rclone of this process."""
        from stemma.storages.rclone_daemon import RcloneDaemon  # noqa: PLC0415 - see above

        gate = self.gate()
        with self._guard:
            if self._rclone is None:
                self._rclone = RcloneDaemon(self.outgoing, gate)
            return self._rclone

    def close(self) -> None:
        """End what was started. The storages are closed before."""
        with self._guard:
            rclone, self._rclone = self._rclone, None
            gate, self._gate = self._gate, None
        if rclone is not None:
            rclone.close()
        if gate is not None:
            gate.close()


def open_storage(
    remote: RemoteSettings | None,
    address: str,
    context: Opening,
    *,
    file_roots: "Sequence[FileRoot] | None" = None,
) -> Storage:
    """The storage of ``remote``, or without one that of everybody for addresses such as ``address``.

    ``file_roots`` are the folders that may be read, where they are others than those of the context (a group's own).

    Raises:
        AddressRefused: such a place must not be asked.
        InvalidRequest: there can be no such remote.
    """
    if remote is not None:
        check_remote(remote)
    scheme = remote.kind if remote is not None else address.partition(":")[0].lower()
    roots = context.file_roots if file_roots is None else tuple(file_roots)
    if scheme in {"https", "http"}:
        return _https(remote, context)
    if scheme in _BUCKETS:
        return _bucket(remote or _nobodys(scheme, address), context)
    if scheme == "file":
        return _local(remote, address, roots)
    if scheme == "rclone" and remote is not None:
        from stemma.storages.rclone import RcloneStorage  # noqa: PLC0415 - see above

        outgoing = context.outgoing
        return RcloneStorage(
            remote,
            context.rclone(),
            silence_seconds=outgoing.silence_seconds,
            answer_seconds=outgoing.answer_seconds,
        )
    raise AddressRefused(address[:200].partition("?")[0])


def _https(remote: RemoteSettings | None, context: Opening) -> Storage:
    from stemma.storages.https import HttpsStorage  # noqa: PLC0415 - see above

    if remote is None:
        return HttpsStorage(context.outgoing)
    return HttpsStorage(context.outgoing, url=remote.settings["url"], login=remote.secrets)


def _bucket(remote: RemoteSettings, context: Opening) -> Storage:
    from stemma.storages.objects import ObjectStorage  # noqa: PLC0415 - see above
    from stemma.storages.objects_open import open_bucket  # noqa: PLC0415 - see above

    bucket = open_bucket(remote, context.outgoing, context.gate())
    return ObjectStorage(bucket, context.outgoing)


def _nobodys(scheme: str, address: str) -> RemoteSettings:
    """A bucket that everybody may read, as an address names it."""
    if scheme == "az":
        raise SourceUnusable(address[:200], "its account is not known: register a remote that says it")
    name = address.partition("://")[2].partition("/")[0]
    remote = RemoteSettings("everybody", scheme, {_BUCKETS[scheme]: name})
    check_remote(remote)
    return remote


def _local(remote: RemoteSettings | None, address: str, roots: "tuple[FileRoot, ...]") -> Storage:
    from stemma.storages.local import LocalStorage  # noqa: PLC0415 - see above

    if not roots:
        raise AddressRefused(address[:200].partition("?")[0])
    return LocalStorage(roots, below=None if remote is None else remote.settings["path"])
