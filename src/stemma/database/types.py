"""Column types that mean the same on SQLite and on MySQL."""

from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import BigInteger, DateTime, Integer, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from stemma.records import Json

_EXACT_ON_MYSQL, _EXACT_ON_MARIADB = "utf8mb4_0900_bin", "utf8mb4_nopad_bin"
"""Byte by byte. ``utf8mb4_bin`` would not do: to it, ``'group1 '`` is ``'group1'`` (PAD SPACE)."""


class _Identifier(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The exact collation, which MySQL and MariaDB call by different names."""
        length = self.impl_instance.length  # type: ignore[attr-defined]
        if dialect.name not in {"mysql", "mariadb"}:
            return dialect.type_descriptor(String(length))
        exact = _EXACT_ON_MARIADB if getattr(dialect, "is_mariadb", False) else _EXACT_ON_MYSQL
        return dialect.type_descriptor(mysql.VARCHAR(length, charset="utf8mb4", collation=exact))


def identifier(length: int) -> TypeEngine[str]:
    """Text that identifies something: compared byte by byte on every database: case, accents, spaces at its end."""
    return _Identifier(length)


def long_text() -> TypeEngine[str]:
    """Text without a practical bound."""
    return Text().with_variant(mysql.LONGTEXT(charset="utf8mb4"), "mysql", "mariadb")


def sequence() -> TypeEngine[int]:
    """A number that the database counts up. SQLite counts only what it calls INTEGER."""
    return BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept in UTC to the microsecond. A time without a zone is refused."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Microseconds, which MySQL keeps only when asked."""
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Into the database: UTC without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Out of the database: aware again."""
        return None if value is None else value.replace(tzinfo=UTC)


class JsonText(TypeDecorator[Json]):
    """A JSON value as text; the order of keys is kept. SQL NULL is None."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """LONGTEXT where TEXT would end at 64 KiB."""
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.LONGTEXT(charset="utf8mb4"))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: Json, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Into the database."""
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Json:  # noqa: ARG002
        """Out of the database."""
        return None if value is None else orjson.loads(value)
