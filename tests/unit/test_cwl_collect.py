"""What the command line uploads for a local document."""

from pathlib import Path

import pytest

from stemma.cwl.bundle import read_upload
from stemma.cwl.collect import collect
from stemma.errors import InvalidDocument

TOOL = "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\ninputs: []\noutputs: []\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def test_collect_when_a_document_refers_to_nothing_then_it_is_sent_alone(tmp_path: Path):
    write(tmp_path, {"t.cwl": TOOL, "other.cwl": TOOL})
    upload = collect(tmp_path / "t.cwl")
    assert (upload.filename, upload.content, upload.main_path) == ("t.cwl", TOOL.encode(), "t.cwl")


def test_collect_when_it_refers_to_every_kind_then_all_are_packed(tmp_path: Path):
    main = """
cwlVersion: v1.2
class: Workflow
$schemas: [edam.owl]
requirements:
  - $import: types.yml
inputs:
  f: {type: File, default: {class: File, location: "data/my%20file.txt", secondaryFiles: [{class: File, path: data/i.x}]}}
  d: {type: Directory, default: {class: Directory, path: folder}}
  run: string
outputs: {}
steps:
  one: {run: tools/one.cwl#x, in: {}, out: []}
  two: {run: {class: ExpressionTool, expression: {$include: lib.js}, inputs: [], outputs: []}, in: {}, out: []}
  three: {run: "#here", in: {}, out: []}
"""
    write(
        tmp_path,
        {
            "main.cwl": main,
            "edam.owl": "<x/>",
            "types.yml": "class: SchemaDefRequirement\ntypes: [{$import: deep.yml}]",
            "deep.yml": "{name: T, type: record, fields: []}",
            "data/my file.txt": "x",
            "data/i.x": "x",
            "folder/a": "x",
            "folder/b/c": "x",
            "lib.js": "${}",
            "tools/one.cwl": TOOL + "doc: {$include: ../readme.md}\n",
            "readme.md": "text",
            "unused.txt": "x",
        },
    )
    upload = collect(tmp_path / "main.cwl")
    bundle = read_upload(upload.filename, upload.content, main=upload.main_path)
    assert upload.main_path == bundle.main_path == "main.cwl"
    assert set(bundle.files) == {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    } - {"unused.txt"}
    assert collect(tmp_path / "main.cwl").content == upload.content


def test_collect_when_a_reference_goes_to_the_parent_then_the_common_folder_is_the_top(tmp_path: Path):
    write(
        tmp_path,
        {
            "flows/a/main.cwl": "cwlVersion: v1.2\nclass: Workflow\nsteps: {s: {run: ../../tools/t.cwl}}\n",
            "tools/t.cwl": TOOL,
        },
    )
    upload = collect(tmp_path / "flows/a/main.cwl")
    assert upload.main_path == "flows/a/main.cwl"
    assert set(read_upload("b.zip", upload.content, main=upload.main_path).files) == {upload.main_path, "tools/t.cwl"}


@pytest.mark.parametrize(
    ("run", "rule"),
    [
        ("http://example.org/t.cwl", "cwl/remote-reference"),
        ("/opt/t.cwl", "cwl/absolute-reference"),
        ("file:///opt/t.cwl", "cwl/remote-reference"),
        ("gone.cwl", "cwl/missing-file"),
    ],
)
def test_collect_when_a_reference_cannot_be_packed_then_its_place_is_told(tmp_path: Path, run: str, rule: str):
    write(tmp_path, {"m.cwl": f"cwlVersion: v1.2\nclass: Workflow\nsteps:\n  s:\n    run: {run}\n"})
    with pytest.raises(InvalidDocument) as caught:
        collect(tmp_path / "m.cwl")
    (finding,) = caught.value.findings
    assert (finding.rule, finding.file, finding.line, finding.column) == (rule, "m.cwl", 5, 10)


def test_collect_when_documents_run_each_other_then_it_ends(tmp_path: Path):
    flow = "cwlVersion: v1.2\nclass: Workflow\nsteps: {{s: {{run: {}}}}}\n"
    write(tmp_path, {"a.cwl": flow.format("b.cwl"), "b.cwl": flow.format("a.cwl")})
    assert set(read_upload("b.zip", collect(tmp_path / "a.cwl").content, main="a.cwl").files) == {"a.cwl", "b.cwl"}
