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
