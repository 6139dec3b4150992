"""The folder of one attempt: all that the run process needs, and all that it leaves.

<runs>/<run uuid>/<attempt>/
  job.json        what to run; written aside and renamed, so that it is whole or not there
  bundle/         the files of the revision
  inputs/         links to the inputs, by the names that people gave them
  tmp/            where the steps work; their outputs stay here until the attempt is released
  out/            outputs that could not be left where a step made them
  logs/           engine.log, and <step uuid>.stdout and .stderr
  containers/     the ids of the containers that are running
  arrivals/       what was told of late files (stemma.engines.cwltool.arrivals), and what was fetched from elsewhere,
                  by digest (stemma.engines.replay)
  journal.jsonl   what happened (stemma.engines.cwltool.journal)
  lock            held by the run process for its whole life
"""

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Self

import orjson

from stemma.errors import EngineUnreachable, InvalidRequest
from stemma.records import BundleFile, Json

_SPENT = ("bundle", "inputs", "tmp", "out", "arrivals")
_PARTS = ("bundle", "inputs", "tmp", "out", "logs", "containers", "arrivals")
_REMOVE_TRIES = 5
_REMOVE_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What the run process is told: the content of ``job.json``."""

    run_uuid: str
    attempt: int
    name: str
    main_path: str
    tool_path: str | None
    """The path of the only step, when the document is a single tool."""
    inputs: dict[str, Json]
    containers: str
    container_engine: dict[str, str] | None
    """Name and version of the engine that answered; None when none did or none is wanted."""
    cores: int
    eval_timeout_seconds: float
    time_limit_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class AttemptFolder:
    """Where the parts of one attempt lie."""

    path: Path
    bundle: Path = field(init=False)
    inputs: Path = field(init=False)
    tmp: Path = field(init=False)
    out: Path = field(init=False)
    logs: Path = field(init=False)
    containers: Path = field(init=False)
    arrivals: Path = field(init=False)

    def __post_init__(self) -> None:
        for part in _PARTS:
            object.__setattr__(self, part, self.path / part)

    @property
    def order_file(self) -> Path:
        """What to run."""
        return self.path / "job.json"

    @property
    def journal(self) -> Path:
        """What happened."""
        return self.path / "journal.jsonl"

    @property
    def lock_file(self) -> Path:
        """Held by the run process."""
        return self.path / "lock"

    @property
    def engine_log(self) -> Path:
        """What the run process itself has to say."""
        return self.logs / "engine.log"

    def step_log(self, step: uuid.UUID, stream: str) -> Path:
        """The ``stdout`` or ``stderr`` of a step."""
        return self.logs / f"{step}.{stream}"

    def lay_out(self, files: Sequence[BundleFile], order: RunOrder, store_path: Callable[[str], Path]) -> None:
        """Make the folder and all in it; what is there already is left as it is.

        Raises:
            InvalidRequest: a path of the bundle leads out of it.
        """
        if self.order_file.exists():
            return
        for part in _PARTS:
            (self.path / part).mkdir(parents=True, exist_ok=True)
        for file in files:
            target = self.bundle / _inside(file.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(store_path(file.content.sha256), target)
        aside = self.path / f"job.json.{uuid.uuid4().hex}"
        aside.write_bytes(orjson.dumps(order))
        aside.replace(self.order_file)

    def order(self) -> RunOrder:
        """What to run, as it was laid out."""
        return RunOrder(**orjson.loads(self.order_file.read_bytes()))

    def container_ids(self) -> list[str]:
        """The containers that were started and whose end was not seen."""
        ids = []
        for file in self.containers.glob("*.cid"):
            with contextlib.suppress(FileNotFoundError):
                ids.append(file.read_text(encoding="ascii").strip())
        return [container for container in ids if container]

    def release(self) -> None:
        """Remove all but what tells of the attempt: the order, the journal and the logs.

        Raises:
            EngineUnreachable: something of it cannot be removed now.
        """
        for part in _SPENT:
            _remove(self.path / part)

    def delete(self) -> None:
        """Remove it, and the folder of the run when nothing else is in it.

        Raises:
            EngineUnreachable: something of it cannot be removed now.
        """
        _remove(self.path)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()


class RunLock:
    """The lock of an attempt. Whoever holds it is the run process, or speaks for one that is gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, file: Path) -> Self | None:
        """The lock, or None when another process holds it. Never waits, and no tool inherits it."""
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    @staticmethod
    def is_held(file: Path) -> bool:
        """Whether a process holds it. Looking takes it for an instant, so a starter must try more than once."""
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        """Let it go."""
        os.close(self._descriptor)


def _inside(path: str) -> PurePosixPath:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise InvalidRequest(f"the bundle has a file at {path!r}, which leads out of it")
    return pure


def link_or_copy(source: str, target: str) -> None:
    """Put the bytes of ``source`` at ``target`` as well, without copying them where that can be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _place(source: Path, target: Path) -> None:
    """Put the read-only stored file at ``target``, whole or not at all."""
    aside = target.with_name(f".{uuid.uuid4().hex}")
    try:
        os.link(source, aside)
    except OSError:
        shutil.copyfile(source, aside)
        aside.chmod(0o444)
    aside.replace(target)
    aside.unlink(missing_ok=True)  # renaming one link of a file onto another leaves both


def _remove(folder: Path) -> None:
    """Remove a folder, also while others remove from it or a process that is about to end still writes there.

    Raises:
        EngineUnreachable: it cannot be removed now.
    """
    for tries_left in reversed(range(_REMOVE_TRIES)):
        try:
            _make_writable(folder)
            shutil.rmtree(folder)
        except FileNotFoundError:
            if not folder.exists():
                return
        except OSError as error:
            if tries_left == 0:
                raise EngineUnreachable(
                    "cwltool", f"a folder of the run cannot be removed: {error.strerror}"
                ) from error
            time.sleep(_REMOVE_PAUSE_SECONDS)


def _make_writable(folder: Path) -> None:
    """A tool may leave folders that even their owner cannot empty."""
    folder.chmod(0o700)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _make_writable(Path(entry.path))
