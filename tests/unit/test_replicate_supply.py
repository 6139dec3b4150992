"""How much of what was claimed of each link is left to move."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from stemma.database.queries.replicas import Replica, ReplicaState
from stemma.lifecycle.replicate.budgets import Supply

COPY = Replica(
    id=1,
    uuid=UUID(int=1),
    group="group1",
    remote_id=None,
    address="https://one.example/file",
    version="1",
    told={},
    size_bytes=10,
    expected=None,
    sha256=None,
    state=ReplicaState.MOVING,
    tries=0,
    moved_bytes=0,
    not_before=datetime(2026, 1, 1, tzinfo=UTC),
    used_at=None,
    fence=1,
)


def test_supply_when_one_link_has_moved_half_of_its_files_then_runs_dry_however_many_others_have() -> None:
    many = [replace(COPY, id=number) for number in range(100)]
    few = [replace(COPY, id=1000 + number, address="https://two.example/file") for number in range(4)]
    supply = Supply([*many, *few])
    for one in many[:49]:
        supply.ended(one.id)
    assert not supply.is_running_dry
    supply.ended(few[0].id)
    supply.ended(few[0].id)  # told twice
    supply.ended(5000)  # was never claimed
    assert not supply.is_running_dry
    supply.ended(few[1].id)
    assert supply.is_running_dry


def test_supply_when_nothing_was_claimed_then_nothing_runs_dry() -> None:
    assert not Supply().is_running_dry
