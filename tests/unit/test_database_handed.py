"""Files that an engine's server reads where they lie: noted, told, and wanted after all."""

import dataclasses

from sqlmodel import Session

from stemma import clock
from stemma.database.connection import Database
from stemma.database.queries import (
    arrivals,
    awaited,
    deliveries,
    demand,
    facts,
    recorded,
    replicas,
    replication_figures,
    transfers,
)
from stemma.database.queries.arrivals import Arrival
from stemma.database.queries.demand import Sought
from stemma.database.queries.replicas import NeedState
from stemma.records import Content, FileKind, Occurrence
from support.rows import add_run, add_workflow

HOME = "home-1"
BYTES = Content("b" * 64, 1000)


def sought(session: Session, run: int, version: str = "v1") -> Sought:
    occurrence = Occurrence(clock.new_uuid(), FileKind.FILE, "a", "x")
    facts.add_occurrences(session, run, 1, [occurrence])
    one = Sought(occurrence.uuid, "s3://data/a", version, {"etag": version}, 1000, source={"url": "s3://data/a"})
    return dataclasses.replace(one, by_url=True)


def new_run(session: Session) -> int:
    return add_run(session, add_workflow(session, group="group1", name=str(clock.new_uuid())), group="group1")


def handed_over(session: Session, run: int, *files: Sought, here: bool = True) -> list[Sought]:
    return demand.hand_over(session, HOME, "group1", run, files, has=lambda _: here)


def bring(session: Session) -> None:
    """All that is wanted arrives."""
    ids = [one.id for one in replicas.open_replicas(session, HOME)]
    now = clock.now()
    for replica_id, fence in transfers.claim(session, HOME, ids, "mover", now).items():
        assert arrivals.arrive(session, Arrival(replica_id, fence, BYTES, "first use", 1000, now, now)) is not None


def test_hand_over_when_no_copy_is_here_then_nothing_is_moved_and_no_digest_is_known(database: Database) -> None:
    with database.transaction() as session:
        one = sought(session, run := new_run(session))
        assert handed_over(session, run, one) == []
        assert replicas.open_replicas(session, HOME) == []
        assert not replicas.has_open(session, HOME)
        assert deliveries.states(session, run) == {NeedState.HANDED}
        assert demand.handed(session, run)[one.occurrence].address == "s3://data/a"
        [record] = recorded.replications(session, run)
        assert (record.is_handed, record.was_here, record.sha256) == (True, False, None)
        assert record.source == {"url": "s3://data/a", "version": "v1"}
        found = awaited.arrivals(session, run)
        assert found is not None
        assert (found.files, found.handed, found.waiting, found.failed, found.wanted_bytes) == (1, 1, 0, 0, 0)


def test_hand_over_when_counted_then_neither_hit_nor_miss(database: Database) -> None:
    with database.transaction() as session:
        after = replication_figures.newest_need(session)
        run = new_run(session)
        handed_over(session, run, sought(session, run))
        counted = replication_figures.needs_between(session, after, replication_figures.newest_need(session))
        assert (counted.hits, counted.misses, counted.saved_bytes) == (0, 0, 0)


def test_hand_over_when_a_copy_is_here_then_that_one_is_taken(database: Database) -> None:
    with database.transaction() as session:
        first, run = new_run(session), new_run(session)
        demand.want(session, HOME, "group1", first, [sought(session, first)], has=lambda _: True)
        bring(session)
        known, other = sought(session, run), sought(session, run, "v2")
        assert handed_over(session, run, known, other) == [known]
        assert list(demand.handed(session, run)) == [other.occurrence]
        lost = new_run(session)
        assert handed_over(session, lost, sought(session, lost), here=False) == []  # somebody removed it by hand


def test_hand_over_when_another_run_has_the_copy_moved_then_it_is_none_of_its_business(database: Database) -> None:
    with database.transaction() as session:
        run, other = new_run(session), new_run(session)
        handed_over(session, run, sought(session, run))
        demand.want(session, HOME, "group1", other, [sought(session, other)], has=lambda _: True)
        [replica] = replicas.open_replicas(session, HOME)
        assert {need.run_id for need in replicas.needs(session, [replica.id])} == {other}
        bring(session)
        assert deliveries.states(session, run) == {NeedState.HANDED}
        assert recorded.occurrences(session, run)[0].content is None


def test_take_back_when_the_server_reads_it_no_more_then_it_is_fetched(database: Database) -> None:
    with database.transaction() as session:
        one = sought(session, run := new_run(session))
        handed_over(session, run, one)
        demand.take_back(session, run)
        assert deliveries.states(session, run) == {NeedState.WAITING}
        bring(session)
        assert deliveries.states(session, run) == {NeedState.HERE}
        assert recorded.occurrences(session, run)[0].content == BYTES
        demand.take_back(session, run)  # nothing is left to be taken back
        assert deliveries.states(session, run) == {NeedState.HERE}


def test_take_back_when_two_places_of_a_run_need_a_file_without_a_version_then_it_is_fetched_once(
    database: Database,
) -> None:
    with database.transaction() as session:
        run = new_run(session)
        handed_over(session, run, sought(session, run, ""), sought(session, run, ""))
        demand.take_back(session, run)
        assert len(replicas.open_replicas(session, HOME)) == 1
        bring(session)
        assert deliveries.states(session, run) == {NeedState.HERE}
        assert [one.content for one in recorded.occurrences(session, run)] == [BYTES, BYTES]


def test_take_back_when_another_run_had_it_fetched_then_it_is_here_at_once(database: Database) -> None:
    with database.transaction() as session:
        run, other = new_run(session), new_run(session)
        handed_over(session, run, sought(session, run))
        demand.want(session, HOME, "group1", other, [sought(session, other)], has=lambda _: True)
        bring(session)
        demand.take_back(session, run)
        assert deliveries.states(session, run) == {NeedState.HERE}
        assert replicas.open_replicas(session, HOME) == []
        assert recorded.occurrences(session, run)[0].content == BYTES
        [record] = recorded.replications(session, run)
        assert (record.is_handed, record.was_here, record.sha256) == (False, True, BYTES.sha256)
