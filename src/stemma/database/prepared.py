"""Statements that are asked a thousand times a second.

SQLAlchemy makes the SQL once and says how values go in and come out; after that the driver is asked directly, which
takes a tenth of the time of ``Session.execute``. The rest of the code has no need of it.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from sqlalchemy import Select
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

_Process = Callable[[Any], Any]
T = TypeVar("T")


class Prepared:
    """A statement whose values are named by ``bindparam``, lists of them by ``bindparam(…, expanding=True)``."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._compiled: dict[tuple[object, ...], _Compiled] = {}

    def rows(self, session: Session, **values: Any) -> list[Any]:
        """Every row, as a named tuple of the statement's columns.

        Raises:
            DBAPIError: as ``Session.execute`` does.
        """
        connection, compiled = self._ready(session, values)
        return [compiled.row(row) for row in compiled.found(connection, values)]

    def rows_again(
        self, session: Session, known: dict[Any, tuple[Sequence[Any], T]], make: Callable[[Any], T], **values: Any
    ) -> list[T]:
        """What ``make`` makes of every row, for who reads the same ones again and again.

        A row that is as it was the last time, by what stands in its first column, is not made anew: that takes ten
        times as long as to read it. ``known`` is kept by the caller, and holds what is there now.

        Raises:
            DBAPIError: as ``Session.execute`` does.
        """
        connection, compiled = self._ready(session, values)
        made: dict[Any, tuple[Sequence[Any], T]] = {}
        for row in compiled.found(connection, values):
            before = known.get(row[0])
            made[row[0]] = before if before is not None and before[0] == row else (row, make(compiled.row(row)))
        known.clear()
        known.update(made)
        return [one for _, one in made.values()]

    def first(self, session: Session, **values: Any) -> Any:
        """The first row; None where there is none."""
        return next(iter(self.rows(session, **values)), None)

    def _ready(self, session: Session, values: dict[str, Any]) -> "tuple[Connection, _Compiled]":
        connection = session.connection()
        lengths = [len(value) for value in values.values() if isinstance(value, list)]
        shape = (connection.dialect.name, *lengths)  # a list of another length is another statement
        compiled = self._compiled.get(shape)
        if compiled is None:
            compiled = self._compiled[shape] = _Compiled.of(self._statement, connection.dialect, values)
        return connection, compiled


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement in the words of one database."""

    sql: str
    places: tuple[Callable[[dict[str, Any]], Any], ...]
    """What stands at each place of the statement, from the values."""
    processes: tuple[tuple[int, _Process], ...]
    """The columns whose values the driver does not give as we want them."""
    make: Callable[[Sequence[Any]], Any]

    @classmethod
    def of(cls, statement: Select[Any], dialect: Dialect, values: dict[str, Any]) -> "_Compiled":
        bound = statement.params(**values)
        compiled = bound.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        spread = {
            f"{name}_{index}": (name, index - 1)
            for name, value in values.items()
            if isinstance(value, list)
            for index in range(1, len(value) + 1)
        }
        columns = list(statement.selected_columns)
        found = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        row = namedtuple("row", [column.key or "" for column in columns])  # type: ignore[misc]  # noqa: PYI024 - its fields are known now
        return cls(
            sql=str(compiled),
            places=tuple(_place(name, compiled, dialect, values, spread) for name in compiled.positiontup or ()),
            processes=tuple((index, process) for index, process in enumerate(found) if process is not None),
            make=row._make,
        )

    def found(self, connection: Connection, values: dict[str, Any]) -> Sequence[Sequence[Any]]:
        """The rows as the driver gives them."""
        given = tuple([place(values) for place in self.places])
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self.sql, given)
            found: Sequence[Sequence[Any]] = cursor.fetchall()
            cursor.close()
        except connection.dialect.loaded_dbapi.Error as error:
            self._raise(connection, cursor, given, error)  # the cursor goes with its connection
        return found

    def row(self, found: Sequence[Any]) -> Any:
        """One of them as we want it: a named tuple."""
        row = list(found)
        for index, process in self.processes:
            row[index] = process(row[index])
        return self.make(row)

    def _raise(self, connection: Connection, cursor: Any, given: tuple[Any, ...], error: Exception) -> NoReturn:
        """As SQLAlchemy raises it, with a connection that is lost taken out of the pool."""
        dialect = connection.dialect
        is_lost = dialect.is_disconnect(error, connection.connection, cursor)  # type: ignore[arg-type]
        if is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            self.sql, given, error, dialect.loaded_dbapi.Error, connection_invalidated=is_lost, dialect=dialect
        ) from error


def _place(
    name: str, compiled: Any, dialect: Dialect, values: dict[str, Any], spread: dict[str, tuple[str, int]]
) -> Callable[[dict[str, Any]], Any]:
    """How the value at a place of the statement is had: as it was given, out of a list, or always the same."""
    source = spread[name][0] if name in spread else name
    binding = compiled.binds[source]
    process = binding.type.dialect_impl(dialect).bind_processor(dialect) or _as_it_is
    if name in spread:
        _, index = spread[name]
        return lambda given: process(given[source][index])
    if name in values:
        return lambda given: process(given[source])
    constant = process(binding.effective_value)
    return lambda _: constant


def _as_it_is(value: Any) -> Any:
    return value
