"""An institute's database, made up: workflows with revisions, runs with everything that is recorded of them.

Written straight into the tables, many rows a statement. Of the contents only the digests are there, no bytes.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlmodel import SQLModel, col

from stemma import clock
from stemma.auth.local_issuer import USERS
from stemma.cwl import steps as structures
from stemma.database.connection import Database
from stemma.database.tables import (
    AttemptRow,
    CaptureRow,
    ContentRow,
    EventRow,
    OccurrenceRow,
    PersonRow,
    RevisionFileRow,
    RevisionRow,
    RunOutputRow,
    RunRow,
    StepRow,
    UsageRow,
    WorkflowRow,
)
from stemma.records import Json, Port, StepDefinition, StepInput, StepKind, WorkflowStructure
from stemma.states import RunState

WORKFLOWS = 10_000
RUNS = 50_000
GROUPS = {"group1": 5, "group2": 3, "hydrology": 1, "remote-sensing": 1}
"""How large they are, against each other; ``user_1`` is of the first."""
PEOPLE = 60
CONTENTS = 20_000
STEPS = ("prepare", "select", "summarise", "merge", "draw")
_EPOCH = datetime(2024, 1, 8, 7, tzinfo=UTC)
_RUNS_A_PART = 1000
_ENDINGS = ((RunState.FINISHED, 88), (RunState.FAILED, 8), (RunState.STOPPED, 3), (RunState.QUEUED, 1))
_CAPTURED = 0.2
_KEPT_ROWS = 500
"""As many a statement."""


@dataclass(slots=True)
class Part:
    """Rows that go into the database together, in the order of the tables' references."""

    rows: dict[type[SQLModel], list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, table: type[SQLModel], **values: Any) -> None:
        """One more row; what is not said has the table's own default."""
        self.rows.setdefault(table, []).append(values)

    def write(self, database: Database) -> None:
        """All of them in one transaction."""
        with database.transaction() as session:
            for table, rows in self.rows.items():
                defaults = _defaults(table)
                for start in range(0, len(rows), _KEPT_ROWS):
                    chunk = rows[start : start + _KEPT_ROWS]
                    session.connection().execute(insert(table), [{**defaults, **row} for row in chunk])


def _defaults(table: type[SQLModel]) -> dict[str, Any]:
    found = {name: one.default for name, one in table.model_fields.items() if name != "id" and not one.is_required()}
    nullable = {column.name: None for column in table.__table__.columns if column.nullable}  # type: ignore[attr-defined]
    return nullable | found


@dataclass(frozen=True, slots=True)
class Entry:
    """A workflow to take runs of."""

    id: int
    group: str
    name: str
    revisions: tuple[int, ...]
    steps: tuple[str, ...]


class Population:
    """Fills one database; the same every time but for identifiers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._random = random.Random(20)
        self._people = [user.subject for user in USERS.values()]
        self._digests = [hashlib.sha256(f"content {number}".encode()).hexdigest() for number in range(CONTENTS)]
        self._numbers: dict[int, int] = {}

    def fill(self, workflows: int, runs: int) -> None:
        """Write everything."""
        self._people_and_contents()
        entries = self._workflows(workflows)
        for start in range(1, runs + 1, _RUNS_A_PART):
            part = Part()
            for run_id in range(start, min(start + _RUNS_A_PART, runs + 1)):
                # Some are run every day, most now and then.
                self._run(part, run_id, entries[int(len(entries) * self._random.random() ** 2)])
            part.write(self._database)

    def _people_and_contents(self) -> None:
        part = Part()
        for user in USERS.values():
            part.add(PersonRow, subject=user.subject, username=user.username, first_seen_at=_EPOCH)
        for number in range(PEOPLE - len(USERS)):
            subject = str(UUID(int=self._random.getrandbits(128)))
            self._people.append(subject)
            part.add(PersonRow, subject=subject, username=f"colleague{number}", first_seen_at=_EPOCH)
        for number, digest in enumerate(self._digests):
            part.add(ContentRow, sha256=digest, size_bytes=number * 97, first_seen_at=_EPOCH)
        part.write(self._database)

    def _workflows(self, count: int) -> list[Entry]:
        part, entries, revision_id = Part(), [], 0
        for number in range(1, count + 1):
            group = self._choice(GROUPS)
            steps = STEPS[: self._random.randint(1, len(STEPS))]
            revisions = self._random.choice((1, 1, 1, 2, 3))
            name, version = f"catchment-{number % 4000:04}-balance", f"{number // 4000 + 1}.0"
            at = _EPOCH + timedelta(minutes=40 * number)
            by = self._random.choice(self._people)
            part.add(
                WorkflowRow,
                id=number,
                uuid=clock.new_uuid(),
                group_name=group,
                name=name,
                version=version,
                latest_number=revisions,
                created_at=at,
                created_by=by,
                updated_at=at + timedelta(days=revisions),
            )
            ids = tuple(range(revision_id + 1, revision_id + revisions + 1))
            revision_id = ids[-1]
            for place, one in enumerate(ids):
                self._revision(part, one, number, place + 1, steps=steps, at=at + timedelta(days=place), by=by)
            entries.append(Entry(number, group, f"{name}:{version.replace('.', '-')}", ids, steps))
            if len(entries) % _RUNS_A_PART == 0 or number == count:
                part.write(self._database)
                part = Part()
        return entries

    def _choice(self, weights: dict[str, int]) -> str:
        return self._random.choices(list(weights), list(weights.values()))[0]

    def _revision(
        self,
        part: Part,
        revision_id: int,
        workflow_id: int,
        number: int,
        *,
        steps: Sequence[str],
        at: datetime,
        by: str,
    ) -> None:
        spec = self._random.choice(self._digests)
        part.add(
            RevisionRow,
            id=revision_id,
            workflow_id=workflow_id,
            number=number,
            created_at=at,
            created_by=by,
            digest=hashlib.sha256(f"bundle {revision_id}".encode()).hexdigest(),
            main_path="main.cwl",
            spec_name="bundle.zip",
            spec_sha256=spec,
            structure=structures.to_json(_structure(steps)),
            placeholders=[],
            warnings=[],
        )
        for path in ("main.cwl", *(f"tools/{step}.cwl" for step in steps)):
            part.add(RevisionFileRow, revision_id=revision_id, path=path, sha256=self._random.choice(self._digests))

    def _run(self, part: Part, run_id: int, entry: Entry) -> None:
        number = self._numbers[entry.id] = self._numbers.get(entry.id, 0) + 1
        state = self._random.choices([state for state, _ in _ENDINGS], [weight for _, weight in _ENDINGS])[0]
        at = _EPOCH + timedelta(minutes=10 * run_id)
        ran, uuid = state is not RunState.QUEUED, clock.new_uuid()
        given = clock.new_uuid()
        made = self._steps(part, run_id, entry.steps, given=given, at=at, state=state) if ran else []
        finished = state is RunState.FINISHED
        end = at + timedelta(seconds=3 * len(entry.steps))
        self._occurrence(part, run_id, given, port="observations", step=None, at=at)
        part.rows = {RunRow: part.rows.get(RunRow, []), **part.rows}  # what refers to it is written after it
        part.add(
            RunRow,
            id=run_id,
            uuid=uuid,
            group_name=entry.group,
            workflow_id=entry.id,
            revision_id=self._random.choice(entry.revisions),
            engine="cwltool",
            engine_version="3.3.20260925135507" if ran else None,
            name=entry.name,
            number=number,
            state=state.value,
            active=not ran,
            submitted_by=self._random.choice(self._people),
            submitted_at=at,
            started_at=at + timedelta(seconds=1) if ran else None,
            ended_at=end if ran else None,
            reason=None if finished or not ran else "step merge failed with exit code 1",
            inputs={
                "observations": _file("observations.csv", given, self._digests[run_id % CONTENTS], 121_417),
                "wet_day": 1.0,
                "long_dry_spell": 30,
                "cities": ["Seattle", "New York", "Salzburg"],
            },
            outputs=self._outputs(part, run_id, made) if finished else None,
            containers="auto",
            attempt=int(ran),
            reference=f"{uuid}/1" if ran else None,
            journal_cursor="49971" if ran else "",
            home=str(UUID(int=1)) if ran else None,
            lease_until=end,
            fence=int(ran),
        )
        self._around(part, run_id, state, at, end)

    def _around(self, part: Part, run_id: int, state: RunState, at: datetime, end: datetime) -> None:
        """The attempt, the changes of state, and for some the sealed record."""
        ran = state is not RunState.QUEUED
        for one in ("queued", "pending", "running", state.value) if ran else ("queued",):
            part.add(EventRow, run_id=run_id, at=end if one == state.value and ran else at, state=one)
        if not ran:
            return
        part.add(
            AttemptRow,
            run_id=run_id,
            number=1,
            uuid=clock.new_uuid(),
            worker="node07-01a1fe87ba1e",
            started_at=at,
            ended_at=end,
            outcome=state.value,
            environment={"host": "node07", "python": "3.13.1", "cwltool": "3.3.20260925135507", "cores": 16},
        )
        if self._random.random() < _CAPTURED:
            by = self._random.choice(self._people)
            part.add(
                CaptureRow, run_id=run_id, sha256=self._digests[run_id % CONTENTS], captured_at=end, captured_by=by
            )

    def _steps(
        self, part: Part, run_id: int, names: Sequence[str], *, given: UUID, at: datetime, state: RunState
    ) -> list[tuple[str, UUID, str]]:
        """Steps one after another, each with a file of the one before; what they made, with names and digests."""
        made: list[tuple[str, UUID, str]] = []
        used = given
        for place, name in enumerate(names):
            step, output = clock.new_uuid(), clock.new_uuid()
            began, ended = at + timedelta(seconds=3 * place + 1), at + timedelta(seconds=3 * place + 3)
            is_last = place == len(names) - 1
            went = state.value if is_last else "finished"
            part.add(
                StepRow,
                uuid=step,
                run_id=run_id,
                attempt=1,
                step_key=name,
                path=name,
                kind="tool",
                state=went,
                started_at=began,
                ended_at=ended,
                scatter_index=[],
                command=["python3", f"tmp/s{place}/stg519816ec/{name}.py", "observations.csv", "1.0", f"{name}.csv"],
                exit_code=0 if went == "finished" else 1,
                cpu_seconds=0.162344 + place,
                memory_peak_bytes=9_420_800,
                disk_read_bytes=98_304,
                disk_write_bytes=40_960,
                stdout_tail="",
                stderr_tail="" if went == "finished" else "ValueError: could not convert string to float: 'n/a'\n" * 4,
                error=None if went == "finished" else "exit code 1",
                literals={"wet_day": 1.0},
            )
            part.add(EventRow, run_id=run_id, at=began, step=step, step_key=name, state="running")
            part.add(EventRow, run_id=run_id, at=ended, step=step, step_key=name, state=went)
            part.add(UsageRow, run_id=run_id, step=step, occurrence=used, port="table", position="")
            if went == "finished":
                digest = self._occurrence(part, run_id, output, port=name, step=step, at=ended)
                made.append((name, output, digest))
                used = output
        return made

    def _occurrence(self, part: Part, run_id: int, uuid: UUID, *, port: str, step: UUID | None, at: datetime) -> str:
        place = self._random.randrange(CONTENTS)
        part.add(
            OccurrenceRow,
            uuid=uuid,
            run_id=run_id,
            attempt=1,
            kind="file",
            basename=f"{port}.csv",
            port=port,
            position="",
            sha256=self._digests[place],
            size_bytes=place * 97,
            step=step,
            derived_from=[],
            at=at,
        )
        return self._digests[place]

    def _outputs(self, part: Part, run_id: int, made: Sequence[tuple[str, UUID, str]]) -> dict[str, Json]:
        """The last two files, and a sentence."""
        shown: dict[str, Json] = {"answer": "Seattle has 1107 mm of precipitation a year, on 127 wet days."}
        for name, uuid, digest in made[-2:]:
            part.add(RunOutputRow, run_id=run_id, occurrence=uuid, port=name, position="")
            shown[name] = _file(f"{name}.csv", uuid, digest, 2755)
        return shown


def _file(basename: str, uuid: UUID, digest: str, size: int) -> dict[str, Json]:
    return {
        "class": "File",
        "basename": basename,
        "size": size,
        "checksum": f"sha256:{digest}",
        "stemma:occurrence": str(uuid),
    }


def _structure(steps: Sequence[str]) -> WorkflowStructure:
    before = ("observations", *(f"{step}/table" for step in steps))
    return WorkflowStructure(
        "v1.2",
        "Workflow",
        inputs=(Port("observations", "File", "Observations", "Daily observations, one row a day and city."),),
        outputs=tuple(Port(step, "File", sources=(f"{step}/table",)) for step in steps[-2:]),
        steps=tuple(
            StepDefinition(
                step,
                StepKind.TOOL,
                f"tools/{step}.cwl",
                label=step.title(),
                inputs=(StepInput("table", (before[place],)),),
                outputs=("table",),
            )
            for place, step in enumerate(steps)
        ),
    )


def populate(database: Database, workflows: int = WORKFLOWS, runs: int = RUNS) -> None:
    """Fill a database that has its tables and nothing in them; one that was filled so before is left alone."""
    with database.reading() as session:
        found = session.execute(select(func.count()).select_from(WorkflowRow)).scalar_one()
    if not found:
        Population(database).fill(workflows, runs)


def ids_of(database: Database, group: str) -> tuple[list[int], list[int]]:
    """The ids of the workflows and of the runs that a group sees."""
    with database.reading() as session:
        workflows = session.execute(select(col(WorkflowRow.id)).where(col(WorkflowRow.group_name) == group)).scalars()
        seen = [number for number in workflows if number is not None]
        found = session.execute(select(col(RunRow.id)).where(col(RunRow.group_name) == group)).scalars()
        return seen, [number for number in found if number is not None]
