"""What others tell of steps: it only ever goes on, in whatever order it comes; and what is wanted ahead for it."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import Session, col, select

from stemma import clock
from stemma.database.connection import Database
from stemma.database.queries import demand, eviction, hints, people, replicas, transfers
from stemma.database.queries.demand import Sought
from stemma.database.queries.hints import LIFETIME, StepTold, Subject, Told, ToldState
from stemma.database.queries.replicas import ReplicaState
from stemma.database.tables import AheadRow, StepToldRow
from stemma.records import Person
from support.rows import ADA, add_run, add_workflow

HOME = "home-1"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
A_FEW = st.builds(
    Told, st.sampled_from(ToldState), st.integers(0, 5).map(lambda minutes: NOON + timedelta(minutes=minutes))
)


def after(told: list[Told]) -> Told:
    known, *rest = told
    for one in rest:
        known = known.then(one)
    return known


@given(st.lists(A_FEW, min_size=1, max_size=6), st.randoms(use_true_random=False), st.data())
def test_told_when_events_come_twice_and_in_any_order_then_the_end_is_the_same(
    told: list[Told], random: object, data: st.DataObject
) -> None:
    again = [*told, *data.draw(st.lists(st.sampled_from(told), max_size=4))]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert after(again) == after(told)


@given(A_FEW, A_FEW)
def test_told_when_something_earlier_comes_later_then_nothing_is_undone(known: Told, late: Told) -> None:
    then = known.then(late)
    assert then.state.rank >= max(known.state.rank, late.state.rank)
    assert not known.state.has_ended or then.state.has_ended


@pytest.fixture
def workflow(database: Database) -> Subject:
    with database.transaction() as session:
        return Subject("group1", workflow_id=add_workflow(session))


def event(subject: Subject, state: ToldState, at: datetime, step: str = "align") -> StepTold:
    return StepTold(subject, step, Told(state, at))


def noted(database: Database, *events: StepTold, now: datetime | None = None) -> list[hints.Noted]:
    return database.write(lambda session: hints.note(session, events, ADA.subject, now or clock.now()))


def test_note_when_events_come_in_every_order_then_the_row_is_the_same(database: Database) -> None:
    now = clock.now()
    told = [
        (ToldState.ADDED, now - timedelta(minutes=3)),
        (ToldState.RUNNING, now - timedelta(minutes=2)),
        (ToldState.SUCCEEDED, now - timedelta(minutes=1)),
    ]
    for number, order in enumerate(itertools.permutations(told)):
        with database.transaction() as session:
            subject = Subject("group1", workflow_id=add_workflow(session, name=f"w{number}"))
        results = [noted(database, event(subject, *one))[0] for one in order]
        assert results[-1].now == Told(*told[-1])
        assert [one.is_new for one in results] == [
            all(one[0].rank > earlier[0].rank for earlier in order[:place]) for place, one in enumerate(order)
        ]
        assert not noted(database, *(event(subject, *one) for one in order))[0].is_new


def test_note_when_one_batch_has_all_then_each_is_answered_for_itself(database: Database, workflow: Subject) -> None:
    now = clock.now()
    states = (ToldState.ADDED, ToldState.ADDED, ToldState.SUCCEEDED, ToldState.RUNNING)
    results = noted(database, *(event(workflow, state, now) for state in states))
    assert [one.is_new for one in results] == [True, False, True, False]
    assert {one.now.state for one in results} == {ToldState.SUCCEEDED}


def test_note_when_a_step_is_told_to_be_as_it_was_then_that_is_nothing_new_and_counts_longer(
    database: Database, workflow: Subject
) -> None:
    now = clock.now()
    before = now - LIFETIME + timedelta(minutes=1)
    noted(database, event(workflow, ToldState.RUNNING, before), now=before)
    [again] = noted(database, event(workflow, ToldState.RUNNING, now))
    assert not again.is_new
    with database.reading() as session:
        assert hints.count(session, "group1", now + timedelta(hours=23)) == 1


def test_note_when_the_label_or_the_step_is_another_then_so_is_what_is_told(
    database: Database, workflow: Subject
) -> None:
    now = clock.now()
    other = Subject("group1", workflow_id=workflow.workflow_id, label="nightly-2")
    results = noted(
        database,
        event(workflow, ToldState.SUCCEEDED, now),
        event(other, ToldState.ADDED, now),
        event(workflow, ToldState.ADDED, now, "sort"),
    )
    assert len({one.id for one in results}) == 3
    assert [one.is_new for one in results] == [True] * 3


def test_hints_when_a_day_has_passed_then_they_are_forgotten(database: Database, workflow: Subject) -> None:
    now = clock.now()
    long_ago = now - LIFETIME - timedelta(seconds=1)
    [old] = noted(database, event(workflow, ToldState.SUCCEEDED, long_ago), now=long_ago)
    with database.transaction() as session:
        [one] = wanted_ahead(session, old.id)
        assert hints.count(session, "group1", now) == 0
        assert hints.wishes(session, HOME, now) == []
        assert replicas.open_replicas(session, HOME) == []
        assert hints.states(session, [event(workflow, ToldState.ADDED, now)], now) == {}
        assert hints.has_expired(session, now)
    [again] = noted(database, event(workflow, ToldState.ADDED, now))  # as if nothing had been told
    assert (again.is_new, again.now.state) == (True, ToldState.ADDED)
    with database.transaction() as session:
        assert hints.wishes(session, HOME, now) == []
    noted(database, event(workflow, ToldState.ADDED, long_ago, "sort"), now=long_ago)
    database.write(lambda session: hints.forget(session, now))
    with database.transaction() as session:
        assert [row.step_key for row in session.execute(select(StepToldRow)).scalars()] == ["align"]
        assert replicas.get(session, one).state is ReplicaState.WANTED
        assert not hints.has_expired(session, now)


def wanted_ahead(session: Session, told_id: int, *addresses: str, size: int = 1000, by: str = ADA.subject) -> list[int]:
    """Wish for files; the numbers of the copies that are wanted ahead for the step."""
    found = [Sought(clock.new_uuid(), address, "v1", {}, size, source={}) for address in addresses or ("s3://data/a",)]
    demand.want_ahead(session, HOME, "group1", told_id, found, by=by, has=lambda _: True)
    query = select(col(AheadRow.replica_id)).where(col(AheadRow.told_id) == told_id).order_by(col(AheadRow.replica_id))
    return list(session.execute(query).scalars())


def test_wish_when_another_adds_files_to_a_step_then_they_count_for_who_did(
    database: Database, workflow: Subject
) -> None:
    now, eve = clock.now(), Person("sub-eve", "eve")
    mine, other = noted(database, *(event(workflow, ToldState.ADDED, now, step) for step in ("align", "sort")))
    with database.transaction() as session:
        people.remember(session, eve, now)
        wanted_ahead(session, mine.id, "s3://data/a")
        wanted_ahead(session, other.id, "s3://data/a")
        assert hints.wished(session, HOME, "group1", now, but_by=ADA.subject) == {}
        wanted_ahead(session, other.id, "s3://data/b", size=10, by=eve.subject)
        assert sorted(hints.wished(session, HOME, "group1", now, but_by=ADA.subject).values()) == [10, 1000]
        assert list(hints.wished(session, HOME, "group1", now, but_by=eve.subject).values()) == [1000]
        assert hints.count(session, "group1", now, but_by=ADA.subject) == 1


def test_wish_when_a_step_is_added_then_its_file_is_open_and_when_it_ends_no_more(
    database: Database, workflow: Subject
) -> None:
    now = clock.now()
    [added] = noted(database, event(workflow, ToldState.ADDED, now))
    with database.transaction() as session:
        [copy] = wanted_ahead(session, added.id)
        assert wanted_ahead(session, added.id) == [copy]
        assert [one.id for one in replicas.open_replicas(session, HOME)] == [copy]
        assert replicas.open_replicas(session, "home-2") == []
        eviction.abandon(session, HOME)
        assert replicas.get(session, copy).state is ReplicaState.WANTED
        assert sum(hints.wished(session, HOME, "group1", now).values()) == 1000
        assert hints.wished(session, HOME, "group2", now) == {}
    noted(database, event(workflow, ToldState.FAILED, now))
    with database.transaction() as session:
        assert replicas.open_replicas(session, HOME) == []
        eviction.abandon(session, HOME)
        assert replicas.get(session, copy).state is ReplicaState.EVICTED


def test_wish_when_two_steps_want_a_file_then_it_is_wanted_until_both_have_ended(
    database: Database, workflow: Subject
) -> None:
    now = clock.now()
    first, second = noted(
        database, event(workflow, ToldState.ADDED, now), event(workflow, ToldState.RUNNING, now, "sort")
    )
    with database.transaction() as session:
        copies = {*wanted_ahead(session, first.id), *wanted_ahead(session, second.id)}
        assert len(copies) == 1
        [wish] = hints.wishes(session, HOME, now)
        assert (wish.replica_id in copies, wish.is_running, wish.group) == (True, True, "group1")
    noted(database, event(workflow, ToldState.SUCCEEDED, now))
    with database.transaction() as session:
        assert len(replicas.open_replicas(session, HOME)) == 1
    noted(database, event(workflow, ToldState.SUCCEEDED, now, "sort"))
    with database.transaction() as session:
        assert replicas.open_replicas(session, HOME) == []


def test_wish_when_the_copy_could_not_be_had_or_was_dropped_then_it_is_tried_again(
    database: Database, workflow: Subject
) -> None:
    now = clock.now()
    [added] = noted(database, event(workflow, ToldState.ADDED, now))
    with database.transaction() as session:
        [copy] = wanted_ahead(session, added.id)
        fences = transfers.claim(session, HOME, [copy], "mover", now + timedelta(seconds=30))
        assert transfers.fail(session, copy, fences[copy], "gone") == set()
        assert replicas.open_replicas(session, HOME) == []
        assert wanted_ahead(session, added.id) == [copy]
        assert [one.state for one in replicas.open_replicas(session, HOME)] == [ReplicaState.WANTED]


def test_of_run_when_another_attempt_goes_on_then_what_was_told_of_the_one_before_is_not_its(
    database: Database,
) -> None:
    now = clock.now()
    with database.transaction() as session:
        people.remember(session, ADA, now)
        run = add_run(session, add_workflow(session))
    noted(database, event(Subject("group1", run_id=run, attempt=1), ToldState.RUNNING, now))
    with database.reading() as session:
        [(step, state, _)] = hints.of_run(session, run, 1, now)
        assert (step, state) == ("align", ToldState.RUNNING)
        assert hints.of_run(session, run, 2, now) == []
        assert hints.of_run(session, run, 1, now + LIFETIME) == []
