"""Others' engines tell of their steps: what these read is fetched ahead, behind what runs need, and is a hit later."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlmodel import col, select

from conftest import Served, opened_installation, served_installation, working
from stemma.database.queries.replicas import ReplicaState
from stemma.database.tables import ReplicaRow
from stemma.engines.protocol import JobState
from stemma.engines.registry import EngineRegistry
from stemma.records import Content
from stemma.settings import MIB
from support.data_server import DataServer, data_server
from support.databases import KINDS
from support.scripted_engine import ScriptedEngine

SPEC = """\
cwlVersion: v1.2
class: Workflow
inputs: {file: File}
outputs: {sum: {type: File, outputSource: count/out}}
steps:
  count: {run: {class: CommandLineTool, baseCommand: [cksum], stdout: sum.txt,
                inputs: {file: {type: File, inputBinding: {position: 1}}}, outputs: {out: {type: stdout}}},
          in: {file: file}, out: [out]}
"""
PAIR = """\
cwlVersion: v1.2
class: Workflow
inputs: {first: File, last: File}
outputs: {}
steps:
  one: {run: &count {class: CommandLineTool, baseCommand: [cksum], inputs: {file: File}, outputs: {}},
        in: {file: first}, out: []}
  two: {run: *count, in: {file: last}, out: []}
"""
SIZE = 8 * MIB


@pytest.fixture(scope="module")
def data() -> Iterator[DataServer]:
    with data_server() as server:
        yield server


@dataclass
class SilentEngine(ScriptedEngine):
    """Begins before its files are there, and tells nothing of its steps."""

    takes_late = True
    came: list[int] = field(default_factory=list)
    """The sizes of the files that were delivered, in their order."""

    def deliver(self, reference: str, occurrence: UUID, content: Content) -> None:
        """Remember it; with the second the job has ended."""
        self.came.append(content.size_bytes)
        if len(self.came) % 2 == 0:
            self.end(reference, JobState.FINISHED)

    def refuse(self, reference: str, occurrence: UUID, reason: str) -> None:
        """The job has failed."""
        self.end(reference, JobState.FAILED, reason)

    def recall(self, reference: str, occurrence: UUID) -> bool:
        """Files that came stay."""
        return False


@pytest.fixture(params=KINDS)
def service(request: pytest.FixtureRequest, data: DataServer, tmp_path: Path) -> Iterator[Served]:
    settings: dict[str, Any] = {
        "allow_plain_http": True,
        "allow_private_hosts": data.url.removeprefix("http://"),
        "store_bytes": 2 * SIZE + MIB,  # two files and a few small ones
        "replication_streams": 4,
    }
    with (
        opened_installation(request.param, tmp_path, **settings) as installation,
        working(installation),
        served_installation(installation) as served,
    ):
        yield served


def registered(user: httpx.Client, spec: str = SPEC) -> int:
    form = {"name": Served.name(), "version": "1"}
    made = user.post("/workflow_registry/register", data=form, files={"spec_file": ("main.cwl", spec.encode())})
    assert made.status_code == 200, made.text
    number: int = made.json()["data"]["registry_id"]
    return number


def executed(user: httpx.Client, entry: int, address: str) -> int:
    inputs = {"file": {"class": "File", "location": address}}
    answer = user.post(f"/workflow_execution/execute/{entry}", json={"inputs": inputs, "nowait": True})
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["data"]["execution_id"]
    return number


def told(user: httpx.Client, entry: int, state: str, *inputs: str, run: str = "") -> dict[str, Any]:
    event = {"registry_id": entry, "run": run, "step": "count", "state": state, "inputs": inputs}
    answer = user.post("/workflow_events", json=event)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()["data"]["events"][0]
    return shown


def state(service: Served, address: str) -> str:
    with service.installation.database.reading() as session:
        query = select(ReplicaRow.state).where(col(ReplicaRow.address) == address)
        return str(session.execute(query).scalar_one())


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_event_when_a_step_elsewhere_is_added_then_its_file_is_here_before_any_run_and_a_hit_for_it(
    service: Served, data: DataServer
) -> None:
    name = Served.name("a")
    address = data.put(name, b"a" * SIZE)
    with service.client_as("user_1") as user:
        entry = registered(user)
        assert told(user, entry, "added", address)["ahead"]["to_come"] == 1
        until(lambda: state(service, address) == ReplicaState.HERE, "it was not fetched ahead")
        run = executed(user, entry, address)
        ended = service.run_to_end(user, run)
        assert ended["status"] == "finished", ended["reason"]
        figures = user.get(f"/workflow_execution/{run}/replication").json()["data"]
        assert figures["bytes"]["moved"] == 0
        assert figures["files"]["here"] == 1
        reads = data.reads(name)
        assert reads >= 1
        assert told(user, entry, "added", address, run="next")["ahead"] == {
            "here": 1, "to_come": 0, "left_out": 0, "reasons": [],
        }  # fmt: skip
        assert data.reads(name) == reads


def test_event_when_another_group_has_it_fetched_then_it_is_no_hit_here(service: Served, data: DataServer) -> None:
    address = data.put(Served.name("a"), b"theirs")
    with service.client_as("user_4") as stranger, service.client_as("user_1") as user:
        told(stranger, registered(stranger), "added", address)
        until(lambda: state(service, address) == ReplicaState.HERE, "it was not fetched ahead")
        assert told(user, registered(user), "added", address)["ahead"]["to_come"] == 1


def test_files_when_a_run_needs_one_then_what_is_fetched_ahead_comes_behind_it_and_gives_way(
    service: Served, data: DataServer
) -> None:
    """Three do not fit: the one that is under way for nobody yet is given up for the two that runs need."""
    slow, first, second = (Served.name(what) for what in ("slow", "first", "second"))
    ahead = data.put(slow, b"s" * SIZE, is_open=False)
    needed = [data.put(name, name[:1].encode() * SIZE, is_open=False) for name in (first, second)]
    with service.client_as("user_1") as user:
        entry = registered(user)
        assert told(user, entry, "running", ahead)["ahead"]["to_come"] == 1
        until(lambda: state(service, ahead) == ReplicaState.MOVING, "it was not begun")
        runs = [executed(user, entry, address) for address in needed]
        until(lambda: {state(service, address) for address in needed} == {ReplicaState.MOVING}, "there was no room")
        assert state(service, ahead) == ReplicaState.WANTED
        for name in (slow, first, second):
            data.let_go(name)
        for run in runs:
            assert service.run_to_end(user, run)["status"] == "finished"
        until(lambda: state(service, ahead) == ReplicaState.HERE, "it did not come when there was room")
        told(user, entry, "succeeded")
        third = data.put(Served.name("third"), b"t" * SIZE)
        fourth = data.put(Served.name("fourth"), b"u" * SIZE)
        for address in (third, fourth):
            assert service.run_to_end(user, executed(user, entry, address))["status"] == "finished"
        assert state(service, ahead) == ReplicaState.EVICTED


def test_event_when_the_step_ends_before_its_file_came_then_nobody_waits_for_it(
    service: Served, data: DataServer
) -> None:
    name = Served.name("slow")
    address = data.put(name, b"s" * SIZE, is_open=False)
    with service.client_as("user_1") as user:
        entry = registered(user)
        told(user, entry, "added", address)
        until(lambda: state(service, address) == ReplicaState.MOVING, "it was not begun")
        told(user, entry, "failed")
        until(lambda: state(service, address) == ReplicaState.EVICTED, "it is still wanted")


@pytest.mark.parametrize("kind", KINDS)
def test_event_when_a_step_of_a_silent_engine_runs_then_its_file_comes_first(kind: str, tmp_path: Path) -> None:
    engine = SilentEngine()
    with (
        data_server() as slow,
        opened_installation(
            kind, tmp_path, allow_plain_http=True, allow_private_hosts=slow.url.removeprefix("http://"),
            replication_streams=1,
        ) as installation,
    ):  # fmt: skip
        silent = dataclasses.replace(
            installation, engines=EngineRegistry({"cwltool": lambda: engine}, default="cwltool")
        )
        slow.pause_seconds = 0.03
        orders = []
        with working(silent), served_installation(silent) as service, service.client_as("user_1") as user:
            entry = registered(user, PAIR)
            for is_told in (False, True):
                sizes = [4 * MIB + 1 + 2 * is_told, 4 * MIB + 2 * is_told]  # what hangs on more bytes comes first
                addresses = [slow.put(Served.name("file"), b"x" * size) for size in sizes]
                inputs = {
                    port: {"class": "File", "location": address}
                    for port, address in zip(("first", "last"), addresses, strict=True)
                }
                answer = user.post(f"/workflow_execution/execute/{entry}", json={"inputs": inputs, "nowait": True})
                run = answer.json()["data"]["execution_id"]
                if is_told:
                    until(lambda: slow.reads(addresses[0].rpartition("/")[2]) > 0, "nothing was begun")  # noqa: B023
                    event = {"execution_id": run, "step": "two", "state": "running"}
                    assert user.post("/workflow_events", json=event).json()["data"]["taken"] == 1
                assert service.run_to_end(user, run)["status"] == "finished"
                orders.append([sizes.index(size) for size in engine.came[-2:]])
    assert orders == [[0, 1], [1, 0]]
