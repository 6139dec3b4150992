"""Runs whose inputs lie elsewhere: a whole service with a worker, a real server of data, the embedded engine."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Served, opened_installation, served_installation, working
from support.data_server import DataServer, data_server
from support.databases import KINDS
from support.storages import PASSWORD, USER, rclone_serving

SPEC = """\
cwlVersion: v1.2
class: Workflow
inputs: {first: File, last: File}
outputs:
  one: {type: File, outputSource: one/out}
  two: {type: File, outputSource: two/out}
steps:
  one: {run: &count {class: CommandLineTool, baseCommand: [cksum], stdout: sum.txt,
         inputs: {file: {type: File, streamable: false, inputBinding: {position: 1}}, more: 'File?'},
         outputs: {out: {type: stdout}}},
        in: {file: first}, out: [out]}
  two: {run: {class: CommandLineTool, baseCommand: [cksum], stdout: sum2.txt,
         inputs: {file: {type: File, inputBinding: {position: 1}}, more: 'File?'},
         outputs: {out: {type: stdout}}},
        in: {file: last, more: one/out}, out: [out]}
"""


@pytest.fixture(scope="module")
def data() -> Iterator[DataServer]:
    with data_server() as server:
        yield server


def settings(data: DataServer, **more: Any) -> dict[str, Any]:
    return {"allow_plain_http": True, "allow_private_hosts": data.url.removeprefix("http://"), **more}


@pytest.fixture(scope="module", params=KINDS)
def service(
    request: pytest.FixtureRequest, data: DataServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp(f"replication-{request.param}")
    with (
        opened_installation(request.param, folder, **settings(data)) as installation,
        working(installation),
        served_installation(installation) as served,
    ):
        yield served


def submitted(user: httpx.Client, inputs: dict[str, Any], spec: str = SPEC) -> httpx.Response:
    form = {"name": Served.name(), "version": "1"}
    registered = user.post("/workflow_registry/register", data=form, files={"spec_file": ("main.cwl", spec.encode())})
    assert registered.status_code == 200, registered.text
    entry = registered.json()["data"]["registry_id"]
    return user.post(f"/workflow_execution/execute/{entry}", json={"inputs": inputs})


def run_id(answer: httpx.Response) -> int:
    assert answer.status_code < 300, answer.text
    data = answer.json()["data"]
    return int(data["execution_id"])


def shown(user: httpx.Client, run: int) -> dict[str, Any]:
    found: dict[str, Any] = user.get(f"/workflow_execution/{run}").json()["data"]
    return found


def until(user: httpx.Client, run: int, condition: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while not condition(found := shown(user, run)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def elsewhere(url: str, **more: Any) -> dict[str, Any]:
    return {"class": "File", "location": url, **more}


def states(found: dict[str, Any]) -> dict[str, str]:
    return {step["key"]: step["status"] for step in found["steps"]}


def test_run_when_its_last_input_is_late_then_the_first_step_ends_before_it_comes(
    service: Served, data: DataServer
) -> None:
    first = data.put(Served.name("a"), b"first")
    name = Served.name("b")
    last = data.put(name, b"last" * 1000, is_open=False)
    with service.client_as("user_1") as user:
        run = run_id(submitted(user, {"first": elsewhere(first), "last": elsewhere(last)}))
        early = until(user, run, lambda found: states(found).get("one") == "finished")
        assert "two" not in states(early)
        data.let_go(name)
        ended = Served.run_to_end(user, run)
        assert ended["status"] == "finished", ended["reason"]
        assert ended["inputs"]["last"]["checksum"] == f"sha256:{hashlib.sha256(b'last' * 1000).hexdigest()}"
        record = user.get(f"/provenance/json/{run}").json()
        kinds = [activity for activity in record["activity"].values() if "replication of" in str(activity)]
        assert len(kinds) == 2


def test_run_when_the_same_version_is_needed_again_then_nothing_is_moved(service: Served, data: DataServer) -> None:
    names = Served.name("a"), Served.name("b")
    inputs = {
        port: elsewhere(data.put(name, name.encode())) for port, name in zip(("first", "last"), names, strict=True)
    }
    with service.client_as("user_1") as user:
        for _ in range(2):
            ended = Served.run_to_end(user, run_id(submitted(user, inputs)))
            assert ended["status"] == "finished", ended["reason"]
    assert [data.reads(name) for name in names] == [1, 1]


def test_run_when_another_group_has_the_file_then_it_is_moved_for_this_one_as_well(
    service: Served, data: DataServer
) -> None:
    name = Served.name("a")
    inputs = {port: elsewhere(data.put(name, b"shared")) for port in ("first", "last")}
    for person in ("user_1", "user_4"):
        with service.client_as(person) as user:
            assert Served.run_to_end(user, run_id(submitted(user, inputs)))["status"] == "finished"
    assert data.reads(name) == 2


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ("sha256:" + "0" * 64, hashlib.sha256(b"bad").hexdigest()),
        ("sha1$" + "0" * 40, hashlib.sha1(b"bad", usedforsecurity=False).hexdigest()),
    ],
)
def test_run_when_a_file_has_another_digest_then_its_step_fails_with_the_sentence_and_others_go_on(
    service: Served, data: DataServer, wrong: str, found: str
) -> None:
    good, bad = data.put(Served.name("a"), b"good"), data.put(Served.name("b"), b"bad")
    right = f"sha1${hashlib.sha1(b'good', usedforsecurity=False).hexdigest()}"
    inputs = {"first": elsewhere(good, checksum=right), "last": elsewhere(bad, checksum=wrong)}
    with service.client_as("user_1") as user:
        ended = Served.run_to_end(user, run_id(submitted(user, inputs)))
    assert ended["status"] == "failed"
    assert states(ended)["one"] == "finished"
    assert "0000" in ended["reason"]
    assert found in ended["reason"]


def test_run_when_the_connection_breaks_then_it_goes_on_where_it_was(service: Served, data: DataServer) -> None:
    content = bytes(range(256)) * 40_000
    name = Served.name("a")
    url = data.put(name, content)
    data.files[name].cut_at = 4_000_000
    inputs = {"first": elsewhere(url), "last": elsewhere(data.put(Served.name("b"), b"b"))}
    with service.client_as("user_1") as user:
        ended = Served.run_to_end(user, run_id(submitted(user, inputs)))
    assert ended["status"] == "finished", ended["reason"]
    assert ended["inputs"]["first"]["checksum"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert any(asked and asked != "bytes=0-" for method, path, asked in data.requests if path == f"/{name}")


def test_run_when_an_address_holds_a_key_then_the_database_and_the_answers_do_not(
    tmp_path: Path, data: DataServer
) -> None:
    key = "X-Amz-Signature=5f1e0c9d8b7a6f5e4d3c2b1a"
    url = data.put(f"{Served.name('a')}?{key}", b"secret")
    with ExitStack() as stack:
        installation = stack.enter_context(opened_installation("sqlite", tmp_path, **settings(data)))
        stack.enter_context(working(installation))
        user = stack.enter_context(stack.enter_context(served_installation(installation)).client_as("user_1"))
        run = run_id(submitted(user, {"first": elsewhere(url), "last": elsewhere(data.put(Served.name("b"), b"b"))}))
        ended = Served.run_to_end(user, run)
        record = user.get(f"/provenance/json/{run}").text
        [file] = tmp_path.glob("*.sqlite")
        with closing(sqlite3.connect(file)) as database:
            rows = "\n".join(database.iterdump())
    assert ended["status"] == "finished", ended["reason"]
    assert url.partition("?")[0] in rows
    assert [key in text for text in (rows, record, json.dumps(ended))] == [False, False, False]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("{url}/there-is-nothing", "there is nothing at"),
        ("http://127.0.0.1:1/x", "does not fetch"),
        ("http://169.254.169.254/latest/meta-data", "does not fetch"),
        ("file:///etc/shadow", ""),
        ("rclone:nobody/x", "nobody"),
        ("rclone:--config=/etc/x", ""),
    ],
)
def test_submit_when_the_address_leads_nowhere_or_where_nobody_may_go_then_refused(
    service: Served, data: DataServer, location: str, words: str
) -> None:
    good = elsewhere(data.put(Served.name("a"), b"a"))
    with service.client_as("user_1") as user:
        answer = submitted(user, {"first": good, "last": elsewhere(location.format(url=data.url))})
    assert 400 <= answer.status_code < 500, answer.text
    assert words in answer.text


def test_run_when_the_store_is_smaller_than_the_set_then_files_make_room_for_each_other(
    data: DataServer, tmp_path: Path
) -> None:
    size = 700_000
    contents = {port: port.encode() * (size // len(port)) for port in ("first", "last")}
    inputs = {port: elsewhere(data.put(Served.name(port), content)) for port, content in contents.items()}
    with (
        opened_installation("sqlite", tmp_path / "home", **settings(data, store_bytes=1_100_000)) as installation,
        working(installation),
        served_installation(installation) as service,
        service.client_as("user_1") as user,
    ):
        ended = Served.run_to_end(user, run_id(submitted(user, inputs)))
        assert ended["status"] == "finished", ended["reason"]
        held = [
            digest for digest in map(hashlib.sha256, contents.values()) if installation.store.has(digest.hexdigest())
        ]
        assert len(held) == 1
        large = elsewhere(data.put(Served.name("large"), b"x" * 1_200_000))
        answer = submitted(user, {"first": large, "last": large})
        assert answer.status_code == 422
        assert "MiB" in answer.text


NOBODY_ELSE = {"allow_plain_http": True, "outgoing_hosts": "nobody.example.org"}
"""A bucket without a remote is asked for at the public service of its kind: not from tests."""
FOLDER_SPEC = """\
cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: [sh, -c, 'cd "$0" && find . -type f | sort | xargs cat']
inputs: {folder: {type: Directory, inputBinding: {position: 1}}}
stdout: all.txt
outputs: {all: {type: stdout}}
"""


def test_run_when_a_folder_lies_in_a_bucket_then_its_files_are_listed_and_brought_with_the_credentials_of_the_caller(
    tmp_path: Path,
) -> None:
    bucket = tmp_path / "elsewhere" / "rain"
    (bucket / "2014" / "deep").mkdir(parents=True)
    (bucket / "2014" / "a.txt").write_text("first ")
    (bucket / "2014" / "deep" / "b.txt").write_text("second")
    with rclone_serving("s3", bucket.parent) as port, ExitStack() as stack:
        values = {**NOBODY_ELSE, "allow_private_hosts": f"127.0.0.1:{port}"}
        installation = stack.enter_context(opened_installation("sqlite", tmp_path / "home", **values))
        stack.enter_context(working(installation))
        service = stack.enter_context(served_installation(installation))
        user, other = (stack.enter_context(service.client_as(name)) for name in ("user_1", "user_2"))
        remote = {
            "name": "rain",
            "kind": "s3",
            "settings": {"bucket": "rain", "endpoint": f"http://127.0.0.1:{port}", "addressing": "path"},
            "credentials": {"access_key_id": USER, "secret_access_key": PASSWORD},
        }
        added = user.post("/remotes", json=remote)
        assert added.status_code == 200, added.text
        inputs = {"folder": {"class": "Directory", "location": "s3://rain/2014"}}
        run = run_id(submitted(user, inputs, FOLDER_SPEC))
        ended = Served.run_to_end(user, run)
        assert ended["status"] == "finished", ended["reason"]
        assert ended["outputs"]["all"]["checksum"] == f"sha256:{hashlib.sha256(b'first second').hexdigest()}"
        record = user.get(f"/provenance/json/{run}").text
        assert "s3://rain/2014/deep/b.txt" in record
        assert PASSWORD not in record + str(ended)
        # A mate in the group has no such remote: the same address is asked for without credentials.
        refused = submitted(other, inputs, FOLDER_SPEC)
        assert 400 <= refused.status_code < 500, refused.text


def test_run_when_the_workflow_itself_names_an_address_then_the_callers_own_remote_does_not_serve_it(
    tmp_path: Path,
) -> None:
    bucket = tmp_path / "elsewhere" / "rain"
    bucket.mkdir(parents=True)
    (bucket / "secret.txt").write_text("of user_1 alone")
    with rclone_serving("s3", bucket.parent) as port, ExitStack() as stack:
        values = {**NOBODY_ELSE, "allow_private_hosts": f"127.0.0.1:{port}"}
        installation = stack.enter_context(opened_installation("sqlite", tmp_path / "home", **values))
        service = stack.enter_context(served_installation(installation))
        user, author = (stack.enter_context(service.client_as(name)) for name in ("user_1", "user_2"))
        remote = {
            "name": "rain",
            "kind": "s3",
            "settings": {"bucket": "rain", "endpoint": f"http://127.0.0.1:{port}", "addressing": "path"},
            "credentials": {"access_key_id": USER, "secret_access_key": PASSWORD},
        }
        assert user.post("/remotes", json=remote).status_code == 200
        named = {port: {"class": "File", "location": "s3://rain/secret.txt"} for port in ("first", "last")}
        form = {"name": Served.name(), "version": "1"}
        files = {"spec_file": ("main.cwl", SPEC.encode()), "input_file": ("inputs.json", json.dumps(named).encode())}
        entry = author.post("/workflow_registry/register", data=form, files=files).json()["data"]["registry_id"]
        by_template = user.post(f"/workflow_execution/execute/{entry}", json={"nowait": True})
        assert 400 <= by_template.status_code < 500, by_template.text
        by_caller = user.post(f"/workflow_execution/execute/{entry}", json={"inputs": named, "nowait": True})
        assert by_caller.status_code == 200, by_caller.text
