"""The audit: it can be added to and nothing else, and what is looked for is found, on each kind of database."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from stemma import clock
from stemma.database import guard, schema
from stemma.database.connection import Database
from stemma.database.queries import audit
from stemma.database.queries.audit import AuditEntry, Following, Wanted, entries
from stemma.errors import DatabaseUnavailable
from stemma.records import Person
from support.databases import fresh_database_url
from support.rows import ADA

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
BOB = Person("sub-bob", "bob")


def add(database: Database, minute: float = 0, *, by: Person = ADA, action: str = "run.stop", **more: object) -> None:
    entry = AuditEntry(NOON + timedelta(minutes=minute), by, action, **more)  # type: ignore[arg-type]
    database.write(lambda session: audit.add(session, entry))


def minutes(found: list[AuditEntry]) -> list[float]:
    return [(entry.at - NOON).total_seconds() / 60 for entry in found]


def count(database: Database) -> int:
    with database.reading() as session:
        return int(session.execute(text("SELECT count(*) FROM audit")).scalar_one())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET result = 'forbidden'",
        "DELETE FROM audit",
        (
            "REPLACE INTO audit (id, at, subject, username, action, result)"
            " SELECT id, at, 'x', 'x', action, result FROM (SELECT * FROM audit) AS old"
        ),
    ],
)
def test_rows_when_changed_by_sql_then_the_database_refuses(database: Database, statement: str) -> None:
    add(database)
    with pytest.raises((DBAPIError, DatabaseUnavailable)) as caught, database.transaction() as session:
        session.execute(text(statement))
    assert "only appended to" in str(caught.value) + str(getattr(caught.value, "reason", ""))
    [entry] = entries(database, Wanted())
    assert (entry.by, entry.result) == (ADA, "done")
    add(database, 1)
    assert count(database) == 2


def test_entry_when_written_then_is_read_as_it_was(database: Database) -> None:
    entry = AuditEntry(
        NOON + timedelta(microseconds=123456), Person("sub-ä", "Ada \x1b[31m🌧"), "run.delete", "run", "12", "/g/'\"",
        "2001:db8::1", "run-not-found", 404, clock.new_uuid(),
    )  # fmt: skip
    database.write(lambda session: audit.add(session, entry))
    [found] = entries(database, Wanted())
    assert found.id is not None
    assert found == AuditEntry(**{name: getattr(entry, name) for name in entry.__slots__} | {"id": found.id})


def test_text_when_too_long_or_half_a_character_then_is_cut_and_kept(database: Database) -> None:
    long = "🌧" * 5000
    entry = AuditEntry(NOON, Person(long, "a\ud800b"), long, long, long, long, long, long)
    database.write(lambda session: audit.add(session, entry))
    [found] = entries(database, Wanted())
    assert found.by == Person("🌧" * 254 + "…", "a?b")
    assert found.address == "🌧" * 63 + "…"


def test_write_when_the_database_chose_it_as_a_victim_then_leaves_one_row(database: Database) -> None:
    """Two transactions that wait for each other: one is rolled back, and done again."""
    if database.is_sqlite:
        pytest.skip("SQLite lets one write at a time, so that nobody is a victim")
    add(database, by=BOB)
    with database.transaction() as session:
        session.execute(text("CREATE TABLE locked (id INT PRIMARY KEY, n INT)"))
        session.execute(text("INSERT INTO locked VALUES (1, 0), (2, 0)"))
    together, tries = threading.Barrier(2), []

    def work(first: int, second: int) -> Callable[[Session], None]:
        def write(session: Session) -> None:
            tries.append(first)
            audit.add(session, AuditEntry(NOON, ADA, "run.stop", "run", str(first)))
            session.execute(text(f"UPDATE locked SET n = n + 1 WHERE id = {first}"))
            if len(tries) <= 2:
                together.wait(30)
            session.execute(text(f"UPDATE locked SET n = n + 1 WHERE id = {second}"))

        return write

    threads = [threading.Thread(target=database.write, args=[work(*order)]) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tries) == 3
    found = entries(database, Wanted(user=ADA.username))
    assert sorted(entry.resource_id or "" for entry in found) == ["1", "2"]


def test_filters_when_given_then_find_what_fits(database: Database) -> None:
    add(database, 0, action="workflow.register", resource_kind="workflow", resource_id="12", group="group1")
    add(database, 1, action="run.submit", resource_kind="run", resource_id="12", group="group1")
    add(database, 2, action="run.submit", resource_kind="run", resource_id="1", group="Group1", by=BOB)
    add(database, 3, action="run_submit", result="forbidden", status=403, by=BOB)
    for wanted, found in (
        (Wanted(), [0, 1, 2, 3]),
        (Wanted(since=NOON + timedelta(minutes=1), until=NOON + timedelta(minutes=3)), [1, 2]),
        (Wanted(user="bob"), [2, 3]),
        (Wanted(user="sub-bob"), [2, 3]),
        (Wanted(user="Bob"), []),
        (Wanted(action="run"), [1, 2]),
        (Wanted(action="run.submit"), [1, 2]),
        (Wanted(action="run_"), []),
        (Wanted(action="%"), []),
        (Wanted(group="group1"), [0, 1]),
        (Wanted(resource_kind="run"), [1, 2]),
        (Wanted(resource_kind="run", resource_id="12"), [1]),
        (Wanted(result="forbidden"), [3]),
        (Wanted(is_refused=True), [3]),
        (Wanted(result="done", user="ada"), [0, 1]),
    ):
        assert minutes(list(entries(database, wanted))) == found, wanted


def test_entries_when_more_than_a_page_then_all_come_once_by_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE", 3)
    for minute in (5, 1, 1, 1, 1, 0, 4, 1, 2):
        add(database, minute)
    assert minutes(list(entries(database, Wanted()))) == [0, 1, 1, 1, 1, 1, 2, 4, 5]
    for newest in range(1, 12):
        assert minutes(list(entries(database, Wanted(), newest))) == [0, 1, 1, 1, 1, 1, 2, 4, 5][-newest:]


def test_following_when_entries_come_late_then_each_is_shown_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE", 2)
    following = Following(database, Wanted(), NOON)
    for minute in (-0.5, 0, 0.2):
        add(database, minute)
    for entry in entries(database, Wanted(), 2):
        following.saw(entry)
    assert list(following.look()) == []
    add(database, 0.1)  # its transaction took longer
    add(database, 5)
    assert minutes(list(following.look())) == [0.1, 5]
    assert list(following.look()) == []
    add(database, 5)
    assert minutes(list(following.look())) == [5]
    assert len(following._seen) == 2


def test_guard_when_dropped_then_is_missed_and_put_back(database: Database) -> None:
    assert guard.missing(database) == ()
    add(database)
    with database.transaction() as session:
        session.execute(text("DROP TRIGGER audit_no_delete"))
    assert guard.missing(database) == ("audit_no_delete",)
    with database.transaction() as session:
        session.execute(text("DELETE FROM audit"))
    assert guard.restore(database) is None
    assert guard.missing(database) == ()
    add(database)
    with pytest.raises((DBAPIError, DatabaseUnavailable)), database.transaction() as session:
        session.execute(text("DELETE FROM audit"))


def test_migration_when_the_database_lets_us_make_no_triggers_then_goes_on_and_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with fresh_database_url("mysql", tmp_path) as url:
        name = make_url(url).database
        database = Database(make_url(url).set(username=name, password="secret").render_as_string(hide_password=False))
        granted = ["Select", "Insert", "Update", "Delete", "Create", "Drop", "References", "Index", "Alter"]
        columns = ", ".join(f"{right}_priv" for right in granted)
        admin = create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            host = connection.execute(text("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', -1)")).scalar_one()
            connection.execute(text(f"CREATE USER {name}@'{host}' IDENTIFIED BY 'secret'"))
        try:
            with admin.connect() as connection:  # as GRANT does it, for which who runs the tests may have no right
                values = ", ".join(["'Y'"] * len(granted))
                connection.execute(
                    text(
                        f"INSERT INTO mysql.db (Host, Db, User, {columns}) VALUES ('{host}', '{name}', '{name}', {values})"
                    )
                )
                connection.execute(text("FLUSH PRIVILEGES"))
            schema.upgrade(database)
            schema.check(database)
            assert guard.missing(database) == ("audit_no_update", "audit_no_delete")
            assert "TRIGGER command denied" in caplog.text
            assert "stemma db check" in caplog.text
            add(database)
            with admin.connect() as connection:
                connection.execute(text(f"UPDATE mysql.db SET Trigger_priv = 'Y' WHERE User = '{name}'"))
                connection.execute(text("FLUSH PRIVILEGES"))
            database.close()
            assert guard.restore(database) is None
            assert guard.missing(database) == ()
        finally:
            database.close()
            with admin.connect() as connection:
                connection.execute(text(f"DROP USER {name}@'{host}'"))
            admin.dispose()
