"""SIGKILL to workers and run processes while inputs are fetched, made room for, and given out.

No wrong byte is read, nothing is held for ever, no space is lost. STEMMA_KILL_TEST_SECONDS asks for a longer form.
"""

import hashlib
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlmodel import select

from conftest import opened_installation
from stemma.auth.principal import Principal
from stemma.database.queries import recorded, replicas
from stemma.database.tables import ReplicaRow
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.register import register
from stemma.lifecycle.submit import Submission, submit
from stemma.lifecycle.validate import Upload
from stemma.provenance.build import build_graph
from stemma.provenance.check import problems
from stemma.states import RunState
from support.data_server import DataServer, data_server
from support.databases import KINDS
from support.killing import Service, chance, kill_until_ended, killing_seconds, run_states

ADA = Principal("sub-ada", "ada", ("group1",), frozenset({"reprov_user"}))
RUNS, FILES, SIZE = 3, 5, 1_200_000
LIMIT = 4_000_000
"""Of the store: three of the files."""
VICTIMS = ["worker 1", "worker 2", "run process", "all"]
DEADLINE_SECONDS = 200
WORKFLOW = b"""
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {files: "File[]"}
outputs: {all: {type: File, outputSource: gather/all}}
steps:
  digest:
    scatter: file
    in: {file: files}
    out: [line]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'sha256sum < "$0" > line.txt; sleep 0.2']
      inputs: {file: {type: File, inputBinding: {position: 1}}}
      outputs: {line: {type: File, outputBinding: {glob: line.txt}}}
  gather:
    in: {lines: digest/line}
    out: [all]
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {lines: {type: "File[]", inputBinding: {}}}
      stdout: all.txt
      outputs: {all: {type: stdout}}
"""


@pytest.fixture
def data() -> Iterator[DataServer]:
    with data_server() as server:
        server.pause_seconds = 0.02  # a file takes 0.4 s and more, so that there is much time between any two parts
        yield server


@pytest.fixture(params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path: Path, data: DataServer) -> Iterator[Installation]:
    with opened_installation(
        request.param,
        tmp_path / "home",
        lease_seconds=1.5,
        store_bytes=LIMIT,
        allow_plain_http=True,
        allow_private_hosts=data.url.removeprefix("http://"),
    ) as opened:
        yield opened


def _contents(run: int) -> list[bytes]:
    """Of a run's files: the first two are those of every run."""
    numbers = [number if number < 2 else 10 * run + number for number in range(FILES)]
    return [random.Random(number).randbytes(SIZE) for number in numbers]


def _queue(installation: Installation, data: DataServer) -> list[int]:
    entry = register(installation, ADA, name="digests", version="1", spec=Upload("main.cwl", WORKFLOW)).workflow.id
    ids = []
    for run in range(RUNS):
        names = [hashlib.sha256(content).hexdigest() for content in _contents(run)]
        for name, content in zip(names, _contents(run), strict=True):
            if name not in data.files:
                data.put(name, content)
        files = [{"class": "File", "location": f"{data.url}/{name}"} for name in names]
        ids.append(submit(installation, ADA, Submission(entry, inputs={"files": files})).id)
    return ids


@pytest.mark.timeout(600)
def test_transfers_when_everything_is_killed_at_random_then_no_byte_is_wrong_and_nothing_is_left_held(
    installation: Installation, data: DataServer
) -> None:
    drawn = chance()
    ids = _queue(installation, data)
    settings = installation.settings
    service = Service(
        settings,
        STEMMA_STORE_BYTES=str(LIMIT),
        STEMMA_ALLOW_PLAIN_HTTP="true",
        STEMMA_ALLOW_PRIVATE_HOSTS=settings.allow_private_hosts,
        STEMMA_MAX_ATTEMPTS="100",
    )
    try:
        states, seconds = partial(run_states, installation, ids), killing_seconds()
        killed = kill_until_ended(service, states, VICTIMS, drawn, seconds=seconds, patience=DEADLINE_SECONDS)
    finally:
        service.close()
    print(f"killed: {dict(killed)}; {data.sent_bytes / len(data.files) / SIZE:.2f} of the set was sent")
    for number, run_id in enumerate(ids):
        with installation.database.reading() as session:
            run = recorded.run(session, run_id)
        assert run.state is RunState.FINISHED, run.reason
        text = installation.store.read(run.outputs["all"]["checksum"].removeprefix("sha256:")).decode()
        digests = [hashlib.sha256(content).hexdigest() for content in _contents(number)]
        assert [line.split()[0] for line in text.splitlines()] == digests
        assert sorted(one.sha256 or "" for one in run.replications) == sorted(digests)
        assert all(one.times == 0 if one.was_here else one.times > 0 for one in run.replications)
        assert problems(build_graph(run, "http://localhost:8000")) == []
    _nothing_is_left(installation)


def _nothing_is_left(installation: Installation) -> None:
    """No copy is held by anybody, what is here is whole and has room, and no part is left over."""
    with installation.database.reading() as session:
        copies = list(session.execute(select(ReplicaRow)).scalars())
        # One that was dropped in the last moment of a run is still noted as wanted, and nobody wants it.
        assert {copy.state for copy in copies} <= {"here", "evicted", "wanted"}
        assert replicas.open_replicas(session, installation.home_id) == []
        assert not any(copy.reserved_bytes or copy.lease_owner for copy in copies)
        here = {copy.sha256: copy.size_bytes for copy in copies if copy.state == "here"}
        assert sum(size or 0 for size in here.values()) <= LIMIT
    store = installation.store
    found = {content.sha256: content for content in store.contents()}
    assert here.keys() <= found.keys()
    assert all(store.verify(digest) == "ok" for digest in found)
    large = {digest for digest, content in found.items() if content.size_bytes == SIZE}
    assert large == set(here), "what was dropped is gone, and nothing lies there that no row knows"
    store.sweep(keep_seconds=0)
    assert not [path for path in (installation.settings.store_folder / "incoming").rglob("*") if path.is_file()]
