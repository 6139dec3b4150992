"""Whatever happens in whatever order, a run starts once per attempt, ends once, and every fact is recorded once.

Hypothesis plays the world: runs are submitted, stopped and deleted; jobs work, finish, fail and die; workers claim,
look, are killed at any call, and lose their leases to others who look at the same run at the same time.
"""

import contextlib
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle as Pool
from hypothesis.stateful import RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from sqlalchemy import select

from stemma import clock
from stemma.cwl.helper import Validator
from stemma.database import schema
from stemma.database.connection import Database
from stemma.database.queries import queue, recorded, runs
from stemma.database.queries.queue import Claimant
from stemma.database.tables import EventRow, RunRow
from stemma.engines.protocol import FileSeen, FileUsed, JobState, StepStarted
from stemma.engines.registry import EngineRegistry
from stemma.errors import LeaseLost, Unavailable
from stemma.lifecycle.credentials import EngineCredentials
from stemma.lifecycle.execute import attend, fail
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.remotes import remotes_of
from stemma.records import Claim, Content
from stemma.settings import Settings
from stemma.states import RunState
from stemma.storages.outgoing import Outgoing
from stemma.store.content import ContentStore
from support.rows import ADA, add_run, add_workflow
from support.scripted_engine import ScriptedEngine

MAX_ATTEMPTS = 3
LEASE = timedelta(seconds=15)
WORKERS = ("w1", "w2", "w3")


class Killed(BaseException):
    """SIGKILL, as far as Python code can feel it."""


class KillableDatabase(Database):
    """Dies before or after a chosen one of the next transactions."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.kill_in: int | None = None
        self.kill_after_commit = False

    def write(self, work: Any) -> Any:
        """As the real one, until the time has come."""
        if self.kill_in is None:
            return super().write(work)
        self.kill_in -= 1
        if self.kill_in > 0:
            return super().write(work)
        self.kill_in = None
        if self.kill_after_commit:
            super().write(work)
        raise Killed


class Lives(RuleBasedStateMachine):
    """Runs, jobs and workers."""

    run_ids = Pool("run_ids")
    claims = Pool("claims")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="stemma-test-")
        home = Path(self.folder.name)
        self.database = KillableDatabase(f"sqlite:///{home / 'test.sqlite'}")
        schema.upgrade(self.database)
        self.engine = ScriptedEngine()
        store = ContentStore(home / "store")
        spec = store.put_bytes(b"cwlVersion: v1.2")
        configured = Settings(home=home, max_attempts=MAX_ATTEMPTS)
        self.installation = Installation(
            settings=configured,
            database=self.database,
            store=store,
            validator=Validator(1, 1),
            engines=EngineRegistry({"cwltool": lambda: self.engine}, default="cwltool"),
            credentials=EngineCredentials(configured, self.database),
            remotes=remotes_of(configured, self.database, lambda: Outgoing(configured)),
            outgoing=lambda: Outgoing(configured),
            home_id="home",
        )
        self.now = clock.now()
        with self.database.transaction() as session:
            self.workflow_id = add_workflow(session, spec=Content(spec.sha256, spec.size_bytes))
        self.submitted: list[int] = []

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            self.let_everything_end()
        finally:
            self.database.close()
            self.folder.cleanup()

    @rule(target=run_ids)
    def submit(self) -> int:
        with self.database.transaction() as session:
            run_id = add_run(session, self.workflow_id, now=self.now)
        self.submitted.append(run_id)
        return run_id

    @rule(run_id=run_ids)
    def ask_to_stop(self, run_id: int) -> None:
        with self.database.transaction() as session:
            runs.request_stop(session, run_id, ADA, self.now)

    @rule(run_id=run_ids)
    def delete(self, run_id: int) -> None:
        with self.database.transaction() as session:
            runs.mark_deleted(session, run_id, self.now)

    @rule(target=claims, worker=st.sampled_from(WORKERS), limit=st.integers(1, 3))
    def claim(self, worker: str, limit: int) -> Any:
        claimant = Claimant(worker, "home", ("cwltool",), LEASE.total_seconds(), 300)
        with self.database.transaction() as session:
            return multiple(*queue.claim(session, claimant, limit=limit, now=self.now))

    @rule(seconds=st.sampled_from([1, 10, 20]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(claim=claims, worker=st.sampled_from(WORKERS), looks=st.integers(1, 4))
    def look(self, claim: Claim, worker: str, looks: int) -> None:
        """By who holds the claim, or believes so still."""
        with contextlib.suppress(LeaseLost, Unavailable):
            for _ in range(looks):
                attend(self.installation, worker, claim)

    @rule(claim=claims, kill_in=st.integers(1, 3), after_commit=st.booleans())
    def look_and_be_killed(self, claim: Claim, kill_in: int, after_commit: bool) -> None:
        self.database.kill_in, self.database.kill_after_commit = kill_in, after_commit
        with contextlib.suppress(LeaseLost, Unavailable, Killed):
            for _ in range(3):
                attend(self.installation, "doomed", claim)
        self.database.kill_in = None

    @rule(claim=claims, looks=st.integers(1, 3), ends=st.booleans())
    def look_and_lose_the_lease_meanwhile(self, claim: Claim, looks: int, ends: bool) -> None:
        """Another worker claims the run and looks at it while this one is still asking the engine."""

        def meanwhile() -> None:
            self.now += LEASE
            claimant = Claimant("quick", "home", ("cwltool",), LEASE.total_seconds(), 300)
            with self.database.transaction() as session:
                taken = queue.claim(session, claimant, limit=50, now=self.now)
            for one in taken:
                with contextlib.suppress(LeaseLost, Unavailable):
                    for _ in range(looks):
                        attend(self.installation, "quick", one)

        if ends:
            for reference in self.engine.alive():
                self.engine.begin(reference)
                self.engine.end(reference, JobState.FAILED, "it failed")
        self.engine.meanwhile = meanwhile
        with contextlib.suppress(LeaseLost, Unavailable):
            attend(self.installation, "slow", claim)
        self.engine.meanwhile = None

    @rule(claim=consumes(claims))
    def give_up(self, claim: Claim) -> None:
        with contextlib.suppress(LeaseLost, Unavailable):
            fail(self.installation, claim, "the test gave it up")

    @rule(calls=st.integers(1, 3))
    def engine_is_unreachable(self, calls: int) -> None:
        self.engine.unreachable_calls = calls

    @rule(choice=st.integers(0, 10), steps=st.integers(0, 4))
    def job_works(self, choice: int, steps: int) -> None:
        alive = self.engine.alive()
        if not alive:
            return
        reference = alive[choice % len(alive)]
        self.engine.begin(reference)
        for _ in range(steps):
            self.engine.start_step(reference, "step")
        for _ in range(steps // 2):
            self.engine.end_step(reference)

    @rule(
        choice=st.integers(0, 10),
        state=st.sampled_from([JobState.FINISHED, JobState.FAILED, JobState.LOST, JobState.STOPPED]),
    )
    def job_ends(self, choice: int, state: JobState) -> None:
        alive = self.engine.alive()
        if not alive:
            return
        reference = alive[choice % len(alive)]
        self.engine.begin(reference)
        if state is JobState.FINISHED:
            while self.engine.jobs[reference].open_steps:
                self.engine.end_step(reference)
        self.engine.end(reference, state, None if state is JobState.FINISHED else f"it was {state}")

    @invariant()
    def nothing_starts_twice(self) -> None:
        if hasattr(self, "engine"):
            assert len(self.engine.starts) == len(set(self.engine.starts))

    @invariant()
    def a_run_ends_once(self) -> None:
        if not hasattr(self, "database"):
            return
        ends = {state.value for state in RunState if state.is_terminal} - {RunState.DELETED.value}
        with self.database.reading() as session:
            query = select(EventRow.run_id, EventRow.state).where(EventRow.step.is_(None))  # type: ignore[union-attr]
            ended = [run_id for run_id, state in session.execute(query) if state in ends]
            assert len(ended) == len(set(ended))
            for row in session.execute(select(RunRow)).scalars():
                state = RunState(row.state)
                assert (row.id in ended) == state.is_terminal
                assert row.attempt <= MAX_ATTEMPTS
                assert row.active or state.is_terminal

    def let_everything_end(self) -> None:
        """From any state, calm workers bring every run to its end, and the record is what the jobs said."""
        self.engine.unreachable_calls = 0
        self.database.kill_in = None
        for _ in range(40):
            self.now += LEASE * 2
            for reference in self.engine.alive():
                self.engine.begin(reference)
                self.engine.end(reference, JobState.FAILED, "the test ends")
            claimant = Claimant("calm", "home", ("cwltool",), LEASE.total_seconds(), 300)
            with self.database.transaction() as session:
                claimed = queue.claim(session, claimant, limit=50, now=self.now)
            if not claimed:
                break
            for one in claimed:
                while not attend(self.installation, "calm", one).done:
                    for reference in self.engine.alive():
                        self.engine.end(reference, JobState.FAILED, "the test ends")
        with self.database.reading() as session:
            for run_id in self.submitted:
                row = queue.run_row(session, run_id)
                assert RunState(row.state).is_terminal
                assert not row.active
                if RunState(row.state) is RunState.STOPPED:
                    assert row.stop_requested_at is not None
                self.check_record(session, run_id)

    def check_record(self, session: Any, run_id: int) -> None:
        """Each fact that was reported is there once; no step is left open."""
        record = recorded.run(session, run_id)
        uuids = [step.uuid for step in record.steps]
        assert len(uuids) == len(set(uuids))
        assert all(step.state.is_terminal and step.ended_at for step in record.steps)
        assert all(attempt.ended_at and attempt.outcome for attempt in record.attempts)
        if record.state is RunState.FINISHED:
            job = self.engine.jobs[f"{record.uuid}/{len(record.attempts)}"]
            said = {fact.uuid for fact in job.facts if isinstance(fact, StepStarted)}
            last = {step.uuid for step in record.steps if step.attempt == len(record.attempts)}
            assert last == said
            made = [fact.occurrence.uuid for fact in job.facts if isinstance(fact, FileSeen)]
            kept = [file.uuid for file in record.occurrences if file.attempt == len(record.attempts)]
            assert sorted(kept) == sorted(made)
            assert len([use for use in record.usages if use.step in last]) == len(
                [fact for fact in job.facts if isinstance(fact, FileUsed)]
            )
            assert job.released


Lives.TestCase.settings = settings(
    max_examples=int(os.environ.get("STEMMA_STATE_MACHINE_EXAMPLES", "60")),  # noqa: TID251 - more for who asks
    phases=[
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
        Phase.shrink,
    ],  # explaining takes longer than the rest together
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestLives = Lives.TestCase
