"""Runs with inputs from elsewhere and what lies in the store for them, written down as the service would."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import Session, col, update

from stemma import clock
from stemma.database.queries import arrivals, contents, demand, facts, replicas, transfers
from stemma.database.queries.arrivals import Arrival
from stemma.database.queries.demand import Sought
from stemma.database.tables import RunRow
from stemma.lifecycle.installation import Installation
from stemma.records import Content, FileKind, Json, Occurrence, RunOutput
from support.rows import add_run, add_workflow


def new_run(session: Session, group: str = "group1") -> int:
    """A queued run of a workflow of its own."""
    return add_run(session, add_workflow(session, group=group, name=str(clock.new_uuid())), group=group)


def add_file(session: Session, run: int, content: Content | None, *, output: bool = False) -> UUID:
    """An input of a run, or an output."""
    if content is not None:
        contents.remember(session, [content], clock.now())
    file = Occurrence(clock.new_uuid(), FileKind.FILE, "data.txt", "x", content=content)
    facts.add_occurrences(session, run, 1, [file])
    if output:
        facts.add_outputs(session, run, [RunOutput(file.uuid, "x", "")])
    return file.uuid


@dataclass(frozen=True, slots=True)
class Late:
    """A late input of a run."""

    occurrence: UUID
    replica: int


def add_late(
    installation: Installation,
    session: Session,
    run: int,
    address: str,
    *,
    size: int | None = 1000,
    group: str = "group1",
) -> Late:
    """A late input, as a submission notes it."""
    occurrence = add_file(session, run, None)
    source: dict[str, Json] = {"url": address}
    sought = Sought(occurrence, address, "v1", {}, size, source=source)
    demand.want(session, installation.home_id, group, run, [sought], has=installation.store.has)
    [need] = [need for need in replicas.of_run(session, run) if need.occurrence == occurrence]
    return Late(occurrence, need.replica_id)


def claimed(installation: Installation, session: Session, late: Late, seconds: float = 30.0) -> int:
    """Somebody moves it; the fence."""
    until = clock.now() + timedelta(seconds=seconds)
    return transfers.claim(session, installation.home_id, [late.replica], "mover", until)[late.replica]


def bring(installation: Installation, session: Session, late: Late, body: bytes) -> Content:
    """It arrives."""
    content = installation.store.put_bytes(body)
    fence, at = claimed(installation, session, late), clock.now()
    arrival = Arrival(late.replica, fence, content, "first use", len(body), at - timedelta(seconds=1), at)
    assert arrivals.arrive(session, arrival) is not None
    return content


def fill(installation: Installation, output: bytes = b"output") -> dict[str, Content]:
    """One content of each kind, and one that nothing refers to."""
    put = installation.store.put_bytes

    def write(session: Session) -> dict[str, Content]:
        found = {"document": put(b"cwl"), "output": put(output), "upload": put(b"upload"), "unused": put(b"unused")}
        run = add_run(session, add_workflow(session, spec=found["document"]))
        add_file(session, run, found["upload"])
        add_file(session, run, found["output"], output=True)
        found["replica"] = bring(installation, session, add_late(installation, session, run, "s3://b/k"), b"replica")
        end_run(session, run)
        return found

    return installation.database.write(write)


def end_run(session: Session, run: int, *, deleted_at: datetime | None = None) -> None:
    """Nobody attends to it any more; where ``deleted_at``, it was deleted then."""
    values = {"active": False, "state": "deleted" if deleted_at else "finished", "deleted_at": deleted_at}
    session.execute(update(RunRow).where(col(RunRow.id) == run).values(**values))
