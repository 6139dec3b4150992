"""Statements that are asked of the driver directly, on every kind of database."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import bindparam, select
from sqlalchemy.exc import OperationalError

from stemma.database import schema
from stemma.database.connection import Database
from stemma.database.prepared import Prepared
from stemma.database.queries import people, workflows
from stemma.database.tables import WorkflowRow, table_of
from stemma.errors import DatabaseUnavailable, WorkflowNotFound
from stemma.records import Person
from support.databases import KINDS, fresh_database_url

WORKFLOW = table_of(WorkflowRow)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
BY_GROUP = select(WORKFLOW.c.uuid, WORKFLOW.c.name, WORKFLOW.c.created_at).where(
    WORKFLOW.c.group_name.in_(bindparam("groups", expanding=True)), WORKFLOW.c.live == 1
)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with fresh_database_url(request.param, tmp_path) as url:
        database = Database(url)
        schema.upgrade(database)
        with database.transaction() as session:
            people.remember(session, Person("s", "ada"), NOW)
            for group in ("a", "b", "ü'\"%s :x"):
                workflows.add(session, group=group, name=group, version="1", by=Person("s", "ada"), now=NOW)
        yield database
        database.close()


@pytest.mark.parametrize("groups", [[], ["a"], ["b", "ü'\"%s :x"], ["A"], ["a' OR '1'='1"]])
def test_rows_when_asked_directly_then_as_the_session_gives_them(database: Database, groups: list[str]) -> None:
    prepared = Prepared(BY_GROUP)
    with database.reading() as session:
        expected = [tuple(row) for row in session.execute(BY_GROUP, {"groups": groups})]
        for _ in range(2):
            rows = prepared.rows(session, groups=groups)
            assert sorted(map(tuple, rows)) == sorted(expected)
        assert {row.name for row in rows} == set(groups) & {"a", "b", "ü'\"%s :x"}
        assert all(isinstance(row.uuid, UUID) and row.created_at == NOW for row in rows)


def test_rows_when_values_need_the_database_s_form_then_they_get_it(database: Database) -> None:
    by_uuid = Prepared(select(WORKFLOW.c.name).where(WORKFLOW.c.uuid.in_(bindparam("uuids", expanding=True))))
    with database.reading() as session:
        known = [row.uuid for row in session.execute(select(WORKFLOW.c.uuid))]
        assert len(by_uuid.rows(session, uuids=[*known, uuid4()])) == 3
        assert by_uuid.first(session, uuids=[uuid4()]) is None


def test_rows_when_the_statement_fails_then_as_sqlalchemy_says_it(database: Database) -> None:
    with database.transaction() as session:
        schema_gone = Prepared(select(WORKFLOW.c.name).where(WORKFLOW.c.id == bindparam("id")))
        session.connection().exec_driver_sql("ALTER TABLE workflow RENAME TO elsewhere")
        with pytest.raises(Exception, match="workflow") as caught:
            schema_gone.rows(session, id=1)
        session.connection().exec_driver_sql("ALTER TABLE elsewhere RENAME TO workflow")
    assert isinstance(caught.value, OperationalError) or "ProgrammingError" in type(caught.value).__name__


def test_get_when_the_connection_is_lost_then_unavailable_and_well_again_at_once(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite has no connection to lose")

    def get() -> None:
        with database.reading() as session:
            number = session.connection().exec_driver_sql("SELECT CONNECTION_ID()").scalar_one()
            with database.transaction() as other:
                other.connection().exec_driver_sql(f"KILL {number}")
            workflows.get(session, 1, ["a"])

    with pytest.raises(DatabaseUnavailable):
        get()
    with database.reading() as session, pytest.raises(WorkflowNotFound):
        workflows.get(session, 10**9, ["a"])


def test_write_when_the_connection_is_lost_before_the_commit_then_done_once(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite has no connection to lose")
    tries = []

    def work(session: object) -> int:
        tries.append(1)
        number = session.connection().exec_driver_sql("SELECT CONNECTION_ID()").scalar_one()
        made = workflows.add(session, group="c", name="n", version="1", by=Person("s", "ada"), now=NOW)
        if len(tries) == 1:
            with database.transaction() as other:
                other.connection().exec_driver_sql(f"KILL {number}")
        session.connection().exec_driver_sql("SELECT 1")
        return made

    made = database.write(work)
    with database.reading() as session:
        assert workflows.get(session, made, ["c"]).name == "n"
        assert len(workflows.page(session, ["c"], limit=9)) == 1
    assert len(tries) == 2
