"""What a run waits for from elsewhere, as a service tells it. ``raw`` has fields that are added later."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AwaitedFile:
    """A file that a run waits for."""

    id: int
    basename: str
    url: str | None
    size_bytes: int | None
    moved_bytes: int
    state: str
    tries: int
    error: str | None
    waiting_steps: int
    """How many steps wait for it right now."""
    bytes_per_second: float | None
    seconds_left: float | None
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "AwaitedFile":
        """As the service tells of it."""
        return cls(
            id=told["id"],
            basename=told["basename"],
            url=told.get("url"),
            size_bytes=told.get("size"),
            moved_bytes=told["moved_bytes"],
            state=told["state"],
            tries=told["tries"],
            error=told.get("error"),
            waiting_steps=told["waiting_steps"],
            bytes_per_second=told.get("bytes_per_second"),
            seconds_left=told.get("seconds_left"),
            raw=told,
        )


@dataclass(frozen=True, slots=True)
class Replication:
    """How far the inputs of a run are that lie elsewhere."""

    files: int
    """All that it needs from elsewhere."""
    here: int
    waiting: int
    failed: int
    wanted_bytes: int
    here_bytes: int
    moved_bytes: int
    waiting_steps: int
    handed: int
    """Of the files, those that the engine's server reads where they lie."""
    awaited: tuple[AwaitedFile, ...]
    """Some of those that it waits for, the most urgent first."""
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Replication":
        """As the service tells of it."""
        files, sizes = told["files"], told["bytes"]
        return cls(
            files=files["total"],
            here=files["here"],
            waiting=files["waiting"],
            failed=files["failed"],
            wanted_bytes=sizes["wanted"],
            here_bytes=sizes["here"],
            moved_bytes=sizes["moved"],
            waiting_steps=told["waiting_steps"],
            handed=files.get("handed", 0),
            awaited=tuple(AwaitedFile.of(one) for one in told["awaited"]),
            raw=told,
        )
