"""Inputs that a WES server reads where they lie: what it is asked, once, and what of it is kept here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest

from stemma.clock import new_uuid
from stemma.cwl.bundle import Bundle
from stemma.engines.protocol import JobState
from stemma.engines.wes import texts
from stemma.errors import EngineRefused, EngineUnreachable, SourceUnavailable
from support.scripted_http import Answered, Asked
from support.wes_bench import WesBench
from support.wes_scripted import TOOL, ScriptedWes, finish, once, said, scripted_wes

KEY = "5f3b1c9d7e2a4068b1c9d7e2a4068f3b"
URL = f"https://s3.example.org/rain/reads.txt?X-Amz-Expires=60&X-Amz-Signature={KEY}"
WES_FIELDS = {
    "workflow_params", "workflow_type", "workflow_type_version", "tags", "workflow_engine", "workflow_engine_version",
    "workflow_engine_parameters", "workflow_url", "workflow_attachment",
}  # fmt: skip
"""Of the request, as WES 1.1.0 has them."""
CWL_FILE = {
    "type": "object",
    "required": ["class", "location", "basename"],
    "properties": {
        "class": {"const": "File"},
        "location": {"type": "string", "format": "uri"},
        "basename": {"type": "string"},
        "size": {"type": "integer"},
        "checksum": {"type": "string", "pattern": r"^sha256\$[0-9a-f]{64}$"},
        "secondaryFiles": {"type": "array", "items": {"$ref": "#"}},
    },
    "additionalProperties": False,
}


@pytest.fixture
def wes(tmp_path: Path):
    with scripted_wes(tmp_path) as both:
        yield both


def elsewhere(**more: Any) -> dict[str, Any]:
    occurrence = {"stemma:occurrence": str(new_uuid()), "stemma:elsewhere": True}
    return {"class": "File", "basename": "reads.txt", **occurrence, **more}


def job(bench: WesBench, url_of: Callable[[UUID], str], **more: Any) -> Any:
    inputs = {"text": elsewhere(**more), "sent": bench.file("a text", "text.txt")}
    return bench.job(bench.revision({"main.cwl": TOOL}), inputs, url_of=url_of)


def parameters(server: ScriptedWes) -> dict[str, Any]:
    (found,) = [body for name, file, body in server.only_run.form if name == "workflow_params"]
    given: dict[str, Any] = json.loads(found)
    return given


def test_submit_when_an_input_lies_elsewhere_then_named_by_a_url_as_cwl_has_it_and_the_others_sent(wes) -> None:
    server, bench = wes
    second = elsewhere(basename="reads.idx")
    asked = job(bench, lambda _: URL, size=9, checksum=f"sha256:{'a' * 64}", secondaryFiles=[second])
    bench.submit(asked)
    given = parameters(server)
    jsonschema.validate(given["text"], CWL_FILE)
    assert given["text"]["location"] == given["text"]["secondaryFiles"][0]["location"] == URL
    assert (given["text"]["size"], given["text"]["checksum"]) == (9, f"sha256${'a' * 64}")
    assert set(given["text"]["secondaryFiles"][0]) == {"class", "basename", "location"}
    sent = [file for name, file, _ in server.only_run.form if name == "workflow_attachment"]
    assert sent == ["bundle/main.cwl", given["sent"]["location"]]


def test_submit_when_asked_then_the_request_has_the_form_of_the_standard(wes) -> None:
    server, bench = wes
    bench.submit(job(bench, lambda _: URL))
    fields = {name for name, _, _ in server.only_run.form}
    assert fields <= WES_FIELDS
    assert {"workflow_params", "workflow_type", "workflow_type_version", "workflow_url"} <= fields


def test_submit_when_the_answer_was_lost_then_found_by_its_tags_and_no_new_url_is_made(wes) -> None:
    server, bench = wes
    made: list[UUID] = []

    def url_of(occurrence: UUID) -> str:
        made.append(occurrence)
        return URL

    def taken(asked: Asked) -> Answered:
        return Answered(200, server.take(asked).body, cut_after=3)

    server.faults["POST /runs"] = once(taken)
    asked = job(bench, url_of)
    with pytest.raises(EngineUnreachable):
        bench.submit(asked)
    reference = bench.reopened().submit(asked)
    assert (len(server.runs), len(made)) == (1, 1)
    assert bench.engine.report(reference, "").identity.id == "run-0"


def test_submit_when_asked_again_after_the_input_came_here_then_told_as_the_server_was_asked_the_last_time(
    tmp_path: Path,
) -> None:
    with scripted_wes(tmp_path, settle_seconds=0) as (server, bench):
        server.faults["POST /runs"] = once(lambda _: Answered(200, b"{}", cut_after=1))
        asked = job(bench, lambda _: URL)
        with pytest.raises(EngineUnreachable):
            bench.submit(asked)
        inputs = {**asked.inputs, "text": bench.file("here", "reads.txt")}
        reference = bench.submit(bench.job(asked.revision, inputs, run_uuid=asked.run_uuid))
        assert "inputs_by_url" not in (bench.engine.report(reference, "").environment or {"inputs_by_url": None})


def test_submit_when_there_is_no_url_then_the_server_hears_nothing_and_it_can_be_tried_again(wes) -> None:
    server, bench = wes

    def url_of(_: UUID) -> str:
        raise SourceUnavailable("reads", "the database")

    asked = job(bench, url_of)
    with pytest.raises(SourceUnavailable):
        bench.submit(asked)
    assert (server.asked("POST"), bench.engine.has_begun(asked)) == ([], False)
    bench.submit(bench.job(asked.revision, asked.inputs, run_uuid=asked.run_uuid, url_of=lambda _: URL))
    assert len(server.runs) == 1


def test_submit_when_given_by_url_then_what_is_kept_here_has_no_key(wes) -> None:
    server, bench = wes
    reference = bench.submit(job(bench, lambda _: URL))
    said_there = f"ERROR 403 for url: {URL}\nretries exceeded with url: /rain/reads.txt?X-Amz-Signature={KEY}\n"
    server.files["/runs/run-0/stderr"] = Answered(200, said_there.encode())
    outputs = {"made": {"class": "File", "basename": "made.txt", "contents": "x"}}
    log = {"run_log": {"stderr": "stderr", "exit_code": 0}}
    log["run_log"]["stderr"] = f"{bench.engine._url}/runs/run-0/stderr"
    report = finish(server, bench, reference, outputs, **log)
    assert report.state is JobState.FINISHED, report.reason
    assert report.environment["inputs_by_url"] == 1
    with bench.engine.log(reference, None, "stderr") as kept:
        assert b"https://s3.example.org/rain/reads.txt?X-Amz-Expires" in kept.read()
    files = [path for path in bench.runs.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_submit_when_the_server_repeats_it_in_its_refusal_then_the_key_is_left_out(wes) -> None:
    server, bench = wes
    server.faults["POST /runs"] = once(lambda _: said({"msg": f"cannot read {URL}"}, 400))
    with pytest.raises(EngineRefused, match=r"cannot read https://s3\.example\.org") as refused:
        bench.submit(job(bench, lambda _: URL))
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (f"url: /b/k?X-Amz-Date=1&X-Amz-Signature={KEY}&x=1", "url: /b/k?X-Amz-Date=***&X-Amz-Signature=***&x=1"),
        (f"'https://a.b/c?sv=2&sig={KEY}%3D'", "'https://a.b/c?sv=2&sig=***'"),
        (f'"https:\\/\\/a\\u0026X-Amz-Signature={KEY}"', '"https:\\/\\/a\\u0026X-Amz-Signature=***"'),
        (f"https://a.b/c?x={KEY}", "https://a.b/c?x=***"),
        (f"see https://a.b/c?{KEY} there", "see https://a.b/c?*** there"),
        (f"X-Amz-Signature%3D{KEY}", "X-Amz-Signature%3D***"),
        ("https://a.b/c?hash=S&access=S&sid=S", "https://a.b/c?hash=***&access=***&sid=***"),
        ("https://a.b/c?t=eyJhbGc.eyJzdWIi.c2ln", "https://a.b/c?t=***"),
        ("https://a.b/c?t=abcdefghij/klmnopqrst", "https://a.b/c?t=***"),
        (
            r"{\"url\":\"https://a.b/c?y=1\u0026sig=S\u0026x=1\"}",
            r"{\"url\":\"https://a.b/c?y=1\u0026sig=***\u0026x=1\"}",
        ),
        ("u=https%3A%2F%2Fa.b%3Fy%3D1%26sig%3DS%26x%3D1", "u=https%3A%2F%2Fa.b%3Fy%3D1%26sig%3D***%26x%3D1"),
        ("{'X-Amz-Signature': 'S', 'sig': ['S'], 'y': '1'}", "{'X-Amz-Signature': '***', 'sig': ['***'], 'y': '1'}"),
        (r"{\"X-Amz-Security-Token\":\"S\"}", r"{\"X-Amz-Security-Token\":\"***\"}"),
        ("https://a.b/c?year=2014&file=rain.csv", "https://a.b/c?year=2014&file=rain.csv"),
        (
            '{"checksum": "sha1$da39a3ee5e6b4b0d3255bfef95601890"}',
            '{"checksum": "sha1$da39a3ee5e6b4b0d3255bfef95601890"}',
        ),
        ("https://a.b/c?year=2012&day=3 is fine; A=1", "https://a.b/c?year=2012&day=3 is fine; A=1"),
        ("what? yes & A=/usr/lib/x86_64-linux-gnu/libc.so", "what? yes & A=/usr/lib/x86_64-linux-gnu/libc.so"),
    ],
)
def test_text_when_urls_have_keys_then_they_are_hidden_and_nothing_else(text: str, seen: str) -> None:
    assert texts.without_keys(text) == seen


@pytest.mark.parametrize(
    "text",
    [
        "?" + "sig" * 400_000, "?a=b&" * 300_000, "https://" * 150_000, "&" * 1_000_000, "%26" * 400_000,
        "?" + "%25" * 400_000, "'x-amz-" + "a-" * 500_000, "'sig': '" * 100_000, "x-amz-signature'" + " " * 500_000,
    ],
)  # fmt: skip
def test_text_when_hostile_then_looked_through_in_one_go(text: str) -> None:
    assert len(texts.without_keys(text)) <= len(text) + 3


def test_sent_ports_when_the_document_reads_or_hands_through_then_those_alone(tmp_path: Path) -> None:
    packed = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "id": "main.cwl",
        "baseCommand": "cat",
        "inputs": [
            {"id": "main.cwl#text", "type": "File", "loadContents": True},
            {"id": "main.cwl#other", "type": "File", "inputBinding": {}},
        ],
        "outputs": [],
    }
    asked: list[Bundle] = []

    def pack(bundle: Bundle) -> dict[str, Any]:
        asked.append(bundle)
        return packed

    with scripted_wes(tmp_path, url_kinds=frozenset({"s3"}), pack=pack) as (_, bench):
        revision = bench.revision({"main.cwl": TOOL})
        assert bench.engine.sent_ports(revision) == {"text"}
        assert bench.engine.describe().capabilities["reads_by_url"] == ["s3"]
    assert asked[0].read("main.cwl").decode() == TOOL
