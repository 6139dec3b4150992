"""What runs that go on in this store will need: read from the database, said in the planner's words."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlmodel import Session

from stemma.cwl.steps import from_json
from stemma.database.queries import hints, queue, workflows
from stemma.database.queries.copies_seen import CopiesSeen
from stemma.database.queries.hints import ToldState
from stemma.database.queries.parts import parts_of
from stemma.database.queries.replicas import Need, NeedState, Replica
from stemma.database.tables import OccurrenceRow, RevisionRow, RunRow, StepRow, StepWaitRow, table_of
from stemma.engines.protocol import Engine
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.ahead import in_turns
from stemma.lifecycle.replicate.delivery import must_have, takes_late
from stemma.lifecycle.replicate.hinted import StepTold
from stemma.lifecycle.replicate.needs import InputFile, RunSituation, StepSeen, StepWaiting, step_needs
from stemma.planning.situation import StepNeed
from stemma.records import WorkflowStructure
from stemma.states import StepState

_RUN, _REVISION, _STEP, _WAIT, _OCCURRENCE = (
    table_of(row) for row in (RunRow, RevisionRow, StepRow, StepWaitRow, OccurrenceRow)
)
_EARLIER_RUNS: Final = 5
_FORGET: Final = 2000
"""Documents that are kept read."""


@dataclass(slots=True)
class Outlook:
    """The situation of a store, as it was read."""

    wanted: list[Replica]
    """By runs."""
    held: list[Replica]
    steps: list[StepNeed]
    runs: dict[int, Any]
    """The rows of the runs that need something."""
    needs: list[Need] = field(default_factory=list)
    ahead: list[Replica] = field(default_factory=list)
    """Wanted too, for steps that others told of, and needed by no run yet: the first first."""
    wished: frozenset[int] = frozenset()
    """The numbers of these, and of those that are here."""


class Reader:
    """Reads the situation; keeps what does not change."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._structures: dict[int, WorkflowStructure] = {}
        self._earlier: dict[int, dict[str, list[float]]] = {}
        self._copies = CopiesSeen()
        self._places: dict[int, dict[UUID, tuple[str, str]]] = {}
        """Where the inputs of runs are that need something."""

    def read(self, now: datetime) -> Outlook:
        """What is wanted, what is here, and which steps need which of it."""
        home = self._installation.home_id
        with self._installation.database.reading() as session:
            wanted = self._copies.wanted(session, home)
            if not wanted:
                self._copies.forget()
                return Outlook([], [], [], {})
            # Without a bound nothing is dropped: what no run needs is no matter of a plan.
            held = self._copies.held(session, home, all_of_them=self._installation.settings.store_bytes is not None)
            needs = self._copies.needs(session, home, {one.id for one in (*wanted, *held)})
            runs = _runs(session, {need.run_id for need in needs})
            self._places = {run_id: places for run_id, places in self._places.items() if run_id in runs}
            of_run: dict[int, list[Need]] = {}
            for need in needs:
                of_run.setdefault(need.run_id, []).append(need)
            steps = [need for row in runs.values() for need in self._steps_of(session, row, of_run[row.id], now)]
            wishes = hints.wishes(session, home, now)
        waited_for = {need.replica_id for need in needs if need.state is NeedState.WAITING}
        copies = {one.id: one for one in wanted if one.id not in waited_for}
        ahead = [copies[one.replica_id] for one in in_turns(wishes) if one.replica_id in copies]
        wanted = [one for one in wanted if one.id not in copies]
        return Outlook(wanted, held, steps, runs, needs, ahead, frozenset(one.replica_id for one in wishes))

    @staticmethod
    def runs(session: Session, needs: Iterable[Need]) -> dict[int, Any]:
        """The rows of the runs that have these needs."""
        return _runs(session, {need.run_id for need in needs})

    def _steps_of(self, session: Session, row: Any, own: Sequence[Need], now: datetime) -> list[StepNeed]:
        engine = _engine(self._installation, row.engine)
        if engine is None or not takes_late(engine):  # it begins with all of them
            keys = {str(need.replica_id) for need in own}
            is_waiting = any(need.state is NeedState.WAITING for need in own)
            # One that is queued keeps nothing from others, though it has all its files: it may have to wait for them.
            is_running = not is_waiting and row.reference is not None
            return [StepNeed("*", str(row.id), tuple(sorted(keys)), is_waiting=is_waiting, is_running=is_running)]
        if row.id not in self._places:  # its inputs were written down with it
            self._places[row.id] = _places(session, row.id)
        places = self._places[row.id]
        files = [
            InputFile(need.occurrence, str(need.replica_id), *places[need.occurrence])
            for need in own
            if need.occurrence in places
        ]
        situation = RunSituation(
            run=str(row.id),
            structure=self._structure(session, row.revision_id),
            files=files,
            seen=_seen(session, row.id, row.attempt),
            waiting=_waiting(session, row.id, row.attempt),
            earlier=self._durations(session, row.workflow_id),
            told=_told(session, row.id, row.attempt, now),
            lacking=frozenset(str(need.replica_id) for need in own if need.state is NeedState.WAITING),
        )
        steps = step_needs(situation, now)
        if row.reference is not None or not hasattr(engine, "must_have"):
            return steps
        inputs = queue.inputs_of(session, row.id)
        first = must_have(engine, workflows.revision_by_id(session, row.revision_id), inputs) & places.keys()
        if not first:
            return steps
        ahead = sorted({str(need.replica_id) for need in own if need.occurrence in first})
        beginning = StepNeed("*", str(row.id), tuple(ahead), seconds=0.0, is_waiting=True)
        return [beginning, *(replace(step, after=(*step.after, "*")) for step in steps)]

    def _structure(self, session: Session, revision_id: int) -> WorkflowStructure:
        if revision_id not in self._structures:
            if len(self._structures) >= _FORGET:
                self._structures.clear()
            query = select(_REVISION.c.structure).where(_REVISION.c.id == revision_id)
            self._structures[revision_id] = from_json(session.execute(query).scalar_one())
        return self._structures[revision_id]

    def _durations(self, session: Session, workflow_id: int) -> dict[str, list[float]]:
        """How long the steps of a workflow took in its latest runs."""
        if workflow_id not in self._earlier:
            if len(self._earlier) >= _FORGET:
                self._earlier.clear()
            self._earlier[workflow_id] = _durations(session, workflow_id)
        return self._earlier[workflow_id]


def _engine(installation: Installation, name: str) -> Engine | None:
    return installation.engines.working().get(name)


def _runs(session: Session, run_ids: Collection[int]) -> dict[int, Any]:
    columns = [
        _RUN.c[name]
        for name in ("id", "uuid", "engine", "state", "reference", "revision_id", "workflow_id", "attempt")
    ]  # fmt: skip
    found: dict[int, Any] = {}
    for part in parts_of(sorted(run_ids)):
        found |= {row.id: row for row in session.execute(select(*columns).where(_RUN.c.id.in_(part)))}
    return found


def _places(session: Session, run_id: int) -> dict[UUID, tuple[str, str]]:
    query = select(_OCCURRENCE.c.uuid, _OCCURRENCE.c.port, _OCCURRENCE.c.position).where(
        _OCCURRENCE.c.run_id == run_id, _OCCURRENCE.c.step.is_(None)
    )
    return {row.uuid: (row.port, row.position) for row in session.execute(query)}


def _seen(session: Session, run_id: int, attempt: int) -> list[StepSeen]:
    query = (
        select(
            _STEP.c.step_key,
            _STEP.c.path,
            _STEP.c.started_at,
            _STEP.c.ended_at,
            _STEP.c.state == StepState.FAILED.value,
        )
        .where(_STEP.c.run_id == run_id, _STEP.c.attempt == attempt)
        .order_by(_STEP.c.id)
    )
    return [StepSeen(*row) for row in session.execute(query)]


def _waiting(session: Session, run_id: int, attempt: int) -> list[StepWaiting]:
    query = select(_WAIT).where(_WAIT.c.run_id == run_id, _WAIT.c.attempt == attempt)
    return [StepWaiting.of(row.step_key, row.path, row.occurrences) for row in session.execute(query)]


def _told(session: Session, run_id: int, attempt: int, now: datetime) -> list[StepTold]:
    return [
        StepTold(step, state.has_ended, state is ToldState.RUNNING, told_at)
        for step, state, told_at in hints.of_run(session, run_id, attempt, now)
    ]


def _durations(session: Session, workflow_id: int) -> dict[str, list[float]]:
    latest = (
        select(_RUN.c.id)
        .where(_RUN.c.workflow_id == workflow_id, _RUN.c.ended_at.is_not(None))
        .order_by(_RUN.c.id.desc())
        .limit(_EARLIER_RUNS)
    )
    ids = list(session.execute(latest).scalars())
    query = (
        select(_STEP.c.path, _STEP.c.started_at, _STEP.c.ended_at)
        .where(_STEP.c.run_id.in_(ids), _STEP.c.ended_at.is_not(None))
        .order_by(_STEP.c.id.desc())
        .limit(5000)
    )
    found: dict[str, list[float]] = {}
    for path, started_at, ended_at in session.execute(query):
        found.setdefault(path, []).append(max(ended_at - started_at, timedelta()).total_seconds())
    return found
