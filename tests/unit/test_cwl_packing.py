"""A bundle as one object."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stemma.cwl.bundle import Bundle
from stemma.cwl.helper import Validator
from stemma.errors import InvalidDocument

EXAMPLES = Path(__file__).parents[2] / "examples"
ECHO = b"cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\ninputs: []\nstdout: o\noutputs: {o: stdout}\n"


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    with Validator(30, 1 << 30) as opened:
        yield opened


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield key
            yield from strings(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from strings(entry)
    elif isinstance(value, str):
        yield value


def test_workflow_of_several_files_when_packed_then_it_is_one_graph(validator: Validator) -> None:
    root = EXAMPLES / "weather"
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    packed = validator.pack(Bundle(files, "main.cwl"))
    assert packed["cwlVersion"] == "v1.2"
    assert {"#main", "#city-year.cwl"} < {process["id"] for process in packed["$graph"]}
    assert not [text for text in strings(packed) if "stemma-bundle" in text or "file:" in text]
    assert "scripts/check.py" in set(strings(packed))
    json.dumps(packed)


@pytest.mark.parametrize(("main", "name"), [("my tool.cwl", "#my tool"), ("graph.cwl#two", "#two")])
def test_tool_when_packed_then_it_keeps_the_name_of_its_step(validator: Validator, main: str, name: str) -> None:
    graph = b"cwlVersion: v1.2\n$graph:\n- {id: one, class: CommandLineTool, baseCommand: a, inputs: [], outputs: []}\n"
    graph += b"- {id: two, class: CommandLineTool, baseCommand: b, inputs: {x: string}, outputs: []}\n"
    packed = validator.pack(Bundle({"my tool.cwl": ECHO, "graph.cwl": graph}, main))
    assert packed["id"] == name
    assert [port["id"] for port in packed["inputs"]] == [f"{name}/x"] * (name == "#two")


def test_graph_when_a_workflow_of_it_is_meant_then_that_is_the_main_one(validator: Validator) -> None:
    graph = b"""cwlVersion: v1.0
$graph:
- {id: main, class: Workflow, inputs: {x: string}, outputs: [], steps: {s: {run: "#other", in: {x: x}, out: []}}}
- {id: other, class: Workflow, inputs: {x: string}, outputs: [], steps: {t: {run: "#tool", in: {x: x}, out: []}},
   requirements: {SubworkflowFeatureRequirement: {}}}
- {id: tool, class: CommandLineTool, baseCommand: a, inputs: {x: string}, outputs: []}
"""
    packed = validator.pack(Bundle({"g.cwl": graph}, "g.cwl#other"))
    main = next(process for process in packed["$graph"] if process["id"] == "#main")
    assert [step["id"] for step in main["steps"]] == ["#main/t"]


def test_files_and_types_elsewhere_when_packed_then_they_are_in_the_object(validator: Validator) -> None:
    files = {
        "main.cwl": b"""cwlVersion: v1.2
class: Workflow
$namespaces: {edam: "http://edamontology.org/"}
requirements: {SubworkflowFeatureRequirement: {}}
inputs: {x: {type: File, default: {class: File, path: "data/a b.txt"}}}
outputs: []
steps:
  one: {run: tools/t.cwl, in: {f: x}, out: []}
  two: {run: tools/t.cwl, in: {f: {default: {class: File, location: data/b.txt}}}, out: []}
""",
        "tools/t.cwl": b"""cwlVersion: v1.2
class: CommandLineTool
$namespaces: {edam: "http://edamontology.org/"}
requirements:
  SchemaDefRequirement: {types: [{$import: ../types.yml}]}
  InlineJavascriptRequirement: {expressionLib: [{$include: lib.js}]}
baseCommand: cat
inputs: {f: {type: File, format: edam:format_1}, p: "../types.yml#pair?", d: {type: Directory, default: {class: Directory, location: d}}}
outputs: []
""",
        "types.yml": b"- {name: pair, type: record, fields: [{name: a, type: string}]}\n",
        "tools/lib.js": b"var x = 1;\n",
        "tools/d/1": b"",
        "data/a b.txt": b"",
        "data/b.txt": b"",
    }
    said = set(strings(validator.pack(Bundle(files, "main.cwl"))))
    assert {"data/a b.txt", "data/b.txt", "tools/d", "var x = 1;\n", "http://edamontology.org/format_1"} <= said
    assert not said & {"$import", "$include"}


def test_aliases_when_packed_then_what_they_stand_for_is_written_twice(validator: Validator) -> None:
    document = b"""cwlVersion: v1.2
class: Workflow
inputs: []
outputs: []
steps:
  a: {in: [], out: [o], run: &tool {class: CommandLineTool, baseCommand: 'true', inputs: [], outputs: {o: {type: File, outputBinding: {glob: x}}}}}
  b: {in: [], out: [o], run: *tool}
"""
    packed = validator.pack(Bundle({"main.cwl": document}, "main.cwl"))
    assert [step["run"]["outputs"][0]["outputBinding"]["glob"] for step in packed["steps"]] == ["x", "x"]


def test_processes_when_they_have_ids_of_their_own_then_they_are_packed(validator: Validator) -> None:
    main = b"cwlVersion: v1.2\nclass: Workflow\nid: mine\ninputs: []\noutputs: []\nsteps:\n"
    main += b"  s: {run: t.cwl, in: [], out: []}\n"
    main += b"  i: {run: {id: inner, class: CommandLineTool, baseCommand: a, inputs: {x: int?}, outputs: []}, in: [], out: []}\n"
    packed = validator.pack(Bundle({"main.cwl": main, "t.cwl": b"id: other\n" + ECHO}, "main.cwl"))
    steps = next(process["steps"] for process in packed["$graph"] if process["id"] == "#main")
    assert {step["id"] for step in steps} == {"#main/i", "#main/s"}
    assert validator.pack(Bundle({"t.cwl": b"id: other\n" + ECHO}, "t.cwl"))["id"] == "#t"


def test_documents_of_several_versions_when_packed_then_they_are_refused(validator: Validator) -> None:
    main = b"cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps: {s: {run: old.cwl, in: [], out: []}}\n"
    old = ECHO.replace(b"v1.2", b"v1.0")
    with pytest.raises(InvalidDocument) as refusal:
        validator.pack(Bundle({"main.cwl": main, "old.cwl": old}, "main.cwl"))
    (finding,) = refusal.value.findings
    assert (finding.rule, finding.file, finding.line) == ("cwl/mixed-versions", "main.cwl", 1)
    assert "old.cwl is v1.0" in finding.message


def test_document_when_it_is_no_cwl_then_packing_says_what_checking_says(validator: Validator) -> None:
    bundle = Bundle({"main.cwl": ECHO.replace(b"baseCommand", b"baseComand")}, "main.cwl")
    with pytest.raises(InvalidDocument) as checked:
        validator.check(bundle)
    with pytest.raises(InvalidDocument) as packed:
        validator.pack(bundle)
    assert packed.value.findings == checked.value.findings
