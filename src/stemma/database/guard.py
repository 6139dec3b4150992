"""Triggers that keep the audit as it was written: rows are added, never changed or deleted.

They hold against mistakes and against whoever gets the service to run SQL. Who owns the database can drop them, as is
needed for retention (``docs/operations.md``); ``stemma db check`` says when one is missing, and ``stemma db upgrade``
puts it back.
"""

from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from stemma.database.connection import Database

_MESSAGE: Final = "the audit is only appended to"
_SQLITE: Final = {
    "audit_no_update": f"BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END",
    "audit_no_delete": f"BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END",
    # INSERT OR REPLACE deletes without telling the trigger above.
    "audit_no_replace": "BEFORE INSERT ON audit WHEN NEW.id IN (SELECT id FROM audit) "  # noqa: S608 - our own words
    f"BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END",
}
_SIGNAL: Final = f"FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_MESSAGE}'"
_MYSQL: Final = {
    "audit_no_update": f"BEFORE UPDATE ON audit {_SIGNAL}",
    "audit_no_delete": f"BEFORE DELETE ON audit {_SIGNAL}",
}
_NOT_ALLOWED: Final = frozenset({1142, 1227, 1419})
"""MySQL: no right to make triggers; only an administrator has it; the same, because changes are logged in binary."""


def install(connection: Connection) -> str | None:
    """Make those triggers that are missing. What the database says where it does not let us; else None."""
    triggers = _triggers(connection)
    for name in _missing(connection):
        try:
            connection.execute(text(f"CREATE TRIGGER {name} {triggers[name]}"))
        except DBAPIError as error:
            arguments = getattr(error.orig, "args", ())
            if not arguments or arguments[0] not in _NOT_ALLOWED:
                raise
            return f"{arguments[-1]} ({arguments[0]})"
    return None


def remove(connection: Connection) -> None:
    """Drop the triggers."""
    for name in _triggers(connection):
        connection.execute(text(f"DROP TRIGGER IF EXISTS {name}"))


def restore(database: Database) -> str | None:
    """Make those triggers that are missing, in a transaction of their own; see :func:`install`."""
    with database.transaction() as session:
        return install(session.connection())


def missing(database: Database) -> tuple[str, ...]:
    """The triggers that are not there, or that we are not allowed to see."""
    with database.reading() as session:
        return _missing(session.connection())


def advice(refusal: str | None = None) -> str:
    """What to do where a trigger is missing."""
    said = f" (the database says: {refusal})" if refusal else ""
    return (
        f"the audit can be changed: its triggers are missing{said}. Where the database refuses to make them, let its "
        "administrator run: SET PERSIST log_bin_trust_function_creators = 1 (MariaDB: SET GLOBAL, and in its "
        "configuration), and GRANT TRIGGER on this database to the service's user; then: stemma db upgrade"
    )


def _triggers(connection: Connection) -> dict[str, str]:
    return _SQLITE if connection.dialect.name == "sqlite" else _MYSQL


def _missing(connection: Connection) -> tuple[str, ...]:
    if connection.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"
    else:
        query = (
            "SELECT trigger_name FROM information_schema.triggers "
            "WHERE trigger_schema = DATABASE() AND event_object_table = 'audit'"
        )
    there = set(connection.execute(text(query)).scalars())
    return tuple(name for name in _triggers(connection) if name not in there)
