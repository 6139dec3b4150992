"""The durable queue: who may write to a run, and when."""

import threading
from datetime import datetime, timedelta

import pytest

from stemma import clock
from stemma.database.connection import Database
from stemma.database.queries import queue, runs
from stemma.database.queries.queue import Claimant
from stemma.errors import LeaseLost
from stemma.records import Claim
from stemma.states import RunState
from support.rows import add_run, add_workflow

LEASE = timedelta(seconds=10)


def claimant(worker: str, home: str = "home-1") -> Claimant:
    return Claimant(worker, home, ("cwltool",), lease_seconds=10, takeover_seconds=100)


def queued_runs(database: Database, count: int) -> list[int]:
    with database.transaction() as session:
        workflow_id = add_workflow(session)
        return [add_run(session, workflow_id) for _ in range(count)]


def claim(database: Database, worker: str, now: datetime, *, limit: int = 10, home: str = "home-1") -> list[Claim]:
    return database.write(lambda session: queue.claim(session, claimant(worker, home), limit=limit, now=now))


def test_claim_when_queued_gives_oldest_first_up_to_limit(database: Database) -> None:
    ids = queued_runs(database, 5)
    assert [one.run_id for one in claim(database, "a", clock.now(), limit=3)] == ids[:3]


def test_claim_when_leased_gives_nothing_to_others(database: Database) -> None:
    queued_runs(database, 1)
    now = clock.now()
    assert len(claim(database, "a", now)) == 1
    assert claim(database, "b", now + LEASE / 2) == []


def test_claim_when_lease_passed_goes_to_other_and_fences_off_first(database: Database) -> None:
    (run_id,) = queued_runs(database, 1)
    now = clock.now()
    (old,) = claim(database, "a", now)
    (new,) = claim(database, "b", now + LEASE)
    assert new.fence == old.fence + 1
    with pytest.raises(LeaseLost), database.transaction() as session:
        queue.write(session, old, {"reference": "from the dead"})
    with database.transaction() as session:
        queue.write(session, new, {"reference": "from the living"})
    with database.reading() as session:
        assert runs.get(session, run_id, ["group1"]).reference == "from the living"


def test_renew_when_lost_says_so_and_keeps_the_others(database: Database) -> None:
    queued_runs(database, 2)
    now = clock.now()
    first, second = claim(database, "a", now)
    (taken,) = claim(database, "b", now + LEASE, limit=1)
    assert taken.run_id == first.run_id
    lost = database.write(lambda session: queue.renew(session, claimant("a"), [first, second], now + LEASE))
    assert lost == {first}
    assert claim(database, "c", now + LEASE * 1.5) == []


def test_release_when_given_back_can_be_claimed_at_once(database: Database) -> None:
    queued_runs(database, 1)
    now = clock.now()
    (held,) = claim(database, "a", now)
    database.write(lambda session: queue.release(session, held, now))
    assert len(claim(database, "b", now)) == 1


def test_claim_when_process_lies_in_other_home_waits_for_takeover(database: Database) -> None:
    queued_runs(database, 1)
    now = clock.now()
    (held,) = claim(database, "a", now)
    database.write(lambda session: queue.write(session, held, {"home": "home-1"}))
    late = now + LEASE
    assert claim(database, "b", late + timedelta(seconds=99), home="home-2") == []
    assert len(claim(database, "b", late + timedelta(seconds=101), home="home-2")) == 1


def test_advance_when_state_is_another_is_refused(database: Database) -> None:
    queued_runs(database, 1)
    now = clock.now()
    (held,) = claim(database, "a", now)

    def to_pending() -> None:
        with database.transaction() as session:
            queue.advance(session, held, state=RunState.QUEUED, to=RunState.PENDING, at=now)

    to_pending()
    with pytest.raises(LeaseLost):
        to_pending()


def test_advance_when_no_such_transition_is_an_error(database: Database) -> None:
    queued_runs(database, 1)
    (held,) = claim(database, "a", clock.now())
    with pytest.raises(ValueError, match="does not go"), database.transaction() as session:
        queue.advance(session, held, state=RunState.QUEUED, to=RunState.FINISHED, at=clock.now())


def test_advance_when_ended_takes_the_run_off_the_queue(database: Database) -> None:
    queued_runs(database, 1)
    now = clock.now()
    (held,) = claim(database, "a", now)
    with database.transaction() as session:
        queue.advance(session, held, state=RunState.QUEUED, to=RunState.FAILED, at=now, reason="because")
    assert claim(database, "b", now + LEASE * 2) == []


def test_claim_when_workers_race_gives_each_run_to_one(database: Database) -> None:
    ids = queued_runs(database, 40)
    now = clock.now()
    claimed: list[int] = []
    lock = threading.Lock()

    def work(worker: str) -> None:
        while got := claim(database, worker, now, limit=3):
            with lock:
                claimed.extend(one.run_id for one in got)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == ids


def test_add_when_run_of_same_name_counts_up(database: Database) -> None:
    first, second = queued_runs(database, 2)
    with database.reading() as session:
        assert [runs.get(session, run, ["group1"]).number for run in (first, second)] == [1, 2]


def test_request_stop_when_nobody_attends_stops_at_once(database: Database) -> None:
    from support.rows import ADA

    (run_id,) = queued_runs(database, 1)
    with database.transaction() as session:
        runs.request_stop(session, run_id, ADA, clock.now())
    with database.reading() as session:
        assert runs.get(session, run_id, ["group1"]).state is RunState.STOPPED
    assert claim(database, "a", clock.now() + LEASE) == []


def test_request_stop_when_attended_is_left_to_the_worker(database: Database) -> None:
    from support.rows import ADA

    (run_id,) = queued_runs(database, 1)
    now = clock.now()
    claim(database, "a", now)
    with database.transaction() as session:
        runs.request_stop(session, run_id, ADA, now)
    with database.reading() as session:
        run = runs.get(session, run_id, ["group1"])
    assert run.state is RunState.QUEUED
    assert run.stop_requested_at is not None
