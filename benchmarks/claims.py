"""How many queued runs a second do eight workers claim on MySQL, and is any claimed twice?

2,000 runs of an engine whose jobs end at once, without a process, behind 20,000 that ended long ago; queue, loop and
database are the real ones. Which run was started how often is counted twice: by the engine, in a file, and in the
database.

    STEMMA_TEST_MYSQL_URL=mysql+mysqldb://user:password@host/ python benchmarks/claims.py
"""

import argparse
import collections
import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from sqlalchemy import func, select, true
from sqlmodel import Session, col

import databases
from stemma import clock
from stemma.database.connection import Database
from stemma.database.queries import contents, people, runs, workflows
from stemma.database.queries.insert import insert_rows
from stemma.database.queries.runs import NewRun
from stemma.database.queries.workflows import NewRevision
from stemma.database.tables import AttemptRow, EventRow, RunRow
from stemma.engines.protocol import EngineDescription, Job, JobState, OutputFile, Report
from stemma.engines.registry import EngineRegistry
from stemma.errors import Finding
from stemma.lifecycle.installation import open_installation
from stemma.records import BundleFile, Person, RevisionRecord, WorkflowStructure
from stemma.settings import Settings
from stemma.store.content import ContentStore
from stemma.worker.loop import Worker

GOAL_A_SECOND = 100
WORKERS = 8
RUNS = 2000
ENDED = 20_000
REPETITIONS = 3
ENGINE = "idle"
NAME = "idle:1"
LIFE = ["queued", "pending", "running", "finished"]
"""All that may be written of each run, in this order."""
_PATIENCE_SECONDS = 300
_ROWS_A_STATEMENT = 500


class IdleEngine:
    """Its jobs are over as soon as they are begun. Each start is a line in a file that all workers share."""

    name = ENGINE
    is_remote = False

    def __init__(self, starts: Path) -> None:
        self._starts = os.open(starts, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def describe(self) -> EngineDescription:
        """Nothing special."""
        return EngineDescription(self.name, "1")

    def probe(self) -> str:
        """It is here."""
        return "1"

    def check(self, revision: RevisionRecord, containers: str) -> list[Finding]:  # noqa: ARG002
        """Runs anything."""
        return []

    def submit(self, job: Job) -> str:
        """Note the start."""
        reference = f"{job.run_uuid}/{job.attempt}"
        os.write(self._starts, f"{reference}\n".encode())
        return reference

    def report(self, reference: str, cursor: str) -> Report:  # noqa: ARG002
        """It has ended."""
        now = clock.now()
        return Report(JobState.FINISHED, "1", started_at=now, ended_at=now, outputs={})

    def outputs(self, reference: str) -> Iterator[OutputFile]:  # noqa: ARG002
        """None."""
        return iter(())

    def log(self, reference: str, step: UUID | None, stream: str) -> BinaryIO | None:  # noqa: ARG002
        """None."""
        return None

    def stop(self, reference: str) -> None:
        """It is over."""

    def release(self, reference: str) -> None:
        """Nothing is held."""

    def delete(self, reference: str) -> None:
        """Nothing is kept."""


def _settings(home: Path, url: str, slots: int | None) -> Settings:
    chosen = {} if slots is None else {"worker_slots": slots}
    return Settings(_env_file=None, home=home, database_url=url, containers="never", **chosen)  # type: ignore[arg-type]


def work(home: Path, url: str, slots: int | None, ready: Barrier) -> None:
    """A worker process: as ``stemma worker``, with the idle engine."""
    installation = open_installation(_settings(home, url, slots))
    engines = EngineRegistry({ENGINE: lambda: IdleEngine(home / "starts")}, default=ENGINE)
    installation = replace(installation, engines=engines)
    worker = Worker(installation)
    signal.signal(signal.SIGTERM, lambda *_: worker.drain())
    installation.database.ping()
    ready.wait()
    try:
        worker.run()
    finally:
        installation.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one repetition showed."""

    claimed_a_second: float
    ended_a_second: float
    twice: int
    """Runs that were started or recorded other than exactly once."""
    claimed_again: int
    """Runs that some worker lost to another before they ended."""
    workers: int
    """How many of them got something to do."""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--ended", type=int, default=ENDED, help="how many runs there were before")
    parser.add_argument("--slots", type=int, help="how many runs a worker attends to at a time")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    given = parser.parse_args()
    server = databases.mysql_server()
    if server is None:
        print("Claims: not measured, STEMMA_TEST_MYSQL_URL names no server")
        return
    found = [_repetition(server, given) for _ in range(given.repetitions)]
    print(f"{given.workers} workers, {given.runs} runs behind {given.ended} that had ended; median [least-most]")
    claimed = _line("claimed per second", [one.claimed_a_second for one in found])
    print(f"    goal: at least {GOAL_A_SECOND} - {'met' if claimed >= GOAL_A_SECOND else 'NOT MET'}")
    _line("ended per second", [one.ended_a_second for one in found])
    twice = sum(one.twice for one in found)
    print(f"  started or ended other than once: {twice}\n    goal: none - {'NOT MET' if twice else 'met'}")
    print(f"  claimed again before they ended: {sum(one.claimed_again for one in found)}")
    print(f"  workers that had something to do: {', '.join(str(one.workers) for one in found)}")


def _line(what: str, values: Sequence[float]) -> float:
    median = statistics.median(values)
    print(f"  {what}: {median:.0f} [{min(values):.0f}-{max(values):.0f}]")
    return median


def _repetition(server: str, given: argparse.Namespace) -> Outcome:
    with (
        databases.fresh_mysql(server) as url,
        tempfile.TemporaryDirectory(prefix="stemma-bench-") as folder,
    ):
        home, database = Path(folder), Database(url)
        try:
            _enqueue(database, ContentStore(_settings(home, url, None).store_folder), given.runs, given.ended)
            with _workers(home, url, given):
                _await_end(database)
            return _outcome(database, home, given.runs)
        finally:
            database.close()


def _enqueue(database: Database, store: ContentStore, count: int, ended: int) -> None:
    """One workflow with ``ended`` old runs, and ``count`` queued ones."""
    now, person, document = clock.now(), Person("somebody", "somebody"), store.put_bytes(b"cwlVersion: v1.2\n")
    revision = NewRevision(
        digest="d" * 64,
        main_path="main.cwl",
        spec_name="main.cwl",
        spec=document,
        inputs_name=None,
        inputs=None,
        structure=WorkflowStructure("v1.2", "CommandLineTool", (), (), ()),
        placeholders=[],
        warnings=[],
        files=(BundleFile("main.cwl", document),),
    )

    def write(session: Session) -> None:
        people.remember(session, person, now)
        contents.remember(session, [document], now)
        workflow = workflows.add(session, group="group1", name="idle", version="1", by=person, now=now)
        workflows.add_revision(session, workflow, revision, by=person, now=now)
        row = workflows.revision_row(session, workflow, 1)
        _add_ended(session, workflow, row.id or 0, ended)
        for _ in range(count):
            new = NewRun(
                uuid=clock.new_uuid(),
                group="group1",
                workflow_id=workflow,
                revision_id=row.id or 0,
                engine=ENGINE,
                name=NAME,
                submitted_by=person,
                inputs={},
                containers="never",
                time_limit_seconds=None,
            )
            runs.add(session, new, now)

    database.write(write)


def _add_ended(session: Session, workflow: int, revision: int, count: int) -> None:
    """Runs of another time."""
    at = clock.now() - timedelta(days=30)
    for start in range(0, count, _ROWS_A_STATEMENT):
        rows = [
            {
                "uuid": clock.new_uuid(),
                "group_name": "group1",
                "workflow_id": workflow,
                "revision_id": revision,
                "engine": ENGINE,
                "name": "before:1",
                "number": number + 1,
                "state": "finished",
                "active": False,
                "submitted_by": "somebody",
                "submitted_at": at,
                "started_at": at,
                "ended_at": at,
                "inputs": {},
                "outputs": {},
                "containers": "never",
                "lease_until": at,
                "attempt": 1,
                "journal_cursor": "1",
                "fence": 1,
            }
            for number in range(start, min(start + _ROWS_A_STATEMENT, count))
        ]
        insert_rows(session, RunRow, rows)


@contextmanager
def _workers(home: Path, url: str, given: argparse.Namespace) -> Iterator[None]:
    """Workers that begin together. Drained afterwards."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(given.workers + 1)
    started: list[SpawnProcess] = []
    try:
        for _ in range(given.workers):
            process = context.Process(target=work, args=(home, url, given.slots, ready))
            process.start()
            started.append(process)
        ready.wait(_PATIENCE_SECONDS)
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join()


def _await_end(database: Database) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    left = select(func.count()).select_from(RunRow).where(col(RunRow.active) == true())
    while time.monotonic() < deadline:
        with database.reading() as session:
            if not session.execute(left).scalar_one():
                return
        time.sleep(0.25)
    raise TimeoutError("the runs have not ended")


def _outcome(database: Database, home: Path, count: int) -> Outcome:
    events: dict[int, list[str]] = collections.defaultdict(list)
    moments = collections.defaultdict(list)
    with database.reading() as session:
        for event in session.execute(select(EventRow).order_by(col(EventRow.id))).scalars():
            events[event.run_id].append(event.state)
            moments[event.state].append(event.at)
        fences = session.execute(select(col(RunRow.id), col(RunRow.fence)).where(col(RunRow.name) == NAME)).all()
        attempts = session.execute(select(AttemptRow)).scalars().all()
    starts = collections.Counter((home / "starts").read_text().split())
    attempted = collections.Counter(one.run_id for one in attempts)
    odd = {number for number, _ in fences if events[number] != LIFE or attempted[number] != 1}
    begun, ended = sorted(moments["pending"]), sorted(moments["finished"])
    return Outcome(
        claimed_a_second=count / (begun[-1] - begun[0]).total_seconds(),
        ended_a_second=count / (ended[-1] - begun[0]).total_seconds(),
        twice=len(odd) + sum(times - 1 for times in starts.values()) + abs(count - len(starts)),
        claimed_again=sum(fence != 1 for _, fence in fences),
        workers=len({one.worker for one in attempts}),
    )


if __name__ == "__main__":
    main()
