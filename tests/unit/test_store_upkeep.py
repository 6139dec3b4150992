"""The store's upkeep: contents are removed, verified and counted, and what dead writers left is swept."""

import os
import threading
import time
from io import BytesIO
from pathlib import Path

import pytest

from stemma.records import Content
from stemma.store.content import ContentStore
from stemma.store.partial import PartClosed, StoreUnwritable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> ContentStore:
    return ContentStore(folder)


def test_remove_when_a_reader_has_it_open_frees_it_and_the_reader_reads_on(store: ContentStore, folder: Path) -> None:
    kept = store.put_bytes(b"x" * 1000)
    with store.open(kept.sha256) as stream:
        assert store.remove(kept.sha256) == 1000
        assert stream.read() == b"x" * 1000
    assert not store.has(kept.sha256)
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_remove_when_not_here_frees_nothing(store: ContentStore) -> None:
    assert store.remove("0" * 64) == 0


def test_remove_unused_when_done_says_what_it_frees_and_whether_it_stays(store: ContentStore) -> None:
    empty, kept = store.put_bytes(b""), store.put_bytes(b"kept")
    before = time.time() + 1
    assert store.remove_unused(kept.sha256, 0) is None
    assert [store.remove_unused(one.sha256, before) for one in (empty, kept, kept)] == [0, 4, 0]
    assert not list(store.contents())


def test_remove_unkept_when_links_come_and_go_takes_it_and_when_kept_leaves_it(
    store: ContentStore, folder: Path
) -> None:
    found = store.put_bytes(b"bytes")
    time.sleep(0.02)
    before = time.time()
    time.sleep(0.02)
    link = folder / "link"
    link.hardlink_to(store.path(found.sha256))
    assert store.touch(found.sha256)
    assert store.remove_unused(found.sha256, before) is None
    assert store.remove_unkept(found.sha256, before) == 5
    store.put_bytes(b"bytes")
    assert store.remove_unkept(found.sha256, before) is None
    os.utime(store.path(found.sha256), (0, time.time() + 3600))  # as a tool may do with a link
    assert store.remove_unkept(found.sha256, time.time() + 1) == 5


def test_verify_when_bytes_are_right_damaged_or_gone_says_so(store: ContentStore) -> None:
    kept = store.put_bytes(b"right")
    assert store.verify(kept.sha256) == "ok"
    place = store.path(kept.sha256)
    place.chmod(0o644)
    place.write_bytes(b"wrong")
    assert store.verify(kept.sha256) == "damaged"
    store.remove(kept.sha256)
    assert store.verify(kept.sha256) == "missing"


def test_put_when_a_file_of_that_name_was_cut_by_hand_replaces_it(store: ContentStore) -> None:
    kept = store.put_bytes(b"whole")
    place = store.path(kept.sha256)
    place.chmod(0o644)
    os.truncate(place, 2)
    store.put_bytes(b"whole")
    assert store.verify(kept.sha256) == "ok"


def test_contents_when_listed_are_all_and_nothing_else(store: ContentStore, folder: Path) -> None:
    assert list(store.contents()) == []
    kept = {store.put_bytes(bytes([number]) * number) for number in range(1, 40)}
    (folder / "sha256" / "README").write_text("by hand")
    (folder / "sha256" / "ab").mkdir(exist_ok=True)
    (folder / "sha256" / "ab" / "short").write_text("by hand")
    found = list(store.contents())
    assert set(found) == kept
    assert len(found) == len(kept)
    assert found == sorted(found, key=lambda content: content.sha256)


def test_sweep_when_a_writer_lives_leaves_its_file(store: ContentStore, folder: Path) -> None:
    part = store.part("running")
    part.write(0, b"1234")
    (folder / "incoming" / "left-by-the-dead").write_bytes(b"x" * 5000)
    assert store.sweep() >= 5000
    assert [path.name for path in (folder / "incoming").iterdir()] == ["running.part"]
    part.note(b"{}")
    assert store.sweep(keep_seconds=0) == 0
    assert sorted(path.name for path in (folder / "incoming").iterdir()) == ["running.journal", "running.part"]


def test_sweep_when_a_part_can_be_resumed_keeps_it_for_a_while(store: ContentStore, folder: Path) -> None:
    part = store.part("cut")
    part.write(0, b"1234")
    part.note(b"{}")
    part.leave()
    store.sweep()
    part = store.part("cut")
    assert part.size_bytes == 4
    part.leave()
    an_hour_ago = time.time() - 3600
    os.utime(folder / "incoming" / "cut.journal", (an_hour_ago, an_hour_ago))
    store.sweep(keep_seconds=3500)
    assert list((folder / "incoming").iterdir()) == []


def test_sweep_when_a_journal_has_no_part_removes_it(store: ContentStore, folder: Path) -> None:
    part = store.part("cut")
    part.note(b"{}")
    part.leave()
    (folder / "incoming" / "cut.part").unlink()
    store.sweep()
    assert list((folder / "incoming").iterdir()) == []


def test_writers_when_swept_all_the_time_lose_nothing(store: ContentStore) -> None:
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            store.sweep(keep_seconds=0)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        kept = [store.put_stream(BytesIO(f"{number}".encode() * 1000), limit_bytes=10_000) for number in range(150)]
    finally:
        stop.set()
        sweeper.join()
    assert all(store.verify(content.sha256) == "ok" for content in kept)


def test_part_when_somebody_holds_it_is_another_file_for_the_next(store: ContentStore) -> None:
    first, second = store.part("same"), store.part("same")
    assert first.path != second.path
    assert (first.can_be_resumed, second.can_be_resumed) == (True, False)
    second.discard()
    first.discard()


def test_part_when_given_up_takes_nothing_more(store: ContentStore) -> None:
    part = store.part()
    part.leave()
    with pytest.raises(PartClosed):
        part.write(0, b"late")


def test_publish_when_the_folder_is_in_the_way_has_no_name_in_the_store(store: ContentStore, folder: Path) -> None:
    content = Content("ab" + "0" * 62, 1)
    part = store.part()
    part.write(0, b"1")
    (folder / "sha256").write_bytes(b"in the way")
    with pytest.raises(StoreUnwritable) as caught:
        store.publish(part, content)
    assert str(folder) not in str(caught.value)
    part.discard()
    assert list((folder / "incoming").iterdir()) == []
