"""Runs on a real WES server whose inputs lie in a real S3 server: which it reads by itself, and which are sent."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Served, opened_installation, served_installation, working
from stemma.engines.wes.server import WesServer
from support.data_server import DataServer, data_server
from support.storages import Place, place
from support.wes_bench import server_url

COUNT = """
cwlVersion: v1.2
class: Workflow
inputs: {first: File, last: File}
outputs:
  one: {type: File, outputSource: one/out}
steps:
  one:
    in: {first: first, last: last}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [cat]
      inputs:
        first: {type: File, inputBinding: {position: 1}}
        last: {type: File, inputBinding: {position: 2}}
      stdout: all.txt
      outputs: {out: stdout}
"""
FOLDER = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'cat "$0"/*.txt "$0"/deep/*.txt']
inputs: {folder: {type: Directory, inputBinding: {}}}
stdout: all.txt
outputs: {one: stdout}
"""
HANDED_THROUGH = COUNT.replace("outputs:\n", "outputs:\n  same: {type: File, outputSource: first}\n", 1)
LOADING = COUNT.replace("first: {type: File, inputBinding: {position: 1}}", "first: {type: File, loadContents: true}")


@dataclass
class Everything:
    """A service, a person, and where the files are."""

    service: Served
    user: httpx.Client
    data: DataServer
    bucket: Place
    home: Path

    def put(self, path: str, content: bytes) -> dict[str, Any]:
        self.bucket.put(path, content)
        return {"class": "File", "location": f"s3://bucket/{path}"}

    def asked(self, spec: str, inputs: dict[str, Any]) -> httpx.Response:
        form = {"name": Served.name(), "version": "1"}
        added = self.user.post("/workflow_registry/register", data=form, files={"spec_file": ("m.cwl", spec.encode())})
        assert added.status_code == 200, added.text
        number = added.json()["data"]["registry_id"]
        asked = {"inputs": inputs, "engine": "wes", "nowait": True}
        return self.user.post(f"/workflow_execution/execute/{number}", json=asked)

    def ran(self, spec: str, inputs: dict[str, Any]) -> dict[str, Any]:
        answer = self.asked(spec, inputs)
        assert answer.status_code == 200, answer.text
        return Served.run_to_end(self.user, answer.json()["data"]["execution_id"], 120)

    def sent(self, run: dict[str, Any]) -> dict[str, Any]:
        """The input object that the server was given."""
        engine = self.service.installation.engines.get("wes")
        server: WesServer = engine._server  # type: ignore[attr-defined]
        (request,) = [server._json("GET", server.run_url(run["reana_id"]))["request"]]
        given = request["workflow_params"]
        return json.loads(given) if isinstance(given, str) else given

    def replication(self, run: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.user.get(f"/workflow_execution/{run['execution_id']}").json()["data"][
            "replication"
        ]
        return found


def add_remote(user: httpx.Client, bucket: Place) -> None:
    settings = {**bucket.settings, "addressing": "path"}
    remote = {"name": "rain", "kind": "s3", "settings": settings, "credentials": bucket.secrets}
    added = user.post("/remotes", json=remote)
    assert added.status_code == 200, added.text


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    url = server_url()
    folder = tmp_path_factory.mktemp("wes")
    with ExitStack() as stack:
        bucket = stack.enter_context(place("s3-versitygw", folder / "there"))
        data = stack.enter_context(data_server())
        private = f"{data.url.removeprefix('http://')},{bucket.settings['endpoint'].removeprefix('http://')}"
        values = {"allow_plain_http": True, "allow_private_hosts": private, "secret_key": "k" * 40}
        installation = stack.enter_context(
            opened_installation("sqlite", folder / "home", wes_url=url, wes_reads="s3, https", **values)
        )
        stack.enter_context(working(installation))
        service = stack.enter_context(served_installation(installation))
        user = stack.enter_context(service.client_as("user_1"))
        add_remote(user, bucket)
        yield Everything(service, user, data, bucket, folder / "home")


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_run_when_the_server_reads_by_url_then_nothing_is_fetched_and_the_record_says_what_is_known(
    everything: Everything,
) -> None:
    name = Served.name("b")
    first = everything.put("2014/a+b.txt", b"first ")
    last = {"class": "File", "location": everything.data.put(name, b"last"), "basename": "other.txt"}
    run = everything.ran(COUNT, {"first": first, "last": last})
    assert run["status"] == "finished", run["reason"]
    assert run["outputs"]["one"]["checksum"] == digest(b"first last")
    given = everything.sent(run)
    assert given["first"]["location"].startswith(everything.bucket.settings["endpoint"])
    assert "X-Amz-Signature" in given["first"]["location"]
    assert (given["first"]["basename"], given["first"]["size"]) == ("a+b.txt", 6)
    assert (given["last"]["location"], given["last"]["basename"]) == (last["location"], "other.txt")
    for port in ("first", "last"):
        assert "checksum" not in run["inputs"][port]
        assert run["inputs"][port]["source"]["etag"]
    assert not everything.service.installation.store.has(hashlib.sha256(b"first ").hexdigest())
    assert everything.data.reads(name) == 1  # the server's own
    found = everything.replication(run)
    assert found["files"] == {"total": 2, "here": 0, "waiting": 0, "failed": 0, "handed": 2}
    assert found["bytes"] == {"wanted": 0, "here": 0, "moved": 0}


def test_run_when_the_server_read_by_url_then_its_key_is_nowhere_here(
    everything: Everything, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    run = everything.ran(COUNT, {port: everything.put(f"{port}-key.txt", b"x") for port in ("first", "last")})
    assert run["status"] == "finished", run["reason"]
    signature = everything.sent(run)["first"]["location"].partition("X-Amz-Signature=")[2].partition("&")[0]
    assert len(signature) >= 32
    number = run["execution_id"]
    shown = [
        everything.user.get(path).text
        for path in (
            f"/workflow_execution/{number}",
            f"/workflow_execution/{number}/logs",
            f"/workflow_execution/{number}/replication",
            f"/provenance/json/{number}",
        )
    ]
    files = [path.read_bytes() for path in everything.home.rglob("*") if path.is_file()]
    assert any(b"first-key.txt" in content for content in files)  # it is looked for where it could be
    assert not any(signature in text for text in (*shown, caplog.text))
    assert not any(signature.encode() in content for content in files)


def test_provenance_when_the_server_read_by_url_then_no_digest_is_made_up(everything: Everything) -> None:
    run = everything.ran(COUNT, {port: everything.put(f"{port}-prov.txt", b"prov") for port in ("first", "last")})
    document = everything.user.get(f"/provenance/json/{run['execution_id']}").json()
    activities = json.dumps(document["activity"])
    assert activities.count("stemma:HandingOver") == 2
    assert "stemma:Replication" not in activities
    assert hashlib.sha256(b"prov").hexdigest() not in json.dumps(document)
    assert "s3://bucket/first-prov.txt" in json.dumps(document["entity"])
    number = run["execution_id"]
    pictures = (f"/workflow_execution/{number}/timeline", f"/provenance/draw/{number}")
    assert {everything.user.get(path).status_code for path in pictures} == {200}
    assert everything.user.post(f"/provenance/capture/{number}").status_code == 200
    inputs = everything.user.get(f"/workflow_execution/inputs/{run['execution_id']}")
    file = everything.user.get(f"/workflow_execution/files/{run['inputs']['first']['id']}")
    assert (inputs.status_code, file.status_code) == (409, 409)
    assert file.headers["Stemma-Error"] == "input-elsewhere"
    assert "s3://bucket/first-prov.txt" in file.json()["message"]


def test_run_when_a_folder_is_in_the_bucket_then_the_server_reads_each_of_its_files(everything: Everything) -> None:
    for path, content in (("many/a.txt", b"a"), ("many/b.txt", b"b"), ("many/deep/c.txt", b"c")):
        everything.bucket.put(path, content)
    run = everything.ran(FOLDER, {"folder": {"class": "Directory", "location": "s3://bucket/many"}})
    assert run["status"] == "finished", run["reason"]
    assert run["outputs"]["one"]["checksum"] == digest(b"abc")
    assert everything.replication(run)["files"]["handed"] == 3


@pytest.mark.parametrize("why", ["handed through", "loaded", "given digest", "here already"])
def test_run_when_the_bytes_are_needed_here_then_they_are_fetched_and_sent(everything: Everything, why: str) -> None:
    content = f"bytes, {why}\n".encode()
    first = everything.put(f"{why.replace(' ', '-')}.txt", content)
    last = everything.put("small.txt", b"last")
    if why == "given digest":
        first["checksum"] = digest(content)
    if why == "here already":  # an earlier run had it fetched
        assert everything.ran(HANDED_THROUGH, {"first": first, "last": last})["status"] == "finished"
    spec = {"handed through": HANDED_THROUGH, "loaded": LOADING}.get(why, COUNT)
    run = everything.ran(spec, {"first": first, "last": last})
    assert run["status"] == "finished", run["reason"]
    assert run["inputs"]["first"]["checksum"] == digest(content)
    given = everything.sent(run)
    assert "X-Amz" not in given["first"]["location"]
    assert "X-Amz" in given["last"]["location"]
    if why == "handed through":
        assert run["outputs"]["same"]["id"] == run["inputs"]["first"]["id"]


def test_run_when_another_digest_is_given_then_it_fails_with_the_sentence(everything: Everything) -> None:
    first = {**everything.put("wrong.txt", b"right"), "checksum": digest(b"wrong")}
    run = everything.ran(COUNT, {"first": first, "last": everything.put("small.txt", b"last")})
    assert run["status"] == "failed"
    assert "digest" in run["reason"]


def test_submit_when_nothing_is_there_or_nobody_may_go_there_then_refused(everything: Everything) -> None:
    last = everything.put("small.txt", b"last")
    for location in ("s3://bucket/none.txt", "http://127.0.0.1:1/x", "https://169.254.169.254/latest"):
        answer = everything.asked(COUNT, {"first": {"class": "File", "location": location}, "last": last})
        assert answer.status_code == 422, answer.text


@pytest.fixture
def alone(everything: Everything, tmp_path: Path) -> Iterator[Everything]:
    """The same without a worker; whoever starts one is ``service.installation``."""
    settings = everything.service.installation.settings
    names = ("wes_url", "wes_reads", "allow_plain_http", "allow_private_hosts", "secret_key")
    values = {name: getattr(settings, name) for name in names}
    with (
        opened_installation("sqlite", tmp_path / "home", **values) as installation,
        served_installation(installation) as service,
        service.client_as("user_1") as user,
    ):
        add_remote(user, everything.bucket)
        yield Everything(service, user, everything.data, everything.bucket, tmp_path)


def submitted(alone: Everything) -> int:
    files = {port: alone.put(f"brief/{port}.txt", port.encode()) for port in ("first", "last")}
    answer = alone.asked(COUNT, files)
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["data"]["execution_id"]
    return number


def test_run_when_its_remote_is_gone_before_it_is_handed_over_then_it_fails_and_says_so(alone: Everything) -> None:
    number = submitted(alone)
    assert alone.user.delete("/remotes/rain").status_code == 200
    with working(alone.service.installation):
        run = Served.run_to_end(alone.user, number, 60)
    assert run["status"] == "failed"
    assert "s3://bucket/brief/" in run["reason"]
    assert run["reana_id"] is None


def test_run_when_the_server_may_read_no_more_by_itself_then_its_files_are_fetched_and_sent(alone: Everything) -> None:
    number = submitted(alone)
    installation = alone.service.installation
    installation.engines.get("wes").url_kinds = frozenset()  # type: ignore[attr-defined]
    with working(installation):
        run = Served.run_to_end(alone.user, number, 60)
    assert run["status"] == "finished", run["reason"]
    assert run["inputs"]["first"]["checksum"] == digest(b"first")
    assert "X-Amz" not in json.dumps(alone.sent(run))


@pytest.mark.slow
def test_run_when_toil_reads_by_url_then_it_does_as_well(tmp_path: Path) -> None:
    root = os.environ.get("STEMMA_TEST_WES_TOIL_FOLDER", "/")  # noqa: TID251 - of the tests alone
    with ExitStack() as stack:
        bucket = stack.enter_context(place("s3-versitygw", tmp_path / "there"))
        values = {
            "wes_url": server_url("toil"), "wes_reads": "s3", "wes_files_root": Path(root), "allow_plain_http": True,
            "allow_private_hosts": bucket.settings["endpoint"].removeprefix("http://"), "secret_key": "k" * 40,
        }  # fmt: skip
        installation = stack.enter_context(opened_installation("sqlite", tmp_path / "home", **values))
        stack.enter_context(working(installation))
        service = stack.enter_context(served_installation(installation))
        user = stack.enter_context(service.client_as("user_1"))
        add_remote(user, bucket)
        with data_server() as data:
            there = Everything(service, user, data, bucket, tmp_path)
            run = there.ran(COUNT, {port: there.put(f"{port}.txt", port.encode()) for port in ("first", "last")})
    assert run["status"] == "finished", run["reason"]
    assert run["outputs"]["one"]["checksum"] == digest(b"firstlast")
    assert "checksum" not in run["inputs"]["first"]
