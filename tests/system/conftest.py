"""The full stack, which several modules look at: it takes minutes to come up, and does so once."""

import os
from collections.abc import Iterator

import pytest

from support.compose import Stack, stack, why_not


@pytest.fixture(scope="session")
def up() -> Iterator[Stack]:
    """The stack with three workers, in one test process; runs where STEMMA_TEST_COMPOSE=1."""
    if os.environ.get("STEMMA_TEST_COMPOSE") != "1":  # noqa: TID251 - how the tests are run
        pytest.skip("STEMMA_TEST_COMPOSE is not 1")
    if (reason := why_not()) is not None:
        pytest.fail(reason)
    with stack(workers=3, settings={"STEMMA_LEASE_SECONDS": "5"}) as started:
        yield started
