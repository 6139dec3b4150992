"""Which files are reported: every file has one identity for each place that it stands at, through all of CWL."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from stemma.engines.protocol import JobState
from stemma.records import FileKind
from support.cwltool_bench import TAG, Bench, Seen, bench_in

CAT = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs: {files: {type: "File[]", inputBinding: {}}}
stdout: all.txt
outputs: {all: stdout}
"""
PASS = """
cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {file: File, number: int}
outputs: {same: File, text: File, record: Any, folder: Directory}
expression: |
  ${ return {
       same: inputs.file,
       text: {class: "File", basename: "text.txt", contents: "literal\\n"},
       record: {number: inputs.number, file: inputs.file},
       folder: {class: "Directory", basename: "folder",
                listing: [inputs.file, {class: "File", basename: "in.txt", contents: "q"}]}}; }
"""
PLUMBING = """
cwlVersion: v1.2
class: Workflow
requirements: {MultipleInputFeatureRequirement: {}, StepInputExpressionRequirement: {}, InlineJavascriptRequirement: {}}
inputs: {one: File, two: File, none: "File?"}
steps:
  pass: {run: pass.cwl, in: {file: one, number: {valueFrom: $(3)}}, out: [same, text, record, folder]}
  merge: {run: cat.cwl, in: {files: {source: [one, two, pass/same, pass/text], linkMerge: merge_flattened}}, out: [all]}
  rebuild:
    run: cat.cwl
    in: {files: {source: one, valueFrom: '$([{"class": "File", "location": self.location, "basename": "new.txt"}])'}}
    out: [all]
  pick: {run: cat.cwl, in: {files: {source: [none, two], pickValue: all_non_null}}, out: [all]}
outputs:
  same: {type: File, outputSource: pass/same}
  text: {type: File, outputSource: pass/text}
  record: {type: Any, outputSource: pass/record}
  folder: {type: Directory, outputSource: pass/folder}
  handed: {type: File, outputSource: one}
"""
MAKE = """
cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
  InitialWorkDirRequirement:
    listing:
      - $(inputs.file)
      - entryname: script.sh
        entry: |
          mkdir -p d/e; echo 1 > d/a; echo 2 > d/e/b
          cat > x.bam; cat $(inputs.file.basename).idx > x.bam.bai
          cat $(inputs.folder.path)/a $(inputs.folder.path)/sub/c > r1; echo w > r2
          ln -s x.bam inside; ln -s $(inputs.folder.path)/a input_link; ln -s $(inputs.folder.path)/b d/z
inputs: {file: {type: File, secondaryFiles: [.idx]}, folder: Directory}
baseCommand: [sh, script.sh]
stdin: $(inputs.file.path)
outputs:
  folder: {type: Directory, outputBinding: {glob: d}}
  bam: {type: File, secondaryFiles: [.bai], outputBinding: {glob: x.bam}}
  record:
    type: {type: record, name: r, fields: {file: {type: File, outputBinding: {glob: r1}}, number: {type: int, outputBinding: {outputEval: $(7)}}}}
  array: {type: "File[]", outputBinding: {glob: "r*"}}
  length: {type: int, outputBinding: {glob: r1, loadContents: true, outputEval: "$(self[0].contents.length)"}}
  staged: {type: File, outputBinding: {glob: file.txt}}
  inside: {type: File, outputBinding: {glob: inside}}
  link: {type: File, outputBinding: {glob: input_link}}
"""
USE = """
cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}}
inputs: {folder: Directory, bam: {type: File, secondaryFiles: [.bai]}}
arguments:
  - {shellQuote: false, valueFrom: "find $(inputs.folder.path)/ -type f | sort | xargs cat; cat $(inputs.bam.path).bai $(inputs.folder.path)/z"}
stdout: used.txt
outputs: {used: stdout}
"""
FOLDERS = """
cwlVersion: v1.2
class: Workflow
inputs: {file: {type: File, secondaryFiles: [.idx]}, folder: Directory}
steps:
  make: {run: make.cwl, in: {file: file, folder: folder}, out: [folder, bam, record, array, length, staged, inside, link]}
  use: {run: use.cwl, in: {folder: make/folder, bam: make/bam}, out: [used]}
outputs:
  folder: {type: Directory, outputSource: make/folder}
  bam: {type: File, outputSource: make/bam}
  record: {type: Any, outputSource: make/record}
  array: {type: "File[]", outputSource: make/array}
  length: {type: int, outputSource: make/length}
  staged: {type: File, outputSource: make/staged}
  inside: {type: File, outputSource: make/inside}
  link: {type: File, outputSource: make/link}
  used: {type: File, outputSource: use/used}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


def _tag(value: dict[str, object]) -> UUID:
    return UUID(str(value[TAG]))


def _text(output: dict[str, str]) -> str:
    return Path(output["location"]).read_text()


@pytest.fixture
def plumbing(bench: Bench) -> tuple[Seen, UUID, UUID]:
    """A run in which values go every way, with two inputs that have the same bytes."""
    one, two = bench.file("same\n", "one.txt"), bench.file("same\n", "two.txt")
    revision = bench.revision({"main.cwl": PLUMBING, "pass.cwl": PASS, "cat.cwl": CAT})
    seen = bench.run(revision, {"one": one, "two": two})
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    return seen, _tag(one), _tag(two)


def test_usage_when_values_are_merged_then_each_file_by_its_own_identity(plumbing: tuple[Seen, UUID, UUID]) -> None:
    seen, one, two = plumbing
    made = seen.made("pass")
    assert seen.used("merge") == {
        "files[0]": one,
        "files[1]": two,
        "files[2]": made["same"].uuid,
        "files[3]": made["text"].uuid,
    }
    assert seen.used("pick") == {"files[0]": two}
    names = [Path(word).name for word in seen.started["merge"].command[1:]]
    assert names == ["one.txt", "two.txt", "one.txt", "text.txt"]


def test_usage_when_an_expression_builds_a_new_object_then_its_place_tells_which_file(
    plumbing: tuple[Seen, UUID, UUID],
) -> None:
    seen, one, _ = plumbing
    assert seen.used("rebuild") == {"files[0]": one}


def test_expression_when_it_hands_a_file_on_then_a_new_occurrence_that_comes_from_it(
    plumbing: tuple[Seen, UUID, UUID],
) -> None:
    seen, one, _ = plumbing
    made = seen.made("pass")
    assert set(made) == {"same", "text", "record.file", "folder", "folder.listing[0]", "folder.listing[1]"}
    assert {place for place, file in made.items() if file.derived_from == (one,)} == {
        "same",
        "record.file",
        "folder.listing[0]",
    }
    assert made["text"].content.size_bytes == len("literal\n")
    assert made["folder.listing[1]"].parent == made["folder"].uuid
    assert seen.started["pass"].literals == {"number": 3}


def test_outputs_when_one_file_stands_at_many_places_then_each_has_a_path_of_its_own(
    bench: Bench, plumbing: tuple[Seen, UUID, UUID]
) -> None:
    seen, one, _ = plumbing
    outputs = seen.report.outputs
    assert _tag(outputs["handed"]) == one
    files = list(bench.engine.outputs(seen.reference))
    assert len({file.path for file in files}) == len(files) == 6
    for file in files:
        file.path.rename(bench.runs / str(file.occurrence))
    assert (bench.runs / str(one)).read_text() == "same\n"
    assert outputs["record"]["number"] == 3
    assert [member["basename"] for member in outputs["folder"]["listing"]] == ["one.txt", "in.txt"]


@pytest.fixture
def folders(bench: Bench) -> tuple[Seen, dict[str, UUID]]:
    """A run with folders, secondary files, links and records."""
    index, a, b, c = (
        bench.file("i\n", "file.txt.idx"),
        bench.file("a\n", "a"),
        bench.file("a\n", "b"),
        bench.file("c\n", "c"),
    )
    sub = bench.directory("sub", c)
    inputs = {"file": bench.file("F\n", "file.txt", secondaryFiles=[index]), "folder": bench.directory("in", a, b, sub)}
    revision = bench.revision({"main.cwl": FOLDERS, "make.cwl": MAKE, "use.cwl": USE})
    seen = bench.run(revision, inputs)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    given = {"file": inputs["file"], "index": index, "folder": inputs["folder"], "a": a, "b": b, "sub": sub, "c": c}
    return seen, {name: _tag(value) for name, value in given.items()}


def test_usage_when_folders_and_secondary_files_go_in_then_all_that_is_in_them(
    folders: tuple[Seen, dict[str, UUID]],
) -> None:
    seen, given = folders
    assert seen.used("make") == {
        "file": given["file"],
        "file.secondaryFiles[0]": given["index"],
        "folder": given["folder"],
        "folder.listing[0]": given["a"],
        "folder.listing[1]": given["b"],
        "folder.listing[2]": given["sub"],
        "folder.listing[2].listing[0]": given["c"],
    }


def test_usage_when_a_folder_of_a_step_goes_in_then_the_same_members_that_were_made(
    folders: tuple[Seen, dict[str, UUID]],
) -> None:
    seen, _ = folders
    made = {place: file.uuid for place, file in seen.made("make").items() if place.startswith(("folder", "bam"))}
    assert seen.used("use") == made
    assert set(made) == {
        "folder",
        "folder.listing[0]",
        "folder.listing[1]",
        "folder.listing[1].listing[0]",
        "folder.listing[2]",
        "bam",
        "bam.secondaryFiles[0]",
    }
    assert _text(seen.report.outputs["used"]) == "1\n2\na\ni\na\n"


def test_made_when_of_folders_and_records_then_kinds_parents_and_origins(
    folders: tuple[Seen, dict[str, UUID]],
) -> None:
    seen, given = folders
    made = seen.made("make")
    assert made["folder"].kind is FileKind.DIRECTORY
    assert made["folder"].content is None
    assert made["folder.listing[1].listing[0]"].parent == made["folder.listing[1]"].uuid
    assert made["bam.secondaryFiles[0]"].parent == made["bam"].uuid
    origins = {place: file.derived_from for place, file in made.items() if file.derived_from}
    assert origins == {"staged": (given["file"],), "link": (given["a"],), "folder.listing[2]": (given["b"],)}
    assert made["record.file"].content == made["array[0]"].content


def test_outputs_when_of_folders_then_everything_is_there_with_its_bytes(
    folders: tuple[Seen, dict[str, UUID]],
) -> None:
    seen, _ = folders
    outputs = seen.report.outputs
    assert [member["basename"] for member in outputs["folder"]["listing"]] == ["a", "e", "z"]
    assert _text(outputs["folder"]["listing"][1]["listing"][0]) == "2\n"
    assert _text(outputs["bam"]["secondaryFiles"][0]) == "i\n"
    assert _text(outputs["inside"]) == _text(outputs["staged"]) == "F\n"
    assert _text(outputs["link"]) == "a\n"
    assert outputs["record"]["number"] == 7
    assert outputs["length"] == 4


def test_default_when_the_document_brings_files_then_they_are_seen_once_without_a_step(bench: Bench) -> None:
    tool = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: sh
inputs:
  script: {type: File, default: {class: File, location: scripts/do.sh}, inputBinding: {}}
  folder: {type: Directory, default: {class: Directory, location: scripts}}
  text: {type: File, default: {class: File, basename: text.txt, contents: hello}}
  number: int
outputs: {made: File, count: int}
"""
    scatter = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {numbers: "int[]"}
steps: {do: {run: tool.cwl, scatter: number, in: {number: numbers}, out: [made, count]}}
outputs: {made: {type: "File[]", outputSource: do/made}}
"""
    script = (
        """echo made > made.txt; echo '{"made": {"class": "File", "path": "made.txt"}, "count": 4}' > cwl.output.json"""
    )
    revision = bench.revision({"main.cwl": scatter, "tool.cwl": tool, "scripts/do.sh": script})
    seen = bench.run(revision, {"numbers": [1, 2]})
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    brought = [file for file in seen.occurrences.values() if file.step is None]
    assert sorted(file.basename for file in brought) == ["do.sh", "scripts", "text.txt", "text.txt"]
    first, second = seen.used("do[0]"), seen.used("do[1]")
    assert first["script"] == second["script"] == first["folder.listing[0]"]
    assert first["text"] != second["text"]
    assert seen.made("do[0]")["made"].basename == "made.txt"


def test_input_when_a_tool_would_change_it_in_place_then_the_stored_file_stays(bench: Bench) -> None:
    document = """
cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
  InplaceUpdateRequirement: {inplaceUpdate: true}
  InitialWorkDirRequirement: {listing: [{entry: $(inputs.file), writable: true}]}
baseCommand: [sh, -c, "echo more >> file.txt"]
inputs: {file: File}
outputs: {changed: {type: File, outputBinding: {glob: file.txt}}}
"""
    file = bench.file("text\n", "file.txt")
    seen = bench.run(bench.shell(document), {"file": file})
    assert _text(seen.report.outputs["changed"]) == "text\nmore\n"
    assert bench.store_path(file["checksum"].removeprefix("sha256:")).read_text() == "text\n"


LISTING = """
cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}, LoadListingRequirement: {loadListing: %s}}
inputs: {folder: Directory}
outputs: {names: Any}
expression: >
  ${ return {names: inputs.folder.listing ? inputs.folder.listing.map(function (file) { return file.basename; }) : 0}; }
"""


@pytest.mark.parametrize(("asked", "names"), [("no_listing", 0), ("shallow_listing", ["a", "sub"])])
def test_folder_when_given_to_the_run_then_its_listing_is_loaded_only_where_asked(
    bench: Bench, asked: str, names: object
) -> None:
    folder = bench.directory("in", bench.file("a\n", "a"), bench.directory("sub", bench.file("c\n", "c")))
    revision = bench.revision({"main.cwl": LISTING % asked}, cwl_class="ExpressionTool")
    seen = bench.run(revision, {"folder": folder})
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert seen.report.outputs["names"] == names
    assert set(seen.used("main")) == {
        "folder",
        "folder.listing[0]",
        "folder.listing[1]",
        "folder.listing[1].listing[0]",
    }


def test_folder_when_two_members_have_one_name_then_the_run_fails_and_the_store_is_whole(bench: Bench) -> None:
    first, second = bench.file("first\n", "a"), bench.file("second\n", "a")
    revision = bench.revision({"main.cwl": LISTING % "no_listing"}, cwl_class="ExpressionTool")
    seen = bench.run(revision, {"folder": bench.directory("in", first, second)})
    assert seen.report.state is JobState.FAILED
    assert "two members called 'a'" in (seen.report.reason or "")
    assert Path(first["location"].removeprefix("file://")).read_text() == "first\n"


def test_values_when_beyond_64_bits_then_are_recorded_as_doubles(bench: Bench) -> None:
    document = """
cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {large: {type: double, default: 4200000000000000000000000000000000000000000}}
outputs: {large: double}
expression: "${ return {large: inputs.large}; }"
"""
    seen = bench.run(bench.revision({"main.cwl": document}, cwl_class="ExpressionTool"), {})
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert seen.started["main"].literals == {"large": 4.2e42}
