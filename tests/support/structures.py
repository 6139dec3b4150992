"""Documents by their steps, and the files of their inputs, as who plans what to fetch sees them."""

from uuid import uuid4

from stemma.lifecycle.replicate.needs import InputFile
from stemma.records import Port, StepDefinition, StepInput, StepKind, WorkflowStructure


def step(
    path: str, *inputs: tuple[str, tuple[str, ...]], scatter: tuple[str, ...] = (), **more: object
) -> StepDefinition:
    """A step; ``inputs`` are ports, each with its sources."""
    kind = more.pop("kind", StepKind.TOOL)
    taken = tuple(StepInput(port, sources) for port, sources in inputs)
    return StepDefinition(path, kind, f"{path}.cwl", scatter=scatter, inputs=taken, **more)  # type: ignore[arg-type]


def workflow(ports: tuple[str, ...], *steps: StepDefinition) -> WorkflowStructure:
    """A workflow of ``steps`` with a File at each of ``ports``."""
    return WorkflowStructure("v1.2", "Workflow", tuple(Port(port, "File") for port in ports), (), steps)


def file(key: str, port: str, position: str = "") -> InputFile:
    """A file at an input."""
    return InputFile(uuid4(), key, port, position)
