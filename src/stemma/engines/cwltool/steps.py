"""One execution of a step, from its making to its end: every fact about it is written here."""

import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from stemma.engines.cwltool.confinement import LITERAL, local_path
from stemma.engines.cwltool.containers import ResourceUse
from stemma.engines.cwltool.gate import Wait
from stemma.engines.cwltool.known_files import literal_values
from stemma.engines.cwltool.last_errors import forget_last_error, last_error
from stemma.engines.cwltool.outputs import GeneratedFiles
from stemma.engines.cwltool.places import Branch, Place
from stemma.engines.cwltool.recorder import Recorder
from stemma.engines.cwltool.usages import UsedFiles
from stemma.engines.protocol import StepEnded, StepStarted
from stemma.records import Json, StepKind
from stemma.states import StepState

TAIL_BYTES = 4096
_QUOTED_LINES = 5


@dataclass(slots=True)
class StepExecution:
    """What is known of one execution of a step."""

    recorder: Recorder
    place: Place
    kind: StepKind
    uuid: UUID = field(init=False)
    backend_job_id: str | None = None
    exit_code: int | None = None
    error: str | None = None
    """Why it failed, as soon as it is known."""
    use: ResourceUse = field(default_factory=ResourceUse)
    streams: dict[str, Path] = field(default_factory=dict)
    """Where its ``stdout`` and ``stderr`` are written to."""
    wait: Wait | None = None
    """For its late files, which are in use until it ends."""
    branch: Branch | None = None
    """What may go on when it ends."""
    _key: str = ""
    _has_begun: bool = False
    _has_ended: bool = False
    _literals: dict[str, Json] = field(default_factory=dict)
    _used: UsedFiles | None = None

    def __post_init__(self) -> None:
        self._key = self.recorder.unique_key(self.place.key)
        self.uuid = self.recorder.mint("step", self._key)

    def takes(self, ports: Mapping[str, Json]) -> None:
        """Note its inputs: they are written down when it begins."""
        self._literals = literal_values(ports)
        if self.kind is not StepKind.WORKFLOW:
            self._used = UsedFiles(self.recorder, self.uuid)
            self._used.add(ports)

    def finds(self, staged: Mapping[str, str]) -> None:
        """Note at which paths the tool finds its inputs, given by location: a link may lead there."""
        nearby = self._used.nearby if self._used else {}
        for path, location in staged.items():
            known = nearby.get(location if location.startswith(LITERAL) else local_path(location) or location)
            if known is not None:
                nearby[path] = known

    def begin(self, command: tuple[str, ...] = (), image: str | None = None, image_digest: str | None = None) -> None:
        """Write down that it begins now."""
        self._has_begun = True
        forget_last_error()
        started = StepStarted(
            uuid=self.uuid,
            key=self._key,
            path=self.place.path,
            kind=self.kind,
            at=self.recorder.now(),
            parent=self.place.parent,
            scatter_index=self.place.scatter_index,
            command=tuple(map(self.recorder.without_places, command)),
            image=image,
            image_digest=image_digest,
            literals=self._literals,
            backend_job_id=self.backend_job_id,
        )
        self.recorder.step_begins(self.uuid, self._key, started, *(self._used.facts if self._used else ()))

    def generates(self, outputs: Mapping[str, Json], folder: str | None = None) -> dict[str, Json]:
        """Write down what it generated; returns the outputs with their identities.

        Raises:
            OutsideTheRun: an output is none of the run's files.
        """
        files = GeneratedFiles(self.recorder, self.uuid, self._used.nearby if self._used else {}, folder)
        tagged = {port: files.of_value(value, port) for port, value in outputs.items()}
        self.recorder.write(*files.facts)
        return tagged

    def fails(self, error: str) -> None:
        """Note why it fails; the first reason counts."""
        if self.error is None:
            self.error = f"step {self._key!r} failed: {self.recorder.tidy(error)}"

    def end(self, status: str) -> None:
        """Write down that it ended, with cwltool's word for how."""
        if self._has_ended:
            return
        self._has_ended = True
        if not self._has_begun:
            self.begin()
        state = _STATES.get(status, StepState.FAILED)
        tails = {name: self._told(path) for name, path in self.streams.items()}
        if state is StepState.FAILED:
            self._explain(tails.get("stderr"))
        self.recorder.step_ends(self._ended(state, tails))
        if self.wait is not None:
            self.wait.lets_go()
        if self.branch is not None:
            self.branch.wake()

    @property
    def key(self) -> str:
        """What tells it from all others of the attempt."""
        return self._key

    @property
    def is_ended(self) -> bool:
        """Whether its end was written down."""
        return self._has_ended

    def _ended(self, state: StepState, tails: Mapping[str, str | None]) -> StepEnded:
        return StepEnded(
            uuid=self.uuid,
            state=state,
            at=self.recorder.now(),
            exit_code=self.exit_code,
            cpu_seconds=self.use.cpu_seconds,
            memory_peak_bytes=self.use.memory_peak_bytes,
            disk_read_bytes=self.use.disk_read_bytes,
            disk_write_bytes=self.use.disk_write_bytes,
            stdout_tail=tails.get("stdout"),
            stderr_tail=tails.get("stderr"),
            error=self.error if state is StepState.FAILED else None,
        )

    def _told(self, stream: Path) -> str | None:
        tail = _tail(stream)
        return None if tail is None else self.recorder.without_places(tail)

    def _explain(self, stderr: str | None) -> None:
        if self.error is None:
            self.fails(_why(self.exit_code) if self.exit_code else last_error() or "no reason was given")
        words = self.recorder.tidy(" / ".join((stderr or "").strip().splitlines()[-_QUOTED_LINES:]))
        assert self.error is not None  # noqa: S101 - for the type checker: fails() has set it
        self.recorder.note_failure(f"{self.error}. Its last words: {words}" if words else self.error)


_STATES = {"success": StepState.FINISHED, "skipped": StepState.SKIPPED}


def _why(exit_code: int) -> str:
    if exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"it was ended by the signal {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


def _tail(path: Path) -> str | None:
    """The end of a log; None when it is not there."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return os.pread(file.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES)).decode("utf-8", "replace")
    except OSError:
        return None
