"""The embedded engine: cwltool, one forked process a run, one folder an attempt."""

import contextlib
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from stemma import clock
from stemma.engines.cwltool import journal_reader, leftovers
from stemma.engines.cwltool.arrivals import Arrivals, ArrivalsBusy
from stemma.engines.cwltool.containers import all_steps, answering_engine, check_images, names_images
from stemma.engines.cwltool.folder import AttemptFolder, RunLock, RunOrder
from stemma.engines.cwltool.journal import Ending, Journal
from stemma.engines.entry_points import EngineContext
from stemma.engines.output_object import files_in
from stemma.engines.protocol import EngineDescription, Job, JobState, OutputFile, Report
from stemma.errors import EngineUnreachable, Finding
from stemma.file_fields import OCCURRENCE
from stemma.forkserver import ForkServer, ForkServerGone
from stemma.records import Content, FileKind, RevisionRecord, StepKind

TARGET = "stemma.engines.cwltool.process:serve"
_REPORT_BYTES = 4 * 1024 * 1024
_START_SECONDS = 60.0
_STOP_SECONDS = 1.2
"""How long a run process may take to end itself; then it is ended."""
_PROBE_SECONDS = 30.0
"""How long an answer of the container engine is believed."""


class CwltoolEngine:
    """Runs jobs in processes of this machine. Implements ``Engine`` and ``TakesLateFiles`` of the protocol.

    A reference is the attempt's folder below ``runs_folder``: ``<run uuid>/<attempt>``.
    """

    name = "cwltool"
    is_remote = False
    takes_late = True

    def __init__(
        self,
        runs_folder: Path,
        store_path: Callable[[str], Path],
        *,
        cores: int,
        eval_timeout_seconds: float,
        fork_server: ForkServer | None = None,
        home: Path | None = None,
    ) -> None:
        self._runs_folder = runs_folder
        self._home = home
        """Whose workers its processes tell when they have said something."""
        self._store_path = store_path
        self._cores = cores
        self._eval_timeout_seconds = eval_timeout_seconds
        self._fork_server = fork_server or ForkServer(TARGET, detached=True)
        self._container_engine: dict[str, str] | None = None
        self._probed_at: float | None = None

    def start(self) -> None:
        """Start the parent of the run processes now rather than at the first run; returns before it is ready."""
        self._fork_server.start()

    def describe(self) -> EngineDescription:
        """Its version, and what it could do here."""
        capabilities = {
            "cwl_versions": ["v1.0", "v1.1", "v1.2"],
            "cores": self._cores,
            "container_engines": ["docker"] if shutil.which("docker") else [],
        }
        return EngineDescription(self.name, version("cwltool"), capabilities)

    def probe(self) -> str:
        """It is here: its version."""
        return version("cwltool")

    def check(self, revision: RevisionRecord, containers: str) -> list[Finding]:
        """Why it could not run ``revision`` faithfully."""
        engine = self._engine_for(revision, containers)
        return [*_abstract_steps(revision), *check_images(revision, containers, engine)]

    def submit(self, job: Job) -> str:
        """Start ``job``; nothing happens when it was started before.

        Raises:
            EngineUnreachable: the process could not be started.
        """
        reference = f"{job.run_uuid}/{job.attempt}"
        folder = self._folder(reference)
        if journal_reader.has_begun(folder.journal):
            return reference
        self._end_earlier_attempts(job)
        folder.lay_out(job.revision.files, self._order(job), self._store_path)
        try:
            message = {"folder": str(folder.path), "home": str(self._home) if self._home is not None else None}
            with self._fork_server.request(message) as channel:
                channel.receive(timeout_seconds=_START_SECONDS)
        except (ForkServerGone, TimeoutError) as error:
            if not journal_reader.has_begun(folder.journal):
                raise EngineUnreachable(self.name, f"the process of the run could not be started: {error}") from error
        return reference

    def report(self, reference: str, cursor: str) -> Report:
        """What is new since ``cursor``."""
        folder = self._folder(reference)
        # Looked at before reading: when it is free now, all that was ever written can be read.
        is_held = RunLock.is_held(folder.lock_file)
        try:
            chapter = journal_reader.read(folder.journal, int(cursor or 0), _REPORT_BYTES)
        except (FileNotFoundError, ValueError) as error:
            return Report(JobState.LOST, cursor, reason=f"the folder of the run is gone or damaged: {error}")
        beginning, ending = chapter.beginning, chapter.ending
        report = Report(
            state=JobState.RUNNING,
            cursor=str(chapter.cursor),
            facts=chapter.facts,
            started_at=beginning.at if beginning is not None else None,
            environment=beginning.environment if beginning is not None else None,
        )
        if ending is not None:
            return replace(report, state=ending.state, ended_at=ending.at, outputs=ending.outputs, reason=ending.reason)
        if is_held or chapter.has_more:
            return report
        return replace(report, state=JobState.LOST, reason="the process of the run ended without a word")

    def outputs(self, reference: str) -> Iterator[OutputFile]:
        """The files of the output object."""
        ending = journal_reader.ending(self._folder(reference).journal)
        if ending is not None:
            for value in files_in(ending.outputs):
                yield OutputFile(UUID(value[OCCURRENCE]), FileKind.FILE, Path(value["location"]))

    def log(self, reference: str, step: UUID | None, stream: str) -> BinaryIO | None:
        """The whole log, as far as written."""
        folder = self._folder(reference)
        if step is None and stream != "stderr":
            return None
        path = folder.engine_log if step is None else folder.step_log(step, stream)
        try:
            return path.open("rb")
        except FileNotFoundError:
            return None

    def stop(self, reference: str) -> None:
        """End the job and everything that it started.

        Raises:
            EngineUnreachable: its process is one of another machine, or somebody is removing its folder.
        """
        folder = self._folder(reference)
        try:
            self._stop(folder)
        except FileNotFoundError as error:
            raise EngineUnreachable(self.name, "the folder of the run is being removed") from error

    def _stop(self, folder: AttemptFolder) -> None:
        if not folder.path.exists():  # somebody removed it, perhaps under a job that went on
            leftovers.kill_all(folder)
            return
        if journal_reader.ending(folder.journal) is not None:
            return
        self._end_process(folder)
        lock = RunLock.take(folder.lock_file)
        if lock is None:
            raise EngineUnreachable(self.name, "the process of the run does not end")
        try:
            _close_journal(folder)
        finally:
            lock.release()

    def deliver(self, reference: str, occurrence: UUID, content: Content) -> None:
        """Tell the run process that a late file is in the store.

        Raises:
            EngineUnreachable: it cannot be told now.
        """
        self.deliver_all(reference, {occurrence: content})

    def deliver_all(self, reference: str, contents: Mapping[UUID, Content]) -> None:
        """Tell the run process that these late files are in the store: for thousands, a tenth of the time.

        Raises:
            EngineUnreachable: it cannot be told now.
        """
        with self._telling(reference) as arrivals:
            arrivals.deliver_all(
                {one: (content, self._store_path(content.sha256)) for one, content in contents.items()}
            )

    def refuse(self, reference: str, occurrence: UUID, reason: str) -> None:
        """Tell the run process that a late file cannot be had.

        Raises:
            EngineUnreachable: it cannot be told now.
        """
        with self._telling(reference) as arrivals:
            arrivals.refuse(occurrence, reason)

    def recall(self, reference: str, occurrence: UUID) -> bool:
        """Take a late file back, unless a step uses it. In folders it stays: there it is a link of its own.

        Raises:
            EngineUnreachable: the run process cannot be told now.
        """
        lock_file = self._folder(reference).lock_file
        with self._telling(reference) as arrivals:
            return arrivals.recall(occurrence, is_alive=lambda: RunLock.is_held(lock_file))
        return True

    @contextlib.contextmanager
    def _telling(self, reference: str) -> Iterator[Arrivals]:
        """What is told of late files; nothing is where the job has ended or is gone."""
        folder = self._folder(reference)
        try:
            yield Arrivals(folder.arrivals)
        except FileNotFoundError:
            return
        except (OSError, ArrivalsBusy) as error:
            raise EngineUnreachable(self.name, f"the run cannot be told of a file: {error}") from error

    def release(self, reference: str) -> None:
        """Remove the document, the work folders and the outputs; journal and logs stay."""
        self._folder(reference).release()

    def delete(self, reference: str) -> None:
        """Remove the folder, and those of the attempts before it; a job that still runs is ended first."""
        self.stop(reference)
        run, _, attempt = reference.partition("/")
        for number in range(1, int(attempt) + 1):
            self._folder(f"{run}/{number}").delete()

    def close(self) -> None:
        """End the parent of the run processes; they go on."""
        self._fork_server.close()

    def _folder(self, reference: str) -> AttemptFolder:
        run, _, attempt = reference.partition("/")
        return AttemptFolder(self._runs_folder / str(uuid.UUID(run)) / str(int(attempt)))

    def _order(self, job: Job) -> RunOrder:
        structure = job.revision.structure
        is_tool = structure.cwl_class != "Workflow" and structure.steps
        return RunOrder(
            run_uuid=str(job.run_uuid),
            attempt=job.attempt,
            name=job.name,
            main_path=job.revision.main_path,
            tool_path=structure.steps[0].path if is_tool else None,
            inputs=job.inputs,
            containers=job.containers,
            container_engine=self._engine_for(job.revision, job.containers),
            cores=self._cores,
            eval_timeout_seconds=self._eval_timeout_seconds,
            time_limit_seconds=job.time_limit_seconds,
        )

    def _engine_for(self, revision: RevisionRecord, policy: str) -> dict[str, str] | None:
        """The container engine that answers; not asked for where no tool would use it."""
        if policy == "never" or not (policy == "required" or names_images(revision.structure.steps)):
            return None
        if self._probed_at is None or time.monotonic() - self._probed_at > _PROBE_SECONDS:
            self._container_engine = answering_engine()
            self._probed_at = time.monotonic()
        return self._container_engine

    def _end_earlier_attempts(self, job: Job) -> None:
        """A process that was taken for lost must not go on beside the new one."""
        for number in range(1, job.attempt):
            earlier = self._folder(f"{job.run_uuid}/{number}")
            if earlier.path.exists():
                leftovers.kill_all(earlier)

    def _end_process(self, folder: AttemptFolder) -> None:
        """Ask the run process to end, which ends all that it started; then make it, and whatever is left."""
        beginning = journal_reader.beginning(folder.journal)
        if beginning is not None and RunLock.is_held(folder.lock_file):
            if not beginning.process.is_here:
                raise EngineUnreachable(self.name, f"the process of the run lives on {beginning.process.host}")
            if beginning.process.is_alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(beginning.process.pid, signal.SIGTERM)
            leftovers.wait_until(lambda: not RunLock.is_held(folder.lock_file), _STOP_SECONDS)
        leftovers.kill_all(folder)
        leftovers.wait_until(lambda: not RunLock.is_held(folder.lock_file), _STOP_SECONDS)


def make(context: EngineContext) -> CwltoolEngine:
    """The embedded engine of an installation. It is always there."""
    return CwltoolEngine(
        context.runs_folder,
        context.store_path,
        cores=context.settings.cores,
        eval_timeout_seconds=context.settings.eval_timeout_seconds,
        home=context.settings.home,
    )


def _close_journal(folder: AttemptFolder) -> None:
    """Speak for a process that is gone: only under its lock."""
    if journal_reader.ending(folder.journal) is not None:
        return
    journal = Journal(folder.journal)
    journal.close_torn_line()
    journal.write(Ending(JobState.STOPPED, clock.now(), reason="it was stopped"))
    journal.close()


def _abstract_steps(revision: RevisionRecord) -> Iterator[Finding]:
    for step in all_steps(revision.structure.steps):
        if step.kind is StepKind.OPERATION:
            message = f"step {step.path!r} is an abstract operation, which says what it does and not how"
            yield Finding(message, "engine/operation", step.run.partition("#")[0] or None)
