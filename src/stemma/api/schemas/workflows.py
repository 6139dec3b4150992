"""Registry entries, as the API shows them."""

from datetime import datetime
from typing import Any

from pydantic import Field

from stemma.api.schemas.envelope import Answer, FindingShown, Shown
from stemma.cwl.placeholders import PlaceholderKind
from stemma.database.queries.workflows import RevisionSummary
from stemma.database.tables import RevisionRow
from stemma.lifecycle.register import Registered
from stemma.lifecycle.validate import Validated
from stemma.records import Json, Port, StepDefinition, StepKind, WorkflowRecord, WorkflowStructure


class WorkflowShown(Answer):
    """A registry entry."""

    registry_id: int = Field(examples=[7])
    name: str = Field(examples=["rain"])
    version: str = Field(examples=["1.0"])
    group: str = Field(examples=["group1"])
    revision: int = Field(examples=[1], description="The number of the newest revision.")
    created_at: datetime
    created_by: str = Field(examples=["user_1"])
    updated_at: datetime
    uuid: str = Field(examples=["0197f3a2-5c1e-7a3b-9d2f-6f0f5a1c2b3d"])

    @staticmethod
    def of(workflow: WorkflowRecord) -> Shown:
        """What is shown of ``workflow``."""
        return {
            "registry_id": workflow.id,
            "name": workflow.name,
            "version": workflow.version,
            "group": workflow.group,
            "revision": workflow.latest_number,
            "created_at": workflow.created_at,
            "created_by": workflow.created_by.username,
            "updated_at": workflow.updated_at,
            "uuid": workflow.uuid,
        }


class PortShown(Answer):
    """An input or output of a workflow."""

    id: str = Field(examples=["year"])
    type: Any = Field(description="As CWL has it.", examples=["int"])
    label: str | None = None
    doc: str | None = None
    required: bool = Field(examples=[True])
    default: Any = None

    @classmethod
    def of(cls, port: Port) -> "PortShown":
        """What is shown of ``port``."""
        return cls(
            id=port.id,
            type=port.type,
            label=port.label,
            doc=port.doc,
            required=port.required,
            default=port.default,
        )


class StepShown(Answer):
    """A step as the document has it."""

    path: str = Field(examples=["summarise"])
    kind: StepKind = Field(examples=["tool"])
    run: str = Field(description="The process that it runs.", examples=["summarise.cwl"])
    label: str | None = None
    doc: str | None = None
    scatter: list[str] = Field(description="The inputs that it is scattered over.", examples=[["station"]])
    conditional: bool = Field(description="Whether it has a ``when``.", examples=[False])
    image: str | None = Field(examples=["python:3.13-slim"])
    steps: list["StepShown"] = Field(description="Those of its sub-workflow.")

    @classmethod
    def of(cls, step: StepDefinition) -> "StepShown":
        """What is shown of ``step``."""
        return cls(
            path=step.path,
            kind=step.kind,
            run=step.run,
            label=step.label,
            doc=step.doc,
            scatter=list(step.scatter),
            conditional=step.conditional,
            image=step.image,
            steps=[cls.of(inner) for inner in step.steps],
        )


class StructureShown(Answer):
    """What a document asks for and gives."""

    cwl_version: str = Field(examples=["v1.2"])
    cwl_class: str = Field(examples=["Workflow"])
    label: str | None = None
    doc: str | None = None
    inputs: list[PortShown]
    outputs: list[PortShown]
    steps: list[StepShown]

    @classmethod
    def of(cls, structure: WorkflowStructure) -> "StructureShown":
        """What is shown of ``structure``."""
        return cls(
            cwl_version=structure.cwl_version,
            cwl_class=structure.cwl_class,
            label=structure.label,
            doc=structure.doc,
            inputs=[PortShown.of(port) for port in structure.inputs],
            outputs=[PortShown.of(port) for port in structure.outputs],
            steps=[StepShown.of(step) for step in structure.steps],
        )


class PlaceholderShown(Answer):
    """Where the value of an input comes from when none is given."""

    port: str = Field(examples=["stations"])
    kind: PlaceholderKind = Field(examples=["valueFromPlatform"])
    value: str = Field(examples=["https://data.example.org/stations.json"])


class RevisionDetails(Answer):
    """What a revision of a registry entry asks for and gives."""

    registry_id: int = Field(examples=[7])
    revision: int = Field(examples=[1])
    digest: str = Field(description="Equal content, equal digest.", examples=["9f" * 32])
    main: str = Field(examples=["main.cwl"], description="The document that is run.")
    structure: StructureShown
    placeholders: list[PlaceholderShown]
    warnings: list[FindingShown]

    @classmethod
    def of(cls, row: RevisionRow, structure: WorkflowStructure) -> "RevisionDetails":
        """What is shown of a revision."""
        return cls(
            registry_id=row.workflow_id,
            revision=row.number,
            digest=row.digest,
            main=row.main_path,
            structure=StructureShown.of(structure),
            placeholders=[_placeholder(placeholder) for placeholder in row.placeholders],
            warnings=[FindingShown(**warning) for warning in row.warnings],
        )


def _placeholder(recorded: dict[str, Json]) -> PlaceholderShown:
    return PlaceholderShown(port=recorded["port"], kind=recorded["kind"], value=recorded["value"])


class RegisteredShown(Answer):
    """A registry entry after registration or update."""

    registry_id: int = Field(examples=[7])
    revision: int = Field(examples=[1])
    changed: bool = Field(description="Whether a revision was added.", examples=[True])
    name: str = Field(examples=["rain"])
    version: str = Field(examples=["1.0"])
    group: str = Field(examples=["group1"])
    warnings: list[FindingShown] = Field(description="What may go wrong when it runs, and does not stand against it.")

    @classmethod
    def of(cls, registered: Registered) -> "RegisteredShown":
        """What is shown of ``registered``."""
        return cls(
            registry_id=registered.workflow.id,
            revision=registered.revision_number,
            changed=registered.changed,
            name=registered.workflow.name,
            version=registered.workflow.version,
            group=registered.workflow.group,
            warnings=[FindingShown.of(warning) for warning in registered.warnings],
        )


class ValidatedShown(Answer):
    """A document that could be registered."""

    digest: str = Field(examples=["9f" * 32])
    main: str = Field(examples=["main.cwl"])
    structure: StructureShown
    placeholders: list[PlaceholderShown]
    warnings: list[FindingShown]

    @classmethod
    def of(cls, validated: Validated) -> "ValidatedShown":
        """What is shown of ``validated``."""
        checked = validated.checked
        return cls(
            digest=validated.digest,
            main=validated.bundle.main_path,
            structure=StructureShown.of(checked.structure),
            placeholders=[
                PlaceholderShown(port=found.port, kind=found.kind, value=found.value) for found in checked.placeholders
            ],
            warnings=[FindingShown.of(warning) for warning in checked.warnings],
        )


class RevisionShown(Answer):
    """A line of an entry's history."""

    revision: int = Field(examples=[1])
    created_at: datetime
    created_by: str = Field(examples=["user_1"])
    digest: str = Field(examples=["9f" * 32])
    spec_name: str = Field(examples=["main.cwl"])
    spec_bytes: int = Field(examples=[812])
    inputs_name: str | None = Field(examples=["inputs.yml"])
    inputs_bytes: int | None = Field(examples=[34])

    @classmethod
    def of(cls, revision: RevisionSummary) -> "RevisionShown":
        """What is shown of ``revision``."""
        return cls(
            revision=revision.number,
            created_at=revision.created_at,
            created_by=revision.created_by.username,
            digest=revision.digest,
            spec_name=revision.spec_name,
            spec_bytes=revision.spec.size_bytes,
            inputs_name=revision.inputs_name,
            inputs_bytes=revision.inputs.size_bytes if revision.inputs else None,
        )


class UnregisteredShown(Answer):
    """An entry that is in the registry no more."""

    registry_id: int = Field(examples=[7])
