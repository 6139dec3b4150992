"""Makes the data folder fit before processes that share it work on it: one does it, the others wait."""

import fcntl

from stemma.database import schema
from stemma.database.connection import Database
from stemma.settings import Settings


def prepare(settings: Settings) -> None:
    """Make the data folder, and the tables of an embedded database; any other is left to ``stemma db upgrade``.

    Raises:
        SchemaUnfit: the database has another schema than this version works with.
        DatabaseUnavailable: it does not answer.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "preparation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        database = Database(settings.effective_database_url)
        try:
            found = schema.found_revision(database)
            if database.is_sqlite and (found is None or found < schema.HEAD):
                schema.upgrade(database)
            schema.check(database)
        finally:
            database.close()
