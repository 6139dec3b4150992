"""Empty databases for tests: SQLite always, MariaDB or MySQL where STEMMA_TEST_MYSQL_URL names a server."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

KINDS = ("sqlite", "mysql")


@contextmanager
def fresh_database_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database that is gone afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'test.sqlite'}"
        return
    server = os.environ.get("STEMMA_TEST_MYSQL_URL")  # noqa: TID251 - tests are told of servers by the environment
    if not server:
        if os.environ.get("CI"):  # noqa: TID251 - in CI nothing may be skipped
            pytest.fail("STEMMA_TEST_MYSQL_URL is not set: in CI the MariaDB tests must run")
        pytest.skip("STEMMA_TEST_MYSQL_URL names no MariaDB or MySQL server")
    url = make_url(server)
    name = f"stemma_{uuid.uuid4().hex[:16]}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        admin.dispose()
