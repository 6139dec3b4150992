"""What is read of copies and needs again and again: as it stands each time, made anew only where it changed."""

from datetime import timedelta

import pytest

from stemma import clock
from stemma.database.connection import Database
from stemma.database.queries import arrivals, demand, facts, replicas, transfers
from stemma.database.queries.arrivals import Arrival
from stemma.database.queries.copies_seen import CopiesSeen
from stemma.database.queries.demand import Sought
from stemma.database.queries.replicas import NeedState, Replica
from stemma.records import Content, FileKind, Occurrence
from support.rows import add_run, add_workflow

HOME = "home-1"
BYTES = Content("b" * 64, 1000)


@pytest.fixture
def wanted(database: Database) -> list[int]:
    """The numbers of three copies that a run waits for; there is one in another store too."""
    with database.transaction() as session:
        run = add_run(session, add_workflow(session))
        files = [Occurrence(clock.new_uuid(), FileKind.FILE, "a", "x") for _ in range(4)]
        facts.add_occurrences(session, run, 1, files)
        sought = [Sought(file.uuid, f"s3://data/{n}", "v1", {"n": n}, 1000) for n, file in enumerate(files)]
        demand.want(session, HOME, "group1", run, sought[:3], has=lambda _: True)
        demand.want(session, "home-2", "group1", run, sought[3:], has=lambda _: True)
        return [one.id for one in replicas.open_replicas(session, HOME)]


def claimed(database: Database, copy: int, seconds: float = 30) -> int:
    with database.transaction() as session:
        until = clock.now() + timedelta(seconds=seconds)
        return transfers.claim(session, HOME, [copy], "mover", until)[copy]


def brought(database: Database, copy: int) -> None:
    fence, at = claimed(database, copy), clock.now()
    with database.transaction() as session:
        arrivals.arrive(session, Arrival(copy, fence, BYTES, "first use", 1000, at, at))


def by_number(seen: CopiesSeen, database: Database) -> dict[int, Replica]:
    with database.reading() as session:
        return {one.id: one for one in seen.wanted(session, HOME)}


def test_read_when_asked_again_then_the_same_as_who_asks_for_the_first_time(
    database: Database, wanted: list[int]
) -> None:
    seen = CopiesSeen()
    for change in (lambda: None, lambda: claimed(database, wanted[0]), lambda: brought(database, wanted[1])):
        change()
        with database.reading() as session:
            assert seen.wanted(session, HOME) == replicas.open_replicas(session, HOME)
            for all_of_them in (True, False):
                held = seen.held(session, HOME, all_of_them=all_of_them)
                assert held == replicas.held(session, HOME, all_of_them=all_of_them)
            found = seen.needs(session, HOME, set(wanted))
            assert found == sorted(replicas.needs(session, wanted), key=lambda need: wanted.index(need.replica_id))
    assert [need.state for need in found] == [NeedState.WAITING, NeedState.HERE, NeedState.WAITING]


def test_wanted_when_one_has_changed_then_the_others_are_not_made_anew(database: Database, wanted: list[int]) -> None:
    seen = CopiesSeen()
    before = by_number(seen, database)
    fence = claimed(database, wanted[0])
    after = by_number(seen, database)
    assert after[wanted[0]].fence == fence
    assert [after[number] is before[number] for number in wanted] == [False, True, True]


def test_wanted_when_only_a_lease_was_renewed_then_nothing_is_made_anew(database: Database, wanted: list[int]) -> None:
    seen, fence = CopiesSeen(), claimed(database, wanted[0])
    before = by_number(seen, database)
    with database.transaction() as session:
        transfers.renew(session, {wanted[0]: (fence, 0)}, clock.now() + timedelta(hours=1))
    after = by_number(seen, database)
    assert all(after[number] is before[number] for number in wanted)


def test_needs_when_asked_for_some_copies_then_those_of_others_are_left_out(
    database: Database, wanted: list[int]
) -> None:
    with database.reading() as session:
        found = CopiesSeen().needs(session, HOME, {wanted[2]})
    assert [need.replica_id for need in found] == [wanted[2]]
