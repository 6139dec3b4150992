"""The SHA-1 of files of this service: of what lies in the store and in the archive, within its time."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import opened_installation
from stemma.errors import ContentMissing, TooManyFetches
from stemma.lifecycle import sha1
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.sha1 import sha1_of
from stemma.records import Content


def digest(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    monkeypatch.setattr(sha1, "_known", {})
    (tmp_path / "archive").mkdir()
    with opened_installation("sqlite", tmp_path / "home", archive=f"file://{tmp_path / 'archive'}") as opened:
        assert opened.archive is not None
        opened.archive.prepare(was_used=False)
        yield opened


def test_sha1_when_files_lie_in_the_store_and_in_the_archive_then_of_both(installation: Installation) -> None:
    here = installation.store.put_bytes(b"here" * 1_000_000)
    there = Content(hashlib.sha256(b"there").hexdigest(), 5)
    assert installation.archive is not None
    installation.archive.put(there, iter([b"there"]))
    assert sha1_of(installation, "g", "someone", [here, there, here]) == {
        here.sha256: digest(b"here" * 1_000_000), there.sha256: digest(b"there"),
    }  # fmt: skip


def test_sha1_when_asked_again_then_known_to_the_group_and_found_out_anew_for_another(
    installation: Installation,
) -> None:
    here = installation.store.put_bytes(b"here")
    first = sha1_of(installation, "g", "someone", [here])
    installation.store.remove(here.sha256)
    assert sha1_of(installation, "g", "someone", [here]) == first
    with pytest.raises(ContentMissing):
        sha1_of(installation, "other", "someone", [here])


def test_sha1_when_there_is_no_time_then_the_smallest_at_most(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = installation.store.put_bytes(b"here")
    monkeypatch.setattr(sha1, "TOGETHER_SECONDS", -1.0)
    assert sha1_of(installation, "g", "someone", [here]) == {}
    monkeypatch.undo()
    assert sha1_of(installation, "h", "someone", [here]) == {here.sha256: digest(b"here")}


def test_sha1_when_many_are_read_then_others_are_told_to_come_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = installation.store.put_bytes(b"here")
    monkeypatch.setattr(sha1, "_READER_SECONDS", 0.05)
    with ExitStack() as others:
        for number in range(sha1._READERS):
            others.enter_context(sha1._turn_of(f"other {number}"))
        started = time.monotonic()
        with pytest.raises(TooManyFetches):
            sha1_of(installation, "g", "someone", [here])
        assert time.monotonic() - started < 5
    assert sha1_of(installation, "g", "someone", [here]) == {here.sha256: digest(b"here")}


def test_sha1_when_somebody_reads_already_then_they_wait_and_others_do_not(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = installation.store.put_bytes(b"here")
    monkeypatch.setattr(sha1, "_READER_SECONDS", 0.05)
    with sha1._turn_of("someone"):
        with pytest.raises(TooManyFetches, match="read files for their digests"):
            sha1_of(installation, "g", "someone", [here])
        assert sha1_of(installation, "g", "somebody else", [here]) == {here.sha256: digest(b"here")}


def test_sha1_when_no_disk_gives_a_file_in_that_time_then_it_is_not_read(
    installation: Installation,
) -> None:
    gone = Content(hashlib.sha256(b"gone").hexdigest(), sha1.MOST_BYTES + 1)
    assert sha1_of(installation, "g", "someone", [gone]) == {}
