"""SIGKILL to workers and the API while runs are on their way to REANA, go on there, and come back: each runs there once.

Each step leaves a mark of its own when it works. STEMMA_KILL_TEST_SECONDS asks for a longer form.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from conftest import opened_installation
from stemma.auth.principal import Principal
from stemma.database.queries import recorded, runs
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.register import register
from stemma.lifecycle.submit import Submission, submit
from stemma.lifecycle.validate import Upload
from stemma.provenance.build import build_graph
from stemma.provenance.check import problems
from stemma.states import RunState
from support.databases import KINDS
from support.killing import Service, chance, kill_until_ended, killing_seconds, run_states
from support.reana_bench import reana_client_is_there
from support.reana_standin import ReanaStandin

ADA = Principal("sub-ada", "ada", ("group1",), frozenset({"reprov_user"}))
RUNS = 4
ELEMENTS = 4
VICTIMS = ["worker 1", "worker 2", "api", "all"]
DEADLINE_SECONDS = 240
WORKFLOW = b"""
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {marks: string, names: "string[]", text: File}
outputs: {all: {type: File, outputSource: gather/all}}
steps:
  work:
    scatter: name
    in: {name: names, marks: marks, text: text}
    out: [piece]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "$0" >> "$1"; sleep 0.5; echo "made $0" > piece.txt; cat "$2" >> piece.txt']
      inputs:
        name: {type: string, inputBinding: {position: 1}}
        marks: {type: string, inputBinding: {position: 2}}
        text: {type: File, inputBinding: {position: 3}}
      outputs: {piece: {type: File, outputBinding: {glob: piece.txt}}}
  gather:
    in: {pieces: work/piece}
    out: [all]
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {pieces: {type: "File[]", inputBinding: {}}}
      stdout: all.txt
      outputs: {all: {type: stdout}}
"""


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[ReanaStandin]:
    reana_client_is_there()
    # Every answer takes a while, so that there is much time between any two calls.
    with ReanaStandin(tmp_path / "reana", rate_limit=0, slow_seconds=0.1, pending_seconds=0.5) as made:
        yield made


@pytest.fixture(params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path: Path, standin: ReanaStandin) -> Iterator[Installation]:
    with opened_installation(
        request.param,
        tmp_path / "home",
        lease_seconds=1.5,
        reana_server_url=standin.url,
        reana_access_token=standin.token,
    ) as opened:
        yield opened


def _queue(installation: Installation, marks: Path) -> list[int]:
    entry = register(installation, ADA, name="marks", version="1", spec=Upload("main.cwl", WORKFLOW)).workflow.id
    content = installation.store.put_bytes(b"a text\n")
    ids = []
    for number in range(RUNS):
        inputs = {
            "marks": f"{marks}-{number}",
            "names": [f"n{index}" for index in range(ELEMENTS)],
            "text": {"class": "File", "location": "text.txt"},
        }
        asked = Submission(entry, inputs=inputs, uploads={"text.txt": content}, engine="reana")
        ids.append(submit(installation, ADA, asked).id)
    return ids


def _there(standin: ReanaStandin) -> list[dict[str, str]]:
    """All runs that REANA knows, deleted ones as well."""
    given = {"type": "batch", "size": "100", "access_token": standin.token}
    found: list[dict[str, str]] = httpx.get(f"{standin.url}/api/workflows", params=given).json()["items"]
    return found


@pytest.fixture
def marks() -> Iterator[Path]:
    """Where steps leave marks: not below ``/tmp``, since REANA rewrites such paths and we refuse them."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder) / "marks"


@pytest.mark.timeout(600)
def test_runs_elsewhere_when_everything_is_killed_at_random_then_each_runs_there_once_and_none_is_stray(
    installation: Installation, standin: ReanaStandin, marks: Path
) -> None:
    drawn = chance()
    ids = _queue(installation, marks)
    service = Service(installation.settings, REANA_SERVER_URL=standin.url, REANA_ACCESS_TOKEN=standin.token)
    try:
        states, seconds = partial(run_states, installation, ids), killing_seconds()
        killed = kill_until_ended(service, states, VICTIMS, drawn, seconds=seconds, patience=DEADLINE_SECONDS)
    finally:
        service.close()
    print(f"killed: {dict(killed)}")
    names = set()
    for number, run_id in enumerate(ids):
        with installation.database.reading() as session:
            run = recorded.run(session, run_id)
            names.add(runs.get(session, run_id, ADA.groups).engine_run_id)
        assert run.state is RunState.FINISHED, run.reason
        assert len(run.attempts) == 1
        assert problems(build_graph(run, "http://localhost:8000")) == []
        assert Counter(Path(f"{marks}-{number}").read_text().split()) == {f"n{index}": 1 for index in range(ELEMENTS)}
        assert sorted(step.key for step in run.steps) == ["gather", *(f"work[{i}]" for i in range(ELEMENTS))]
        text = installation.store.read(run.outputs["all"]["checksum"].removeprefix("sha256:")).decode()
        assert text == "".join(f"made n{index}\na text\n" for index in range(ELEMENTS))
    assert {row["id"] for row in _there(standin)} == names
    assert len(names) == RUNS
