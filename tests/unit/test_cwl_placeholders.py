"""Placeholders: taken out of the document, kept beside it, nothing else moved."""

import json

import pytest

from stemma.cwl.bundle import Bundle
from stemma.cwl.nodes import read
from stemma.cwl.placeholders import Placeholder, PlaceholderKind, extract
from stemma.errors import InvalidDocument


def taken(text: str, main: str = "main.cwl"):
    before = Bundle({"main.cwl": text.encode()}, main)
    after, placeholders = extract(before)
    assert before.read("main.cwl") == text.encode()
    blanked = after.read("main.cwl").decode()
    assert [len(line) for line in blanked.splitlines()] == [len(line) for line in text.splitlines()]
    assert "valueFrom" not in blanked.replace("valueFrom:", "")
    return read(blanked, "main.cwl").to_json(), placeholders


BLOCK = """class: Workflow
inputs:
  text:
    valueFromPlatform: "{{https://example.org/é?a=1}}"
    type: File
  other:
    type: File # really
    valueFromEntity: '{{5}}'   # the fifth
  plain: string
outputs: []
"""


def test_extract_when_inputs_are_a_mapping_then_both_kinds_are_found():
    document, placeholders = taken(BLOCK)
    assert document["inputs"] == {"text": {"type": "File"}, "other": {"type": "File"}, "plain": "string"}
    assert placeholders == (
        Placeholder("text", PlaceholderKind.PLATFORM, "https://example.org/é?a=1", "main.cwl", 4, 24),
        Placeholder("other", PlaceholderKind.ENTITY, "5", "main.cwl", 8, 22),
    )


@pytest.mark.parametrize(
    "inputs",
    [
        '[{id: t, type: File, valueFromEntity: "{{5}}"}]',
        '[{id: t, valueFromEntity: "{{5}}", type: File}]',
        '[{valueFromEntity: "{{5}}", id: t, type: File}]',
        '[{valueFromEntity: "{{5}}"  # why\n   , id: t, type: File}]',
        "\n- valueFromEntity: '{{ 5 }}'\n  id: t\n  type: File",
        "\n- id: t\n  type: File\n  valueFromEntity: >-\n    {{5}}",
        '\n- {id: "#t", type: File,\n   valueFromEntity:\n     "{{5}}"\n  }',
    ],
)
def test_extract_when_written_in_any_way_then_the_rest_is_whole(inputs):
    document, placeholders = taken(f"class: Workflow\ninputs: {inputs}\noutputs: []\n")
    (port,) = document["inputs"]
    assert port["type"] == "File"
    assert "valueFromEntity" not in port
    assert [(one.port, one.value) for one in placeholders] == [("t", "5")]


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("indent", [None, 2])
def test_extract_when_json_then_it_stays_json(position, indent):
    entries = [("type", "File"), ("label", "x")]
    entries.insert(position, ("valueFromEntity", "{{5}}"))
    text = json.dumps({"class": "Workflow", "inputs": {"t": dict(entries)}}, indent=indent)
    after, placeholders = extract(Bundle({"m.cwl": text.encode()}, "m.cwl"))
    assert json.loads(after.read("m.cwl"))["inputs"] == {"t": {"type": "File", "label": "x"}}
    assert len(placeholders) == 1


def test_extract_when_in_a_graph_then_only_the_process_that_runs_may_have_them():
    graph = """$graph:
- {id: main, class: Workflow, inputs: {t: {type: File, valueFromEntity: "{{5}}"}}}
- {id: other, class: Workflow, inputs: {u: {type: File}}}
"""
    assert [one.port for one in taken(graph)[1]] == ["t"]
    assert [one.port for one in taken(graph.replace("main", "go"), "main.cwl#go")[1]] == ["t"]
    with pytest.raises(InvalidDocument, match="is run"):
        taken(graph, "main.cwl#other")


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ('valueFromEntity: "5"', (4, 22)),
        ('valueFromEntity: "{{x}}"', (4, 22)),
        ('valueFromEntity: "{{0}}"', (4, 22)),
        ("valueFromEntity: 5", (4, 22)),
        ("valueFromEntity: {{5}}", (4, 24)),
        ('valueFromPlatform: "{{file:///etc/passwd}}"', (4, 24)),
        ('valueFromPlatform: "https://example.org"', (4, 24)),
        ("valueFromPlatform: [x]", (4, 24)),
        ('valueFromPlatform: "{{https://a/b}}"\n    valueFromEntity: "{{5}}"', (5, 5)),
    ],
)
def test_extract_when_malformed_then_its_place_is_told(entry, place):
    text = f"class: Workflow\ninputs:\n  t:\n    {entry}\n    type: File\n"
    with pytest.raises(InvalidDocument) as caught:
        extract(Bundle({"m.cwl": text.encode()}, "m.cwl"))
    assert [(finding.line, finding.column) for finding in caught.value.findings] == [place]


def test_extract_when_there_are_none_then_the_bundle_is_the_same():
    bundle = Bundle({"m.cwl": b"class: Workflow\n"}, "m.cwl")
    assert extract(bundle) == (bundle, ())
