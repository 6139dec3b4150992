"""A worker some of whose runs elsewhere have files carried there or back: it goes on with the others meanwhile."""

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from conftest import Served, opened_installation, served_installation, working
from stemma import clock
from stemma.engines.protocol import FileSeen, Job, JobState, OutputFile
from stemma.engines.registry import EngineRegistry
from stemma.records import Content, FileKind, Occurrence
from stemma.worker import loop
from support.documents import ECHO
from support.real_service import wait_until
from support.scripted_engine import ScriptedEngine

BYTES = b"made elsewhere"
MADE = Content(hashlib.sha256(BYTES).hexdigest(), len(BYTES))


@dataclass
class FarEngine(ScriptedEngine):
    """Files take as long on their way as a test says."""

    name: str = "far"
    is_remote: bool = True
    is_slow: bool = False
    carrying: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def submit(self, job: Job) -> str:
        """Start the job; its inputs are on their way first."""
        self._carry()
        return super().submit(job)

    def outputs(self, reference: str) -> Iterator[OutputFile]:
        """The files that the job made."""
        for fact in self.jobs[reference].facts:
            if isinstance(fact, FileSeen):
                yield OutputFile(fact.occurrence.uuid, FileKind.FILE, None, self._bytes)

    def make(self, reference: str) -> None:
        """A file of the job, and its end."""
        occurrence = Occurrence(clock.new_uuid(), FileKind.FILE, "made", "made", content=MADE, at=clock.now())
        self.jobs[reference].facts.append(FileSeen(occurrence))
        self.end(reference, JobState.FINISHED)

    def _bytes(self) -> Iterator[bytes]:
        self._carry()
        yield BYTES

    def _carry(self) -> None:
        if self.is_slow:
            self.carrying.set()
            assert self.let_go.wait(120)


@dataclass
class Bench:
    """A service whose runs are elsewhere, and whose worker looks at one of them at a time."""

    service: Served
    user: httpx.Client
    engine: FarEngine
    entry: int

    def submit(self) -> int:
        """The number of another run."""
        started = self.user.post(
            f"/workflow_execution/execute/{self.entry}", json={"inputs": {"words": "x"}, "nowait": True}
        )
        assert started.status_code == 200, started.text
        return int(started.json()["data"]["execution_id"])

    def begun(self) -> tuple[int, str]:
        """A run that its engine has: its number and its reference."""
        before = len(self.engine.starts)
        number = self.submit()
        wait_until(lambda: len(self.engine.starts) > before)
        return number, self.engine.starts[-1]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(loop, "LOOKS_ELSEWHERE", 1)
    engine = FarEngine()
    with opened_installation("sqlite", tmp_path / "home") as installation:
        far = dataclasses.replace(installation, engines=EngineRegistry({"far": lambda: engine}, default="far"))
        with working(far), served_installation(far) as service, service.client_as("user_1") as user:
            form, files = {"name": "echo", "version": "1"}, {"spec_file": ("main.cwl", ECHO)}
            made = user.post("/workflow_registry/register", data=form, files=files)
            yield Bench(service, user, engine, made.json()["data"]["registry_id"])
            engine.let_go.set()


def test_run_when_the_inputs_of_another_are_on_their_way_then_it_ends_meanwhile(bench: Bench) -> None:
    first, reference = bench.begun()
    bench.engine.is_slow = True
    second = bench.submit()
    assert bench.engine.carrying.wait(30)
    bench.engine.end(reference, JobState.FINISHED)
    assert bench.service.run_to_end(bench.user, first, seconds=20)["status"] == "finished"
    bench.engine.let_go.set()
    wait_until(lambda: len(bench.engine.starts) == 2)
    bench.engine.end(bench.engine.starts[-1], JobState.FINISHED)
    assert bench.service.run_to_end(bench.user, second)["status"] == "finished"


def test_run_when_the_outputs_of_another_are_on_their_way_then_it_ends_meanwhile(bench: Bench) -> None:
    first, reference = bench.begun()
    second, slow = bench.begun()
    bench.engine.is_slow = True
    bench.engine.make(slow)
    assert bench.engine.carrying.wait(30)
    bench.engine.end(reference, JobState.FINISHED)
    assert bench.service.run_to_end(bench.user, first, seconds=20)["status"] == "finished"
    bench.engine.let_go.set()
    assert bench.service.run_to_end(bench.user, second)["status"] == "finished"
    assert bench.service.installation.store.has(MADE.sha256)
