"""Databases to measure on: SQLite in the data folder, and a fresh one on the MariaDB or MySQL server that is named."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from stemma.database import schema
from stemma.database.connection import Database


def mysql_server() -> str | None:
    """The server that ``STEMMA_TEST_MYSQL_URL`` names."""
    return os.environ.get("STEMMA_TEST_MYSQL_URL")  # noqa: TID251 - where benchmarks and tests are told of servers


@contextmanager
def fresh_mysql(server: str) -> Iterator[str]:
    """The URL of an empty database with its tables. Gone afterwards."""
    name = f"stemma_bench_{uuid.uuid4().hex[:12]}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    try:
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
        with_tables(url)
        yield url
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        admin.dispose()


def sqlite_in(home: Path) -> str:
    """The URL of the embedded database of a data folder, with its tables."""
    url = f"sqlite:///{home / 'stemma.sqlite'}"
    with_tables(url)
    return url


def with_tables(url: str) -> None:
    """Bring the tables up to this version."""
    database = Database(url)
    try:
        schema.upgrade(database)
    finally:
        database.close()
