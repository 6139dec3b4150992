"""Looking after the store of a whole service while it works."""

import io
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from conftest import Served, opened_installation, served_installation, working
from stemma.cli.awaiting import Follower
from stemma.client import Client, GivenToken
from stemma.lifecycle.replicate.replicator import Replicator
from stemma.lifecycle.storekeeping import verification
from stemma.lifecycle.storekeeping.removal import collect, evict
from support.data_server import DataServer, data_server
from support.databases import KINDS

SPEC = """\
cwlVersion: v1.2
class: Workflow
inputs: {first: File, last: File}
outputs: {out: {type: File, outputSource: two/out}, same: {type: File, outputSource: first}}
steps:
  one: {run: &count {class: CommandLineTool, baseCommand: [cksum], stdout: sum.txt,
         inputs: {file: {type: File, inputBinding: {position: 1}}, more: 'File?'}, outputs: {out: {type: stdout}}},
        in: {file: first}, out: [out]}
  two: {run: *count, in: {file: last, more: first}, out: [out]}
"""


KNOWN = {"PATH": os.defpath, "STEMMA_PASSWORD": "password_1", "TERM": "xterm", "COLUMNS": "110", "LINES": "30"}


@pytest.fixture(scope="module")
def data() -> Iterator[DataServer]:
    with data_server() as server:
        yield server


@pytest.fixture(scope="module", params=KINDS)
def service(
    request: pytest.FixtureRequest, data: DataServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp(f"storekeeping-{request.param}")
    hosts = data.url.removeprefix("http://")
    with (
        opened_installation(
            request.param, folder, allow_plain_http=True, allow_private_hosts=hosts, lease_seconds=1.5
        ) as installation,
        working(installation),
        served_installation(installation) as served,
    ):
        yield served


def started(user: httpx.Client, first: str, last: str) -> int:
    form, files = {"name": Served.name(), "version": "1"}, {"spec_file": ("main.cwl", SPEC.encode())}
    entry = user.post("/workflow_registry/register", data=form, files=files).json()["data"]["registry_id"]
    inputs = {port: {"class": "File", "location": url} for port, url in (("first", first), ("last", last))}
    answer = user.post(f"/workflow_execution/execute/{entry}", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["data"]["execution_id"]
    return number


def until(user: httpx.Client, run: int, condition: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while not condition(found := user.get(f"/workflow_execution/{run}").json()["data"]):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    shown: dict[str, Any] = found
    return shown


def is_waiting(found: dict[str, Any]) -> bool:
    replication = found["replication"]
    return replication["files"]["here"] == 1 and any(file["steps"] for file in replication["awaited"])


def test_store_when_looked_after_while_a_run_waits_then_nothing_is_lost(service: Served, data: DataServer) -> None:
    installation = service.installation
    names = Served.name("a"), Served.name("b")
    first, last = data.put(names[0], names[0].encode()), data.put(names[1], b"last", is_open=False)
    with service.client_as("user_1") as user:
        run = started(user, first, last)
        waiting = until(user, run, is_waiting)
        assert waiting["replication"]["awaited"][0]["url"] == last
        assert waiting["replication"]["awaited"][0]["steps"] == ["two"]
        evict(installation)  # those of ended runs; what this one may need stays
        collect(installation)
        assert verification.verify(installation, list(installation.store.contents())).faults == ()
        number = waiting["inputs"]["first"]["id"]
        assert user.get(f"/workflow_execution/files/{number}").content == names[0].encode()

        digest = waiting["inputs"]["first"]["checksum"].removeprefix("sha256:")
        path = installation.store.path(digest)
        path.chmod(0o644)
        path.write_bytes(b"!" + names[0].encode()[1:])
        [fault] = verification.verify(installation, list(installation.store.contents())).faults
        assert ("run", run) in {(owner.thing, owner.id) for owner in fault.owners}
        replicator = Replicator(installation, "verify", lambda _: None)
        assert verification.heal(installation, fault.copies, replicator)[1] == 0
        assert installation.store.read(digest) == names[0].encode()
        assert data.reads(names[0]) == 2

        data.let_go(names[1])
        ended = Served.run_to_end(user, run)
        assert ended["status"] == "finished", ended
        assert ended["replication"]["files"] == {"total": 2, "here": 2, "waiting": 0, "failed": 0, "handed": 0}
        assert ended["replication"]["awaited"] == []
        assert verification.verify(installation, list(installation.store.contents())).faults == ()
        evict(installation)
        dropped = user.get(f"/workflow_execution/files/{ended['inputs']['last']['id']}")
        assert (dropped.status_code, dropped.headers["Stemma-Error"]) == (409, "input-dropped")
        # An input that is an output as well is kept.
        assert user.get(f"/workflow_execution/files/{ended['outputs']['same']['id']}").content == names[0].encode()
        assert verification.verify(installation, list(installation.store.contents())).faults == ()


def test_follower_when_a_file_comes_slowly_then_tells_who_waits_and_how_fast_it_comes(
    service: Served, data: DataServer
) -> None:
    names = Served.name("a"), Served.name("b")
    first, last = data.put(names[0], b"first"), data.put(names[1], bytes(6_000_000))
    with service.client_as("user_1") as user:
        data.pause_seconds = 0.1
        try:
            run = started(user, first, last)
            said: list[str] = []
            with Client(service.url, GivenToken(service.tokens["user_1"])) as client:
                follower = Follower(client, run, said.append)
                with follower.following():
                    ended = Served.run_to_end(user, run)
                    found = client.runs.replication(run)
        finally:
            data.pause_seconds = 0.0
        assert ended["status"] == "finished", ended
        assert (found.files, found.here) == (2, 2)
        assert any(f"1 step waits for {names[1]}: " in line for line in said), said
        assert follower.latest is not None


def test_watch_when_on_a_terminal_then_draws_a_bar_for_what_is_waited_for(service: Served, data: DataServer) -> None:
    names = Served.name("a"), Served.name("b")
    first, last = data.put(names[0], b"first"), data.put(names[1], b"last" * 1000, is_open=False)
    with service.client_as("user_1") as user:
        run = started(user, first, last)
        until(user, run, is_waiting)
        ours, theirs = pty.openpty()
        command = [
            sys.executable,
            "-m",
            "stemma.cli",
            "run",
            "watch",
            str(run),
            "--url",
            service.url,
            "--user",
            "user_1",
        ]
        watching = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            env=KNOWN,
        )
        os.close(theirs)
        seen = io.BytesIO()
        reading = threading.Thread(target=copied, args=(ours, seen))
        reading.start()
        try:
            wanted = f"1 step waits for {names[1]}".encode()
            deadline = time.monotonic() + 60
            while wanted not in seen.getvalue():
                assert time.monotonic() < deadline, seen.getvalue()
                time.sleep(0.1)
            shown = subprocess.run(
                [*command[:4], "show", *command[5:]],
                capture_output=True,
                env=KNOWN,
                check=True,
            )
            assert b"inputs from elsewhere: 1 of 2 here" in shown.stdout
            assert last.encode() in shown.stdout
        finally:
            data.let_go(names[1])
            assert watching.wait(60) == 0, seen.getvalue()
            reading.join()
            os.close(ours)


def copied(source: int, target: io.BytesIO) -> None:
    while True:
        try:
            part = os.read(source, 65536)
        except OSError:  # the other end is closed
            return
        if not part:
            return
        target.write(part)
