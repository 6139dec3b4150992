"""Transfers that were cut: what came is used again where it is what it was, and never where it is not."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stemma.errors import SourceUnavailable
from stemma.lifecycle.moving.journal import decoded
from stemma.store.content import ContentStore
from support.moving import MEBIBYTE, moving, order_of, some_bytes
from support.scripted_storage import Request, ScriptedStorage, Source

SIZE = 24 * MEBIBYTE
CONTENT = some_bytes(SIZE)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def is_about(moved: int, expected: int) -> bool:
    """Where a part is divided between two streams, the end of what the first one has just read is not used."""
    return 0 <= moved - expected < MEBIBYTE


def incoming(store: ContentStore, pattern: str = "*") -> list[Path]:
    return sorted(store.path("0" * 64).parents[2].glob(f"incoming/{pattern}"))


def cut(store: ContentStore, after_bytes: int, streams: int = 1, version: str = "1") -> int:
    """Bring that much, then close the mover; return what had arrived."""
    enough, lock, given = threading.Event(), threading.Lock(), [0]

    def stop(request: Request, _position: int) -> None:
        with lock:
            given[0] += storage.chunk_bytes
        if given[0] > after_bytes:
            enough.set()
            raise SourceUnavailable(request.address, "cut")

    storage = ScriptedStorage({"a": Source(CONTENT, version)}, stop)
    with moving(store, pause_seconds=60) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": streams})
        assert enough.wait(20)
        deadline = time.monotonic() + 20
        while storage.at_once and time.monotonic() < deadline:
            time.sleep(0.005)
        arrived = mover.progress()["a"]
    assert outcomes.order == []
    return arrived


def finish(store: ContentStore, source: Source, streams: int = 1) -> int:
    """Bring the rest; return what came over the network for it."""
    storage = ScriptedStorage({"a": source})
    with moving(store) as (mover, outcomes):
        mover.arrange([order_of(storage, "a")], {"lab": streams})
        outcomes.wait("a")
    moved = outcomes.done["a"]
    assert moved.content.sha256 == hashlib.sha256(source.content).hexdigest()
    assert store.verify(moved.content.sha256) == "ok"
    assert incoming(store) == []
    return moved.moved_bytes


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.tuples(st.integers(0, SIZE), st.integers(1, 5)), max_size=3), streams=st.integers(1, 5))
def test_file_when_cut_anywhere_over_any_streams_goes_on_where_it_was(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int]], streams: int
) -> None:
    store = ContentStore(tmp_path_factory.mktemp("store"))
    arrived = 0
    for after, with_streams in cuts:
        arrived = cut(store, min(after, SIZE - arrived - 2 * MEBIBYTE), with_streams)
        if SIZE - arrived < 4 * MEBIBYTE:
            break
    assert is_about(finish(store, Source(CONTENT), streams), SIZE - arrived)


@pytest.mark.parametrize("streams", [1, 4])
def test_file_when_its_source_has_changed_since_the_cut_begins_anew(store: ContentStore, streams: int) -> None:
    assert cut(store, 8 * MEBIBYTE, streams) > 4 * MEBIBYTE
    assert finish(store, Source(some_bytes(SIZE, seed=2), version="2"), streams) >= SIZE


@pytest.mark.parametrize("where", ["the beginning", "a part behind it"])
def test_part_when_damaged_between_two_transfers_is_found_and_never_published(store: ContentStore, where: str) -> None:
    arrived = cut(store, 12 * MEBIBYTE, 4)
    journal = decoded(incoming(store, "*.journal")[0].read_bytes())
    assert journal is not None
    start, end = (0, journal.prefix) if where == "the beginning" else max(journal.parts)[:2]
    assert start < end
    with incoming(store, "*.part")[0].open("r+b") as part:
        part.seek((start + end) // 2)
        byte = part.read(1)[0]
        part.seek((start + end) // 2)
        part.write(bytes([byte ^ 1]))
    lost = arrived if where == "the beginning" else end - start
    assert is_about(finish(store, Source(CONTENT), 2), SIZE - arrived + lost)


@pytest.mark.parametrize("damage", ["empty", "half", "other", "gone", "lies", "part cut"])
def test_journal_when_damaged_between_two_transfers_the_file_arrives_whole(store: ContentStore, damage: str) -> None:
    arrived = cut(store, 12 * MEBIBYTE, 3)
    (journal,) = incoming(store, "*.journal")
    written = journal.read_text()
    if damage == "gone":
        journal.unlink()
    elif damage == "part cut":
        os.truncate(incoming(store, "*.part")[0], MEBIBYTE)
    elif damage == "lies":
        read = json.loads(written)
        journal.write_text(json.dumps({**read, "prefix": read["prefix"] + 70_000}))
    else:
        journal.write_text({"empty": "", "half": written[: len(written) // 2], "other": '{"parts": [-1]}'}[damage])
    moved = finish(store, Source(CONTENT), 2)
    assert SIZE - arrived <= moved < SIZE + MEBIBYTE


def test_file_when_its_source_tells_no_version_is_never_resumed(store: ContentStore) -> None:
    cut(store, 8 * MEBIBYTE, version="")
    assert incoming(store) == []
    assert finish(store, Source(CONTENT, version=""), 4) == SIZE


def test_file_when_given_up_after_tries_is_resumed_later(store: ContentStore) -> None:
    def fail(request: Request, position: int) -> None:
        if position >= 8 * MEBIBYTE:
            raise SourceUnavailable(request.address, "cut")

    storage = ScriptedStorage({"a": Source(CONTENT)}, fail)
    with moving(store, tries=2) as (mover, outcomes):
        order = order_of(storage, "a")
        mover.arrange([order], {"lab": 1})
        outcomes.wait("a")
        storage.before, outcomes.order[:] = None, []
        mover.drop("a")
        mover.arrange([order], {"lab": 1})
        outcomes.wait("a")
    assert outcomes.done["a"].moved_bytes == SIZE - 8 * MEBIBYTE


def test_part_when_another_living_mover_holds_it_is_left_alone(store: ContentStore) -> None:
    holds, let_go = threading.Event(), threading.Event()

    def hold(_request: Request, position: int) -> None:
        if position >= MEBIBYTE:
            holds.set()
            let_go.wait(20)

    slow = ScriptedStorage({"a": Source(CONTENT)}, hold)
    quick = ScriptedStorage({"a": Source(CONTENT)})
    with moving(store) as (first, outcomes), moving(store) as (second, others):
        first.arrange([order_of(slow, "a")], {"lab": 1})
        assert holds.wait(20)
        second.arrange([order_of(quick, "a")], {"lab": 2})
        others.wait("a")
        let_go.set()
        outcomes.wait("a")
    assert outcomes.done["a"].content == others.done["a"].content
    assert incoming(store) == []


KILLED = """
import sys, time
from pathlib import Path
from stemma.store.content import ContentStore
from support.moving import moving, order_of
from support.scripted_storage import ScriptedStorage, Source

content = Path(sys.argv[2]).read_bytes()
storage = ScriptedStorage({"a": Source(content)}, lambda request, position: time.sleep(0.002))
with moving(ContentStore(Path(sys.argv[1]))) as (mover, outcomes):
    mover.arrange([order_of(storage, "a")], {"lab": int(sys.argv[3])})
    while "a" not in outcomes.done:
        print(mover.progress().get("a", 0), flush=True)
        time.sleep(0.01)
    print("done", outcomes.done["a"].moved_bytes, flush=True)
"""


@pytest.mark.parametrize("streams", [1, 3])
def test_process_when_killed_again_and_again_another_ends_with_the_right_bytes(tmp_path: Path, streams: int) -> None:
    store, source = ContentStore(tmp_path / "store"), tmp_path / "source"
    content = some_bytes(3 * SIZE)
    source.write_bytes(content)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "store"), str(source), str(streams)]
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    for kills in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("done"):
                    break
                if kills < 3 and int(line) > (kills + 1) * len(content) // 5:
                    process.send_signal(signal.SIGKILL)
                    break
    assert line.startswith("done")
    assert store.verify(hashlib.sha256(content).hexdigest()) == "ok"
    assert incoming(store) == []
    assert [found.size_bytes for found in store.contents()] == [len(content)]


def test_process_when_killed_late_the_next_moves_only_the_rest(tmp_path: Path) -> None:
    store, source = ContentStore(tmp_path / "store"), tmp_path / "source"
    source.write_bytes(CONTENT)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "store"), str(source), "1"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + 20
        while not incoming(store, "*.journal") and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        if process.poll() is None and incoming(store, "*.journal"):
            process.kill()
    if not list(store.contents()):
        journal = decoded(incoming(store, "*.journal")[0].read_bytes())
        assert journal is not None
        assert finish(store, Source(CONTENT)) <= SIZE - journal.prefix
