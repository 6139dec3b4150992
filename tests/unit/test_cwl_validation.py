"""The check of documents: what passes, what every kind of mistake is told as, and that nothing leaks or hangs."""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemma.cwl.bundle import Bundle, read_upload
from stemma.cwl.collect import collect
from stemma.cwl.helper import Validator
from stemma.errors import Finding, InvalidDocument, ValidatorUnavailable
from stemma.forkserver import ForkServer
from stemma.records import StepKind

EXAMPLES = Path(__file__).parents[2] / "examples"
GIB = 1 << 30

FLOW = """cwlVersion: v1.2
class: Workflow
inputs: {x: string}
steps:
  one:
    run: t.cwl
    in: {a: x}
    out: [o]
outputs:
  r: {type: File, outputSource: one/o}
"""
TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs:
  a: string
  b: int?
outputs:
  o: stdout
stdout: x.txt
"""
JS = "requirements: {InlineJavascriptRequirement: {}}\n"
SCATTER = "requirements: {ScatterFeatureRequirement: {}}\n"


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    with Validator(20, GIB) as started:
        yield started


def bundle(main: str, **files: str) -> Bundle:
    named = {name.replace("_", "."): text.encode() for name, text in files.items()}
    return Bundle({"main.cwl": main.encode(), **named}, "main.cwl")


def refused(validator: Validator, given: Bundle) -> list[Finding]:
    with pytest.raises(InvalidDocument) as caught:
        validator.check(given)
    findings = list(caught.value.findings)
    for finding in findings:
        assert not re.search(
            r"/(work|tmp|root|usr|home)/|stemma-bundle|stemma-check|file:///\w*bundle", finding.message
        )
        assert "\n" not in finding.message
        assert finding.file is None or finding.file in given.files
    return findings


def places(findings: list[Finding]) -> list[tuple[str, str | None, int | None, int | None]]:
    return [(one.rule, one.file, one.line, one.column) for one in findings]


FLOW_MISTAKES = {
    "unknown field": (FLOW + "lable: hi\n", "cwl/unknown-field", 11, 1, "did you mean 'label'"),
    "unknown field of an input": (FLOW.replace("string}", "{type: string, foo: 1}}"), "cwl/unknown-field", 3, 28, "foo"),
    "unknown type": (FLOW.replace("x: string", "x: strng"), "cwl/unknown-type", 3, 13, "did you mean 'string'"),
    "unknown source": (FLOW.replace("a: x", "a: y"), "cwl/unknown-source", 7, 13, "known are one/o, x"),
    "unknown output source": (FLOW.replace("one/o", "one/p"), "cwl/unknown-source", 10, 33, "did you mean 'one/o'"),
    "types that differ": (FLOW.replace("x: string", "x: File"), "cwl/incompatible-types", 7, 10, "step 'one'"),
    "no value for an input": (FLOW.replace("{a: x}", "{b: {default: 1}}"), "cwl/missing-source", 7, 5, "'a'"),
    "an input without a source": (FLOW.replace("{a: x}", "{a: {}}"), "cwl/missing-source", 7, 10, "'a'"),
    "unknown output of a step": (FLOW.replace("[o]", "[o, q]"), "cwl/unknown-output", 8, 14, "it has 'o'"),
    "no run": (FLOW.replace("run: t.cwl", "label: t"), "cwl/missing-field", 5, 3, "'run'"),
    "no outputs": (FLOW.split("outputs", maxsplit=1)[0], "cwl/missing-field", 1, 1, "'outputs'"),
    "undefined run": (FLOW.replace("t.cwl", "u.cwl"), "cwl/undefined-run", 6, 10, "did you mean 't.cwl'"),
    "undefined part": (FLOW.replace("t.cwl", "t.cwl#zz"), "cwl/undefined-run", 6, 10, "'zz'"),
    "remote run": (FLOW.replace("t.cwl", "https://example.org/t.cwl"), "cwl/remote-reference", 6, 10, "bundle"),
    "run outside": (FLOW.replace("t.cwl", "../../t.cwl"), "cwl/outside-bundle", 6, 10, "leads out"),
    "runs itself": (FLOW.replace("t.cwl", "main.cwl"), "cwl/recursion", 6, 10, "break the circle"),
    "scatter without its feature": (FLOW.replace("out:", "scatter: a\n    out:"), "cwl/missing-requirement", 8, 5, "Scatter"),
    "scatter over nothing": (
        FLOW.replace("steps:", SCATTER + "steps:").replace("out:", "scatter: z\n    out:"),
        "cwl/unknown-scatter",
        9,
        14,
        "known are a",
    ),
    "scatter without its method": (
        FLOW.replace("steps:", SCATTER + "steps:").replace("{a: x}", "{a: x, b: x}\n    scatter: [a, b]"),
        "cwl/scatter-method",
        9,
        5,
        "scatterMethod",
    ),
    "an id twice": (FLOW.replace("{x: string}", "[{id: x, type: string}, {id: x, type: int}]"), "cwl/duplicate-id", 3, 38, "'x'"),
    "an operation": (FLOW.replace("t.cwl", "{class: Operation, inputs: {a: Any}, outputs: {o: File}}"), "cwl/operation", 6, 18, "Operation"),
    "unknown requirement": (FLOW + "requirements: {ScaterFeatureRequirement: {}}\n", "cwl/unknown-requirement", 11, 16, "ScatterFeature"),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOW_MISTAKES)
def test_check_when_a_workflow_has_a_mistake_then_it_is_one_finding_at_its_place(validator, name):
    text, rule, line, column, said = FLOW_MISTAKES[name]
    findings = refused(validator, bundle(text, t_cwl=TOOL))
    assert places(findings) == [(rule, "main.cwl", line, column)], findings
    assert said in findings[0].message


TOOL_MISTAKES = {
    "version": (TOOL.replace("v1.2", "v3"), "cwl/version", 1, 13, "v1.0, v1.1, v1.2"),
    "no version": (TOOL.replace("cwlVersion: v1.2\n", ""), "cwl/version", 1, 1, "cwlVersion"),
    "development version": (TOOL.replace("v1.2", "v1.3.0-dev1"), "cwl/version", 1, 13, "unknown version"),
    "class": (TOOL.replace("LineTool", "LineTol"), "cwl/class", 2, 8, "did you mean 'CommandLineTool'"),
    "no class": (TOOL.replace("class: CommandLineTool\n", ""), "cwl/class", 1, 1, "class is missing"),
    "operation": ("cwlVersion: v1.2\nclass: Operation\ninputs: []\noutputs: []\n", "cwl/operation", 2, 8, "cannot be run"),
    "wrong type": (TOOL.replace("echo", "{a: b}"), "cwl/wrong-type", 3, 1, "'baseCommand' is a mapping"),
    "javascript": (TOOL.replace("x.txt", "$(1 + 1).txt"), "cwl/missing-requirement", 9, 9, "'$(1 + 1)' is JavaScript"),
    "open expression": (TOOL.replace("x.txt", "$(inputs.a"), "cwl/expression", 9, 9, "not closed"),
    "not yaml": (TOOL + "doc: [\n", "yaml/syntax", 11, 1, "not YAML"),
    "tab": (TOOL.replace("  a:", "\ta:"), "yaml/tab", 5, 1, "spaces"),
    "key twice": (TOOL + "stdout: y\n", "yaml/duplicate-key", 10, 1, "'stdout'"),
    "key no text": (TOOL + "1: y\n", "yaml/key", 10, 1, "quotes"),
    "nul": (TOOL + "doc: a\0b\n", "yaml/character", 10, 7, "U+0000"),
    "tag": (TOOL + "doc: !!python/object/apply:os.system [ls]\n", "yaml/tag", 10, 6, "tag"),
    "bomb": ("".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(9)), "yaml/alias-bomb", 1, 10, "aliases"),
    "depth": ("a: " + "[" * 5000 + "]" * 5000, "yaml/too-deep", 1, 103, "nested"),
    "two documents": (TOOL + "---\n" + TOOL, "yaml/several-documents", 10, 1, "several"),
    "list": ("- a\n", "cwl/not-cwl", 1, 1, "mapping"),
    "include of the server": (TOOL + "doc: {$include: 'file:///etc/passwd'}\n", "cwl/remote-reference", 10, 17, "bundle"),
    "include by path": (TOOL + "doc: {$include: /etc/passwd}\n", "cwl/absolute-reference", 10, 17, "absolute"),
    "import above": (TOOL + "hints: [{$import: ../../../../etc/passwd}]\n", "cwl/outside-bundle", 10, 19, "leads out"),
    "schemas from the net": (TOOL + "$schemas: ['http://example.org/x.owl']\n", "cwl/remote-reference", 10, 12, "remote"),
    "include that is missing": (TOOL + "doc: {$include: x.md}\n", "cwl/missing-file", 10, 17, "'x.md'"),
    "default of the server": (TOOL.replace("int?", "{type: File, default: {class: File, path: /etc/passwd}}"), "cwl/absolute-reference", 6, 48, "absolute"),
    "default that is missing": (TOOL.replace("int?", "{type: File, default: {class: File, location: n.txt}}"), "cwl/missing-file", 6, 52, "n.txt"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOOL_MISTAKES)
def test_check_when_a_tool_has_a_mistake_then_it_is_one_finding_at_its_place(validator, name):
    text, rule, line, column, said = TOOL_MISTAKES[name]
    findings = refused(validator, bundle(text))
    if name == "bomb":
        assert [finding.rule for finding in findings] == [rule]
    else:
        assert places(findings) == [(rule, "main.cwl", line, column)], findings
    assert said in findings[0].message


def test_check_when_the_mistake_is_in_a_tool_of_a_step_then_its_file_is_told(validator):
    findings = refused(validator, bundle(FLOW, t_cwl=TOOL + "foo: 3\n"))
    assert places(findings) == [("cwl/unknown-field", "t.cwl", 10, 1)]


def test_check_when_several_sources_are_wrong_then_all_are_told(validator):
    findings = refused(validator, bundle(FLOW.replace("a: x", "a: y").replace("one/o", "two/o"), t_cwl=TOOL))
    assert [(one.line, one.column) for one in findings] == [(7, 13), (10, 33)]


def test_check_when_steps_wait_for_each_other_then_they_are_named(validator):
    flow = FLOW.replace("a: x", "a: two/o").replace(
        "outputs:", "  two: {run: t.cwl, in: {a: one/o}, out: [o]}\noutputs:"
    )
    findings = refused(validator, bundle(flow, t_cwl=TOOL.replace("a: string", "a: File")))
    assert places(findings) == [("cwl/circular-steps", "main.cwl", 5, 3)]
    assert "one, two" in findings[0].message


def test_check_when_a_workflow_runs_a_workflow_without_the_feature_then_refused(validator):
    inner = "cwlVersion: v1.2\nclass: Workflow\ninputs: {a: string}\nsteps: []\noutputs: {o: {type: string, outputSource: a}}\n"
    findings = refused(validator, bundle(FLOW.replace("File", "string"), t_cwl=inner))
    assert places(findings) == [("cwl/missing-requirement", "main.cwl", 6, 5)]


def test_check_when_types_may_differ_then_it_passes_with_a_warning(validator):
    checked = validator.check(bundle(FLOW.replace("x: string", "x: string?"), t_cwl=TOOL))
    assert places(list(checked.warnings)) == [("cwl/doubtful-types", "main.cwl", 7, 10)]


def test_check_when_javascript_is_asked_for_by_the_workflow_then_its_tools_may_use_it(validator):
    tool = TOOL.replace("x.txt", "$(1 + 1).txt")
    assert refused(validator, bundle(FLOW, t_cwl=tool))[0].file == "t.cwl"
    assert validator.check(bundle(FLOW + JS, t_cwl=tool)).structure.steps[0].path == "one"


@pytest.mark.parametrize(
    ("given", "feature", "place"),
    [
        ("{a: {source: x, valueFrom: $(self)}}", "StepInputExpressionRequirement", (7, 25)),
        ("{a: {source: [x, x], linkMerge: merge_flattened}}", "MultipleInputFeatureRequirement", (7, 13)),
    ],
)
def test_check_when_a_link_uses_a_feature_then_it_must_be_asked_for(validator, given, feature, place):
    tool = TOOL.replace("a: string", "a: Any")
    text = FLOW.replace("{a: x}", given)
    (finding,) = refused(validator, bundle(text, t_cwl=tool))
    assert (finding.rule, finding.line, finding.column) == ("cwl/missing-requirement", *place)
    assert feature in finding.message
    validator.check(bundle(text + f"requirements: {{{feature}: {{}}}}\n", t_cwl=tool))


@pytest.mark.parametrize(
    "line",
    [
        "cwl:tool: file:///etc/passwd",
        "x: &x {$include: /etc/passwd}\ndoc: *x",
        '"doc": {"$incl\\u0075de": "/etc/passwd"}',
        "<<: {doc: {$include: /etc/passwd}}",
        "doc: {$include: '..%2F..%2Fetc/passwd'}",
        "doc: {$include: '//localhost/etc/passwd'}",
        "requirements: [{class: SchemaDefRequirement, types: [{$import: '/proc/self/environ#x'}]}]",
        "$mixin: /etc/passwd",
    ],
)
def test_check_when_a_document_reaches_for_the_server_in_a_roundabout_way_then_it_gets_nothing(validator, line):
    findings = refused(validator, bundle(TOOL + line + "\n"))
    assert not any("root:" in finding.message for finding in findings)


def test_check_when_a_default_number_is_beyond_64_bits_then_it_is_a_float(validator):
    text = TOOL.replace("int?", "{type: double, default: 4200000000000000000000000}")
    assert validator.check(bundle(text)).structure.inputs[1].default == 4.2e24


def test_check_when_an_expression_is_escaped_or_a_reference_then_it_passes(validator):
    text = TOOL.replace(
        "echo", r"echo" + "\narguments: ['\\$(date)', '$(inputs.a)', '$(inputs[\"b\"])-$(runtime.cores)']"
    )
    assert validator.check(bundle(text)).structure.cwl_class == "CommandLineTool"


@pytest.mark.parametrize("version", ["v1.0", "v1.1", "v1.2"])
def test_check_when_a_real_bundle_of_each_version_then_its_structure_is_told(validator, version):
    upload = collect(EXAMPLES / "first" / "main.cwl")
    given = read_upload(upload.filename, upload.content)
    files = {path: given.read(path).replace(b"v1.2", version.encode()) for path in given.files}
    structure = validator.check(Bundle(files, "main.cwl")).structure
    assert (structure.cwl_version, structure.cwl_class) == (version, "Workflow")
    assert [port.id for port in structure.inputs] == ["text", "shortest", "how_many"]
    assert [(port.type, port.required, port.default) for port in structure.inputs][:2] == [
        ("File", True, None),
        ("int", False, 4),
    ]
    assert [(step.path, step.run, step.outputs) for step in structure.steps] == [
        ("count", "count.cwl", ("counts",)),
        ("rank", "rank.cwl", ("ranking",)),
    ]
    assert structure.steps[1].inputs[0].sources == ("count/counts",)
    assert structure.outputs[0].sources == ("rank/ranking",)


def test_check_when_workflows_are_nested_then_steps_are_too(validator):
    upload = collect(EXAMPLES / "weather" / "main.cwl")
    checked = validator.check(read_upload(upload.filename, upload.content))
    steps = {step.path: step for step in checked.structure.steps}
    assert list(steps) == ["check", "split", "city_year", "merge", "draw", "compare"]
    city = steps["city_year"]
    assert (city.kind, city.scatter, city.run) == (StepKind.WORKFLOW, ("days",), "city-year.cwl")
    assert [(step.path, step.run, step.conditional) for step in city.steps] == [
        ("city_year/summarise", "tools/summarise.cwl", False),
        ("city_year/report", "tools/report.cwl", True),
    ]
    assert city.steps[1].inputs[0].sources == ("summarise/dry_spells",)
    assert checked.structure.outputs[-1].type == {"type": "array", "items": "File"}


GRAPH = """cwlVersion: {version}
$graph:
- id: {main}
  class: Workflow
  requirements: {{SubworkflowFeatureRequirement: {{}}}}
  inputs: {{x: string}}
  outputs: {{r: {{type: File, outputSource: inner/o}}}}
  steps:
    inner:
      in: {{a: x}}
      out: [o]
      run:
        class: Workflow
        inputs: {{a: string}}
        outputs: {{o: {{type: File, outputSource: last/o}}}}
        steps: {{last: {{run: "#t", in: {{a: a}}, out: [o]}}}}
- id: t
  class: CommandLineTool
  hints: {{DockerRequirement: {{dockerPull: "debian:12"}}}}
  baseCommand: echo
  inputs: {{a: string}}
  outputs: {{o: stdout}}
"""


@pytest.mark.parametrize("version", ["v1.0", "v1.1", "v1.2"])
@pytest.mark.parametrize(("main", "path"), [("main", "main.cwl"), ("go", "main.cwl#go")])
def test_check_when_packed_then_the_process_that_is_meant_is_read(validator, version, main, path):
    text = GRAPH.format(version=version, main=main)
    structure = validator.check(Bundle({"main.cwl": text.encode()}, path)).structure
    (inner,) = structure.steps
    (last,) = inner.steps
    assert (structure.cwl_version, inner.path, inner.run, inner.kind) == (version, "inner", "inner", StepKind.WORKFLOW)
    assert (last.path, last.run, last.image, last.image_required) == ("inner/last", "main.cwl#t", "debian:12", False)
    assert (last.inputs[0].sources, inner.inputs[0].sources, structure.outputs[0].sources) == (
        ("a",),
        ("x",),
        ("inner/o",),
    )


def test_check_when_packed_without_main_then_the_choices_are_told(validator):
    findings = refused(validator, bundle(GRAPH.format(version="v1.2", main="go")))
    assert [finding.rule for finding in findings] == ["cwl/no-main"]
    assert "#go, #t" in findings[0].message


def test_check_when_types_are_defined_elsewhere_then_they_are_resolved(validator):
    types = "class: SchemaDefRequirement\ntypes:\n- name: kind\n  type: enum\n  symbols: [fast, slow]\n- {name: pair, type: record, fields: {k: 'types.yml#kind', n: 'int?'}}\n"
    tool = TOOL.replace("int?", "types.yml#pair[]").replace("inputs:", "requirements: [{$import: types.yml}]\ninputs:")
    structure = validator.check(bundle(tool, types_yml=types)).structure
    kind = {"type": "enum", "symbols": ["fast", "slow"]}
    fields = [{"name": "k", "type": kind}, {"name": "n", "type": "int?"}]
    assert structure.inputs[1].type == {"type": "array", "items": {"type": "record", "fields": fields}}


def test_check_when_a_single_tool_then_it_is_one_step(validator):
    structure = validator.check(bundle(TOOL)).structure
    (step,) = structure.steps
    assert (step.path, step.run, step.kind, step.outputs) == ("main", "main.cwl", StepKind.TOOL, ("o",))
    assert [port.type for port in structure.inputs] == ["string", "int?"]
    assert [port.required for port in structure.inputs] == [True, False]


def test_check_when_placeholders_then_they_are_kept_and_findings_keep_their_lines(validator):
    text = FLOW.replace("{x: string}", '\n  x:\n    valueFromEntity: "{{5}}"\n    type: string')
    given = bundle(text, t_cwl=TOOL)
    checked = validator.check(given)
    assert [(one.port, one.value, one.line) for one in checked.placeholders] == [("x", "5", 5)]
    assert b"valueFromEntity" not in checked.bundle_for_execution.read("main.cwl")
    assert b"valueFromEntity" in given.read("main.cwl")
    findings = refused(validator, bundle(text.replace("a: x", "a: y"), t_cwl=TOOL))
    assert [(one.line, one.column) for one in findings] == [(10, 13)]


def test_check_when_a_default_file_is_in_the_bundle_then_it_passes(validator):
    text = TOOL.replace("int?", "{type: File, default: {class: File, location: 'a%20b.txt'}}")
    given = Bundle({"main.cwl": text.encode(), "a b.txt": b"\xff\x00"}, "main.cwl")
    structure = validator.check(given).structure
    assert structure.inputs[1].default == {"class": "File", "location": "a b.txt"}


def test_check_when_it_takes_too_long_then_the_document_is_refused_and_the_next_passes():
    levels = 22  # twice the steps at each level
    flow = "cwlVersion: v1.2\nclass: Workflow\nrequirements: {{SubworkflowFeatureRequirement: {{}}}}\ninputs: []\noutputs: []\nsteps:\n  a: {{run: {0}, in: [], out: []}}\n  b: {{run: {0}, in: [], out: []}}\n"
    files = {f"{n}.cwl": flow.format(f"{n + 1}.cwl").encode() for n in range(levels)}
    files[f"{levels}.cwl"] = b"{cwlVersion: v1.2, class: CommandLineTool, baseCommand: x, inputs: [], outputs: []}"
    with Validator(1.0, GIB) as validator:
        validator.check(bundle(TOOL))
        began = time.monotonic()
        findings = refused(validator, Bundle(files, "0.cwl"))
        assert time.monotonic() - began < 10
        assert [one.rule for one in findings] == ["cwl/too-much-time"]
        assert validator.check(bundle(TOOL)).structure.cwl_class == "CommandLineTool"


def test_check_when_it_takes_too_much_memory_then_the_document_is_refused():
    text = TOOL + "doc: |\n" + "  a line of no use\n" * 200_000
    with Validator(20, 8 << 20) as validator:
        assert validator.check(bundle(TOOL)).structure.cwl_class == "CommandLineTool"
        assert [one.rule for one in refused(validator, bundle(text))] == ["cwl/too-much-memory"]


def test_check_when_the_helper_was_killed_then_it_is_started_anew(validator):
    validator.check(bundle(TOOL))
    process = validator._server._process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert validator.check(bundle(TOOL)).structure.cwl_class == "CommandLineTool"


def test_check_when_the_helper_cannot_start_then_unavailable_and_not_the_documents_fault():
    broken = Validator(20, GIB)
    broken._server = ForkServer("stemma.cwl.nowhere:serve")
    with broken, pytest.raises(ValidatorUnavailable):
        broken.check(bundle(TOOL))


def test_check_when_called_from_many_threads_then_each_gets_its_own_answer(validator):
    found = {}

    def ask(number: int) -> None:
        found[number] = validator.check(bundle(TOOL + f"label: number {number}\n")).structure.label

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: f"number {number}" for number in range(8)}


def test_check_when_the_document_is_over_its_limit_then_refused():
    with Validator(20, GIB, document_bytes=len(TOOL)) as small:
        small.check(bundle(TOOL))
        assert [one.rule for one in refused(small, bundle(FLOW, t_cwl=TOOL + "doc: more"))] == ["cwl/too-large"]
