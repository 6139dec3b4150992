"""The mover and sources that do wrong: each fault has its sentence, and nothing of it is ever in the store."""

import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemma.errors import (
    DigestMismatch,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    StemmaError,
    StorageFull,
    TooLarge,
)
from stemma.lifecycle.moving.mover import Mover
from stemma.lifecycle.moving.orders import Limits, Moved
from stemma.lifecycle.moving.segments import Claim
from stemma.store.content import ContentStore
from stemma.store.partial import StoreUnwritable
from support.moving import MEBIBYTE, Outcomes, moving, order_of, some_bytes
from support.scripted_storage import Before, Request, ScriptedStorage, Source


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def everything_in(store: ContentStore) -> list[str]:
    folder = store.path("0" * 64).parents[2]
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def failing(error: Exception, times: int = 10**6, after: int = 0) -> Before:
    """Raise ``error`` at the first ``times`` chunks that lie behind ``after``."""
    left = [times]
    lock = threading.Lock()

    def fail(_request: Request, position: int) -> None:
        with lock:
            if position >= after and left[0] > 0:
                left[0] -= 1
                raise error

    return fail


@pytest.mark.parametrize("size", [1000, 9 * MEBIBYTE])
@pytest.mark.parametrize(
    "error", [SourceNotFound("a"), SourceForbidden("a"), SourceUnusable("a", "it is gzip"), TooLarge("a", 3)], ids=repr
)
def test_file_when_its_source_refuses_it_fails_at_once(store: ContentStore, size: int, error: StemmaError) -> None:
    storage = ScriptedStorage({"a": Source(some_bytes(size))}, failing(error, after=size // 2))
    storage.chunk_bytes = 500
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 1})
        outcomes.wait("a")
    assert outcomes.failed["a"] is error
    assert len(storage.requests) == 1
    assert everything_in(store) == []


@pytest.mark.parametrize("takes_ranges", [True, False])
@pytest.mark.parametrize("size", [1000, 9 * MEBIBYTE])
def test_file_when_its_source_is_away_for_a_moment_arrives_whole(
    store: ContentStore, size: int, takes_ranges: bool
) -> None:
    source = Source(some_bytes(size), takes_ranges=takes_ranges)
    storage = ScriptedStorage({"a": source}, failing(SourceUnavailable("a", "cut"), times=3, after=size // 2))
    storage.chunk_bytes = 500 if size == 1000 else 100_000
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 1})
        outcomes.wait("a")
    assert store.read(outcomes.done["a"].content.sha256) == source.content
    if takes_ranges and size > 1000:
        assert outcomes.done["a"].moved_bytes == size  # it went on where it was cut


def test_file_when_its_source_stays_away_fails_after_some_tries(store: ContentStore) -> None:
    storage = ScriptedStorage({"a": Source(b"1" * 100)}, failing(SourceUnavailable("a", "cut")))
    with moving(store, tries=3) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 1})
        outcomes.wait("a")
    assert isinstance(outcomes.failed["a"], SourceUnavailable)
    assert len(storage.requests) == 3


def test_files_when_one_rests_after_a_cut_go_on_meanwhile(store: ContentStore) -> None:
    def fail(request: Request, _position: int) -> None:
        if request.address == "away" and "fine" not in outcomes.order:
            raise SourceUnavailable("away", "cut")

    storage = ScriptedStorage({"away": Source(b"1"), "fine": Source(b"2")}, fail)
    with moving(store, pause_seconds=0.3) as (mover, outcomes):
        mover.arrange([order_of(storage, "away"), order_of(storage, "fine")], {"lab": 1})
        outcomes.wait("away", "fine")
    assert outcomes.order == ["fine", "away"]
    assert list(outcomes.done) == ["fine", "away"]


@pytest.mark.parametrize("size", [1000, 9 * MEBIBYTE])
@pytest.mark.parametrize("takes_ranges", [True, False])
@pytest.mark.parametrize("difference", [-1, 1])
def test_file_when_longer_or_shorter_than_told_fails_with_both_numbers(
    store: ContentStore, size: int, takes_ranges: bool, difference: int
) -> None:
    storage = ScriptedStorage({"a": Source(some_bytes(size + difference), told_size=size, takes_ranges=takes_ranges)})
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 2})
        outcomes.wait("a")
    error = outcomes.failed["a"]
    assert isinstance(error, SourceUnusable)
    numbers = {int(number) for number in re.findall(r"\d+", str(error))}
    assert size in numbers
    assert any(number >= size + difference != size for number in numbers - {size})
    assert everything_in(store) == []


def test_file_when_endless_fails_at_the_limit(store: ContentStore) -> None:
    storage = ScriptedStorage({"a": Source(some_bytes(3 * MEBIBYTE), is_size_told=False)})
    with moving(store, max_bytes=MEBIBYTE) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 2})
        outcomes.wait("a")
    assert isinstance(outcomes.failed["a"], TooLarge)
    assert storage.requests[0].given <= 2 * MEBIBYTE
    assert everything_in(store) == []


def test_file_when_it_is_given_up_then_no_other_stream_begins_with_it_anew(store: ContentStore) -> None:
    source = Source(some_bytes(3 * MEBIBYTE), is_size_told=False)

    def linger(_request: Request, _position: int) -> None:
        transfer = mover._transfers["a"]
        release = transfer.release

        def slowly(claim: Claim) -> None:
            release(claim)
            mover.arrange([order], {"lab": 2})  # the other stream looks for work
            time.sleep(0.5)

        transfer.release = slowly  # type: ignore[method-assign]

    storage = ScriptedStorage({"a": source}, linger)
    order = order_of(storage, "a")
    with moving(store, max_bytes=MEBIBYTE) as (mover, outcomes):
        mover.arrange([order], {"lab": 2})
        outcomes.wait("a")
    assert isinstance(outcomes.failed["a"], TooLarge)
    assert len(storage.requests) == 1
    assert everything_in(store) == []


@pytest.mark.parametrize("size", [1000, 20 * MEBIBYTE])
def test_file_when_it_changes_while_read_comes_at_its_new_version(store: ContentStore, size: int) -> None:
    newer = Source(some_bytes(size + 7, seed=2), version="2")

    def change(_request: Request, position: int) -> None:
        if position >= size // 2:
            storage.files["a"] = newer

    storage = ScriptedStorage({"a": Source(some_bytes(size))}, change)
    storage.chunk_bytes = min(storage.chunk_bytes, size // 4)
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 3})
        outcomes.wait("a")
    moved = outcomes.done["a"]
    assert store.read(moved.content.sha256) == newer.content
    assert (moved.version, moved.told) == ("2", {"etag": "2"})
    assert len(list(store.contents())) == 1


def test_file_when_it_changes_all_the_time_fails(store: ContentStore) -> None:
    def change(_request: Request, position: int) -> None:
        if position:
            storage.files["a"] = Source(some_bytes(MEBIBYTE), version=str(len(storage.requests) + 1))

    storage = ScriptedStorage({"a": Source(some_bytes(MEBIBYTE))}, change)
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 2})
        outcomes.wait("a")
    assert isinstance(outcomes.failed["a"], SourceChanged)
    assert len(storage.looks) == 4  # for the order, and three times anew
    assert everything_in(store) == []


@pytest.mark.parametrize(
    "digest", [{"expected_sha256": "0" * 64}, {"expected_sha1": "0" * 40}, {"expected_md5": "0" * 32}]
)
@pytest.mark.parametrize("size", [1000, 9 * MEBIBYTE])
def test_file_when_it_has_another_digest_fails_and_is_not_published(
    store: ContentStore, size: int, digest: dict[str, str]
) -> None:
    storage = ScriptedStorage({"a": Source(some_bytes(size))})
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a", **digest)], {"lab": 2})
        outcomes.wait("a")
    error = outcomes.failed["a"]
    assert isinstance(error, DigestMismatch)
    assert error.expected in digest.values()
    assert error.found != error.expected
    assert everything_in(store) == []


@pytest.mark.parametrize("size", [1000, 9 * MEBIBYTE])
def test_stream_when_silent_is_given_up_and_the_file_comes_over_another(store: ContentStore, size: int) -> None:
    let_go = threading.Event()

    def hang(request: Request, position: int) -> None:
        if request is storage.requests[0] and position >= size // 2:
            let_go.wait(30)

    storage = ScriptedStorage({"a": Source(some_bytes(size))}, hang)
    storage.chunk_bytes = min(storage.chunk_bytes, size // 4)
    with moving(store, silence_seconds=0.2) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 1})
        outcomes.wait("a")
        let_go.set()
    assert store.read(outcomes.done["a"].content.sha256) == storage.files["a"].content


def test_stream_when_slower_than_a_byte_a_second_fails(store: ContentStore) -> None:
    over = threading.Event()
    storage = ScriptedStorage({"a": Source(b"x" * 1000)}, lambda _request, _position: over.wait(0.3) and None)
    storage.chunk_bytes = 1
    with moving(store, silence_seconds=4.0, tries=1) as (mover, outcomes):
        storage.before = lambda _request, position: over.wait(0.3 if position < 2 else 3.5) and None
        mover.arrange([order_of(storage, "a")], {"lab": 1})
        outcomes.wait("a", seconds=25)
        over.set()
    error = outcomes.failed["a"]
    assert isinstance(error, SourceUnavailable)
    assert "a byte a second" in error.reason


def test_mover_when_closed_while_sources_hang_ends_in_time(store: ContentStore) -> None:
    let_go = threading.Event()
    storage = ScriptedStorage(
        {name: Source(some_bytes(30 * MEBIBYTE)) for name in ("a", "b")}, lambda _request, position: hang(position)
    )

    def hang(position: int) -> None:
        if position >= MEBIBYTE:
            let_go.wait(30)

    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a"), order_of(storage, "b")], {"lab": 2})
        deadline = time.monotonic() + 20
        while sum(mover.progress().values()) < 2 * MEBIBYTE and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.monotonic()
        mover.close()
        assert time.monotonic() - began < 2
        let_go.set()
    assert outcomes.order == []
    assert list(store.contents()) == []


def test_outcome_when_it_cannot_be_taken_down_is_logged_with_an_incident(
    store: ContentStore, caplog: pytest.LogCaptureFixture
) -> None:
    told = threading.Semaphore(0)

    def broken(_key: str, _outcome: Moved | StemmaError) -> None:
        told.release()
        raise RuntimeError("database gone")

    storage = ScriptedStorage({"a": Source(b"1"), "b": Source(b"2")})
    mover = Mover(store, on_done=broken, on_failed=broken, limits=Limits())
    mover.arrange([order_of(storage, "a"), order_of(storage, "b", expected_sha256="0" * 64)], {"lab": 1})
    assert told.acquire(timeout=20)
    assert told.acquire(timeout=20)
    mover.close()
    messages = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len([message for message in messages if "incident" in message]) == 2


def test_storage_when_it_breaks_in_a_way_nobody_foresaw_the_file_fails_with_an_incident(store: ContentStore) -> None:
    storage = ScriptedStorage({"a": Source(b"1"), "b": Source(b"2")})
    storage.before = lambda request, _position: {}["secret"] if request.address == "a" else None
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a"), order_of(storage, "b")], {"lab": 1})
        outcomes.wait("a", "b")
    assert "incident" in str(outcomes.failed["a"])
    assert "secret" not in str(outcomes.failed["a"])
    assert list(outcomes.done) == ["b"]


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_disk_when_full_is_known_before_anything_comes_and_nothing_stays(tiny: Path) -> None:
    store = ContentStore(tiny / "store")
    storage = ScriptedStorage({"large": Source(some_bytes(9 * MEBIBYTE)), "fits": Source(some_bytes(MEBIBYTE))})
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "large"), order_of(storage, "fits")], {"lab": 1})
        outcomes.wait("large", "fits")
    assert isinstance(outcomes.failed["large"], StorageFull)
    assert [request.address for request in storage.requests] == ["fits"]
    assert everything_in(store) == [outcomes.done["fits"].content.sha256[2:]]


def test_disk_when_full_in_the_middle_of_a_file_of_unknown_size_leaves_nothing(tiny: Path) -> None:
    store = ContentStore(tiny / "store")
    storage = ScriptedStorage({"a": Source(some_bytes(9 * MEBIBYTE), is_size_told=False)})
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 1})
        outcomes.wait("a")
    assert isinstance(outcomes.failed["a"], StorageFull)
    assert everything_in(store) == []


@pytest.mark.parametrize("size", [1000, MEBIBYTE])
def test_store_when_it_cannot_be_written_says_so(tmp_path: Path, size: int) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "incoming").write_bytes(b"in the way")
    storage = ScriptedStorage({"a": Source(some_bytes(size))})
    with moving(ContentStore(tmp_path / "store")) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": 1})
        outcomes.wait("a")
    assert isinstance(outcomes.failed["a"], StoreUnwritable)
    assert str(tmp_path) not in str(outcomes.failed["a"])


def test_outcomes_when_told_are_each_told_once() -> None:
    outcomes = Outcomes()
    outcomes.on_failed("a", TooLarge("a", 1))
    with pytest.raises(AssertionError, match="twice"):
        outcomes.on_failed("a", TooLarge("a", 1))
