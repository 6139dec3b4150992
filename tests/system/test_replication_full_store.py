"""Runs whose inputs lie elsewhere, and do not fit into the store together: each comes to its end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Served, opened_installation, served_installation, working
from support.data_server import DataServer, data_server

FILE_BYTES, STORE_BYTES = 700_000, 1_100_000
TOOL = (
    "{class: CommandLineTool, baseCommand: [cksum], stdout: sum.txt, outputs: {out: {type: stdout}}, "
    "inputs: {file: {type: File, inputBinding: {position: 1}}, more: 'File?'}}"
)
SCATTER = f"""\
cwlVersion: v1.2
class: Workflow
requirements: {{ScatterFeatureRequirement: {{}}}}
inputs: {{many: "File[]"}}
outputs: {{}}
steps:
  each: {{run: {TOOL}, scatter: file, in: {{file: many}}, out: [out]}}
"""
THREE = f"""{SCATTER.replace('{many: "File[]"}', '{first: File, second: File, many: "File[]"}')}
  first: {{run: {TOOL}, in: {{file: first}}, out: [out]}}
  after: {{run: {TOOL}, in: {{file: second, more: first/out}}, out: [out]}}
"""


@pytest.fixture(scope="module")
def data() -> Iterator[DataServer]:
    with data_server() as server:
        yield server


@contextmanager
def small_store(folder: Path, data: DataServer, **values: Any) -> Iterator[httpx.Client]:
    values |= {"allow_plain_http": True, "allow_private_hosts": data.url.removeprefix("http://")}
    with ExitStack() as stack:
        installation = stack.enter_context(opened_installation("sqlite", folder, store_bytes=STORE_BYTES, **values))
        stack.enter_context(working(installation))
        yield stack.enter_context(stack.enter_context(served_installation(installation)).client_as("user_1"))


def a_file(data: DataServer, **more: Any) -> dict[str, Any]:
    name = Served.name("f")
    return {"class": "File", "location": data.put(name, name[-1:].encode() * FILE_BYTES), **more}


def submitted(user: httpx.Client, spec: str, *inputs: dict[str, Any]) -> list[int]:
    form = {"name": Served.name(), "version": "1"}
    registered = user.post("/workflow_registry/register", data=form, files={"spec_file": ("main.cwl", spec.encode())})
    assert registered.status_code == 200, registered.text
    path = f"/workflow_execution/execute/{registered.json()['data']['registry_id']}"
    answers = [user.post(path, json={"inputs": one}) for one in inputs]
    return [int(answer.json()["data"]["execution_id"]) for answer in answers]


def test_runs_when_others_are_queued_then_what_those_will_need_takes_no_room_from_those_that_run(
    tmp_path: Path, data: DataServer
) -> None:
    with small_store(tmp_path, data, worker_slots=1) as user:
        runs = submitted(user, SCATTER, *({"many": [a_file(data) for _ in range(3)]} for _ in range(3)))
        assert [Served.run_to_end(user, run)["status"] for run in runs] == ["finished"] * 3


def test_run_when_a_file_cannot_be_had_then_what_comes_after_its_step_takes_no_room_from_the_others(
    tmp_path: Path, data: DataServer
) -> None:
    inputs = {
        "first": a_file(data, checksum="sha256:" + "0" * 64),
        "second": a_file(data),
        "many": [a_file(data) for _ in range(3)],
    }
    with small_store(tmp_path, data) as user:
        [run] = submitted(user, THREE, inputs)
        ended = Served.run_to_end(user, run)
    assert ended["status"] == "failed"
    assert {step["key"]: step["status"] for step in ended["steps"]} == {
        "first": "failed", **{f"each[{number}]": "finished" for number in range(3)},
    }  # fmt: skip
