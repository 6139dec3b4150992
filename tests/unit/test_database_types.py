"""Columns mean the same on each database."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import StatementError

from stemma import clock
from stemma.database.connection import Database
from stemma.database.queries import people, workflows
from stemma.database.tables import PersonRow
from stemma.errors import DatabaseUnavailable, DuplicateWorkflow, WorkflowNotFound
from support.rows import ADA, add_workflow, new_revision


def test_time_when_kept_comes_back_to_the_microsecond_in_utc(database: Database) -> None:
    moment = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with database.transaction() as session:
        people.remember(session, ADA, moment)
    with database.reading() as session:
        found = session.execute(select(PersonRow.first_seen_at)).scalar_one()
    assert found == moment
    assert found.tzinfo is UTC


def test_time_when_without_zone_is_refused(database: Database) -> None:
    row = {"subject": "x", "username": "x", "first_seen_at": datetime(2026, 1, 1)}  # noqa: DTZ001 - the point
    with pytest.raises(StatementError, match="no time zone"), database.transaction() as session:
        session.execute(insert(PersonRow), [row])


def test_names_when_differing_in_case_or_accent_are_two(database: Database) -> None:
    with database.transaction() as session:
        for name in ("resume", "Resume", "résumé", "resume 🧬"):
            add_workflow(session, name=name)
    with database.reading() as session:
        assert [one.name for one in workflows.page(session, ["group1"], limit=9, name="Resume")] == ["Resume"]


def test_add_when_name_is_taken_is_duplicate_and_transaction_goes_on(database: Database) -> None:
    with database.transaction() as session:
        add_workflow(session)
        with pytest.raises(DuplicateWorkflow):
            add_workflow(session)
        add_workflow(session, version="2")
    with database.reading() as session:
        assert len(workflows.page(session, ["group1"], limit=9)) == 2


def test_add_when_deleted_before_takes_the_name_again(database: Database) -> None:
    with database.transaction() as session:
        for _ in range(3):
            workflows.delete(session, add_workflow(session), clock.now())
        add_workflow(session)


def test_add_when_two_at_the_same_moment_one_wins(database: Database) -> None:
    barrier, outcomes = threading.Barrier(2), []

    def register() -> None:
        barrier.wait()
        try:
            database.write(add_workflow)
            outcomes.append("made")
        except DuplicateWorkflow:
            outcomes.append("duplicate")

    threads = [threading.Thread(target=register) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["duplicate", "made"]


def test_get_when_of_another_group_is_as_if_it_were_not(database: Database) -> None:
    with database.transaction() as session:
        workflow_id = add_workflow(session, group="group2")
    with database.reading() as session:
        for missing in (workflow_id, workflow_id + 1000):
            with pytest.raises(WorkflowNotFound, match=f"no workflow {missing}"):
                workflows.get(session, missing, ["group1"])
        assert workflows.page(session, [], limit=5) == []


def test_revisions_when_added_are_numbered_and_newest_first(database: Database) -> None:
    with database.transaction() as session:
        workflow_id = add_workflow(session)
        workflows.add_revision(session, workflow_id, new_revision("e" * 64), by=ADA, now=clock.now())
    with database.reading() as session:
        assert [(one.number, one.digest[0]) for one in workflows.revisions(session, workflow_id)] == [
            (2, "e"),
            (1, "d"),
        ]


def test_transaction_when_it_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError, match="boom"), database.transaction() as session:
        add_workflow(session)
        raise RuntimeError("boom")
    with database.reading() as session:
        assert workflows.count(session) == 0


def test_connection_when_server_is_gone_is_unavailable() -> None:
    pytest.importorskip("MySQLdb", reason="mysqlclient is not installed")
    database = Database("mysql+mysqldb://nobody:nothing@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable):
        database.ping()
    database.close()
