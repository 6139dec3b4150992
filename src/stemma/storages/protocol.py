"""What every kind of place elsewhere can do: be looked at, listed, read by ranges, and written to.

A storage is used by several threads at once. Nothing that it says, in messages or in what it tells of a source, holds
a secret. Addresses are as written in inputs: ``https://…``, ``s3://bucket/key``, ``gs://bucket/key``,
``az://container/key``, ``rclone:<remote name>/path`` and ``file:///path``.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from stemma.records import Json

CHUNK_BYTES: Final = 1024 * 1024
"""No storage gives more at once."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is told of a file elsewhere before it is read."""

    address: str
    basename: str
    size_bytes: int | None
    version: str
    """Opaque; another one when the bytes are others. Empty where the server tells nothing to go by: then nothing is
    resumed nor used again."""
    sha256: str | None = None
    md5: str | None = None
    """Both in hexadecimal, where the server tells them."""
    takes_ranges: bool = True
    """Whether a part costs less than the whole."""
    media_type: str = ""
    """What kind of file it is, where a server of the web says so."""
    told: dict[str, Json] = field(default_factory=dict)
    """For the record: ``etag``, ``last_modified``, ``version_id``, ``served_from``."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file in a folder elsewhere."""

    path: str
    """Below the folder: ``/`` between its parts, none of which is empty, ``.`` or ``..``."""
    info: SourceInfo


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """A registered place, opened: what :mod:`stemma.storages.kinds` has checked."""

    name: str
    """What people call it: after ``rclone:`` in addresses, and in messages. It names nothing else."""
    kind: str
    """``https``, ``s3``, ``gs``, ``az``, ``file`` or ``rclone``."""
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


class Storage(Protocol):
    """A place elsewhere.

    All of its methods raise ``AddressRefused`` for what must not be asked, ``SourceForbidden`` where the credential is
    not accepted, ``SourceUnavailable`` where trying again may help, and ``SourceUnusable`` where it does not.
    """

    def info(self, address: str) -> SourceInfo:
        """What lies there.

        Raises:
            SourceNotFound: nothing does.
        """

    def read(
        self, address: str, *, version: str, offset: int = 0, length: int | None = None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Its bytes from ``offset`` on, ``length`` of them at most, in parts of ``CHUNK_BYTES`` at most.

        An empty ``version`` stands for whichever there is.

        Raises:
            SourceChanged: the source is not at ``version`` any more.
            SourceNotFound: it is gone.
            SourceUnavailable: it breaks off before its end (also while the bytes are taken).
        """

    def list(self, address: str, *, limit: int) -> Iterator[Listed]:
        """The files below the folder ``address``, at any depth.

        Raises:
            TooLarge: there are more than ``limit``.
            SourceNotFound: there is no such folder, where the kind has folders; or nothing in it.
        """

    def write(self, address: str, chunks: Iterable[bytes], size_bytes: int) -> SourceInfo:
        """Put ``size_bytes`` bytes there; what lay there before is replaced when all have arrived."""

    def delete(self, address: str) -> None:
        """Take the file away; nothing happens where there is none."""

    def signed(self, address: str, seconds: int) -> str | None:
        """A URL that needs no credential for that long, where the kind has such."""

    def close(self) -> None:
        """Let go of connections. No thread uses the storage any more."""
