"""What is kept here of a run elsewhere: the attempt's folder, and in it what we asked for and what came of it.

<runs>/<run uuid>/<attempt>/
  wes.json        what was asked of the server, and what it said so far; written before and after each asking
  journal.jsonl   what happened (stemma.engines.cwltool.journal)
  out/            outputs, until the attempt is released
  logs/           run.stdout and run.stderr, and those of the steps
  lock            held by whoever is asking the server
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from stemma.engines.cwltool.folder import AttemptFolder, RunLock
from stemma.engines.protocol import JobState
from stemma.engines.wes.server import NAME
from stemma.errors import EngineUnreachable
from stemma.records import Json

_FILE = "wes.json"


class OutputPort(BaseModel):
    """What the document says of an output of the run."""

    id: str
    type: Json = None
    sources: tuple[str, ...] = ()


class Given(BaseModel):
    """An input of the run that the document only hands through, where it comes out."""

    port: str
    position: str
    occurrence: uuid.UUID
    checksum: str
    basename: str


class Trail(BaseModel):
    """What was asked, and what came of it."""

    run_uuid: uuid.UUID
    attempt: int
    name: str
    server: str
    given: list[Given]
    outputs: list[OutputPort]
    steps: dict[str, str]
    """The kinds of the document's steps, by path."""
    time_limit_seconds: float | None = None
    engine: str | None = None
    handed: int = 0
    """How many inputs the server reads where they lie."""
    asked: int = 0
    """How many times the server may have heard of it."""
    asked_at: datetime | None = None
    run_id: str | None = None
    """What the server calls it."""
    submitted_at: datetime | None = None
    began: bool = False
    """Whether the server ever said that it runs."""
    started_at: datetime | None = None
    cancelled_at: datetime | None = None
    is_too_long: bool = False
    """Whether it was cancelled for its time limit."""
    lost: str | None = None
    """Why it is lost, if it is."""

    @property
    def state(self) -> JobState:
        """Where it is while it has not ended."""
        return JobState.RUNNING if self.began else JobState.PENDING


class WesFolder(AttemptFolder):
    """The folder of one attempt."""

    def trail(self) -> Trail | None:
        """What was asked; None when nothing was, or the folder is gone."""
        try:
            return Trail.model_validate_json((self.path / _FILE).read_bytes())
        except FileNotFoundError:
            return None

    def keep(self, trail: Trail) -> None:
        """Write ``trail`` down, on the disk when this returns."""
        aside = self.path / f"{_FILE}.{uuid.uuid4().hex}"
        with aside.open("wb") as file:
            file.write(trail.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path / _FILE)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who asks the server for this attempt.

        Raises:
            EngineUnreachable: another process does.
        """
        lock = self.take_lock()
        if lock is None:
            raise EngineUnreachable(NAME, "another process is asking the server for this run")
        try:
            yield
        finally:
            lock.release()

    def take_lock(self) -> RunLock | None:
        """The lock; None when another process has it, or the folder is gone."""
        try:
            return RunLock.take(self.lock_file)
        except FileNotFoundError:
            return None

    def run_log(self, stream: str) -> Path:
        """What the run itself said."""
        return self.logs / f"run.{stream}"
