"""Late files that the document itself reads: in expressions, in conditions, in folders and in nested workflows."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stemma.engines.cwltool.reading import ports_read
from stemma.engines.protocol import JobState
from stemma.states import StepState
from support.cwltool_bench import TAG, Bench, Seen, bench_in
from support.late_bench import deliver, late, until, waits

HEAD = """
cwlVersion: v1.2
class: Workflow
requirements:
  ScatterFeatureRequirement: {}
  SubworkflowFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  InlineJavascriptRequirement: {}
  MultipleInputFeatureRequirement: {}
"""
SAY = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs: {text: {type: Any, inputBinding: {}}, file: File?}
stdout: said.txt
outputs: {said: stdout}
"""
SAYS = f"""{HEAD}
inputs: {{files: "File[]", skips: {{type: boolean, default: false}}}}
steps:
  say:
    run: say.cwl
    scatter: text
    when: $(!inputs.skips)
    in: {{text: {{source: files, VALUE}}, skips: skips}}
    out: [said]
outputs: {{said: {{type: Any, outputSource: say/said}}}}
"""
ONE = f"""{HEAD}
inputs: {{file: File, other: File}}
steps:
  say: {{run: say.cwl, in: {{file: other, text: {{source: file, VALUE}}}}, out: [said]}}
outputs: {{said: {{type: File, outputSource: say/said}}}}
"""
FOLDER = """
cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: [sh, -c]
inputs:
  folder: {type: Directory, loadListing: deep_listing}
  index: {type: File, secondaryFiles: [.idx]}
arguments:
  - 'cat "$0"/*.txt "$0"/inner/* "$1" "$1".idx; echo $2'
  - $(inputs.folder.path)
  - $(inputs.index.path)
  - '$(inputs.folder.listing.map(function (f) { return f.basename + f.size + f.checksum }).sort().join())'
stdout: all.txt
outputs: {all: stdout}
"""
EVERYTHING = f"""{HEAD}
inputs: {{files: "File[]", folder: {{type: Directory, loadListing: deep_listing}}, index: File, kept: File}}
steps:
  sizes:
    run: say.cwl
    scatter: text
    in: {{text: {{source: files, valueFrom: "$(self.size)-$(self.checksum)"}}}}
    out: [said]
  folder: {{run: folder.cwl, in: {{folder: folder, index: index}}, out: [all]}}
  nested:
    run: nested.cwl
    scatter: file
    when: $(inputs.file.basename != "b.txt")
    in: {{file: files, other: kept}}
    out: [said, same]
outputs:
  sizes: {{type: Any, outputSource: sizes/said}}
  folder: {{type: File, outputSource: folder/all}}
  nested: {{type: Any, outputSource: nested/said}}
  same: {{type: Any, outputSource: nested/same}}
  kept: {{type: File, outputSource: kept}}
  whole: {{type: Directory, outputSource: folder}}
"""
NESTED = f"""{HEAD}
inputs: {{file: File, other: File}}
steps:
  hand: {{run: hand.cwl, in: {{file: file}}, out: [same, size]}}
  say: {{run: say.cwl, in: {{file: hand/same, text: {{source: other, loadContents: true, valueFrom: $(self.contents)}}}}, out: [said]}}
outputs: {{said: {{type: File, outputSource: say/said}}, same: {{type: File, outputSource: hand/same}}}}
"""
HAND = """
cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {file: File}
expression: '$({"same": inputs.file, "size": inputs.file.size})'
outputs: {same: File, size: int}
"""
DOCUMENTS = {"say.cwl": SAY, "folder.cwl": FOLDER, "nested.cwl": NESTED, "hand.cwl": HAND}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


def _start(bench: Bench, main: str, inputs: dict[str, object]) -> str:
    return bench.submit(bench.job(bench.revision({"main.cwl": main, **DOCUMENTS}), inputs))


def _text(output: dict[str, str]) -> str:
    return Path(output["location"]).read_text()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("valueFrom: $(self.size)", "4\n"),
        ("loadContents: true, valueFrom: $(self.contents.trim())", "one\n"),
        ("valueFrom: '$(self.checksum.slice(0, 7))'", "sha256:\n"),
        ("valueFrom: $(inputs.file.size + self.size)", "10\n"),
    ],
)
def test_step_when_its_value_is_read_from_a_late_file_then_it_waits_for_it(bench: Bench, value: str, said: str) -> None:
    file, other = late("file.txt"), late("other.txt")
    reference = _start(bench, ONE.replace("VALUE", value), {"file": file, "other": other})
    told = until(bench, reference, lambda told: told.waiting)
    assert {str(item) for item in told.waiting["say"].occurrences} == {file[TAG], other[TAG]}
    deliver(bench, reference, other, "other\n")
    deliver(bench, reference, file, "one\n")
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert _text(seen.report.outputs["said"]) == said


def test_scatter_when_values_are_read_from_late_files_then_each_element_waits_for_its_own(bench: Bench) -> None:
    files = [late("0.txt"), late("1.txt")]
    reference = _start(bench, SAYS.replace("VALUE", "valueFrom: $(self.size)"), {"files": files})
    until(bench, reference, lambda told: len(told.waiting) == 2)
    deliver(bench, reference, files[1], "12345\n")
    assert until(bench, reference, lambda told: told.ended).ended == {"say[1]"}
    deliver(bench, reference, files[0], "1\n")
    assert [_text(file) for file in bench.follow(reference).report.outputs["said"]] == ["2\n", "6\n"]


def test_step_when_it_is_skipped_by_what_is_known_then_it_does_not_wait(bench: Bench) -> None:
    files = [late("0.txt"), late("1.txt")]
    reference = _start(bench, SAYS.replace("VALUE", "valueFrom: $(self.basename)"), {"files": files, "skips": True})
    seen = bench.follow(reference)
    assert seen.report.outputs == {"said": [None, None]}
    assert waits(seen) == {}
    assert {step.state for step in seen.ended.values()} == {StepState.SKIPPED}


def test_element_when_its_value_cannot_be_computed_then_the_reason_names_it(bench: Bench) -> None:
    files = [late("0.txt"), late("1.txt")]
    reference = _start(bench, SAYS.replace("VALUE", "valueFrom: $(self.size.no.such)"), {"files": files})
    deliver(bench, reference, files[1], "1\n")
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FAILED
    assert seen.report.reason.startswith("step 'say[1]' could not be started")


def test_workflow_when_it_loads_contents_itself_then_it_waits_for_that_file_alone(bench: Bench) -> None:
    main = ONE.replace("file: File,", "file: {type: File, loadContents: true},")
    file, other = late("file.txt"), late("other.txt")
    reference = _start(
        bench, main.replace("VALUE", "valueFrom: $(self.contents.trim())"), {"file": file, "other": other}
    )
    deliver(bench, reference, file, "one\n")
    told = until(bench, reference, lambda told: told.waiting)
    assert [str(item) for item in told.waiting["say"].occurrences] == [other[TAG]]
    deliver(bench, reference, other, "other\n")
    assert _text(bench.follow(reference).report.outputs["said"]) == "one\n"


def test_nested_workflow_when_one_of_its_files_is_late_then_only_the_step_in_it_waits(bench: Bench) -> None:
    main = f"""{HEAD}
inputs: {{files: "File[]", other: File}}
steps: {{each: {{run: nested.cwl, scatter: file, in: {{file: files, other: other}}, out: [said, same]}}}}
outputs: {{said: {{type: Any, outputSource: each/said}}}}
"""
    files, other = [late("0.txt"), bench.file("here\n", "1.txt")], late("other.txt")
    reference = _start(bench, main, {"files": files, "other": other})
    told = until(bench, reference, lambda told: "each[1]/hand" in told.ended and "each[1]/say" in told.waiting)
    assert set(told.waiting) == {"each[0]/hand", "each[1]/say"}
    deliver(bench, reference, other, "other\n")
    until(bench, reference, lambda told: "each[1]" in told.ended)
    deliver(bench, reference, files[0], "late\n")
    seen = bench.follow(reference)
    assert [_text(file) for file in seen.report.outputs["said"]] == ["other\n\n", "other\n\n"]
    assert waits(seen) == {"each[0]/hand": [files[0][TAG]], "each[1]/say": [other[TAG]]}


@pytest.mark.parametrize(
    ("method", "keys"),
    [
        ("flat_crossproduct", ["say[0]", "say[1]", "say[2]", "say[3]"]),
        ("nested_crossproduct", ["say[0][0]", "say[0][1]", "say[1][0]", "say[1][1]"]),
    ],
)
def test_scatter_when_it_crosses_late_files_then_each_element_waits_for_its_two(
    bench: Bench, method: str, keys: list[str]
) -> None:
    main = f"""{HEAD}
inputs: {{a: "File[]", b: "File[]"}}
steps:
  say: {{run: say.cwl, scatter: [text, file], scatterMethod: {method}, in: {{text: {{source: a, valueFrom: $(self.size)}}, file: b}}, out: [said]}}
outputs: {{said: {{type: Any, outputSource: say/said}}}}
"""
    a, b = [late("a0.txt"), late("a1.txt")], [late("b0.txt"), late("b1.txt")]
    reference = _start(bench, main, {"a": a, "b": b})
    told = until(bench, reference, lambda told: len(told.waiting) == 4)
    assert sorted(told.waiting) == keys
    deliver(bench, reference, a[1], "a1\n")
    deliver(bench, reference, b[0], "b\n")
    assert until(bench, reference, lambda told: told.ended).ended == {keys[2]}
    deliver(bench, reference, b[1], "b1\n")
    until(bench, reference, lambda told: told.ended == {keys[2], keys[3]})
    deliver(bench, reference, a[0], "a\n")
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    said = seen.report.outputs["said"]
    flat = said if method.startswith("flat") else [file for row in said for file in row]
    assert [_text(file) for file in flat] == ["2\n", "2\n", "3\n", "3\n"]


def _inputs(bench: Bench, make: Any) -> tuple[dict[str, object], dict[str, tuple[dict[str, object], str]]]:
    """The inputs of the document that has everything, and the texts of their files."""
    files: dict[str, tuple[dict[str, object], str]] = {}

    def file(basename: str, text: str, **more: Any) -> dict[str, object]:
        made = make(basename, text, **more)
        files[basename] = made, text
        return made

    inner = bench.directory("inner", file("deep.txt", "deep\n"))
    index = file("i.dat", "data\n", secondaryFiles=[file("i.dat.idx", "index\n")])
    inputs = {
        "files": [file("a.txt", "a\n"), file("b.txt", "bb\n"), file("c.txt", "a\n")],
        "folder": bench.directory("folder", file("x.txt", "x\n"), inner, file("y.txt", "yyy\n")),
        "index": index,
        "kept": file("kept.txt", "kept\n"),
    }
    return inputs, files


def _record(seen: Seen) -> Any:
    """What the record says, told by names instead of identities and times."""
    names = {step.uuid: key for key, step in seen.started.items()}
    files = {item.uuid: (names.get(item.step), item.port, item.position) for item in seen.occurrences.values()}
    used = {key: {port: files.get(item, "input") for port, item in seen.used(key).items()} for key in seen.started}
    made = {
        files[item.uuid]: (item.content, item.basename, [files.get(origin, "input") for origin in item.derived_from])
        for item in seen.occurrences.values()
    }
    steps = {
        key: (step.path, step.scatter_index, step.literals, seen.ended[key].state) for key, step in seen.started.items()
    }
    return steps, used, made, _plain(seen.report.outputs)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if key not in {"location", TAG}}
    return [_plain(part) for part in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The record of a run that had all files from the start."""
    with bench_in(tmp_path_factory.mktemp("bench")) as bench:
        inputs, _ = _inputs(bench, lambda basename, text, **more: bench.file(text, basename, **more))
        seen = bench.follow(_start(bench, EVERYTHING, inputs))
        assert seen.report.state is JobState.FINISHED, seen.report.reason
        return _record(seen)


@pytest.fixture(scope="module")
def module_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench_in(tmp_path_factory.mktemp("bench")) as made:
        yield made


_NAMES = ("a.txt", "b.txt", "c.txt", "x.txt", "deep.txt", "y.txt", "i.dat", "i.dat.idx", "kept.txt")


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(_NAMES),
    pauses=st.sets(st.integers(0, len(_NAMES) - 1), max_size=3),
    taken_back=st.sets(st.sampled_from(_NAMES), max_size=3),
)
def test_run_when_files_come_in_any_order_then_the_same_outputs_and_the_same_record(
    module_bench: Bench, expected: Any, order: list[str], pauses: set[int], taken_back: set[str]
) -> None:
    bench = module_bench
    inputs, files = _inputs(bench, lambda basename, _, **more: late(basename, **more))
    reference = _start(bench, EVERYTHING, inputs)
    for number, name in enumerate(order):
        if number in pauses:
            until(bench, reference, lambda told: told.waiting)
        deliver(bench, reference, *files[name])
        if name in taken_back and bench.engine.recall(reference, UUID(str(files[name][0][TAG]))):
            deliver(bench, reference, *files[name])
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert _record(seen) == expected


_READ = {
    "$(inputs.a)": set(),
    "$(self)": set(),
    "$(self.basename)": set(),
    "$(inputs.a.nameroot).$(inputs['b'].basename)": set(),
    "$(inputs.a[0].path)": set(),
    "$(inputs.n > 3)": {"#n"},
    "$(self.size)": {"#a"},
    "x-$(inputs.b)": {"#b"},
    "$(inputs.b[0].secondaryFiles[0].size)": {"#b"},
    "${ return inputs['b'].contents }": {"#b"},
    "${ var i = inputs; return i.b.size }": None,
    "$(JSON.stringify(inputs))": None,
    "$(inputs[self.basename])": None,
    "$(runtime.cores)": set(),
    "plain": set(),
}


@pytest.mark.parametrize(("field", "text"), list(itertools.product(["valueFrom", "when"], _READ)))
def test_ports_read_when_an_expression_is_looked_at_then_what_it_may_read(field: str, text: str) -> None:
    ports = [{"id": "#a"}, {"id": "#b"}, {"id": "#n"}]
    tool = {"inputs": ports} | ({"when": text} if field == "when" else {})
    if field == "valueFrom":
        ports[0]["valueFrom"] = text
    step = SimpleNamespace(tool=tool, step=SimpleNamespace(get_requirement=lambda _: (None, None)))
    read = _READ[text]
    assert ports_read(step) == ({""} if field == "when" and read == {"#a"} else read)
