"""Where the outputs of a run on a WES server are, in all the ways that servers tell, and what is refused."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stemma.engines.protocol import FileSeen, JobState
from stemma.errors import EngineUnreachable
from stemma.records import FileKind
from support.scripted_http import Answered, scripted
from support.wes_scripted import (
    HANDED_THROUGH,
    SECRET,
    always,
    file_at,
    finish,
    scripted_wes,
    start,
)

RUNNER_PLACE = "file:///srv/runs/1/outputs"
FOLDERS = """
cwlVersion: v1.2
class: Workflow
inputs: {text: File}
steps: {}
outputs:
  many: {type: "File[]", outputSource: step/many}
  folder: {type: Directory, outputSource: step/folder}
  number: {type: int, outputSource: step/number}
  nothing: {type: "File?", outputSource: step/nothing}
"""


@pytest.fixture
def wes(tmp_path: Path):
    with scripted_wes(tmp_path, files_root=tmp_path / "shared") as both:
        yield both


def test_outputs_when_told_as_an_object_then_fetched_and_identified(wes) -> None:
    server, bench = wes
    reference, _ = start(bench, FOLDERS)
    server.files |= {"/runs/run-0/outputs/a": Answered(body=b"one"), "/elsewhere/b": Answered(body=b"three")}
    members = [
        file_at(f"{bench.engine._url}/elsewhere/b", basename="b"),
        {"class": "Directory", "basename": "empty", "listing": []},
    ]
    report = finish(
        server,
        bench,
        reference,
        {
            "many": [file_at("http://other.name:99/runs/run-0/outputs/a", basename="a", size=3)],
            "folder": {"class": "Directory", "basename": "folder", "listing": members},
            "number": 7,
            "undeclared": 8,
        },
    )
    assert report.state is JobState.FINISHED, report.reason
    assert (report.outputs["number"], report.outputs["nothing"]) == (7, None)
    assert report.environment["undeclared_outputs"] == ["undeclared"]
    seen = {fact.occurrence.position: fact.occurrence for fact in report.facts if isinstance(fact, FileSeen)}
    assert [seen[place].basename for place in ("[0]", "", ".listing[0]", ".listing[1]")] == [
        "a",
        "folder",
        "b",
        "empty",
    ]
    assert seen[".listing[0]"].parent == seen[""].uuid
    assert all(occurrence.step is None and occurrence.at for occurrence in seen.values())
    contents = {file.occurrence: file.path.read_bytes() for file in bench.engine.outputs(reference)}
    assert contents == {seen["[0]"].uuid: b"one", seen[".listing[0]"].uuid: b"three"}
    assert seen["[0]"].content.sha256 == hashlib.sha256(b"one").hexdigest()
    assert bench.reopened().report(reference, "") == report


def test_outputs_when_listed_then_the_runner_s_object_tells_which_is_which(wes) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.files["/runs/run-0/outputs/d/made%20it.txt"] = Answered(body=b"made")
    sha1 = hashlib.sha1(b"made").hexdigest()
    printed = {"made": file_at(f"{RUNNER_PLACE}/d/made%20it.txt", basename="made it.txt", checksum=f"sha1${sha1}")}
    listed = [{"file_name": "d/made it.txt", "file_url": "http://0.0.0.0:1/runs/run-0/outputs/d/made%20it.txt"}]
    report = finish(server, bench, reference, listed, run_log={"stdout": json.dumps(printed)})
    assert report.state is JobState.FINISHED, report.reason
    assert report.outputs["made"]["basename"] == "made it.txt"


@pytest.mark.parametrize(
    "listed", [[{"name": "made", "location": "/runs/run-0/x"}], [{"name": "dir/x", "url": "outputs/x"}]]
)
def test_outputs_when_listed_without_more_and_only_one_can_be_meant_then_it_is(wes, listed: Any) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.files |= dict.fromkeys(("/runs/run-0/x", "/runs/run-0/outputs/x"), Answered(body=b"made"))
    report = finish(server, bench, reference, listed)
    assert (report.state, report.outputs["made"]["basename"]) == (JobState.FINISHED, "x"), report.reason


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (None, "does not tell the outputs 'made'"),
        ({}, "does not tell the outputs 'made'"),
        ("text", "does not tell the outputs 'made'"),
        ({"made": None}, "does not tell the outputs 'made'"),
        ([{"name": "a", "url": "u"}, {"name": "b", "url": "v"}], "does not tell which output"),
        ([7], "names and places"),
        ({"made": file_at("http://elsewhere.example.org/x")}, "on another server"),
        ({"made": file_at("s3://bucket/x")}, "not reached by http"),
        ({"made": file_at("x", basename="../x")}, "which is none"),
        ({"made": file_at("x", basename="a/b")}, "which is none"),
        ({"made": file_at("x", basename="n" * 300)}, "which is none"),
        ({"made": file_at("x", basename=7)}, "which is none"),
        ({"made": file_at("http://[bad/x", basename="x")}, "on another server"),
        ({"made": file_at("http://[bad/x")}, "which is no URL"),
        ({"made": file_at("x" * 70_000, basename="x")}, "which is no URL"),
        ({"made": file_at("gone", basename="x")}, "404"),
        ({"made": {"class": "File"}}, "which is none"),
        ({"made": {"class": "File", "basename": "x"}}, "does not tell where"),
        ({"made": {"class": "Directory", "basename": "x"}}, "does not tell what is in"),
        ({"made": {"class": "Directory", "basename": "x", "listing": [7]}}, "are no files"),
        ({"made": file_at("file:///etc/hostname", basename="x")}, "is not below STEMMA_WES_FILES_ROOT"),
        ({"made": file_at("there", basename="x", checksum="sha1$" + "0" * 40)}, "it should have the sha1"),
        ({"made": file_at("there", basename="x", checksum="sha256:" + "0" * 64)}, "it should have the sha256"),
        ({"made": file_at("there", basename="x", size=99)}, "it should have 99 bytes"),
    ],
)
def test_outputs_when_they_cannot_be_had_then_failed_with_the_reason(wes, outputs: Any, words: str) -> None:
    server, bench = wes
    (bench.runs.parent / "shared").mkdir()
    reference, _ = start(bench)
    server.files["/runs/run-0/there"] = Answered(body=b"there")
    report = finish(server, bench, reference, outputs)
    assert report.state is JobState.FAILED
    assert words in report.reason
    assert not any(isinstance(fact, FileSeen) for fact in report.facts)


def test_outputs_when_nested_without_end_then_refused(wes) -> None:
    server, bench = wes
    reference, _ = start(bench)
    value: Any = 1
    for _ in range(500):
        value = [value]
    report = finish(server, bench, reference, {"made": value})
    assert "nested too deeply" in report.reason


def test_outputs_when_on_a_shared_disk_then_only_what_lies_there(wes) -> None:
    server, bench = wes
    shared = bench.runs.parent / "shared"
    (shared / "folder" / "inner").mkdir(parents=True)
    (shared / "folder" / "a b").write_bytes(b"one")
    (shared / "out").symlink_to("/etc")
    reference, _ = start(bench, FOLDERS)
    told = {
        "many": [],
        "number": 0,
        "folder": {"class": "Directory", "basename": "f", "location": str(shared / "folder")},
    }
    report = finish(server, bench, reference, told)
    assert report.state is JobState.FINISHED, report.reason
    kinds = {fact.occurrence.basename: fact.occurrence.kind for fact in report.facts if isinstance(fact, FileSeen)}
    assert kinds == {"f": FileKind.DIRECTORY, "a b": FileKind.FILE, "inner": FileKind.DIRECTORY}


@pytest.mark.parametrize("place", ["out/hostname", "folder/../../secret", "pipe", "gone"])
def test_outputs_when_a_shared_place_leads_out_then_refused(wes, place: str) -> None:
    server, bench = wes
    shared = bench.runs.parent / "shared"
    (shared / "folder").mkdir(parents=True)
    (shared.parent / "secret").write_bytes(b"secret")
    (shared / "out").symlink_to("/etc")
    os.mkfifo(shared / "pipe")
    reference, _ = start(bench)
    report = finish(server, bench, reference, {"made": file_at(f"file://{shared}/{place}", basename="x")})
    assert (report.state, report.outputs) == (JobState.FAILED, None)


def test_outputs_when_no_disk_is_shared_then_the_reason_says_what_to_set(tmp_path: Path) -> None:
    with scripted_wes(tmp_path) as (server, bench):
        reference, _ = start(bench)
        report = finish(server, bench, reference, {"made": file_at("file:///srv/x")})
        assert "set STEMMA_WES_FILES_ROOT" in report.reason


def test_outputs_when_a_download_is_cut_then_tried_again_without_doubles(wes) -> None:
    server, bench = wes
    reference, _ = start(bench, FOLDERS)
    server.files["/runs/run-0/a"] = Answered(body=b"one")
    server.files["/runs/run-0/b"] = Answered(body=b"a long text", cut_after=4)
    told = {
        "many": [file_at("a"), file_at("b")],
        "number": 1,
        "folder": {"class": "Directory", "basename": "f", "listing": []},
    }
    with pytest.raises(EngineUnreachable, match="broke off"):
        finish(server, bench, reference, told)
    server.files["/runs/run-0/b"] = Answered(body=b"a long text")
    report = bench.engine.report(reference, "")
    assert report.state is JobState.FINISHED
    assert len([fact for fact in report.facts if isinstance(fact, FileSeen)]) == 3
    assert len(server.asked("GET /runs/run-0/a")) == 2  # once to see whether it is there, once to fetch it


def test_outputs_when_more_than_may_be_then_refused(tmp_path: Path) -> None:
    with scripted_wes(tmp_path, output_bytes=1000) as (server, bench):
        reference, _ = start(bench)
        server.files["/runs/run-0/a"] = Answered(body=b"x" * 1001)
        report = finish(server, bench, reference, {"made": file_at("a")})
        assert "larger than may be" in report.reason


def test_outputs_when_the_document_hands_an_input_through_then_it_is_that_input(wes) -> None:
    server, bench = wes
    reference, job = start(bench, HANDED_THROUGH)
    server.files["/runs/run-0/a"] = Answered(body=b"a text")
    report = finish(server, bench, reference, {"made": file_at("a", basename="text.txt")})
    assert report.outputs["made"]["stemma:occurrence"] == job.inputs["text"]["stemma:occurrence"]
    assert report.facts == ()


def test_outputs_when_handed_through_but_changed_then_a_file_of_its_own(wes) -> None:
    server, bench = wes
    reference, job = start(bench, HANDED_THROUGH)
    server.files["/runs/run-0/a"] = Answered(body=b"another text")
    report = finish(server, bench, reference, {"made": file_at("a", basename="text.txt")})
    assert report.outputs["made"]["stemma:occurrence"] != job.inputs["text"]["stemma:occurrence"]


def test_credential_when_outputs_lie_at_another_port_then_not_shown_there(tmp_path: Path) -> None:
    with (
        scripted(always(200, b"made")) as other,
        scripted_wes(tmp_path, credential=lambda _: SecretStr(SECRET)) as (server, bench),
    ):
        reference, _ = start(bench)
        server.files["/made"] = Answered(302, headers={"Location": f"{other.url}/made"})
        report = finish(server, bench, reference, {"made": file_at(f"{bench.engine._url}/made")})
        assert report.state is JobState.FINISHED, report.reason
        assert "authorization" in server.asked("GET /made")[0].headers
        assert "authorization" not in other.asked[0].headers


def test_outputs_when_the_end_was_not_written_then_nothing_is_told_twice(wes) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.files["/runs/run-0/outputs/a"] = Answered(body=b"made")
    told = finish(server, bench, reference, {"made": file_at("/runs/run-0/outputs/a")})
    journal = bench.journal(reference)
    journal.write_bytes(journal.read_bytes()[:-20])
    report = bench.reopened().report(reference, "")
    assert (report.state, report.facts, report.outputs) == (told.state, told.facts, told.outputs)
    assert len(report.facts) == 1
