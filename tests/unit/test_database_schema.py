"""The schema: migrations and tables say the same, up and down, on each database."""

from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from stemma.database import schema
from stemma.database.connection import Database
from support.databases import KINDS, fresh_database_url


def test_check_when_empty_says_how_to_make_the_tables(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    with pytest.raises(schema.SchemaMissing, match="stemma db upgrade"):
        schema.check(database)
    database.close()


@pytest.mark.parametrize(("found", "error"), [("0000", schema.SchemaOlder), ("9999", schema.SchemaNewer)])
def test_check_when_other_version_names_it(database: Database, found: str, error: type[Exception]) -> None:
    with database.transaction() as session:
        session.execute(text(f"UPDATE alembic_version SET version_num = '{found}'"))
    with pytest.raises(error, match=found):
        schema.check(database)


def test_head_when_compared_with_migrations_is_the_newest(database: Database) -> None:
    with database.engine.connect() as connection:
        scripts = ScriptDirectory.from_config(schema._config(connection))
    assert scripts.get_current_head() == schema.HEAD


def test_migrations_when_applied_give_the_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        command.check(schema._config(connection))


@pytest.mark.parametrize("kind", KINDS)
def test_downgrade_when_taken_to_base_leaves_nothing(kind: str, tmp_path: Path) -> None:
    with fresh_database_url(kind, tmp_path) as url:
        database = Database(url)
        schema.upgrade(database)
        schema.downgrade(database, "base")
        with database.engine.connect() as connection:
            assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
        schema.upgrade(database)
        schema.check(database)
        database.close()


@pytest.mark.parametrize("kind", KINDS)
def test_migration_of_runs_when_taken_up_and_back_keeps_them(kind: str, tmp_path: Path) -> None:
    with fresh_database_url(kind, tmp_path) as url:
        database = Database(url)
        schema.upgrade(database, "0002")
        assert "engine_credential" not in _tables(database)
        _insert_run(database)
        schema.upgrade(database)
        added = "engine_run_id, engine_run_name, engine_run_number"
        assert _one_run(database, f"name, {added}") == ("rain:1-0", None, None, None)
        schema.downgrade(database, "0002")
        assert _one_run(database, "name, state") == ("rain:1-0", "queued")
        assert "engine_credential" not in _tables(database)
        with pytest.raises(schema.SchemaOlder, match="0002"):
            schema.check(database)
        database.close()


def _tables(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        return set(inspect(connection).get_table_names())


def _one_run(database: Database, columns: str) -> tuple[object, ...]:
    with database.reading() as session:
        return tuple(session.execute(text(f"SELECT {columns} FROM run")).one())


def _insert_run(database: Database) -> None:
    """A run with everything that it points at, in the words of the schema before 0003."""
    at = "'2026-05-04 09:30:00.000000'"
    uuid = "'0190f1a2b3c4d5e6f708192a3b4c5d6e'"
    digest = "'" + "a" * 64 + "'"
    statements = (
        f"INSERT INTO person (subject, username, first_seen_at) VALUES ('s1', 'user_1', {at})",
        f"INSERT INTO content (sha256, size_bytes, first_seen_at) VALUES ({digest}, 3, {at})",
        (
            "INSERT INTO workflow (id, uuid, group_name, name, version, live, latest_number, created_at, created_by, "
            f"updated_at) VALUES (1, {uuid}, 'group1', 'rain', '1.0', 1, 1, {at}, 's1', {at})"
        ),
        (
            "INSERT INTO revision (id, workflow_id, number, created_at, created_by, digest, main_path, spec_name, "
            f"spec_sha256, structure, placeholders, warnings) VALUES (1, 1, 1, {at}, 's1', {digest}, 'main.cwl', "
            f"'main.cwl', {digest}, '{{}}', '[]', '[]')"
        ),
        (
            "INSERT INTO run (id, uuid, group_name, workflow_id, revision_id, engine, name, number, state, active, "
            "submitted_by, submitted_at, inputs, containers, attempt, journal_cursor, lease_until, fence) VALUES "
            f"(1, {uuid}, 'group1', 1, 1, 'cwltool', 'rain:1-0', 1, 'queued', 1, 's1', {at}, '{{}}', 'never', 0, '', "
            f"{at}, 0)"
        ),
        (
            "INSERT INTO attempt (run_id, number, uuid, worker, started_at, environment) VALUES "
            f"(1, 1, {uuid}, 'w1', {at}, '{{}}')"
        ),
    )
    with database.transaction() as session:
        for statement in statements:
            session.execute(text(statement))
