"""The REANA session against the stand-in: the calls of a run's life, and what others trip over."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from stemma.engines.protocol import EngineIdentity
from stemma.engines.reana import faults
from stemma.engines.reana.answers import RunState
from stemma.engines.reana.server import ReanaServer
from stemma.engines.reana.session import ReanaSession
from stemma.errors import EngineUnreachable
from support.reana_standin import ReanaStandin

TOOL = {
    "class": "CommandLineTool",
    "id": "#tool",
    "baseCommand": ["sh", "-c", "sleep 0.5; echo hello > greeting.txt; echo said"],
    "inputs": [],
    "outputs": [{"id": "#tool/out", "type": "File", "outputBinding": {"glob": "greeting.txt"}}],
}
WORKFLOW = {
    "class": "Workflow",
    "id": "#main",
    "inputs": [],
    "outputs": [{"id": "#main/out", "type": "File", "outputSource": "#main/say/out"}],
    "steps": [{"id": "#main/say", "in": [], "out": ["#main/say/out"], "run": "#tool"}],
}
SPECIFICATION = {
    "version": "0.9.4",
    "workflow": {
        "type": "cwl",
        "file": "greeting.cwl",
        "specification": {"cwlVersion": "v1.2", "$graph": [WORKFLOW, TOOL]},
    },
    "inputs": {"parameters": {}, "files": [], "directories": []},
    "outputs": {"files": []},
}


@pytest.fixture(scope="module")
def reana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReanaStandin]:
    with ReanaStandin(tmp_path_factory.mktemp("reana"), rate_limit=0) as standin:
        yield standin


@pytest.fixture
def session(reana: ReanaStandin) -> Iterator[ReanaSession]:
    server = ReanaServer(reana.url, timeout_seconds=10, requests_per_second=100)
    yield server.session(SecretStr(reana.token))
    server.close()


@pytest.fixture
def created(session: ReanaSession) -> EngineIdentity:
    return session.create(f"test-{uuid4()}", SPECIFICATION)


def test_run_when_it_goes_its_way_then_every_call_tells_its_part(
    session: ReanaSession, created: EngineIdentity
) -> None:
    id_ = created.id
    assert (created.number, session.status(id_).state, session.status(id_).identity) == (1, RunState.CREATED, created)
    assert session.specification(id_)["workflow"]["file"] == "greeting.cwl"
    with pytest.raises(faults.StateConflict):
        session.stop(id_)
    session.start(id_)
    with pytest.raises(faults.AlreadyStarted):
        session.start(id_)
    deadline = time.monotonic() + 60
    while not session.watch.look(id_).state.is_terminal:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    status = session.status(id_)
    assert status.state is RunState.FINISHED
    assert status.started_at is not None
    assert status.finished_at is not None
    assert status.started_at <= status.finished_at
    assert (len(status.progress.finished), status.progress.active) == (1, frozenset())
    logs = session.logs(id_)
    assert [(job.name, job.status, job.is_over) for job in logs.jobs] == [("say", "finished", True)]
    assert "said" in logs.jobs[0].log
    assert "greeting.txt" in logs.workflow_log
    assert b"".join(session.download(id_, "outputs/greeting.txt")) == b"hello\n"
    assert created.name in [run.name for run in session.listed(name=created.name)]
    session.delete(id_)
    session.delete(id_)
    assert session.status(id_).state is RunState.DELETED


def test_delete_when_the_run_goes_on_then_it_is_said_and_after_a_stop_it_is_done(
    reana: ReanaStandin, session: ReanaSession, created: EngineIdentity
) -> None:
    session.start(created.id)
    while session.status(created.id).state is not RunState.RUNNING:
        time.sleep(0.02)
    with pytest.raises(faults.StateConflict, match="currently running"):
        session.delete(created.id)
    session.stop(created.id)
    assert session.status(created.id).state is RunState.STOPPED
    session.delete(created.id)


def test_files_when_names_are_odd_then_they_come_back_alone_and_together(
    session: ReanaSession, created: EngineIdentity
) -> None:
    names = ["a b", "p q+é#%.txt", "100%41.txt", "what?.txt", "list[1].txt", "star*.txt", "back\\slash", "日本"]
    for near in ("list1.txt", "starfish.txt", "whatX.txt", "100A.txt"):
        session.upload(created.id, f"d/{near}", b"another", 7)
    for name in names:
        session.upload(created.id, f"d/{name}", name.encode(), len(name.encode()))
    for name in names:
        assert b"".join(session.download(created.id, f"d/{name}")) == name.encode()
    together = {file.path: content for file, content in session.download_folder(created.id, "d")}
    assert {f"d/{name}": name.encode() for name in names}.items() <= together.items()
    assert len(together) == 12


def test_files_when_the_workspace_is_lost_then_it_is_said(
    reana: ReanaStandin, session: ReanaSession, created: EngineIdentity
) -> None:
    session.upload(created.id, "a", b"a", 1)
    reana.lose_workspace(created.id)
    for ask in (
        lambda: list(session.files(created.id)),
        lambda: list(session.download(created.id, "a", 1)),
        lambda: session.upload(created.id, "a", b"a", 1),
    ):
        with pytest.raises(faults.WorkspaceGone):
            ask()


def test_run_of_another_when_asked_for_then_there_is_none(
    reana: ReanaStandin, session: ReanaSession, created: EngineIdentity
) -> None:
    bob = session.server.session(SecretStr(reana.tokens["bob"]))
    assert bob.find(created.id) is None
    for ask in (bob.status, bob.logs, bob.start, bob.stop, bob.delete, bob.specification, bob.watch.look):
        with pytest.raises(faults.RunGone):
            ask(created.id)


def test_transfers_when_they_are_cut_then_a_second_try_is_whole(
    reana: ReanaStandin, session: ReanaSession, created: EngineIdentity, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(3 << 20))
    reana.faults(cut_upload_after=1 << 20, cuts=1)
    with pytest.raises(EngineUnreachable):
        session.upload(created.id, "large", source, 3 << 20)
    found = session.file(created.id, "large")
    assert found is None or found.size_bytes < 3 << 20
    session.upload(created.id, "large", source, 3 << 20)
    reana.faults(cut_upload_after=None, cut_download_after=1 << 20, cuts=1)
    with pytest.raises(EngineUnreachable):
        list(session.download(created.id, "large"))
    assert b"".join(session.download(created.id, "large")) == source.read_bytes()
    reana.faults(cut_download_after=None)


def test_token_when_it_is_revoked_then_it_is_said(reana: ReanaStandin) -> None:
    server = ReanaServer(reana.url)
    session = server.session(SecretStr(reana.tokens["carol"]))
    assert session.you().email == "carol@example.org"
    reana.faults(revoked=["carol"])
    with pytest.raises(faults.TokenRefused):
        session.you()
    reana.faults(revoked=[])
    server.close()
    server.close()


def test_rate_limit_when_it_is_the_real_one_then_many_requests_in_threads_stay_below_it(
    reana: ReanaStandin, created: EngineIdentity
) -> None:
    server = ReanaServer(reana.url)
    session = server.session(SecretStr(reana.token))
    reana.faults(rate_limit=20)
    reana.requests(anew=True)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: session.find(created.id), range(25)))
    server.close()
    answers = reana.requests()["answers"]
    reana.faults(rate_limit=0)
    server.close()
    assert set(answers) == {"200"}
