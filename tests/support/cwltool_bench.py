"""A store, an embedded engine, and short ways to run documents on it and to look at what it reported."""

import atexit
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from stemma import clock
from stemma.engines.cwltool.engine import TARGET, CwltoolEngine
from stemma.engines.protocol import Fact, FileSeen, FileUsed, Job, Report, StepEnded, StepStarted
from stemma.forkserver import ForkServer
from stemma.records import (
    BundleFile,
    Content,
    Occurrence,
    Person,
    RevisionRecord,
    StepDefinition,
    StepKind,
    WorkflowStructure,
)

TAG = "stemma:occurrence"
_PATIENCE_SECONDS = 60

SHELL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c]
inputs:
  script: {type: string, inputBinding: {}}
  file: File?
  others: {type: "File[]?"}
outputs:
  made: {type: File, outputBinding: {glob: made.txt}}
"""
"""A tool that does what its input says."""


@cache
def shared_fork_server() -> ForkServer:
    """One preloaded parent for all tests of a process: starting it is most of the time of a test."""
    server = ForkServer(TARGET, detached=True)
    atexit.register(server.close)
    return server


@dataclass
class Seen:
    """What an engine reported of a job, all in all."""

    reference: str
    report: Report
    facts: list[Fact]
    environment: dict[str, Any]

    @property
    def started(self) -> dict[str, StepStarted]:
        return {fact.key: fact for fact in self.facts if isinstance(fact, StepStarted)}

    @property
    def ended(self) -> dict[str, StepEnded]:
        keys = {step.uuid: key for key, step in self.started.items()}
        return {keys[fact.uuid]: fact for fact in self.facts if isinstance(fact, StepEnded)}

    @property
    def occurrences(self) -> dict[UUID, Occurrence]:
        return {fact.occurrence.uuid: fact.occurrence for fact in self.facts if isinstance(fact, FileSeen)}

    def used(self, key: str) -> dict[str, UUID]:
        """What a step used, by port and position."""
        step = self.started[key].uuid
        usages = [fact.usage for fact in self.facts if isinstance(fact, FileUsed)]
        return {f"{usage.port}{usage.position}": usage.occurrence for usage in usages if usage.step == step}

    def made(self, key: str) -> dict[str, Occurrence]:
        """What a step generated, by port and position."""
        step = self.started[key].uuid
        return {f"{file.port}{file.position}": file for file in self.occurrences.values() if file.step == step}


class Bench:
    """Everything that a test of the engine needs."""

    def __init__(self, home: Path, *, cores: int = 2, fork_server: ForkServer | None = None) -> None:
        self.runs = home / "runs"
        self._store = home / "store"
        self._store.mkdir(parents=True)
        self._references: list[str] = []
        self.engine = CwltoolEngine(
            self.runs,
            self.store_path,
            cores=cores,
            eval_timeout_seconds=20,
            fork_server=fork_server or shared_fork_server(),
        )

    def store_path(self, sha256: str) -> Path:
        return self._store / sha256

    def put(self, text: str) -> Content:
        digest = hashlib.sha256(text.encode()).hexdigest()
        path = self.store_path(digest)
        if not path.exists():
            path.write_text(text)
            path.chmod(0o444)
        return Content(digest, len(text.encode()))

    def file(self, text: str, basename: str, **more: Any) -> dict[str, Any]:
        """A File as the lifecycle gives it to an engine."""
        content = self.put(text)
        return {
            "class": "File",
            "location": self.store_path(content.sha256).as_uri(),
            "basename": basename,
            "size": content.size_bytes,
            "checksum": f"sha256:{content.sha256}",
            TAG: str(clock.new_uuid()),
            **more,
        }

    def directory(self, basename: str, *listing: dict[str, Any]) -> dict[str, Any]:
        return {"class": "Directory", "basename": basename, "listing": list(listing), TAG: str(clock.new_uuid())}

    def revision(
        self,
        files: Mapping[str, str],
        *,
        cwl_class: str = "Workflow",
        steps: tuple[StepDefinition, ...] = (),
    ) -> RevisionRecord:
        return RevisionRecord(
            workflow_id=1,
            group="group",
            name="name",
            version="1",
            number=1,
            created_at=clock.now(),
            created_by=Person("subject", "username"),
            digest="0" * 64,
            main_path=next(iter(files)),
            structure=WorkflowStructure("v1.2", cwl_class, (), (), steps),
            files=tuple(BundleFile(path, self.put(text)) for path, text in files.items()),
        )

    def shell(self, document: str = SHELL, **more: Any) -> RevisionRecord:
        """A document that is a single tool."""
        step = StepDefinition("tool", StepKind.TOOL, "tool.cwl", **more)
        return self.revision({"tool.cwl": document}, cwl_class="CommandLineTool", steps=(step,))

    def job(self, revision: RevisionRecord, inputs: dict[str, Any], **more: Any) -> Job:
        return Job(
            **{"run_uuid": clock.new_uuid(), "attempt": 1, "name": "name:1", **more}, revision=revision, inputs=inputs
        )

    def submit(self, job: Job) -> str:
        reference = self.engine.submit(job)
        self._references.append(reference)
        return reference

    def run(self, revision: RevisionRecord, inputs: dict[str, Any], **more: Any) -> Seen:
        return self.follow(self.submit(self.job(revision, inputs, **more)))

    def start(self, script: str, **more: Any) -> tuple[str, Job]:
        """Start a tool, and wait until it runs."""
        job = self.job(more.pop("revision", None) or self.shell(), {"script": script}, **more)
        reference = self.submit(job)
        wait_for(lambda: any(isinstance(fact, StepStarted) for fact in self.engine.report(reference, "").facts))
        return reference, job

    def follow(self, reference: str) -> Seen:
        """Ask until the job has ended."""
        cursor, facts, environment = "", [], {}
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            report = self.engine.report(reference, cursor)
            cursor = report.cursor
            facts.extend(report.facts)
            environment = report.environment or environment
            if report.state.is_terminal:
                return Seen(reference, report, facts, environment)
            time.sleep(0.01)
        raise TimeoutError(reference)

    def journal(self, reference: str) -> Path:
        return self.runs / reference / "journal.jsonl"

    def process_id(self, reference: str) -> int:
        """The number of the run process."""
        with self.journal(reference).open() as file:
            return json.loads(file.readline())["process"]["pid"]

    def close(self) -> None:
        for reference in self._references:
            self.engine.stop(reference)


@contextmanager
def bench_in(home: Path, **more: Any) -> Iterator[Bench]:
    """A bench whose jobs are ended with it."""
    bench = Bench(home, **more)
    try:
        yield bench
    finally:
        bench.close()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
