"""What an engine is to Stemma: a few calls, and the facts that it reports.

An engine is given a :class:`Job` and answers with a reference that is all it needs to find the job
again, from any process, after any crash. It never touches the database: a worker asks for what is
new since a cursor, and writes it down together with the next cursor in one transaction, so that
each fact is recorded once however often anybody dies.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import UUID

from stemma.errors import Finding
from stemma.facts import Fact, FileSeen, FileUsed, StepEnded, StepStarted, StepWaits
from stemma.records import Content, FileKind, Json, RevisionRecord

__all__ = [
    "Engine",
    "EngineDescription",
    "EngineIdentity",
    "Fact",
    "FileSeen",
    "FileUsed",
    "Job",
    "JobState",
    "OutputFile",
    "Owner",
    "Report",
    "StepEnded",
    "StepStarted",
    "StepWaits",
    "TakesLateFiles",
    "TakesUrls",
]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose run it is: on an engine that asks who is there, its jobs run with this owner's credential."""

    subject: str
    """The ``sub`` of the person who submitted it."""
    group: str


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """What the engine itself calls a job, where it has names of its own."""

    id: str
    name: str | None = None
    number: int | None = None
    """Its number among the jobs of that name, where the engine counts them (REANA's ``run_number``)."""


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt of a run, with everything that the engine needs to know of it."""

    run_uuid: UUID
    attempt: int
    name: str
    """A name for people: ``reana_name``."""
    revision: RevisionRecord
    inputs: dict[str, Json]
    """The CWL input object. Each File in it has ``location`` (a ``file:`` URL of a readable local
    path), ``basename``, ``size``, ``checksum`` (``sha256:…``) and ``stemma:occurrence`` (uuid);
    Directories have ``listing`` and ``basename``. A File that is not in the store yet has ``stemma:late`` (true)
    instead of ``location`` and ``checksum``, and ``size`` only where it is known: given to engines that take late
    files alone. One that the engine's server reads where it lies has ``stemma:elsewhere`` (true) instead of
    ``location``; its ``checksum`` and ``size`` are those that its source told, where it did. ``url_of`` opens it."""
    containers: str = "auto"
    """``auto``, ``required`` or ``never``."""
    time_limit_seconds: float | None = None
    """For the whole attempt."""
    owner: Owner | None = None
    """None where nobody needs to be told from others: an engine in a test, say."""
    url_of: Callable[[UUID], str] | None = field(default=None, repr=False, compare=False)
    """A URL that opens a File that is ``stemma:elsewhere``, by its occurrence, to whoever has it. It is good for
    ``TakesUrls.url_seconds`` from now on, so it is asked for when it is given to the server, and kept nowhere."""


class JobState(StrEnum):
    """Where the engine's job is."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"
    """It ended without a word: its process was killed, its folder is gone. It may be attempted anew."""

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self not in {JobState.PENDING, JobState.RUNNING}


@dataclass(frozen=True, slots=True)
class Report:
    """What is new since a cursor. A terminal state is reported only once all facts before it are out."""

    state: JobState
    cursor: str
    facts: tuple[Fact, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    environment: dict[str, Json] | None = None
    """Host, platform, versions; given once known."""
    outputs: dict[str, Json] | None = None
    """The output object when finished. Each File or Directory carries ``stemma:occurrence``."""
    reason: str | None = None
    """Why it failed, stopped or was lost: a sentence for people."""
    identity: EngineIdentity | None = None
    """As soon as the engine has given one, and in every report from then on."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """Bytes that the job left, to be brought into the store."""

    occurrence: UUID
    kind: FileKind
    path: Path | None
    """Where they lie when the engine is local: may be renamed away by the caller. None otherwise."""
    chunks: Callable[[], Iterator[bytes]] | None = None
    """Gives them piece by piece when the engine is elsewhere, from the start each time it is called. It raises
    ``EngineUnreachable`` where to try again later helps, and ``EngineRefused`` where they are gone for good."""


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """What an engine is and can do, for people and for the record."""

    name: str
    version: str
    capabilities: dict[str, Json] = field(default_factory=dict)


class Engine(Protocol):
    """Runs jobs. Every foreign failure leaves it as one of :mod:`stemma.errors`.

    Any call may raise ``EngineUnreachable`` (try again later; nothing was lost) or ``EngineRefused`` (trying again is
    of no use: the credential is wrong, a quota is used up, the job is gone); ``EngineRefused`` ends the run with its
    words. Some engines have more than these methods:

    * ``acting_for(owner: Owner) -> Engine``, where users have credentials of their own: itself, with those rights;
    * ``check_inputs(inputs) -> list[Finding]``, where not all inputs can be taken: asked at submission;
    * ``has_begun(job) -> bool``, where it is known whether anything of a job may have come to a server: a submission
      that could not begin is then given up within seconds;
    * ``start()`` and ``close()``, where helpers are needed;
    * those of :class:`TakesLateFiles`, where a job may start before all of its files are there;
    * those of :class:`TakesUrls`, where its server reads files from where they lie.
    """

    name: str
    is_remote: bool
    """Whether its jobs run elsewhere: they cost no slot of the worker here, and what it keeps of a run has to be
    removed there before the run is removed here."""

    def describe(self) -> EngineDescription:
        """Its version and capabilities, without starting or asking anything."""

    def probe(self) -> str:
        """Ask now whether it answers: the version of what runs the jobs."""

    def check(self, revision: RevisionRecord, containers: str) -> list[Finding]:
        """Why it could not run ``revision`` faithfully; empty when it can. Said at submission."""

    def submit(self, job: Job) -> str:
        """Start ``job`` and return its reference: ``<run uuid>/<attempt>``.

        Idempotent by ``(job.run_uuid, job.attempt)``: called again, by whichever process, it starts nothing
        and returns the same reference.
        """

    def report(self, reference: str, cursor: str) -> Report:
        """What is new since ``cursor`` (empty at first). Cheap; called often. The same cursor gives at least
        the same facts again."""

    def outputs(self, reference: str) -> Iterator[OutputFile]:
        """The files of the output object of a finished job."""

    def log(self, reference: str, step: UUID | None, stream: str) -> BinaryIO | None:
        """The whole ``stdout`` or ``stderr`` of a step (of the job itself for None), as far as written; None
        when there is none. The caller closes it."""

    def stop(self, reference: str) -> None:
        """End the job and everything it started, containers too; returns when it is over (within 2 s where
        the engine is local). Nothing happens when it has ended. ``report`` says ``stopped`` afterwards, unless
        it had ended before."""

    def release(self, reference: str) -> None:
        """Let go of what a job that has ended needs no more, its outputs among it (the caller has them by now).

        ``report`` and ``log`` still answer afterwards. Nothing happens when it was done before.
        """

    def delete(self, reference: str) -> None:
        """Remove what the engine keeps of an ended job. Nothing happens when it is gone already."""


class TakesLateFiles(Protocol):
    """What an engine has besides whose jobs may start while files of theirs still arrive.

    A step waits for its own files alone, and tells so (:class:`StepWaits`). All of these calls may be made again, by
    whichever process, after any crash; of a job that has ended, or is gone, they do nothing.
    """

    takes_late: bool
    """True. Engines that have no such attribute get all files before ``submit``."""

    def deliver(self, reference: str, occurrence: UUID, content: Content) -> None:
        """Tell that a late file is in the store now.

        An engine may have ``deliver_all(reference, contents)`` too, which is told of several at once, by occurrence."""

    def refuse(self, reference: str, occurrence: UUID, reason: str) -> None:
        """Tell that a late file cannot be had: the steps that need it fail with that sentence.

        Nothing happens when it has been delivered."""

    def recall(self, reference: str, occurrence: UUID) -> bool:
        """Take a late file back, so that the store may drop it.

        False while a step uses it, and where it cannot be taken back. After True, a step that needs it waits until
        it is delivered anew."""


class TakesUrls(Protocol):
    """What an engine has besides whose server reads files by URL from where they lie.

    Such files are not brought here. What is known of them is their address, and what their source told.
    """

    url_kinds: frozenset[str]
    """The kinds of places whose files it is given so: ``https``, ``s3``, ``gs``, ``az``."""

    url_seconds: int
    """How long such a URL has to be good."""

    def sent_ports(self, revision: RevisionRecord) -> set[str]:
        """The inputs whose files it wants all the same, since it reads them before a step does, or the run gives them
        out as they are."""
