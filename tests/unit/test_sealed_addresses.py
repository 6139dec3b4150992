"""Addresses that open what they lead to: sealed where they are written down."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from conftest import opened_installation
from stemma import clock
from stemma.database.queries import demand, replicas
from stemma.database.queries.demand import Sought
from stemma.database.queries.replicas import Replica
from stemma.errors import SourceUnusable
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.remotes import remotes_of
from stemma.lifecycle.replicate.sealed_addresses import kept, opened
from stemma.lifecycle.resealing import reseal
from stemma.lifecycle.sources import shown
from support.databases import KINDS
from support.rows import add_run, add_workflow

PLACE = "https://data.example.org/rain.csv"
KEYED = f"{PLACE}?X-Amz-Signature=0123456789abcdef0123&part=1"
FIRST, SECOND = "k" * 40, "l" * 40


@pytest.fixture(params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with opened_installation(request.param, tmp_path, secret_key=FIRST) as made:
        yield made


def wanted(installation: Installation, address: str) -> Replica:
    """The one copy that is wanted, of a file at ``address``, as the database has it."""
    [sought] = kept(installation, "group1", [Sought(clock.new_uuid(), address, "v1", {}, 4)])
    with installation.database.transaction() as session:
        run = add_run(session, add_workflow(session, group="group1", name="w"), group="group1")
        demand.want(session, installation.home_id, "group1", run, [sought], has=lambda _: True)
        [found] = replicas.open_replicas(session, installation.home_id)
    return found


def with_key(installation: Installation, key: str, before: str | None = None) -> Installation:
    """The same data under another key."""
    secrets = {"secret_key": SecretStr(key), "secret_keys_before": None if before is None else SecretStr(before)}
    settings = installation.settings.model_copy(update=secrets)
    return replace(
        installation,
        settings=settings,
        remotes=remotes_of(settings, installation.database, installation.outgoing),
    )


def test_address_when_it_holds_a_key_then_it_is_sealed_and_opened_for_its_group_alone(
    installation: Installation,
) -> None:
    copy = wanted(installation, KEYED)
    assert "0123456789abcdef" not in copy.address
    assert shown(copy.address) == PLACE
    assert opened(installation, copy).address == KEYED
    with pytest.raises(SourceUnusable, match="submit again"):
        opened(installation, replace(copy, group="group2"))


def test_address_when_it_holds_no_key_then_it_is_written_down_as_it_is(installation: Installation) -> None:
    copy = wanted(installation, f"{PLACE}?year=2014")
    assert copy.address == f"{PLACE}?year=2014"
    assert opened(installation, copy) is copy


def test_address_when_somebody_writes_our_mark_in_it_then_it_is_no_seal_of_ours(installation: Installation) -> None:
    theirs = f"{PLACE}?stemma-sealed=a"
    copy = wanted(installation, theirs)
    assert copy.address != theirs
    assert opened(installation, copy).address == theirs


def test_reseal_when_the_key_was_changed_then_sealed_addresses_are_under_the_new_one(
    installation: Installation,
) -> None:
    wanted(installation, KEYED)
    done = reseal(with_key(installation, SECOND, FIRST).settings, installation.database)
    assert (done.done, done.lost) == (1, ())
    with installation.database.reading() as session:
        [copy] = replicas.open_replicas(session, installation.home_id)
    assert opened(with_key(installation, SECOND), copy).address == KEYED
    with pytest.raises(SourceUnusable):
        opened(installation, copy)
