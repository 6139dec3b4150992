"""What is known of the jobs of a run elsewhere: the input of a replay.

It is handed over as a file, ``results.json`` in the attempt's folder, since the replay is a process of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from uuid import UUID, uuid4, uuid5

import orjson
from pydantic import TypeAdapter

from stemma.records import Content

RESULTS_FILE = "results.json"
"""Its name in the attempt's folder."""
ELSEWHERE = "elsewhere:"
"""How the location of an output begins whose bytes are with the engine."""


class UnusableName(ValueError):
    """A job left a file under a name that cannot be taken here."""

    def __init__(self, path: str) -> None:
        super().__init__(f"it left a file called {ascii(path)[:200]}, which is no path within its folder")
        self.path = path


@dataclass(frozen=True, slots=True)
class LeftFile:
    """A file that a job left."""

    path: str
    """Within the job's own folder."""
    content: Content
    place: str
    """Where its bytes are, in the engine's own words."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """One tool's job: where it is, and what it left."""

    key: str
    """The key of the step execution that it is."""
    started_at: datetime
    ended_at: datetime | None = None
    """None while it runs."""
    exit_code: int | None = None
    """The tool's own; None where nobody saw it."""
    failure: str | None = None
    """Why it failed, where the exit code does not say it all."""
    backend_job_id: str | None = None
    image: str | None = None
    files: tuple[LeftFile, ...] = ()
    folders: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    """Which of ``stdout`` and ``stderr`` lie in the attempt's folder as the step's log."""


@dataclass(frozen=True, slots=True)
class JobWait:
    """A tool's job waits for late files, or did."""

    key: str
    """The key of the step execution that it is."""
    occurrences: tuple[UUID, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How the engine says that the run ended."""

    state: str
    """``finished``, ``failed`` or ``stopped``."""
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """All that is known of a run."""

    began_at: datetime
    environment: dict[str, object] = field(default_factory=dict)
    jobs: tuple[JobResult, ...] = ()
    end: RunEnd | None = None
    """None while the run goes on."""
    told: dict[str, list[str]] = field(default_factory=dict)
    """What the engine itself says of its outputs: by port, the SHA-1 digests of the files. Only for comparison."""
    sha1: dict[str, str] = field(default_factory=dict)
    """SHA-1 by SHA-256, of what the jobs left."""
    late: dict[str, LeftFile] = field(default_factory=dict)
    """By occurrence, the late files that have come: what they are, and where they lie."""
    waits: tuple[JobWait, ...] = ()


def identity(namespace: UUID, names: Iterable[str]) -> UUID:
    """The identity that ``names`` have in every replay."""
    return uuid5(namespace, "\0".join(names))


def namespace_of(run_uuid: UUID, attempt: int) -> UUID:
    """What the identities of an attempt begin with."""
    return uuid5(run_uuid, str(attempt))


def step_uuid(run_uuid: UUID, attempt: int, key: str) -> UUID:
    """The identity of the step execution of that key."""
    return identity(namespace_of(run_uuid, attempt), ("step", key, "1"))


_ADAPTER = TypeAdapter(Results)


def write_results(path: Path, results: Results) -> None:
    """Write ``results`` so that a reader finds all of it or nothing."""
    aside = path.with_name(f"{path.name}.{uuid4().hex}")  # a worker that has lost the run may write at this moment
    try:
        aside.write_bytes(orjson.dumps(results, option=orjson.OPT_UTC_Z))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_results(path: Path) -> Results:
    """The results that lie at ``path``."""
    return _ADAPTER.validate_json(path.read_bytes())


def inner_path(path: str) -> str:
    """``path``, if it leads to a place within the folder that it is relative to.

    Raises:
        UnusableName: it leads elsewhere, or is no name that a file can have.
    """
    pure = PurePosixPath(path)
    if pure.is_absolute() or not pure.parts or ".." in pure.parts or "\0" in path:
        raise UnusableName(path)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UnusableName(path) from None
    return str(pure)
