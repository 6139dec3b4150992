"""What the streams of a link do next, while the most urgent file is being opened."""

from pathlib import Path

import pytest

from stemma.lifecycle.moving.links import Link
from stemma.lifecycle.moving.orders import Limits
from stemma.lifecycle.moving.segments import Claim
from stemma.lifecycle.moving.transfer import WORTH_WAITING_BYTES, Transfer, Unprepared
from stemma.store.content import ContentStore
from support.moving import order_of, some_bytes
from support.scripted_storage import ScriptedStorage, Source


def link_with(store: ContentStore, sizes: dict[str, int]) -> tuple[Link, list[Transfer]]:
    """A link over which four streams bring files of these sizes."""
    storage = ScriptedStorage({name: Source(some_bytes(size)) for name, size in sizes.items()})
    transfers = [Transfer(order_of(storage, name), store, Limits()) for name in sizes]
    link = Link("lab", 4)
    link.wanted_streams = 4
    link.arrange(transfers)
    return link, transfers


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def test_next_work_when_the_most_urgent_file_is_being_opened_waits_for_it_a_moment(store: ContentStore) -> None:
    link, (urgent, later) = link_with(store, {"urgent": WORTH_WAITING_BYTES, "later": WORTH_WAITING_BYTES})
    assert link.next_work(0.0) == (urgent, Unprepared())
    just_before, after = urgent.opens_until - 0.001, urgent.opens_until + 0.001
    assert link.next_work(just_before) is None
    assert link.wakes_at(just_before) == urgent.opens_until
    assert link.next_work(after) == (later, Unprepared())
    urgent.end(keep_part=False)


def test_next_work_when_the_most_urgent_file_is_open_gives_all_streams_a_part_of_it(store: ContentStore) -> None:
    link, (urgent, _) = link_with(store, {"urgent": WORTH_WAITING_BYTES, "later": WORTH_WAITING_BYTES})
    link.next_work(0.0)
    urgent.prepare()
    link.look_again(urgent, 0.0)
    works = [link.next_work(0.0) for _ in range(4)]
    assert [work[0] for work in works if work is not None and isinstance(work[1], Claim)] == [urgent] * 4
    urgent.end(keep_part=False)


def test_next_work_when_a_small_file_is_being_opened_goes_on_with_the_next(store: ContentStore) -> None:
    link, (urgent, later) = link_with(store, {"urgent": WORTH_WAITING_BYTES // 2, "later": WORTH_WAITING_BYTES})
    assert link.next_work(0.0) == (urgent, Unprepared())
    assert link.next_work(0.0) == (later, Unprepared())
