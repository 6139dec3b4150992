"""Copies of what lies elsewhere: wanted, claimed, here, dropped; and the runs that need them."""

import dataclasses
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlmodel import Session, col, update

from stemma import clock
from stemma.database.connection import Database
from stemma.database.queries import arrivals, deliveries, demand, eviction, facts, recorded, replicas, transfers
from stemma.database.queries.arrivals import Arrival
from stemma.database.queries.demand import Sought
from stemma.database.queries.replicas import NeedState, ReplicaState
from stemma.database.tables import RunRow
from stemma.records import Content, FileKind, Occurrence
from support.rows import add_run, add_workflow

HOME = "home-1"
BYTES = Content("b" * 64, 1000)


def sought(session: Session, run: int, address: str = "s3://data/a", version: str = "v1", **more: str) -> Sought:
    """A late input of a run, as a submission would note it."""
    occurrence = Occurrence(clock.new_uuid(), FileKind.FILE, "a", "x")
    facts.add_occurrences(session, run, 1, [occurrence])
    source = {"url": address}
    return Sought(
        occurrence.uuid, address, version, {"etag": version}, 1000, source=source, expected=more.get("expected")
    )


def new_run(session: Session, group: str = "group1") -> int:
    return add_run(session, add_workflow(session, group=group, name=str(clock.new_uuid())), group=group)


def wanted_by(
    session: Session, run: int, *files: Sought, group: str = "group1", here: bool = True
) -> dict[UUID, Content]:
    return demand.want(session, HOME, group, run, files, has=lambda _: here)


def moved(session: Session, owner: str = "mover") -> dict[int, int]:
    """All that can be claimed now, with its fences."""
    ids = [one.id for one in replicas.open_replicas(session, HOME)]
    return transfers.claim(session, HOME, ids, owner, clock.now() + timedelta(seconds=30))


def arrival(replica_id: int, fence: int, **more: object) -> Arrival:
    at = clock.now()
    return Arrival(replica_id, fence, BYTES, "first use", 1000, at - timedelta(seconds=2), at, **more)  # type: ignore[arg-type]


def brought(session: Session) -> int:
    """Everything that is wanted arrives; the number of the last copy."""
    ids = moved(session)
    for replica_id, fence in ids.items():
        assert arrivals.arrive(session, arrival(replica_id, fence)) is not None
    return max(ids)


def end_run(session: Session, run: int) -> None:
    session.execute(update(RunRow).where(col(RunRow.id) == run).values(active=False))


def test_want_when_two_runs_need_one_version_then_there_is_one_copy_and_both_get_it(database: Database) -> None:
    with database.transaction() as session:
        runs = [new_run(session), new_run(session)]
        files = [sought(session, run) for run in runs]
        for run, one in zip(runs, files, strict=True):
            assert wanted_by(session, run, one) == {}
        assert len(replicas.open_replicas(session, HOME)) == 1
        [(replica_id, fence)] = moved(session).items()
        assert arrivals.arrive(session, arrival(replica_id, fence)) == set(runs)
        for run, one in zip(runs, files, strict=True):
            [need] = deliveries.untold(session, run)
            assert (need.occurrence, need.state, need.content) == (one.occurrence, NeedState.HERE, BYTES)
            assert recorded.occurrences(session, run)[0].content == BYTES


def test_want_when_the_copy_is_here_then_nothing_is_moved_and_the_record_says_so(database: Database) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        brought(session)
        later = new_run(session)
        one = sought(session, later)
        assert wanted_by(session, later, one) == {one.occurrence: BYTES}
        assert replicas.open_replicas(session, HOME) == []
        [record] = recorded.replications(session, later)
        assert (record.was_here, record.times, record.moved_bytes, record.sha256) == (True, 0, 0, BYTES.sha256)


@pytest.mark.parametrize(
    ("group", "address", "version", "more"),
    [
        ("group2", "s3://data/a", "v1", {}),
        ("group1", "s3://data/A", "v1", {}),
        ("group1", "s3://data/a", "v2", {}),
        ("group1", "s3://data/a", "", {}),
        ("group1", "s3://data/a", "v1", {"expected": "c" * 64}),
    ],
    ids=["another group", "another address", "another version", "no version", "a digest to check"],
)
def test_want_when_anything_is_different_then_it_is_moved_for_itself(
    database: Database, group: str, address: str, version: str, more: dict[str, str]
) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        brought(session)
        other = new_run(session, group)
        assert wanted_by(session, other, sought(session, other, address, version, **more), group=group) == {}
        assert len(replicas.open_replicas(session, HOME)) == 1


def test_want_when_the_store_has_lost_the_bytes_then_they_are_moved_again(database: Database) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        brought(session)
        later = new_run(session)
        assert wanted_by(session, later, sought(session, later), here=False) == {}
        assert [one.state for one in replicas.open_replicas(session, HOME)] == [ReplicaState.WANTED]


def test_claim_when_somebody_moves_it_then_nobody_else_may_until_the_lease_has_passed(database: Database) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        [(replica_id, fence)] = moved(session).items()
        assert moved(session, "another") == {}
        past = clock.now() - timedelta(seconds=1)
        assert transfers.renew(session, {replica_id: (fence, 500)}, past) == set()
        assert moved(session, "another") == {replica_id: fence + 1}
        assert arrivals.arrive(session, arrival(replica_id, fence)) is None
        assert transfers.fail(session, replica_id, fence, "no") == set()
        assert transfers.renew(session, {replica_id: (fence, 900)}, past) == {replica_id}
        assert arrivals.arrive(session, arrival(replica_id, fence + 1)) == {run}


def test_put_off_when_it_is_to_be_tried_later_then_it_cannot_be_claimed_before(database: Database) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        [(replica_id, fence)] = moved(session).items()
        until = clock.now() + timedelta(hours=1)
        transfers.put_off(session, replica_id, fence, error="cut", until=until, tries=1)
        assert moved(session) == {}
        [one] = replicas.open_replicas(session, HOME)
        assert (one.state, one.tries) == (ReplicaState.WANTED, 1)


def test_fail_when_it_cannot_be_had_then_the_runs_are_told_why_and_a_later_run_may_try_again(
    database: Database,
) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        [(replica_id, fence)] = moved(session).items()
        assert transfers.fail(session, replica_id, fence, "it is gone") == {run}
        needs = deliveries.untold(session, run)
        assert [(need.state, need.error) for need in needs] == [(NeedState.FAILED, "it is gone")]
        deliveries.told(session, run, needs)
        assert not deliveries.has_untold(session, run)
        assert not replicas.has_open(session, HOME)
        later = new_run(session)
        wanted_by(session, later, sought(session, later))
        assert [one.state for one in replicas.open_replicas(session, HOME)] == [ReplicaState.WANTED]


def test_evict_when_a_run_had_it_then_it_is_wanted_again_and_the_record_keeps_the_first_arrival(
    database: Database,
) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        replica_id = brought(session)
        deliveries.told(session, run, deliveries.untold(session, run))
        [before] = recorded.replications(session, run)
        deliveries.untell_copy(session, replica_id)
        assert [need.state for need in deliveries.untold(session, run)] == [NeedState.HERE]
        assert eviction.evict(session, HOME, replica_id)
        assert not eviction.evict(session, HOME, replica_id)
        assert not deliveries.has_untold(session, run)
        assert brought(session) == replica_id
        [after] = recorded.replications(session, run)
        assert (after.arrived_at, after.times, after.moved_bytes) == (before.arrived_at, 2, 2000)


def test_evict_when_no_run_goes_on_then_it_is_not_wanted_again(database: Database) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        replica_id = brought(session)
        end_run(session, run)
        assert eviction.evict(session, HOME, replica_id)
        assert not replicas.has_open(session, HOME)


def test_open_when_the_run_has_ended_then_nothing_is_wanted_for_it(database: Database) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        end_run(session, run)
        assert replicas.open_replicas(session, HOME) == []
        assert replicas.has_open(session, HOME)
        eviction.abandon(session, HOME)
        assert not replicas.has_open(session, HOME)


def test_kept_when_the_bytes_are_also_an_output_then_dropping_the_copy_must_leave_them(database: Database) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        replica_id = brought(session)
        assert not eviction.is_kept(session, HOME, BYTES.sha256, replica_id)
        made = Occurrence(clock.new_uuid(), FileKind.FILE, "out", "out", content=BYTES)
        facts.add_occurrences(session, run, 1, [made])
        assert eviction.is_kept(session, HOME, BYTES.sha256, replica_id)


def test_arrive_when_the_source_had_changed_then_the_record_has_the_version_that_came(database: Database) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        [(replica_id, fence)] = moved(session).items()
        came = arrival(replica_id, fence, version="v2", told={"etag": "v2"}, shown="s3://data/a")
        assert arrivals.arrive(session, came) == {run}
        [record] = recorded.replications(session, run)
        assert record.source == {"url": "s3://data/a", "version": "v2", "etag": "v2"}
        later = new_run(session)
        assert wanted_by(session, later, sought(session, later)) == {}  # v1 never came


def test_times_when_kept_then_they_are_the_same(database: Database) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        brought(session)
        [record] = recorded.replications(session, run)
        assert isinstance(record.arrived_at, datetime)
        assert record.started_at is not None
        assert record.requested_at <= record.arrived_at
        assert record.arrived_at - record.started_at == timedelta(seconds=2)


def test_copy_when_its_place_was_deleted_and_another_got_its_number_then_it_is_not_of_that_one(
    database: Database,
) -> None:
    with database.transaction() as session:
        mine, theirs = clock.new_uuid(), clock.new_uuid()
        run = new_run(session)
        wanted_by(session, run, dataclasses.replace(sought(session, run), remote_id=1, remote=mine))
        [copy] = replicas.open_replicas(session, HOME)
        assert copy.remote_id == 1
        assert copy.is_of(mine)
        assert not copy.is_of(theirs)


def test_told_when_a_job_has_it_from_the_beginning_then_it_is_given_and_a_new_attempt_asks_anew(
    database: Database,
) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        replica_id = brought(session)
        deliveries.told(session, run, deliveries.untold(session, run), for_good=True)
        assert [need.state for need in replicas.needs(session, [replica_id])] == [NeedState.GIVEN]
        deliveries.untell_copy(session, replica_id)
        assert [need.state for need in replicas.needs(session, [replica_id])] == [NeedState.GIVEN]
        deliveries.untell(session, run)
        assert [need.state for need in deliveries.untold(session, run)] == [NeedState.HERE]


def test_arrive_when_a_run_had_other_bytes_before_then_it_is_told_and_its_record_stays_what_it_read(
    database: Database,
) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        replica_id = brought(session)
        deliveries.told(session, run, deliveries.untold(session, run))
        deliveries.untell_copy(session, replica_id)
        assert eviction.evict(session, HOME, replica_id)
        [(_, fence)] = moved(session).items()
        other = dataclasses.replace(arrival(replica_id, fence), content=Content("c" * 64, 5))
        assert arrivals.arrive(session, other) == {run}
        [need] = deliveries.untold(session, run)
        assert (need.state, "run it again" in (need.error or "")) == (NeedState.FAILED, True)
        assert recorded.occurrences(session, run)[0].content == BYTES


def test_want_when_a_version_is_longer_than_it_can_be_kept_then_it_is_moved_and_never_taken_for_another(
    database: Database,
) -> None:
    with database.transaction() as session:
        for _ in range(2):
            run = new_run(session)
            assert wanted_by(session, run, sought(session, run, version="v" * 300)) == {}
            brought(session)


def test_abandon_when_who_moved_it_is_gone_and_nobody_needs_it_then_nothing_is_held(database: Database) -> None:
    with database.transaction() as session:
        wanted_by(session, run := new_run(session), sought(session, run))
        [(replica_id, fence)] = moved(session).items()
        assert transfers.renew(session, {replica_id: (fence, 1)}, clock.now() - timedelta(seconds=1)) == set()
        end_run(session, run)
        eviction.abandon(session, HOME)
        assert not replicas.has_open(session, HOME)
