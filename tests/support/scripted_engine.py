"""An engine whose jobs do what a test says, when it says so. It keeps the promises of ``engines.protocol``.

What a job has reported lies in a list that outlives every worker, as a journal does; so do the starts, so that a
test can see that nothing was started twice.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from uuid import UUID

from stemma import clock
from stemma.engines.protocol import (
    EngineDescription,
    Fact,
    FileSeen,
    FileUsed,
    Job,
    JobState,
    OutputFile,
    Report,
    StepEnded,
    StepStarted,
)
from stemma.errors import EngineUnreachable, Finding
from stemma.records import Content, FileKind, Occurrence, RevisionRecord, StepKind, Usage
from stemma.states import StepState


@dataclass
class ScriptedJob:
    """One job: what it has said so far, and where it is."""

    state: JobState = JobState.PENDING
    facts: list[Fact] = field(default_factory=list)
    open_steps: list[UUID] = field(default_factory=list)
    reason: str | None = None
    released: bool = False


@dataclass
class ScriptedEngine:
    """Jobs by reference, and a count of their real starts."""

    name: str = "cwltool"
    is_remote: bool = False
    jobs: dict[str, ScriptedJob] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)
    unreachable_calls: int = 0
    """How many of the next calls find the engine unreachable."""
    facts_per_report: int = 3
    meanwhile: Callable[[], None] | None = None
    """What happens elsewhere while the next call is on its way."""

    def _reach(self) -> None:
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        if self.unreachable_calls > 0:
            self.unreachable_calls -= 1
            raise EngineUnreachable(self.name, "scripted")

    # What a test makes happen

    def alive(self) -> list[str]:
        """References of the jobs that have not ended."""
        return [reference for reference, job in self.jobs.items() if not job.state.is_terminal]

    def begin(self, reference: str) -> None:
        """The job's process starts to work."""
        self.jobs[reference].state = JobState.RUNNING

    def start_step(self, reference: str, name: str) -> None:
        """A step begins, using what the step before it made."""
        job = self.jobs[reference]
        uuid = clock.new_uuid()
        job.facts.append(StepStarted(uuid, f"{name}-{len(job.facts)}", name, StepKind.TOOL, clock.now()))
        made = [fact.occurrence.uuid for fact in job.facts if isinstance(fact, FileSeen)]
        if made:
            job.facts.append(FileUsed(Usage(uuid, made[-1], "in")))
        job.open_steps.append(uuid)

    def end_step(self, reference: str) -> None:
        """The oldest open step ends with a file."""
        job = self.jobs[reference]
        uuid = job.open_steps.pop(0)
        content = Content("c" * 64, 3)
        made = Occurrence(clock.new_uuid(), FileKind.FILE, "out", "out", content=content, step=uuid, at=clock.now())
        job.facts.append(FileSeen(made))
        job.facts.append(StepEnded(uuid, StepState.FINISHED, clock.now(), exit_code=0))

    def end(self, reference: str, state: JobState, reason: str | None = None) -> None:
        """The job ends, or its process dies (LOST)."""
        job = self.jobs[reference]
        job.state, job.reason = state, reason

    # What the worker calls

    def describe(self) -> EngineDescription:
        """Nothing special."""
        return EngineDescription(self.name, "scripted")

    def probe(self) -> str:
        """It answers."""
        self._reach()
        return "scripted"

    def check(self, revision: RevisionRecord, containers: str) -> list[Finding]:
        """Runs anything."""
        return []

    def submit(self, job: Job) -> str:
        """Start the job, once."""
        self._reach()
        reference = f"{job.run_uuid}/{job.attempt}"
        if reference not in self.jobs:
            self.jobs[reference] = ScriptedJob()
            self.starts.append(reference)
        return reference

    def report(self, reference: str, cursor: str) -> Report:
        """A few facts at a time; the end when all are out."""
        self._reach()
        job = self.jobs[reference]
        position = int(cursor or 0)
        until = min(position + self.facts_per_report, len(job.facts))
        all_out = until == len(job.facts)
        state = job.state if all_out or not job.state.is_terminal else JobState.RUNNING
        return Report(
            state=state,
            cursor=str(until),
            facts=tuple(job.facts[position:until]),
            outputs={} if state is JobState.FINISHED else None,
            reason=job.reason,
            ended_at=clock.now() if state.is_terminal else None,
        )

    def outputs(self, reference: str) -> Iterator[OutputFile]:
        """None."""
        return iter(())

    def log(self, reference: str, step: UUID | None, stream: str) -> BinaryIO | None:
        """None."""
        return None

    def stop(self, reference: str) -> None:
        """End the job, if it has not ended."""
        self._reach()
        job = self.jobs.get(reference)
        if job is not None and not job.state.is_terminal:
            job.state, job.reason = JobState.STOPPED, "stopped"

    def release(self, reference: str) -> None:
        """Remember that it was asked."""
        self.jobs[reference].released = True

    def delete(self, reference: str) -> None:
        """Forget the job."""
        self.jobs.pop(reference, None)
