"""The way to the database: one engine a process, one transaction a request or a worker's step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlmodel import Session

from stemma.errors import DatabaseUnavailable

T = TypeVar("T")

_SQLITE_BUSY_MILLISECONDS = 5000
_RETRIES = 5
_DEADLOCK_CODES = frozenset({1205, 1213})
"""MySQL: lock wait timeout, deadlock. The transaction was rolled back and may simply be tried again."""


class Database:
    """Sessions on one database.

    On SQLite a writing transaction takes the write lock when it begins (``BEGIN IMMEDIATE``), so that
    two writers wait for each other instead of failing in the middle.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self.engine = _sqlite_engine(self._url) if self.is_sqlite else _mysql_engine(self._url)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is the embedded one."""
        return self._url.get_backend_name() == "sqlite"

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that may write; committed at the end, rolled back on any exception.

        Raises:
            DatabaseUnavailable: the database is locked or gone; nothing was written.
        """
        with _translated(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads.

        Raises:
            DatabaseUnavailable: the database is locked or gone.
        """
        with (
            _translated(),
            self.engine.connect().execution_options(stemma_reading=True) as connection,
            Session(connection, expire_on_commit=False) as session,
        ):
            yield session

    def write(self, work: Callable[[Session], T]) -> T:
        """Do ``work`` in a transaction of its own, again when the database chose it as a deadlock's victim.

        ``work`` must have no effect outside the session.
        """
        for _ in range(_RETRIES):
            try:
                with self.transaction() as session:
                    return work(session)
            except _DeadlockError:
                continue
        with self.transaction() as session:
            return work(session)

    def ping(self) -> None:
        """Raise DatabaseUnavailable unless the database answers."""
        with self.reading() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


class _DeadlockError(DatabaseUnavailable):
    """The transaction was rolled back in favour of another."""


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the driver raises when the database is locked or gone into our words."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _unavailable(error) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _unavailable(error) from error
        raise


def _unavailable(error: DBAPIError) -> DatabaseUnavailable:
    arguments = getattr(error.orig, "args", ())
    if arguments and arguments[0] in _DEADLOCK_CODES:
        return _DeadlockError(str(error.orig))
    return DatabaseUnavailable(str(error.orig))


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _SQLITE_BUSY_MILLISECONDS / 1000, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA busy_timeout = {_SQLITE_BUSY_MILLISECONDS}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("stemma_reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _mysql_engine(url: URL) -> Engine:
    engine = create_engine(
        url.update_query_dict({"charset": "utf8mb4"}),
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={"connect_timeout": 5},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("SET time_zone = '+00:00', innodb_lock_wait_timeout = 10")
        cursor.close()

    return engine
