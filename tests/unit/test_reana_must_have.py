"""Which inputs may not be late on REANA: those that its engine itself reads."""

from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml

from stemma.cwl.bundle import Bundle
from stemma.engines.reana.must_have import must_have
from support.reana_bench import shared_validator

HEAD = "cwlVersion: v1.2\n"
TOOL = """
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: cat
inputs:
  file: {type: File, inputBinding: {}}
  other: File
outputs: {made: stdout}
"""


def _tool(**changes: Any) -> dict[str, Any]:
    return {"cwlVersion": "v1.2", **yaml.safe_load(TOOL), **changes}


def _read(*documents: Any) -> set[str]:
    """The ports of the first document that must be there."""
    files = {f"{name}.cwl": yaml.safe_dump(one).encode() for name, one in zip("mabc", documents, strict=False)}
    packed = shared_validator().pack(Bundle(files, "m.cwl"))
    ports = documents[0]["inputs"]
    names = {uuid4(): port for port in ports}
    inputs = {port: {"class": "File", "stemma:occurrence": str(uuid)} for uuid, port in names.items()}
    found: set[UUID] = must_have(packed, inputs)
    return {names[uuid] for uuid in found}


@pytest.mark.parametrize(
    "arguments",
    [
        ["$(inputs.file.path)", "$(inputs.other.basename)"],
        ["$(inputs.file)", "x$(inputs.file.nameroot).y"],
        ["${ return inputs.file.basename.split('.')[0]; }", "$(inputs['file'].path)"],
    ],
)
def test_must_have_when_names_and_paths_alone_are_used_then_nothing(arguments: list[str]) -> None:
    assert _read(_tool(arguments=arguments)) == set()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["$(inputs.file.size)"], {"file"}),
        (["${ return inputs['file'].size; }"], {"file"}),
        (["${ var f = inputs.file; return f.size; }"], {"file"}),
        (["${ var all = inputs; return all.file.size; }"], {"file", "other"}),
        (["text with $(inputs.file)"], {"file"}),
        ([{"valueFrom": "$(inputs.file.path.concat(inputs.other.size))"}], {"other"}),
    ],
)
def test_must_have_when_an_argument_looks_at_more_then_that_file(arguments: list[Any], expected: set[str]) -> None:
    assert _read(_tool(arguments=arguments)) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": {"file": {"type": "File", "loadContents": True}, "other": "File"}},
        {"inputs": {"file": {"type": "File", "inputBinding": {"valueFrom": "$(self.size)"}}, "other": "File"}},
        {"outputs": {"made": {"type": "int", "outputBinding": {"outputEval": "$(inputs.file.size)"}}}},
        {"outputs": {"made": {"type": "File", "outputBinding": {"outputEval": "$(inputs.file)"}}}},
        {"stdout": "$(inputs.file.size).txt"},
        {
            "requirements": {
                "InlineJavascriptRequirement": {},
                "InitialWorkDirRequirement": {"listing": [{"entryname": "a", "entry": "$(inputs.file.contents)"}]},
            }
        },
    ],
)
def test_must_have_when_another_part_of_a_tool_reads_it_then_that_file(changes: dict[str, Any]) -> None:
    assert "file" in _read(_tool(**changes))


def test_must_have_when_functions_of_the_document_know_the_inputs_then_all() -> None:
    library = {"InlineJavascriptRequirement": {"expressionLib": ["function f() { return inputs.file.size; }"]}}
    assert _read(_tool(requirements=library)) == {"file", "other"}


def _workflow(step: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": {
            "StepInputExpressionRequirement": {},
            "InlineJavascriptRequirement": {},
            "SubworkflowFeatureRequirement": {},
        },
        "inputs": {"a": "File", "b": "File"},
        "outputs": {},
        "steps": {"one": {"out": [], "in": {"file": "a", "other": "b"}, "run": "a.cwl", **step}},
        **more,
    }


def test_must_have_when_only_jobs_read_then_nothing() -> None:
    assert _read(_workflow({"out": ["made"]}), _tool()) == set()


@pytest.mark.parametrize(
    "step",
    [
        {"in": {"file": {"source": "a", "loadContents": True}, "other": "b"}},
        {"in": {"file": {"source": "a", "valueFrom": "${ return self.size > 1 ? self : null; }"}, "other": "b"}},
        {"when": "$(inputs.file.size > 10)"},
        {"hints": {"ResourceRequirement": {"ramMin": "$(inputs.file.size)"}}},
    ],
)
def test_must_have_when_a_step_reads_it_then_what_it_comes_from(step: dict[str, Any]) -> None:
    assert _read(_workflow(step), _tool()) == {"a"}


def test_must_have_when_it_is_read_two_workflows_below_then_found() -> None:
    inner = _workflow({"run": "b.cwl"}, inputs={"file": "File", "other": "File"})
    inner["steps"]["one"]["in"] = {"file": "other", "other": "file"}
    assert _read(_workflow({}), inner, _tool(arguments=["$(inputs.file.size)"])) == {"b"}


def test_must_have_when_an_expression_hands_it_on_then_what_reads_it_behind_counts() -> None:
    pick = {
        "cwlVersion": "v1.2",
        "class": "ExpressionTool",
        "requirements": {"InlineJavascriptRequirement": {}},
        "inputs": {"x": "File"},
        "outputs": {"y": "File"},
        "expression": "${ return {y: {class: 'File', path: inputs.x.path}}; }",
    }
    steps = {
        "pick": {"in": {"x": "a"}, "out": ["y"], "run": "b.cwl"},
        "one": {"in": {"file": "pick/y", "other": "b"}, "out": [], "run": "a.cwl"},
    }
    assert _read(_workflow({}, steps=steps), _tool(), pick) == set()
    assert _read(_workflow({}, steps=steps), _tool(arguments=["$(inputs.file.size)"]), pick) == {"a"}


def test_must_have_when_a_run_gives_it_out_as_it_is_then_it_must_be_there() -> None:
    outputs = {"same": {"type": "File", "outputSource": "b"}}
    assert _read(_workflow({}, outputs=outputs), _tool()) == {"b"}
