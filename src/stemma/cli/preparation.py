"""Makes the data folder fit before processes that share it start: one does it, the others wait."""

import fcntl

from stemma.settings import Settings


def prepare(settings: Settings) -> None:
    """Make the data folder, and the tables of an embedded database.

    Raises:
        SchemaUnfit: the database has another schema than this version works with.
        DatabaseUnavailable: it does not answer.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "preparation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        from stemma.database import schema  # noqa: PLC0415 - SQLAlchemy is loaded late
        from stemma.database.connection import Database  # noqa: PLC0415 - see above

        database = Database(settings.effective_database_url)
        try:
            if database.is_sqlite and schema.found_revision(database) is None:
                schema.upgrade(database)
            schema.check(database)
        finally:
            database.close()
