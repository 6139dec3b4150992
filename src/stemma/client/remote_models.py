"""What a service tells of remotes and the files there, typed. ``raw`` has all that it tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Remote:
    """A registered place."""

    name: str
    kind: str
    group: str | None
    """Whose it is; None for the caller's own."""
    settings: Mapping[str, str]
    has_credentials: bool
    created_by: str
    created_at: datetime
    updated_at: datetime
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Remote":
        """As the service tells of it."""
        return cls(
            name=told["name"],
            kind=told["kind"],
            group=told["group"],
            settings=dict(told["settings"]),
            has_credentials=told["has_credentials"],
            created_by=told["created_by"],
            created_at=datetime.fromisoformat(told["created_at"]),
            updated_at=datetime.fromisoformat(told["updated_at"]),
            raw=told,
        )


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on a remote."""

    path: str
    size_bytes: int | None
    """None where the remote does not tell."""
    sha256: str | None
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "RemoteFile":
        """As the service tells of it."""
        return cls(told["path"], told["size_bytes"], told["sha256"], told)


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """The files in a folder of a remote."""

    files: tuple[RemoteFile, ...]
    is_cut: bool
    """Whether there are more."""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "RemoteFiles":
        """As the service tells of it."""
        return cls(tuple(map(RemoteFile.of, told["items"])), told["is_cut"])


@dataclass(frozen=True, slots=True)
class RemoteTest:
    """What became of a try."""

    works: bool
    problem: str | None
    found: RemoteFile | None
    """A file that is there."""
    seconds: float
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "RemoteTest":
        """As the service tells of it."""
        found = None if told["found"] is None else RemoteFile.of(told["found"])
        return cls(told["works"], told["problem"], found, told["seconds"], told)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that lies on a remote now."""

    remote: str
    path: str
    size_bytes: int
    sha256: str
    seconds: float
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "WrittenFile":
        """As the service tells of it."""
        return cls(told["remote"], told["path"], told["size_bytes"], told["sha256"], told["seconds"], told)
