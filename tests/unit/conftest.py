"""Fixtures of the unit tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stemma.database import schema
from stemma.database.connection import Database
from support.databases import KINDS, fresh_database_url


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with today's tables, on each kind of server."""
    with fresh_database_url(request.param, tmp_path) as url:
        opened = Database(url)
        schema.upgrade(opened)
        yield opened
        opened.close()
