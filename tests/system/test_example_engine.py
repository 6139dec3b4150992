"""The engine of ``docs/engines.md`` as it stands there: installed, chosen, and passed a run through the real worker."""

import hashlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from conftest import Served, opened_installation, served_installation, working
from stemma.engines.entry_points import GROUP
from support.cwltool_bench import wait_for
from support.installed_engines import installed_engines

PAGE = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
TOOL = b"""
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs: {text: {type: File, inputBinding: {}}}
stdout: copy.txt
outputs: {copy: stdout}
"""


FORM = {"engine": "cat", "inputs": '{"text": {"class": "File", "location": "words.txt"}}'}
SENT = [("files", ("words.txt", b"a few words\n"))]


def register(client: httpx.Client, document: bytes = TOOL) -> int:
    form = {"name": Served.name(), "version": "1"}
    made = client.post("/workflow_registry/register", data=form, files={"spec_file": ("cat.cwl", document)})
    number: int = made.json()["data"]["registry_id"]
    return number


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return found[0]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    """A service with a worker, beside which the example is installed."""
    entries = tomllib.loads(block("toml"))["project"]["entry-points"][GROUP]
    with (
        installed_engines(tmp_path / "packages", {"cat_engine": block("python")}, entries),
        opened_installation("sqlite", tmp_path / "home") as installation,
        working(installation),
        served_installation(installation) as served,
    ):
        yield served


def test_example_engine_when_it_knows_the_tool_then_the_run_is_on_record(service: Served) -> None:
    with service.client_as("user_1") as client:
        asked = client.post(f"/workflow_execution/execute/{register(client)}", data=FORM, files=SENT)
        assert asked.status_code == 200, asked.text
        execution = asked.json()["data"]["execution_id"]
        shown = service.run_to_end(client, execution)
        assert (shown["status"], shown["engine"], shown["reason"]) == ("finished", "cat", None)
        steps = [(step["command"], step["exit_code"]) for step in shown["steps"]]
        assert steps == [("cat words.txt", 0)]
        copy = client.get(f"/workflow_execution/files/{shown['outputs']['copy']['id']}")
        assert copy.content == b"a few words\n"
        record = client.get(f"/provenance/json/{execution}").json()
        assert record["used"]
        assert record["wasGeneratedBy"]


def test_example_engine_when_the_tool_is_another_then_it_refuses(service: Served) -> None:
    with service.client_as("user_1") as client:
        other = register(client, TOOL.replace(b"cat", b"tac"))
        refused = client.post(f"/workflow_execution/execute/{other}", params={"engine": "cat"}, json={"inputs": {}})
    assert refused.status_code == 422
    assert "this engine knows one tool" in refused.json()["message"]


def validate(client: httpx.Client, document: bytes, **fields: str) -> httpx.Response:
    return client.post("/workflow_registry/validate", data=fields, files={"spec_file": ("cat.cwl", document)})


def test_validate_when_an_engine_is_named_then_it_is_asked_and_nothing_is_kept(service: Served) -> None:
    fresh = TOOL + f"# {service.name()}".encode()
    with service.client_as("user_1") as client:
        fine = validate(client, fresh, engine="cat")
        assert fine.json()["message"] == "this can be registered, and engine cat can run it"
        assert client.post(
            "/workflow_registry/validate", params={"engine": "cat"}, files={"spec_file": ("cat.cwl", fresh)}
        ).is_success
        other = validate(client, fresh.replace(b"cat", b"tac"), engine="cat")
        assert (other.status_code, other.headers["stemma-error"]) == (422, "engine-unsuitable")
        assert other.json()["data"] == [
            {
                "message": "this engine knows one tool, and this is another",
                "rule": "engine/cat",
                "file": "cat.cwl",
                "line": 1,
                "column": 1,
                "parameter": None,
            }
        ]
        assert validate(client, fresh.replace(b"cat", b"tac")).status_code == 200
        unknown = validate(client, fresh, engine="nothing")
        assert (unknown.status_code, unknown.headers["stemma-error"]) == (422, "unknown-engine")
        invalid = validate(client, b"class: Nonsense", engine="nothing")
        assert invalid.headers["stemma-error"] == "invalid-document"
    kept = service.installation.store
    assert not kept.has(hashlib.sha256(fresh).hexdigest())


def test_example_engine_when_a_run_is_deleted_then_nothing_is_kept(service: Served) -> None:
    kept = service.installation.settings.runs_folder / "cat"
    with service.client_as("user_1") as client:
        number = register(client)
        asked = client.post(f"/workflow_execution/execute/{number}", data=FORM, files=SENT).json()["data"]
        service.run_to_end(client, asked["execution_id"])
        assert list(kept.iterdir())
        assert client.delete("/workflow_execution/delete", params={"registry_id": number}).status_code == 200
        wait_for(lambda: not list(kept.iterdir()))
