"""The facts of a run as values: what the database gives and what every document is made of.

They know no database and no library. Digests are lower-case hexadecimal SHA-256, sizes bytes, times
aware and in UTC, identifiers UUIDs that were minted when the fact was recorded.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from stemma.states import RunState, StepState

Json: TypeAlias = Any
"""A value that JSON can say."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who did something: the token's ``sub``, and the name that people know."""

    subject: str
    username: str


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes, named by their digest."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of a registered document: where it lies in the bundle, and its bytes."""

    path: str
    content: Content


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output parameter of a workflow (CWL v1.2, Workflow §5)."""

    id: str
    type: Json
    """As CWL has it, names of schema types resolved."""
    label: str | None = None
    doc: str | None = None
    required: bool = True
    """Whether a value must be given (no default, not nullable). Always true for outputs."""
    default: Json = None
    sources: tuple[str, ...] = ()
    """For outputs: ``step/port``, or the id of an input that is handed through."""


@dataclass(frozen=True, slots=True)
class StepInput:
    """One ``in`` of a step: where its value comes from."""

    port: str
    sources: tuple[str, ...] = ()
    """``step/port`` within the same workflow, or the id of one of its inputs."""


class StepKind(StrEnum):
    """What a step runs."""

    TOOL = "tool"
    EXPRESSION = "expression"
    WORKFLOW = "workflow"
    OPERATION = "operation"


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """One step as the document has it, with the steps of its sub-workflow.

    A document that is a single tool has one step, whose path is the tool's own name.
    """

    path: str
    """Names from the top joined with ``/``: ``summarise/merge``."""
    kind: StepKind
    run: str
    """What it runs: ``tools/merge.cwl``, ``main.cwl#merge``, or its own path when it is inline."""
    label: str | None = None
    doc: str | None = None
    scatter: tuple[str, ...] = ()
    conditional: bool = False
    inputs: tuple[StepInput, ...] = ()
    outputs: tuple[str, ...] = ()
    image: str | None = None
    """The container image that a DockerRequirement or hint names."""
    image_required: bool = False
    steps: tuple["StepDefinition", ...] = ()


@dataclass(frozen=True, slots=True)
class WorkflowStructure:
    """What a document asks for and gives, read once at registration."""

    cwl_version: str
    cwl_class: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    steps: tuple[StepDefinition, ...]
    label: str | None = None
    doc: str | None = None


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """One immutable revision of a registry entry."""

    workflow_id: int
    group: str
    name: str
    version: str
    number: int
    created_at: datetime
    created_by: Person
    digest: str
    """SHA-256 over the bundle's paths and contents and the main path: equal content, equal digest."""
    main_path: str
    """The document to run, inside the bundle; with ``#id`` where a ``$graph`` process is meant."""
    structure: WorkflowStructure
    files: tuple[BundleFile, ...] = ()


class FileKind(StrEnum):
    """What an occurrence is."""

    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A file or directory at one place of one run: this port of this step, this name.

    ``uuid`` identifies it; two occurrences of the same bytes are two things.
    """

    uuid: UUID
    kind: FileKind
    basename: str
    port: str
    """The port that it was generated at; for an input of the run, the input's id; for a file that the
    document itself brings (a default), the port where it was first used."""
    position: str = ""
    """Where in the port's value: empty for the value itself, ``[3]`` for an element, ``.field``,
    ``.secondaryFiles[0]``, ``.listing[2]``, and these one after another."""
    content: Content | None = None
    """None for a directory."""
    step: UUID | None = None
    """The step execution that generated it; None for inputs of the run and files of the document, and where the
    engine does not tell which step it was (``at`` is then set)."""
    parent: UUID | None = None
    """The directory or primary file that it belongs to."""
    derived_from: tuple[UUID, ...] = ()
    """Occurrences that were handed on as this one (an expression that returns its input file)."""
    at: datetime | None = None
    """When it was generated; None for inputs."""
    attempt: int = 1
    id: int | None = None
    """Its number in this service, by which ``valueFromEntity`` names it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """That a step execution used an occurrence, at which port and place."""

    step: UUID
    occurrence: UUID
    port: str
    position: str = ""


@dataclass(frozen=True, slots=True)
class RunOutput:
    """That an output of the run is, or contains, an occurrence."""

    occurrence: UUID
    port: str
    position: str = ""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One execution of a step: a tool, an expression, or a sub-workflow; one per scatter element."""

    uuid: UUID
    attempt: int
    key: str
    """Unique in an attempt: ``by_year[2]/summarise``. Equal on the next attempt for the same work."""
    path: str
    """The step's definition: ``by_year/summarise``."""
    kind: StepKind
    state: StepState
    started_at: datetime
    ended_at: datetime | None = None
    parent: UUID | None = None
    """The sub-workflow execution that it belongs to; None directly in the run."""
    scatter_index: tuple[int, ...] = ()
    """Its place in the scatter; several numbers where the scatter is nested. Empty when not scattered."""
    command: tuple[str, ...] = ()
    exit_code: int | None = None
    image: str | None = None
    image_digest: str | None = None
    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = None
    disk_read_bytes: int | None = None
    disk_write_bytes: int | None = None
    stdout_tail: str | None = None
    stderr_tail: str | None = None
    error: str | None = None
    literals: dict[str, Json] = field(default_factory=dict)
    """Values at its ports that are no files."""
    reused_from: UUID | None = None
    """The earlier execution whose results were taken, when it did not run itself."""
    backend_job_id: str | None = None
    id: int | None = None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One time that the run was given to its engine."""

    number: int
    uuid: UUID
    worker: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None
    """``finished``, ``failed``, ``stopped`` or ``lost``; None while it goes on."""
    reason: str | None = None
    environment: dict[str, Json] = field(default_factory=dict)
    """Where it ran: host, platform, cores, versions, container policy."""


@dataclass(frozen=True, slots=True)
class ReplicationRecord:
    """That an input was brought here from elsewhere, or could not be; or was not, but read there by others."""

    uuid: UUID
    occurrence: UUID
    source: dict[str, Json]
    """``url``, ``version``, and what the source told: ``etag``, ``last_modified``, where redirects led."""
    requested_at: datetime
    started_at: datetime | None = None
    """When its transfer began; None where it was here already, or never began."""
    arrived_at: datetime | None = None
    was_here: bool = False
    times: int = 0
    """How often it was moved for this run."""
    moved_bytes: int = 0
    sha256: str | None = None
    verified: str | None = None
    """``given``, ``catalogue``, ``source`` or ``first use``: what its digest was compared with."""
    error: str | None = None
    """Why it cannot be had."""
    is_handed: bool = False
    """Whether the engine's server read it where it lies. What it read is known by address and version only."""


@dataclass(frozen=True, slots=True)
class StepWaitRecord:
    """That a step execution waited for inputs from elsewhere: until it started or ended, or the run did."""

    attempt: int
    key: str
    path: str
    occurrences: tuple[UUID, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything known of a run: the whole input of the provenance."""

    id: int
    uuid: UUID
    group: str
    engine: str
    engine_version: str | None
    name: str
    """``reana_name``: ``{name}:{version}`` in REANA's alphabet."""
    number: int
    """``reana_run_number``."""
    state: RunState
    submitted_by: Person
    submitted_at: datetime
    revision: RevisionRecord
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    """Why it failed or was stopped."""
    inputs: dict[str, Json] = field(default_factory=dict)
    """The input object; Files carry ``stemma:occurrence`` with their uuid."""
    outputs: dict[str, Json] | None = None
    """The output object, in the same form; None until finished."""
    attempts: tuple[AttemptRecord, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    """Of all attempts, by start."""
    occurrences: tuple[Occurrence, ...] = ()
    usages: tuple[Usage, ...] = ()
    run_outputs: tuple[RunOutput, ...] = ()
    replications: tuple[ReplicationRecord, ...] = ()
    waits: tuple[StepWaitRecord, ...] = ()
    captured_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WorkflowRecord:
    """A registry entry, with what its newest revision asks for and gives left aside."""

    id: int
    uuid: UUID
    group: str
    name: str
    version: str
    latest_number: int
    """The number of the newest revision."""
    created_at: datetime
    created_by: Person
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run without its steps and files: what lists show."""

    id: int
    uuid: UUID
    group: str
    workflow_id: int
    revision_number: int
    engine: str
    reference: str | None
    """Where the engine finds it; None until the engine has it."""
    engine_run_id: str | None
    """What the engine itself calls it, where it has ids of its own."""
    name: str
    number: int | None
    state: RunState
    submitted_by: Person
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    reason: str | None
    attempt: int
    stop_requested_at: datetime | None
    captured_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunEvent:
    """A change of state of a run, or of one of its steps."""

    id: int
    at: datetime
    state: str
    step: UUID | None = None
    step_key: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Capture:
    """The sealed record of a run."""

    run_id: int
    sha256: str
    captured_at: datetime
    captured_by: Person


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to advance a run, as long as nobody else claims it after the lease."""

    run_id: int
    fence: int
    run_uuid: UUID | None = None
    """What its process is known by."""
