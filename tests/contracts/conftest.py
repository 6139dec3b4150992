"""What the tests of engines elsewhere need."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.reana_bench import reana_client_is_there
from support.reana_standin import ReanaStandin


@pytest.fixture(autouse=True)
def _client_of_reana(request: pytest.FixtureRequest) -> None:
    """Skip what talks to a REANA server, real or not, where its client (the extra ``reana``) is not installed."""
    name = request.module.__name__.rpartition(".")[2]
    if name.startswith("test_reana") and not name.startswith("test_reana_standin"):
        reana_client_is_there()


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[ReanaStandin]:
    """A REANA server of its own for a test, which takes as many requests as come."""
    with ReanaStandin(tmp_path / "reana", rate_limit=0) as made:
        yield made
