"""Is the schema the one that this version works with, and the way to bring it there."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from stemma.database.connection import Database
from stemma.errors import StemmaError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0006"
"""The newest migration. A test holds it against the migrations themselves, so that a start need not read them."""


class SchemaUnfit(StemmaError):
    """The database does not have the schema that this version works with."""

    code, exit_code = "schema-unfit", 78


class SchemaMissing(SchemaUnfit):
    """The database is empty."""

    code = "schema-missing"

    def __init__(self, url: str) -> None:
        super().__init__(f"the database {url} has no tables of Stemma; make them with: stemma db upgrade")


class SchemaOlder(SchemaUnfit):
    """The database was last used by an older version."""

    code = "schema-older"

    def __init__(self, url: str, found: str) -> None:
        super().__init__(
            f"the database {url} has schema {found}, this version works with {HEAD}; "
            "make a backup, then bring it up with: stemma db upgrade",
        )
        self.found = found


class SchemaNewer(SchemaUnfit):
    """The database was used by a newer version."""

    code = "schema-newer"

    def __init__(self, url: str, found: str) -> None:
        super().__init__(
            f"the database {url} has schema {found}, which this version does not know; install a newer Stemma"
        )
        self.found = found


def found_revision(database: Database) -> str | None:
    """The migration that the database is at; None when it has none of our tables."""
    with database.reading() as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            return None
        return session.execute(text("SELECT version_num FROM alembic_version")).scalar()


def check(database: Database) -> None:
    """Return when the schema fits.

    Raises:
        SchemaMissing, SchemaOlder, SchemaNewer: it does not; the message says what to do.
    """
    found = found_revision(database)
    if found is None:
        raise SchemaMissing(database.shown_url)
    if found == HEAD:
        return
    if found > HEAD:
        raise SchemaNewer(database.shown_url, found)
    raise SchemaOlder(database.shown_url, found)


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema up to ``revision``."""
    from alembic import command  # noqa: PLC0415 - only a change of schema pays for loading Alembic

    with database.engine.connect() as connection:
        command.upgrade(_config(connection), revision)
        connection.commit()


def downgrade(database: Database, revision: str) -> None:
    """Take the schema back to ``revision`` (``base`` for nothing). What later tables held is lost."""
    from alembic import command  # noqa: PLC0415 - see upgrade

    with database.engine.connect() as connection:
        command.downgrade(_config(connection), revision)
        connection.commit()


def _config(connection: object) -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - see upgrade

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
