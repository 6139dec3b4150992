"""Many copies that arrive at once: written down as if one after another."""

import dataclasses
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from stemma import clock
from stemma.database.connection import Database
from stemma.database.queries import deliveries, demand, eviction, facts, recorded, replicas, transfers
from stemma.database.queries.arrivals import Arrival, arrive, arrive_all
from stemma.database.queries.demand import Sought
from stemma.database.queries.replicas import NeedState, ReplicaState
from stemma.database.tables import StoreSpaceRow
from stemma.records import Content, FileKind, Occurrence
from support.rows import add_run, add_workflow

HOME = "home-1"
COUNT = 7
AT = datetime.fromisoformat("2026-05-04T09:30:00.123456+00:00")


def new_run(session: Session) -> int:
    return add_run(session, add_workflow(session, group="group1", name=str(clock.new_uuid())), group="group1")


def wanted(session: Session, run: int, count: int = COUNT) -> None:
    """A run wants so many files."""
    occurrences = [Occurrence(clock.new_uuid(), FileKind.FILE, "name", f"in{number}") for number in range(count)]
    facts.add_occurrences(session, run, 1, occurrences)
    files = [Sought(one.uuid, f"s3://data/{one.port}", "v1", {}, 1000, source={"url": one.port}) for one in occurrences]
    demand.want(session, HOME, "group1", run, files, has=lambda _: True)


def claimed(session: Session) -> dict[int, int]:
    ids = [one.id for one in replicas.open_replicas(session, HOME)]
    return transfers.claim(session, HOME, ids, "mover", clock.now() + timedelta(seconds=30))


def arrival(number: int, replica_id: int, fence: int, at: datetime) -> Arrival:
    content = Content(f"{number:064x}", 100 + number)
    return Arrival(replica_id, fence, content, "source", 200 + number, at - timedelta(seconds=number + 1), at)


def arrivals(fences: dict[int, int]) -> list[Arrival]:
    at = clock.now()
    return [arrival(number, *claim, at) for number, claim in enumerate(sorted(fences.items()))]


def told(session: Session, run: int) -> list[tuple[Any, ...]]:
    """What is on record of the needs of a run, and what their files turned out to be."""
    needs = recorded.replications(session, run)
    files = recorded.occurrences(session, run)
    return [
        (one.source, one.started_at, one.arrived_at, one.was_here, one.sha256, one.verified, one.moved_bytes, one.times)
        for one in needs
    ] + [(one.port, one.content) for one in files]


def one_by_one(session: Session, came: list[Arrival]) -> set[int]:
    return set().union(*(arrive(session, one) or () for one in came))


def moved_bytes(session: Session) -> int:
    return sum(session.exec(select(StoreSpaceRow.moved_bytes).where(col(StoreSpaceRow.home) == HOME)))


def test_arrive_all_when_many_come_then_each_is_here_and_told_to_every_run_that_waits(database: Database) -> None:
    with database.transaction() as session:
        runs = [new_run(session), new_run(session)]
        for run in runs:
            wanted(session, run)
        came = arrivals(claimed(session))
        assert arrive_all(session, came) == set(runs)
        for run in runs:
            assert [need.state for need in deliveries.untold(session, run)] == [NeedState.HERE] * COUNT
            assert [one.content for one in recorded.occurrences(session, run)] == [one.content for one in came]
        for one in came:
            copy = replicas.get(session, one.replica_id)
            assert (copy.state, copy.sha256, copy.moved_bytes) == (
                ReplicaState.HERE,
                one.content.sha256,
                one.moved_bytes,
            )
        assert moved_bytes(session) == sum(one.moved_bytes for one in came)
        assert not replicas.has_open(session, HOME)


def test_arrive_all_when_compared_with_one_by_one_then_the_record_is_the_same(database: Database) -> None:
    records = []
    for write in (arrive_all, one_by_one):
        with database.transaction() as session:
            wanted(session, run := new_run(session))
            fences = claimed(session)
            came = [dataclasses.replace(one, started_at=AT, ended_at=AT) for one in arrivals(fences)]
            assert write(session, came) == {run}
            copies = [replicas.get(session, number) for number in sorted(fences)]
            shown = [(one.state, one.sha256, one.size_bytes, one.used_at, one.moved_bytes) for one in copies]
            records.append((shown, told(session, run)))
            for number in fences:  # so that the next run begins as this one did
                deliveries.told(session, run, deliveries.untold(session, run), for_good=True)
                assert eviction.evict(session, HOME, number)
    assert records[0] == records[1]


def test_arrive_all_when_a_claim_was_lost_then_that_copy_alone_is_not_written(database: Database) -> None:
    with database.transaction() as session:
        wanted(session, new_run(session))
        came = arrivals(claimed(session))
        late = dataclasses.replace(came[2], fence=came[2].fence - 1)
        arrive_all(session, [*came[:2], late, *came[3:]])
        states = [replicas.get(session, one.replica_id).state for one in came]
        assert states == [ReplicaState.MOVING if one is came[2] else ReplicaState.HERE for one in came]


def test_arrive_all_when_one_came_at_another_version_then_its_record_has_that_version(database: Database) -> None:
    with database.transaction() as session:
        wanted(session, run := new_run(session))
        came = arrivals(claimed(session))
        came[3] = dataclasses.replace(came[3], version="v2", told={"etag": "v2"}, shown="s3://data/other")
        assert arrive_all(session, came) == {run}
        sources = [one.source for one in recorded.replications(session, run)]
        assert {"url": "s3://data/other", "version": "v2", "etag": "v2"} in sources
        assert len(deliveries.untold(session, run)) == COUNT


def test_arrive_all_when_a_run_had_other_bytes_of_one_before_then_that_need_fails(database: Database) -> None:
    with database.transaction() as session:
        wanted(session, run := new_run(session))
        first = arrivals(claimed(session))
        arrive_all(session, first)
        deliveries.told(session, run, deliveries.untold(session, run))
        for one in first:
            deliveries.untell_copy(session, one.replica_id)
            assert eviction.evict(session, HOME, one.replica_id)
        again = arrivals(claimed(session))
        again[1] = dataclasses.replace(again[1], content=Content("f" * 64, 1))
        assert arrive_all(session, again) == {run}
        states = [need.state for need in deliveries.untold(session, run)]
        assert sorted(states) == sorted([NeedState.FAILED] + [NeedState.HERE] * (COUNT - 1))
