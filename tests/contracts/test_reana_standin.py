"""The API of the stand-in for REANA: what a real server answers, in its own odd way."""

import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest

from support.reana_standin import ReanaStandin
from support.reana_standin.caller import Caller, packed, tool
from support.reana_standin.official import with_nulls

MAKES = packed(tool("up", "echo made > made.txt"))
BARE = {"workflow": {"type": "cwl", "file": "w.cwl"}}
ODD = "REANA_WORKON is set to {}, but that workflow does not exist."


@pytest.fixture(scope="module")
def reana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReanaStandin]:
    with ReanaStandin(tmp_path_factory.mktemp("reana"), rate_limit=0) as reana:
        yield reana


@pytest.fixture(scope="module")
def caller(reana: ReanaStandin) -> Iterator[Caller]:
    with Caller(reana.url, reana.token) as caller:
        yield caller


@pytest.fixture(scope="module")
def other(reana: ReanaStandin) -> Iterator[Caller]:
    with Caller(reana.url, reana.tokens["bob"]) as other:
        yield other


def _answers(answer: httpx.Response, status: int, part: str) -> None:
    assert answer.status_code == status, answer.text
    assert part in answer.json()["message"]


def test_the_server_says_what_it_is(reana: ReanaStandin, caller: Caller) -> None:
    assert httpx.get(reana.url, trust_env=False).json()["stand_in_for"] == "REANA 0.9"
    assert caller.http.get("/ping").headers["server"] == "stand-in for reana"


@pytest.mark.parametrize(
    ("token", "status", "message"), [(None, 401, "User not signed in"), ("x", 403, "Token not valid.")]
)
def test_a_token_is_needed_in_the_query(reana: ReanaStandin, token: str | None, status: int, message: str) -> None:
    query = {"access_token": token} if token else {}
    header = {"authorization": f"Bearer {reana.token}"}
    answer = httpx.get(f"{reana.url}/api/you", params=query, headers=header, trust_env=False)
    _answers(answer, status, message)


def test_somebody_elses_workflow_is_not_there(caller: Caller, other: Caller) -> None:
    number = caller.create(MAKES)
    for path in ("status", "logs", "workspace", "parameters", "retention_rules", "workspace/a"):
        _answers(other.http.get(f"/workflows/{number}/{path}"), 404, ODD.format(number))
    _answers(other.set_status(number, "deleted"), 404, ODD.format(number))
    for path in ("specification", "disk_usage"):
        _answers(other.http.get(f"/workflows/{number}/{path}"), 403, ODD.format(number))
    _answers(other.start(number), 403, ODD.format(number))
    assert number not in {entry["id"] for entry in other.http.get("/workflows").json()["items"]}


@pytest.mark.parametrize(("name", "status"), [("a.b", 403), ("é", 400), ("7f5a4d55-9c1a-4c5d-9f0a-3e3b1c7a9e11", 400)])
def test_a_name_with_a_dot_or_beyond_ascii_is_refused(caller: Caller, name: str, status: int) -> None:
    _answers(caller.http.post("/workflows", params={"workflow_name": name}, json=BARE), status, "orkflow name")


@pytest.mark.parametrize(("name", "given"), [("", "workflow.1"), ("name:1-0", "name:1-0.1"), ("x y/z", "x y/z.1")])
def test_other_names_are_taken_and_get_a_number(caller: Caller, name: str, given: str) -> None:
    answer = caller.http.post("/workflows", params={"workflow_name": name}, json=BARE)
    assert answer.json()["workflow_name"] == given


def test_numbers_count_by_user_and_name_and_a_name_alone_is_the_latest(caller: Caller, other: Caller) -> None:
    mine = [caller.create(MAKES, name="counted") for _ in range(2)]
    theirs = other.create(MAKES, name="counted")
    assert [caller.status(number)["name"] for number in mine] == ["counted.1", "counted.2"]
    assert other.status(theirs)["name"] == "counted.1"
    assert (caller.status("counted")["id"], caller.status("counted.1")["id"]) == (mine[1], mine[0])


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "'workflow'"),
        ({"workflow": {}}, 400, "'type'"),
        ({"workflow": {"type": "nextflow"}}, 500, "Unknown workflow type."),
        ({"workflow": {"type": "cwl"}, "inputs": {"options": {"CACHE": "on"}}}, 400, "not supported for cwl"),
        ({"workflow": {"type": "cwl"}, "inputs": {"files": ["/a"]}}, 400, "cannot be absolute"),
        ({"workflow": {"type": "cwl"}, "inputs": {"files": ["a/../b"]}}, 400, "cannot contain '..'"),
        ({"workflow": {"type": "cwl"}, "inputs": {"files": ["a", "a/b"]}}, 400, "Duplicate input paths"),
    ],
)
def test_a_bad_specification_is_refused_at_creation(
    caller: Caller, body: dict[str, Any], status: int, message: str
) -> None:
    _answers(caller.http.post("/workflows", params={"workflow_name": "bad"}, json=body), status, message)


def test_what_starts_is_checked_only_at_the_start(caller: Caller) -> None:
    answer = caller.http.post("/workflows", params={"workflow_name": "late"}, json={"workflow": {"type": "cwl"}})
    _answers(caller.start(answer.json()["workflow_id"]), 400, "not valid under any")
    number = caller.create(MAKES)
    _answers(caller.start(number, input_parameters={"z": 1}), 400, 'Input parameter "z" is not present in reana.yaml')
    _answers(caller.start(number, input_parameters=[]), 400, "input_parameters")


def test_an_accepted_start_answers_with_a_bare_name_and_cannot_be_repeated(caller: Caller) -> None:
    number = caller.create(MAKES, name="started")
    answer = caller.start(number)
    told = answer.json()
    assert (told["workflow_name"], told["run_number"], told["status"]) == ("started", "1", "queued")
    _answers(caller.start(number), 403, "cannot be started again.")
    assert caller.until(number)["status"] == "finished"


def test_a_start_may_override_inputs_and_name_a_target(caller: Caller) -> None:
    document = packed(tool("one", 'echo "$1" > one.txt', takes={"n": "int"}), tool("two", "echo 2 > two.txt"))
    number = caller.create(document, {"n": 1})
    caller.start(number, input_parameters={"n": 7}, operational_options={"TARGET": "one_made"})
    assert caller.until(number)["status"] == "finished"
    assert caller.http.get(f"/workflows/{number}/parameters").json()["parameters"] == {"n": 7}
    assert caller.content(number, "outputs/one.txt") == "7\n"
    assert "outputs/two.txt" not in caller.names(number)


def test_only_what_runs_is_stopped_and_only_what_does_not_is_deleted(caller: Caller) -> None:
    number = caller.create(MAKES)
    _answers(caller.set_status(number, "stop"), 409, "is not running.")
    _answers(caller.set_status(number, "deleted", workspace=False), 400, "Workspace must always be deleted")
    _answers(caller.set_status(number, "pause"), 400, "is not one of")
    for _ in range(2):
        assert caller.set_status(number, "deleted").json()["status"] == "deleted"
    assert caller.status(number)["status"] == "deleted"
    _answers(caller.http.get(f"/workflows/{number}/workspace"), 404, "Workspace does not exist.")
    assert caller.http.get(f"/workflows/{number}/workspace/a.txt").status_code == 500
    octets = {"content-type": "application/octet-stream"}
    uploaded = caller.http.post(f"/workflows/{number}/workspace", params={"file_name": "a"}, headers=octets)
    assert uploaded.status_code == 500


def test_all_runs_of_a_name_are_deleted_together(caller: Caller) -> None:
    numbers = [caller.create(MAKES, name="doomed") for _ in range(3)]
    caller.set_status(numbers[1], "deleted", all_runs=True)
    assert {caller.status(number)["status"] for number in numbers} == {"deleted"}


def test_a_restart_is_a_new_row_for_the_same_workspace(caller: Caller) -> None:
    number = caller.create(MAKES, name="again")
    _answers(caller.start(number, restart=True), 403, "Only finished or failed workflows")
    caller.start(number)
    caller.until(number)
    told = caller.start(number, restart=True).json()
    assert (told["workflow_id"] != number, told["run_number"]) == (True, "1.1")
    assert caller.until(told["workflow_id"])["status"] == "finished"
    caller.set_status(number, "deleted")
    assert caller.http.get(f"/workflows/{told['workflow_id']}/workspace").status_code == 404


@pytest.mark.parametrize("name", ["a.txt", "/a.txt", "deep/down/a.txt", "p q+é#%.txt", "[a]*?.txt"])
def test_an_uploaded_file_is_listed_and_overwritten(caller: Caller, name: str) -> None:
    number = caller.create(MAKES)
    caller.upload(number, name, b"first words")
    caller.upload(number, name, b"words")
    (entry,) = caller.http.get(f"/workflows/{number}/workspace").json()["items"]
    assert (entry["name"], entry["size"]["raw"]) == (name.lstrip("/"), 5)


@pytest.mark.parametrize(
    ("name", "kind", "status", "message"),
    [
        (None, "application/octet-stream", 400, "No file_name provided"),
        ("a", "text/plain", 400, "Wrong Content-Type text/plain"),
        ("a/../../b", "application/octet-stream", 400, "'..' is not a valid path component"),
        ("folder", "application/octet-stream", 500, "Is a directory"),
        ("folder/file/below", "application/octet-stream", 500, "Not a directory"),
    ],
)
def test_a_bad_upload_is_refused(caller: Caller, name: str | None, kind: str, status: int, message: str) -> None:
    number = caller.create(MAKES)
    caller.upload(number, "folder/file", b"")
    query = {"file_name": name} if name else {}
    headers = {"content-type": kind}
    answer = caller.http.post(f"/workflows/{number}/workspace", params=query, content=b"x", headers=headers)
    _answers(answer, status, message)


def test_links_are_listed_and_not_followed(reana: ReanaStandin, caller: Caller) -> None:
    number = caller.create(MAKES)
    (workspace,) = reana.folder.glob(f"users/*/workflows/{number}")
    (workspace / "out").symlink_to("/etc")
    (workspace / "passwd").symlink_to("/etc/passwd")
    assert sorted(caller.names(number)) == ["out", "passwd"]
    _answers(caller.http.get(f"/workflows/{number}/workspace/passwd"), 400, "symlink")
    _answers(caller.http.get(f"/workflows/{number}/workspace/out/passwd"), 404, "does not exist.")


def test_a_name_is_quoted_twice_for_a_download(caller: Caller) -> None:
    number = caller.create(MAKES)
    for name in ("p q+é#%41.txt", "a?b", "plain name.txt"):
        caller.upload(number, name, name.encode())
    _answers(caller.http.get(f"/workflows/{number}/workspace/{quote('p q+é#%41.txt')}"), 404, "p q+é does not exist.")
    assert caller.content(number, quote("plain name.txt")) == "plain name.txt"
    for name in ("p q+é#%41.txt", "a?b", "plain name.txt"):
        assert caller.content(number, quote(quote(name))) == name


def test_folders_and_patterns_are_downloaded_as_archives(caller: Caller) -> None:
    number = caller.create(MAKES)
    for name in ("a/1.txt", "a/b/2.txt", "3.txt"):
        caller.upload(number, name, name.encode())
    for asked, names in {"a": {"a/1.txt", "a/b/2.txt"}, "**%2F*": {"a/1.txt", "a/b/2.txt", "3.txt"}}.items():
        answer = caller.http.get(f"/workflows/{number}/workspace/{asked}")
        assert answer.headers["content-type"] == "application/zip"
        assert "content-length" not in answer.headers
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert set(archive.namelist()) == names
            assert archive.read("a/1.txt") == b"a/1.txt"
    one = caller.http.get(f"/workflows/{number}/workspace/*.txt")
    assert (one.headers["content-type"], one.text) == ("application/octet-stream", "3.txt")
    for asked in ("", "nothing*"):
        assert caller.http.get(f"/workflows/{number}/workspace/{asked}").status_code == 404


def test_files_are_deleted_by_pattern_and_none_is_no_error(caller: Caller) -> None:
    number = caller.create(MAKES)
    for name in ("a/1.txt", "a/b/2.txt", "3.txt"):
        caller.upload(number, name, b"12")
    gone = caller.http.delete(f"/workflows/{number}/workspace/a%2F**%2F*.txt").json()
    assert gone == {"deleted": {"a/1.txt": {"size": 2}, "a/b/2.txt": {"size": 2}}, "failed": {}}
    assert caller.http.delete(f"/workflows/{number}/workspace/x").json() == {"deleted": {}, "failed": {}}
    assert caller.names(number) == ["3.txt"]


def test_files_are_listed_by_pattern_search_and_page(caller: Caller) -> None:
    number = caller.create(MAKES)
    for name in ("a/1.txt", "a/2.dat", "3.txt"):
        caller.upload(number, name, b"12")

    def names(**query: str) -> set[str]:
        return {
            entry["name"] for entry in caller.http.get(f"/workflows/{number}/workspace", params=query).json()["items"]
        }

    assert names(file_name="**/*.txt") == {"a/1.txt", "3.txt"}
    assert names(search='{"name": ["DAT"], "size": ["2"]}') == {"a/2.dat"}
    assert len(names(page="1", size="2") | names(page="2", size="2")) == 3
    bad = caller.http.get(f"/workflows/{number}/workspace", params={"page": "0"})
    _answers(bad, 400, "page")


def test_workflows_are_listed_by_name_status_id_and_page(reana: ReanaStandin) -> None:
    with Caller(reana.url, reana.tokens["carol"]) as carol:
        numbers = [carol.create(MAKES, name=name) for name in ("lista", "listb", "other")]
        carol.set_status(numbers[2], "deleted")

        def listed(**query: str) -> list[str]:
            return [entry["id"] for entry in carol.http.get("/workflows", params=query).json()["items"]]

        assert listed() == numbers[::-1]
        assert listed(sort="asc") == numbers
        assert listed(search='{"name": ["LIST"]}') == [numbers[1], numbers[0]]
        assert listed(status="deleted") == [numbers[2]]
        assert listed(workflow_id_or_name=numbers[0]) == listed(workflow_id_or_name="lista") == [numbers[0]]
        assert listed(page="2", size="2") == [numbers[0]]
        for bad in ({"status": "lost"}, {"search": "x"}):
            _answers(carol.http.get("/workflows", params=bad), 400, "Malformed request.")
        (entry,) = carol.http.get("/workflows", params={"size": 1, "page": 1}).json()["items"]
        assert "total" not in entry["progress"]
        full = carol.http.get("/workflows", params={"include_progress": "true"}).json()["items"]
        assert full[0]["progress"]["total"] == {"total": 0, "job_ids": []}


def test_logs_may_be_asked_for_some_steps(caller: Caller) -> None:
    run = caller.run(packed(tool("one", "touch a.txt"), tool("two", "touch b.txt")))
    answer = caller.http.request("GET", f"/workflows/{run.number}/logs", json=["two"])
    told = json.loads(answer.json()["logs"])
    assert [job["job_name"] for job in told["job_logs"].values()] == ["two"]
    assert told["workflow_logs"] is None


@pytest.fixture(scope="module")
def official() -> dict[str, Any]:
    """REANA's own description of its API, from the package that brings it."""
    found = importlib.util.find_spec("reana_commons")
    if found is None or found.origin is None:
        pytest.skip("reana-commons is not installed")
    document = Path(found.origin).parent / "openapi_specifications" / "reana_server.json"
    described: dict[str, Any] = json.loads(document.read_text())
    return described


def _conforms(official: dict[str, Any], path: str, answer: httpx.Response) -> None:
    method = answer.request.method.lower()
    responses = official["paths"][f"/api{path}"][method]["responses"]
    schema = responses[str(answer.status_code)]["schema"]
    jsonschema.validate(answer.json(), with_nulls(schema), cls=jsonschema.Draft4Validator)


def test_answers_are_what_the_official_document_says(caller: Caller, official: dict[str, Any]) -> None:
    number = caller.create(MAKES)
    here = "/workflows/{workflow_id_or_name}"
    octets = {"content-type": "application/octet-stream"}
    caller.upload(number, "a.txt", b"words")
    created = caller.http.post("/workflows", params={"workflow_name": "x"}, json={"workflow": {"type": "cwl"}})
    uploaded = caller.http.post(f"/workflows/{number}/workspace", params={"file_name": "b"}, headers=octets)
    _conforms(official, "/workflows", created)
    _conforms(official, f"{here}/workspace", uploaded)
    _conforms(official, f"{here}/start", caller.start(number))
    caller.until(number)
    for path in ("status", "logs", "workspace", "parameters", "specification", "retention_rules", "disk_usage"):
        _conforms(official, f"{here}/{path}", caller.http.get(f"/workflows/{number}/{path}"))
    for path in ("/ping", "/you", "/info", "/workflows"):
        _conforms(official, path, caller.http.get(path, params={"verbose": "true"}))
    _conforms(official, f"{here}/workspace/{{file_name}}", caller.http.delete(f"/workflows/{number}/workspace/b"))
    _conforms(official, f"{here}/status", caller.set_status(number, "stop"))
    _conforms(official, f"{here}/status", caller.set_status(number, "deleted"))
    _conforms(official, f"{here}/status", caller.http.get("/workflows/nobody/status"))


OFFICIAL_RUN = """
import json, os, sys, time
from reana_client.api import client
token, document = sys.argv[1], json.loads(sys.argv[2])
made = client.create_workflow_from_json(
    name="official", access_token=token, workflow_json=document, workflow_engine="cwl",
    parameters={"parameters": {"text": {"class": "File", "path": "in.txt"}}})
number = made["workflow_id"]
with open("in.txt", "rb") as file:
    client.upload_file(number, file, "in.txt", token)
client.start_workflow(number, token, {})
while (told := client.get_workflow_status(number, token))["status"] not in {"finished", "failed"}:
    time.sleep(0.1)
logs = json.loads(client.get_workflow_logs(number, token)["logs"])
content, name, is_zip = client.download_file(number, "outputs/out.txt", token)
found = {
    "ping": client.ping(token)["status"], "status": told["status"], "name": made["workflow_name"],
    "jobs": [job["job_name"] for job in logs["job_logs"].values()], "content": content.decode(), "zip": is_zip,
    "files": [file["name"] for file in client.list_files(number, token)],
    "usage": client.get_workflow_disk_usage(number, {"summarize": True}, token)["disk_usage_info"][0]["name"],
    "listed": client.get_workflows(token, "batch", workflow=number, include_progress=True)[0]["progress"]["total"],
    "removed": list(client.delete_file(number, "in.txt", token)["deleted"]),
    "deleted": client.delete_workflow(number, False, True, token)["status"],
}
try:
    client.start_workflow(number, token, {})
except Exception as error:
    found["error"] = str(error)
print(json.dumps(found))
"""


def test_the_official_client_does_a_whole_run(reana: ReanaStandin, tmp_path: Path, official: dict[str, Any]) -> None:
    if importlib.util.find_spec("reana_client") is None:
        pytest.skip("reana-client is not installed")
    (tmp_path / "in.txt").write_text("words\n")
    document = packed(tool("copy", 'cat "$1" > out.txt', takes={"text": "File"}))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OFFICIAL_RUN, reana.token, json.dumps(document)],
        cwd=tmp_path,
        env={"REANA_SERVER_URL": reana.url, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"in.txt", "outputs/out.txt", "workflow.json"} <= set(found.pop("files"))
    assert "cannot be started again" in found.pop("error")
    assert found == {
        "ping": "Connected",
        "status": "finished",
        "name": "official.1",
        "jobs": ["copy"],
        "content": "words\n",
        "zip": False,
        "usage": "",
        "listed": {"total": 1, "job_ids": []},
        "removed": ["in.txt"],
        "deleted": "deleted",
    }
