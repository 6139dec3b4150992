"""The content store: a name in it always has its whole content."""

import hashlib
import os
import threading
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemma.errors import ContentDamaged, ContentMissing, TooLarge
from stemma.store.content import ContentStore, digest_of


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


@settings(deadline=None)
@given(content=st.binary(max_size=3_000_000))
def test_put_when_any_bytes_come_back_under_their_digest(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    store = ContentStore(tmp_path_factory.mktemp("store"))
    kept = store.put_bytes(content)
    assert kept.sha256 == hashlib.sha256(content).hexdigest()
    assert kept.size_bytes == len(content)
    assert store.read(kept.sha256) == content


def test_put_when_over_the_limit_keeps_nothing(store: ContentStore, tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        store.put_stream(BytesIO(b"x" * 11), limit_bytes=10)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_put_when_stream_breaks_keeps_nothing(store: ContentStore, tmp_path: Path) -> None:
    class Broken:
        def read(self, _size: int) -> bytes:
            raise OSError("cut")

    with pytest.raises(OSError, match="cut"):
        store.put_stream(Broken(), limit_bytes=10)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_stored_when_published_is_read_only(store: ContentStore) -> None:
    kept = store.put_bytes(b"fact")
    assert store.path(kept.sha256).stat().st_mode & 0o777 == 0o444


def test_take_when_on_same_file_system_moves_the_file(store: ContentStore, tmp_path: Path) -> None:
    source = tmp_path / "out.txt"
    source.write_bytes(b"result")
    inode = source.stat().st_ino
    kept = store.take_file(source)
    assert not source.exists()
    assert store.path(kept.sha256).stat().st_ino == inode


def test_take_when_somebody_else_holds_the_inode_copies(store: ContentStore, tmp_path: Path) -> None:
    source = tmp_path / "out.txt"
    source.write_bytes(b"result")
    os.link(source, tmp_path / "other.txt")
    kept = store.take_file(source)
    with (tmp_path / "other.txt").open("ab") as other:
        other.write(b" changed afterwards")
    assert store.read(kept.sha256) == b"result"


def test_take_when_not_what_was_recorded_is_damaged_and_stays(store: ContentStore, tmp_path: Path) -> None:
    source = tmp_path / "out.txt"
    source.write_bytes(b"changed")
    expected = hashlib.sha256(b"original").hexdigest()
    with pytest.raises(ContentDamaged):
        store.take_file(source, expected=expected)
    assert source.read_bytes() == b"changed"
    assert not store.has(expected)


def test_open_when_missing_says_which(store: ContentStore) -> None:
    with pytest.raises(ContentMissing, match="0" * 64):
        store.read("0" * 64)


def test_put_when_many_write_the_same_ends_with_one_file(store: ContentStore, tmp_path: Path) -> None:
    threads = [threading.Thread(target=store.put_bytes, args=(b"same" * 100_000,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(files) == 1
    assert digest_of(files[0])[0] == hashlib.sha256(b"same" * 100_000).hexdigest()
