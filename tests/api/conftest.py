"""People for the tests of a ``service`` of their own."""

from collections.abc import Iterator

import httpx
import pytest

from conftest import Served
from stemma.auth.policy import ADMIN, USER


@pytest.fixture
def person(service: Served) -> Iterator[httpx.Client]:
    """Somebody new in a group of their own, without the role of an admin."""
    name = service.name("person")
    with service.client_of(name, f"of-{name}") as client:
        yield client


@pytest.fixture
def admin(service: Served) -> Iterator[httpx.Client]:
    """The same as an admin."""
    name = service.name("admin")
    with service.client_of(name, f"of-{name}", roles=(USER, ADMIN)) as client:
        yield client
