"""The mover: files arrive whole, in the order of urgency, over as many streams as were asked for."""

import hashlib
import threading
from pathlib import Path

import pytest

from stemma.store.content import ContentStore
from support.moving import MEBIBYTE, moving, order_of, some_bytes
from support.scripted_storage import Request, ScriptedStorage, Source


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def leftovers(store: ContentStore) -> list[str]:
    return sorted(path.name for path in store.path("0" * 64).parents[2].glob("incoming/*"))


@pytest.mark.parametrize("streams", [1, 4])
@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 3 * MEBIBYTE, 21 * MEBIBYTE + 17])
def test_file_when_of_any_size_arrives_whole(store: ContentStore, size: int, streams: int) -> None:
    storage = ScriptedStorage({"a": Source(some_bytes(size))})
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": streams})
        outcomes.wait("a")
    moved = outcomes.done["a"]
    assert store.read(moved.content.sha256) == storage.files["a"].content
    assert (moved.verified, moved.version) == ("first use", "1")
    assert 0 <= moved.moved_bytes - size < MEBIBYTE
    assert moved.started_at <= moved.ended_at
    assert leftovers(store) == []


@pytest.mark.parametrize(
    "source", [Source(some_bytes(5 * MEBIBYTE), is_size_told=False), Source(b"", is_size_told=False)]
)
def test_file_when_its_size_is_not_told_arrives_whole(store: ContentStore, source: Source) -> None:
    storage = ScriptedStorage({"a": source})
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 4})
        outcomes.wait("a")
    assert store.read(outcomes.done["a"].content.sha256) == source.content
    assert len(storage.requests) == 1


def test_large_file_when_several_streams_are_asked_for_comes_over_all_of_them(store: ContentStore) -> None:
    barrier = threading.Barrier(4)

    def together(request: Request, position: int) -> None:
        if position == request.offset and len(storage.requests) <= 4:
            barrier.wait(20)

    storage = ScriptedStorage({"a": Source(some_bytes(24 * MEBIBYTE))}, together)
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 4})
        outcomes.wait("a")
    assert storage.most_at_once == 4
    assert store.read(outcomes.done["a"].content.sha256) == storage.files["a"].content
    assert 0 <= outcomes.done["a"].moved_bytes - 24 * MEBIBYTE < MEBIBYTE  # where parts were divided, some came twice


def test_large_file_when_one_stream_is_asked_for_comes_in_one_request(store: ContentStore) -> None:
    storage = ScriptedStorage({"a": Source(some_bytes(24 * MEBIBYTE))})
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 1})
        outcomes.wait("a")
    assert [(request.offset, request.length) for request in storage.requests] == [(0, None)]


def test_large_file_when_more_streams_come_later_is_shared_with_them(store: ContentStore) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(request: Request, position: int) -> None:
        if request is storage.requests[0] and position >= MEBIBYTE:
            begun.set()
            assert go_on.wait(20)

    storage = ScriptedStorage({"a": Source(some_bytes(40 * MEBIBYTE))}, hold)
    with moving(store) as (mover, outcomes):
        order = order_of(storage, "a")
        mover.arrange([order], {"lab": 1})
        assert begun.wait(20)
        mover.arrange([order], {"lab": 3})
        while sum(request.given for request in storage.requests[1:]) < 15 * MEBIBYTE:
            assert not outcomes.failed
        go_on.set()
        outcomes.wait("a")
    assert store.read(outcomes.done["a"].content.sha256) == storage.files["a"].content
    assert storage.requests[0].given < 26 * MEBIBYTE


def test_files_when_a_link_is_widened_come_over_more_streams(store: ContentStore) -> None:
    two_at_once = threading.Barrier(2)
    first = threading.Event()

    def hold(request: Request, _: int) -> None:
        first.set()
        two_at_once.wait(20)

    storage = ScriptedStorage({name: Source(some_bytes(10)) for name in ("a", "b")}, hold)
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, name) for name in ("a", "b")], {"lab": 1})
        assert first.wait(20)
        mover.widen({"lab": 2})
        outcomes.wait("a", "b")
    assert storage.most_at_once == 2


def test_files_when_in_order_of_urgency_come_in_that_order(store: ContentStore) -> None:
    names = [f"f{number}" for number in range(20)]
    storage = ScriptedStorage({name: Source(name.encode()) for name in names})
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, name) for name in reversed(names)], {"lab": 1})
        outcomes.wait(*names)
    assert [request.address for request in storage.requests] == names[::-1]


def test_stream_when_a_more_urgent_file_appears_turns_to_that_and_comes_back(store: ContentStore) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(request: Request, position: int) -> None:
        if request.address == "large" and position == MEBIBYTE:
            begun.set()
            assert go_on.wait(20)

    storage = ScriptedStorage({"large": Source(some_bytes(40 * MEBIBYTE)), "urgent": Source(b"now")}, hold)
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "large")], {"lab": 1})
        assert begun.wait(20)
        mover.arrange([order_of(storage, "urgent"), order_of(storage, "large")], {"lab": 1})
        go_on.set()
        outcomes.wait("urgent", "large")
    assert outcomes.order == ["urgent", "large"]
    assert outcomes.done["large"].moved_bytes == 40 * MEBIBYTE  # nothing came twice
    assert store.read(outcomes.done["large"].content.sha256) == storage.files["large"].content


def test_file_when_not_in_the_order_any_more_is_finished_if_begun_else_forgotten(store: ContentStore) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(request: Request, _position: int) -> None:
        begun.set()
        assert go_on.wait(20)

    storage = ScriptedStorage({name: Source(name.encode()) for name in ("begun", "waiting", "newer")}, hold)
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "begun"), order_of(storage, "waiting")], {"lab": 1})
        assert begun.wait(20)
        mover.arrange([order_of(storage, "newer")], {"lab": 1})
        go_on.set()
        outcomes.wait("begun", "newer")
    assert set(outcomes.done) == {"begun", "newer"}
    assert "waiting" not in [request.address for request in storage.requests]


def test_file_when_told_done_is_not_moved_for_an_order_written_before(store: ContentStore) -> None:
    storage = ScriptedStorage({"a": Source(b"once"), "b": Source(b"after")})
    with moving(store) as (mover, outcomes):
        stale = order_of(storage, "a")
        mover.arrange([stale], {"lab": 1})
        outcomes.wait("a")
        mover.arrange([stale, order_of(storage, "b")], {"lab": 1})
        outcomes.wait("b")
    assert [request.address for request in storage.requests] == ["a", "b"]


def test_file_when_dropped_leaves_nothing_and_is_not_told(store: ContentStore) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(request: Request, position: int) -> None:
        if request.address == "a" and position >= MEBIBYTE:
            begun.set()
            assert go_on.wait(20)

    storage = ScriptedStorage({"a": Source(some_bytes(9 * MEBIBYTE)), "b": Source(b"b")}, hold)
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a"), order_of(storage, "b")], {"lab": 1})
        assert begun.wait(20)
        assert mover.progress()["a"] >= MEBIBYTE
        mover.drop("a")
        go_on.set()
        outcomes.wait("b")
        assert mover.progress() == {}
    assert list(outcomes.done) == ["b"]
    assert leftovers(store) == []


@pytest.mark.parametrize(
    ("expected", "verified"),
    [
        ({"expected_sha256": True}, "given"),
        ({"expected_sha1": True}, "given"),
        ({"expected_md5": True}, "source"),
        ({}, "first use"),
    ],
)
def test_file_when_its_digest_is_known_is_compared_with_it(
    store: ContentStore, expected: dict[str, bool], verified: str
) -> None:
    content = some_bytes(9 * MEBIBYTE)
    known = {
        "expected_sha256": hashlib.sha256(content).hexdigest().upper(),
        "expected_sha1": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
        "expected_md5": hashlib.md5(content).hexdigest(),
    }
    storage = ScriptedStorage({"a": Source(content)})
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a", **{name: known[name] for name in expected})], {"lab": 3})
        outcomes.wait("a")
    assert outcomes.done["a"].verified == verified
