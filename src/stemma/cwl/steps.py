"""The structure of a workflow to JSON and back; knows no CWL library, so that everyone may import it."""

import orjson

from stemma.records import Json, Port, StepDefinition, StepInput, StepKind, WorkflowStructure


def to_json(structure: WorkflowStructure) -> Json:
    """``structure`` as JSON can say it: dictionaries with the names of the fields, lists for tuples."""
    return orjson.loads(orjson.dumps(structure))


def from_json(value: Json) -> WorkflowStructure:
    """The structure that :func:`to_json` gave.

    Raises:
        KeyError, TypeError, ValueError: it did not.
    """
    return WorkflowStructure(
        cwl_version=value["cwl_version"],
        cwl_class=value["cwl_class"],
        inputs=tuple(_port(port) for port in value["inputs"]),
        outputs=tuple(_port(port) for port in value["outputs"]),
        steps=tuple(_step(step) for step in value["steps"]),
        label=value["label"],
        doc=value["doc"],
    )


def _port(value: Json) -> Port:
    return Port(**{**value, "sources": tuple(value["sources"])})


def _step(value: Json) -> StepDefinition:
    return StepDefinition(
        **{
            **value,
            "kind": StepKind(value["kind"]),
            "scatter": tuple(value["scatter"]),
            "inputs": tuple(StepInput(one["port"], tuple(one["sources"])) for one in value["inputs"]),
            "outputs": tuple(value["outputs"]),
            "steps": tuple(_step(step) for step in value["steps"]),
        }
    )
