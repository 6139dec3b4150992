"""The way to the database: one engine a process, one transaction a request or a worker's step."""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel import Session

from stemma.errors import DatabaseUnavailable, StemmaError

T = TypeVar("T")

_SQLITE_BUSY_MILLISECONDS = 5000
_SQLITE_CACHE_KIB = 16 * 1024
"""Of each connection; there are seldom more than five."""
_SQLITE_READERS = 4
"""How many threads read at a time (:class:`_Gate`)."""
_CONNECTIONS = {"pool_size": 20, "max_overflow": 40, "pool_use_lifo": True}
"""More than there are threads that could want one."""
_CONNECT_SECONDS = 5
_IDLE_SECONDS = 1.0
"""A connection that was not used for so long is tried before it is given out: the server may have gone meanwhile."""
_TURN_SECONDS = 30.0
_RETRIES = 6
_DEADLOCK_CODES = frozenset({1205, 1213, 1305})
"""MySQL: lock wait timeout, deadlock; a savepoint that is gone, since a deadlock inside it rolled back everything.
The transaction may simply be tried again."""
_PAUSE_SECONDS = 0.05
"""Up to so long, times the tries so far: those who were in each other's way are not to meet at once again."""
_LOST_CODES = frozenset({2006, 2013, 2055, 4031})
"""MySQL: the connection is gone. What was not committed is rolled back."""


class Database:
    """Sessions on one database.

    On SQLite a writing transaction takes the write lock when it begins (``BEGIN IMMEDIATE``), so that
    two writers wait for each other instead of failing in the middle.
    """

    def __init__(self, url: str, *, timeout_seconds: int | None = None) -> None:
        """``timeout_seconds`` is how long MySQL may be silent; None to wait for as long as a change of schema takes."""
        self._url = make_url(url)
        self.engine = _sqlite_engine(self._url) if self.is_sqlite else _mysql_engine(self._url, timeout_seconds)
        self._writing = threading.Lock()
        self._gate = _Gate(_SQLITE_READERS) if self.is_sqlite else None

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
        with (
            self._turn(),
            _translated(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """SQLite: one writer of this process at a time, since those who wait for its own lock wait without an order.

        Raises:
            DatabaseUnavailable: the turn did not come for long.
        """
        if not self.is_sqlite:
            yield
            return
        if not self._writing.acquire(timeout=_TURN_SECONDS):
            raise DatabaseUnavailable("others have been writing all the time")
        try:
            yield
        finally:
            self._writing.release()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads. Each of its queries sees what is committed by then, on every database.

        Raises:
            DatabaseUnavailable: the database is locked or gone.
        """
        with (
            self._gate.passed() if self._gate else nullcontext(),
            _translated(),
            self.engine.connect().execution_options(stemma_reading=True) as connection,
            Session(connection, expire_on_commit=False) as session,
        ):
            yield session

    def write(self, work: Callable[[Session], T]) -> T:
        """Do ``work`` in a transaction of its own, again when the database rolled it back.

        It does so with a deadlock's victim, and when the connection is lost before the commit was asked for; after
        that nobody knows what became of it, and nothing is tried again. ``work`` must have no effect outside the
        session.

        Raises:
            DatabaseUnavailable: the database is locked or gone.
        """
        for tries_left in reversed(range(_RETRIES)):
            committing = False
            try:
                with self.transaction() as session:
                    done = work(session)
                    committing = True
            except (_DeadlockError, _ConnectionLostError) as error:
                if not tries_left or (committing and isinstance(error, _ConnectionLostError)):
                    raise
                time.sleep(random.random() * _PAUSE_SECONDS * (_RETRIES - tries_left))  # noqa: S311 - no secret
            else:
                return done
        raise AssertionError("the last try returns or raises")

    def ping(self) -> None:
        """Raise DatabaseUnavailable unless the database answers."""
        with self.reading() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


class DriverMissing(StemmaError):
    """The package that speaks with this kind of database is not installed."""

    code, exit_code = "driver-missing", 78

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"the database {url} needs a driver ({reason}): pip install mysqlclient, or leave MYSQL_SERVER and "
            "STEMMA_DATABASE_URL (in the environment or in .env) unset for SQLite",
        )
        self.url, self.reason = url, reason


class _Gate:
    """Lets so many threads read at a time, and one that is inside already in again.

    A read is short, and gives the interpreter's lock away at every call of the driver: a crowd of readers would spend
    more time on handing that lock around than on reading.
    """

    def __init__(self, width: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()  # a lock in C, several times faster than a semaphore
        self._inside = threading.local()
        for _ in range(width):
            self._free.put(None)

    @contextmanager
    def passed(self) -> Iterator[None]:
        if getattr(self._inside, "is_here", False):
            yield
            return
        try:
            self._free.get(timeout=_TURN_SECONDS)
        except Empty as error:
            raise DatabaseUnavailable("others have been reading all the time") from error
        self._inside.is_here = True
        try:
            yield
        finally:
            self._inside.is_here = False
            self._free.put(None)


class _DeadlockError(DatabaseUnavailable):
    """The transaction was rolled back in favour of another."""


class _ConnectionLostError(DatabaseUnavailable):
    """The connection went away in the middle."""


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the driver raises when the database is locked or gone into our words."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _unavailable(error) from error
    except PoolTimeoutError as error:
        raise DatabaseUnavailable(str(error)) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _unavailable(error) from error
        raise


def _unavailable(error: DBAPIError) -> DatabaseUnavailable:
    arguments = getattr(error.orig, "args", ())
    if arguments and arguments[0] in _DEADLOCK_CODES:
        return _DeadlockError(str(error.orig))
    if arguments and arguments[0] in _LOST_CODES:
        return _ConnectionLostError(str(error.orig))
    return DatabaseUnavailable(str(error.orig))


def _sqlite_engine(url: URL) -> Engine:
    arguments = {"timeout": _SQLITE_BUSY_MILLISECONDS / 1000, "isolation_level": None, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, **_CONNECTIONS)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA cache_size = -{_SQLITE_CACHE_KIB}")
        cursor.execute(f"PRAGMA busy_timeout = {_SQLITE_BUSY_MILLISECONDS}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("stemma_reading", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _mysql_engine(url: URL, timeout_seconds: int | None) -> Engine:
    try:
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        raise DriverMissing(url.render_as_string(hide_password=True), str(error)) from error
    patience = {} if timeout_seconds is None else {"read_timeout": timeout_seconds, "write_timeout": timeout_seconds}
    engine = create_engine(
        url.update_query_dict({"charset": "utf8mb4"}),
        isolation_level="READ COMMITTED",
        pool_recycle=1800,
        connect_args={"connect_timeout": _CONNECT_SECONDS, **patience},
        **_CONNECTIONS,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("SET time_zone = '+00:00', innodb_lock_wait_timeout = 10")
        cursor.close()

    @event.listens_for(engine, "checkin")
    def note(_: object, record: ConnectionPoolEntry) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
        if time.monotonic() - record.info.get("idle_since", math.inf) > _IDLE_SECONDS:
            try:
                connection.ping()
            except engine.dialect.loaded_dbapi.Error as error:
                raise DisconnectionError(str(error)) from error  # the pool makes another one

    return engine
