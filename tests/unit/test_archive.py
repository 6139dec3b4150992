"""The archive: what is copied there, what the store lets go because of it, what comes back."""

import hashlib
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from stemma import clock
from stemma.cli import examination
from stemma.database.queries import archive as queries
from stemma.database.queries import archiving
from stemma.database.queries.archive import ArchiveState, Route
from stemma.errors import ArchiveUnavailable, ContentDamaged, ContentMissing
from stemma.lifecycle.archive import upkeep
from stemma.lifecycle.archive.healing import bring_back_all
from stemma.lifecycle.archive.reading import archived, archived_chunks
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.storekeeping import verification
from stemma.lifecycle.storekeeping.inventory import take_inventory
from stemma.lifecycle.storekeeping.removal import Removed, collect, evict
from stemma.records import Content
from stemma.settings import Settings
from stemma.storages.archive import Archive
from support.archives import (
    amount,
    archive_all,
    archive_of,
    archiving_goes_on,
    installation_with_archive,
    place_of,
    spoil,
    until,
)
from support.databases import KINDS
from support.storages import USER, WRONG, versitygw_serving
from support.stored import add_file, add_late, bring, end_run, fill, new_run

NOW = timedelta(0)
LATER = clock.now() + timedelta(hours=1)
OUTPUT = bytes(range(256)) * 12_000  # three chunks


@pytest.fixture(params=KINDS)
def installation(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    monkeypatch.setattr(upkeep, "IN_USE_SECONDS", 0.0)
    with installation_with_archive(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def full(installation: Installation) -> dict[str, Content]:
    return fill(installation, OUTPUT)


def test_archivist_when_it_works_then_outputs_and_uploads_lie_there_and_nothing_else(
    installation: Installation, full: dict[str, Content]
) -> None:
    archive_all(installation, 2)
    found = amount(installation)
    assert (found.size_bytes, found.waiting, found.troubled, found.error) == (len(OUTPUT) + 6, 0, 0, None)
    assert place_of(installation, full["output"]).read_bytes() == OUTPUT
    folder = installation.settings.archive_folder
    assert folder is not None
    lying = {path.parent.name + path.name for path in (folder / "sha256").glob("*/*")}
    assert lying == {full["output"].sha256, full["upload"].sha256}
    assert take_inventory(installation).archived == found


def test_archivist_when_a_run_comes_later_then_its_files_are_copied_too(
    installation: Installation, full: dict[str, Content]
) -> None:
    with archiving_goes_on(installation):
        until(lambda: amount(installation).files == 2)
        later = installation.store.put_bytes(b"later")
        installation.database.write(lambda session: add_file(session, new_run(session), later))
        until(lambda: amount(installation).files == 3)
    assert place_of(installation, later).read_bytes() == b"later"


def test_archivist_when_a_content_is_damaged_then_it_is_never_archived_and_said(
    installation: Installation, full: dict[str, Content], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(installation.store.path(full["output"].sha256))
    with archiving_goes_on(installation):
        until(lambda: amount(installation).files == 1 and amount(installation).troubled == 1)
    assert not place_of(installation, full["output"]).exists()
    assert full["output"].sha256 in caplog.text
    assert full["output"].sha256 in (amount(installation).error or "")
    assert upkeep.let_go(installation, [full["output"].sha256]) == {}


def test_archivist_when_a_content_was_cut_or_grew_then_it_is_not_archived(
    installation: Installation, full: dict[str, Content]
) -> None:
    for content, body in ((full["output"], OUTPUT + b"more"), (full["upload"], b"up")):
        path = installation.store.path(content.sha256)
        path.chmod(0o644)
        path.write_bytes(body)
    with archiving_goes_on(installation):
        until(lambda: amount(installation).troubled == 2)
    assert amount(installation).files == 0
    assert not place_of(installation, full["output"]).exists()


def test_archivist_when_the_archive_is_not_there_then_it_waits_and_goes_on_later(
    installation: Installation, full: dict[str, Content], caplog: pytest.LogCaptureFixture
) -> None:
    folder = installation.settings.archive_folder
    assert folder is not None
    folder.rmdir()
    with archiving_goes_on(installation):
        until(lambda: "archiving waits" in caplog.text)
        folder.mkdir()
        until(lambda: amount(installation).files == 2)


def test_archivist_when_another_folder_lies_there_then_nothing_is_copied_to_it(
    installation: Installation, full: dict[str, Content], caplog: pytest.LogCaptureFixture
) -> None:
    archive_all(installation, 2)
    folder = installation.settings.archive_folder
    assert folder is not None
    folder.rename(folder.with_name("unmounted"))
    folder.mkdir()
    with archiving_goes_on(installation):
        until(lambda: "Is the disk mounted?" in caplog.text)
    assert list(folder.iterdir()) == []


def test_claim_when_two_workers_ask_then_each_content_is_claimed_once(
    installation: Installation, full: dict[str, Content]
) -> None:
    route = Route(installation.home_id, archive_of(installation).name)
    contents = [Content(hashlib.sha256(b"%d" % number).hexdigest(), number) for number in range(60)]
    installation.database.write(lambda session: archiving.note(session, route, contents))
    claimed: list[str] = []

    def work(name: str) -> None:
        for _ in range(30):
            some = installation.database.write(lambda session: archiving.claim(session, route, name, LATER, 3))
            claimed.extend(one.content.sha256 for one in some)

    workers = [threading.Thread(target=work, args=(name,)) for name in ("w1", "w2")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(claimed) == sorted(content.sha256 for content in contents)


def test_claim_when_its_lease_has_passed_then_another_takes_over_and_the_first_is_refused(
    installation: Installation, full: dict[str, Content]
) -> None:
    archive, route = archive_of(installation), Route(installation.home_id, archive_of(installation).name)
    sha256 = full["output"].sha256

    def twice(session: Session) -> tuple[int, int]:
        archiving.note(session, route, [full["output"]])
        [first] = archiving.claim(session, route, "w1", clock.now() - timedelta(seconds=1), 9)
        [second] = archiving.claim(session, route, "w2", clock.now() + timedelta(seconds=60), 9)
        return first.fence, second.fence

    first, second = installation.database.write(twice)
    ended = lambda fence: lambda session: archiving.lies_there(session, archive.name, sha256, fence)  # noqa: E731
    assert installation.database.write(ended(first)) is False
    assert amount(installation).files == 0
    assert installation.database.write(ended(second)) is True
    assert amount(installation).files == 1


def test_archivist_when_another_died_after_its_copy_then_takes_it_over(
    installation: Installation, full: dict[str, Content]
) -> None:
    """Another was killed in the middle: what it left counts as nothing, whatever it is."""
    route = Route(installation.home_id, archive_of(installation).name)
    place = place_of(installation, full["output"])
    place.parent.mkdir(parents=True)
    place.write_bytes(OUTPUT[:-1] + b"?")
    (place.parent / ".0123456789abcdef.part").write_bytes(b"half of it")

    def claimed_by_the_dead(session: Session) -> None:
        archiving.note(session, route, [full["output"]])
        archiving.claim(session, route, "dead", clock.now() + timedelta(seconds=0.5), 9)

    installation.database.write(claimed_by_the_dead)
    assert amount(installation).files == 0
    archive_all(installation, 2)
    assert place.read_bytes() == OUTPUT
    assert archive_of(installation).sweep(time.time() + 60) == len(b"half of it")


def test_archivist_when_the_store_lost_what_a_dead_one_had_copied_then_it_counts_what_lies_there(
    installation: Installation, full: dict[str, Content]
) -> None:
    route = Route(installation.home_id, archive_of(installation).name)
    installation.database.write(lambda session: archiving.note(session, route, [full["output"], full["unused"]]))
    archive_of(installation).prepare(was_used=False)
    for content in (full["output"], full["unused"]):
        archive_of(installation).put(content, iter([installation.store.read(content.sha256)]))
        installation.store.remove(content.sha256)
    archive_all(installation, 2)
    with installation.database.reading() as session:
        assert set(queries.archived_of(session, [one.sha256 for one in full.values()])) == {
            full["output"].sha256,
            full["upload"].sha256,
        }
    assert place_of(installation, full["output"]).exists()
    assert not place_of(installation, full["unused"]).exists()


def test_evict_when_all_is_asked_then_takes_what_is_archived_and_nothing_else(
    installation: Installation, full: dict[str, Content]
) -> None:
    assert evict(installation) == Removed(1, 7)
    archive_all(installation, 2)
    assert evict(installation) == Removed(archived_files=2, archived_bytes=len(OUTPUT) + 6)
    assert {name for name, content in full.items() if installation.store.has(content.sha256)} == {"document", "unused"}
    assert verification.verify(installation, list(installation.store.contents())).faults == ()
    assert b"".join(archived(installation, full["output"].sha256).begun()) == OUTPUT


def test_evict_when_so_much_is_asked_then_the_one_used_longest_ago_goes_first(
    installation: Installation, full: dict[str, Content]
) -> None:
    archive_all(installation, 2)
    time.sleep(0.02)
    installation.store.touch(full["upload"].sha256)
    assert evict(installation, wanted_bytes=8).archived_files == 1  # the copy has seven
    assert installation.store.has(full["upload"].sha256)
    assert not installation.store.has(full["output"].sha256)


def test_let_go_when_it_was_asked_for_just_now_then_leaves_it(
    installation: Installation, full: dict[str, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_all(installation, 2)
    monkeypatch.setattr(upkeep, "IN_USE_SECONDS", 60.0)
    assert upkeep.let_go(installation, [full["output"].sha256]) == {}


def test_let_go_when_the_archive_lost_it_then_leaves_it_and_copies_it_anew(
    installation: Installation, full: dict[str, Content]
) -> None:
    archive_all(installation, 2)
    place_of(installation, full["output"]).unlink()
    place_of(installation, full["upload"]).write_bytes(b"cut")
    assert upkeep.let_go(installation, [full["output"].sha256, full["upload"].sha256]) == {}
    assert amount(installation).waiting == 2
    archive_all(installation, 2)
    assert place_of(installation, full["upload"]).read_bytes() == b"upload"


def test_let_go_when_a_run_goes_on_with_it_or_it_is_a_document_then_leaves_it(
    installation: Installation, full: dict[str, Content]
) -> None:
    def again(session: Session) -> None:
        run = new_run(session)
        add_file(session, run, full["upload"])  # a run that goes on
        add_file(session, run, full["document"], output=True)
        bring(installation, session, add_late(installation, session, new_run(session), "s3://b/other"), OUTPUT)

    installation.database.write(again)
    archive_all(installation, 3)
    assert upkeep.let_go(installation, [content.sha256 for content in full.values()]) == {}


def test_evict_when_the_archive_is_not_there_then_nothing_archived_goes(
    installation: Installation, full: dict[str, Content]
) -> None:
    archive_all(installation, 2)
    folder = installation.settings.archive_folder
    assert folder is not None
    folder.rename(folder.with_name("away"))
    done = evict(installation)
    assert (done.files, done.archived_files) == (1, 0)
    assert done.archive_error
    assert installation.store.has(full["output"].sha256)


def test_reading_when_the_archive_has_other_bytes_then_breaks_off_before_the_end(
    installation: Installation, full: dict[str, Content], caplog: pytest.LogCaptureFixture
) -> None:
    archive_all(installation, 2)
    spoil(place_of(installation, full["output"]))
    got = bytearray()
    with pytest.raises(ContentDamaged):
        for chunk in archived_chunks(archive_of(installation), full["output"]):
            got += chunk
    assert len(got) < len(OUTPUT)
    assert full["output"].sha256 in caplog.text


@pytest.mark.parametrize(("offset", "length"), [(0, 5), (1_000_000, 1_500_000), (len(OUTPUT) - 3, 3), (0, len(OUTPUT))])
def test_reading_when_a_part_is_asked_for_then_gives_it(
    installation: Installation, full: dict[str, Content], offset: int, length: int
) -> None:
    archive_all(installation, 2)
    found = b"".join(archived_chunks(archive_of(installation), full["output"], offset, length))
    assert found == OUTPUT[offset : offset + length]


def test_reading_when_it_lies_nowhere_or_the_archive_is_gone_then_says_which(
    installation: Installation, full: dict[str, Content]
) -> None:
    with pytest.raises(ContentMissing):
        archived(installation, full["output"].sha256)
    archive_all(installation, 2)
    found = archived(installation, full["output"].sha256)
    folder = installation.settings.archive_folder
    assert folder is not None
    place_of(installation, full["output"]).unlink()
    with pytest.raises(ContentMissing):
        found.begun()
    folder.rename(folder.with_name("away"))
    with pytest.raises(ArchiveUnavailable):
        found.begun()


def test_gc_when_nothing_refers_to_it_for_a_day_then_the_archive_lets_it_go(installation: Installation) -> None:
    put = installation.store.put_bytes

    def write(session: Session) -> tuple[Content, Content, Content]:
        long_ago, recently, there = new_run(session), new_run(session), new_run(session)
        old, young, kept = put(b"old"), put(b"young"), put(b"kept")
        for run, content in ((long_ago, old), (recently, young), (there, kept)):
            add_file(session, run, content)
        end_run(session, there)
        return old, young, kept

    found = installation.database.write(write)
    archive_all(installation, 3)
    long_ago, recently = 1, 2
    for run, deleted_at in ((long_ago, timedelta(days=-2)), (recently, timedelta(seconds=60))):
        installation.database.write(
            lambda session, run=run, at=deleted_at: end_run(session, run, deleted_at=clock.now() + at)  # type: ignore[misc]
        )
    assert collect(installation).archived_files == 0  # it was archived less than a day ago
    assert collect(installation, age=NOW, dry_run=True) == Removed(1, 3, archived_files=1, archived_bytes=3)
    assert place_of(installation, found[0]).exists()
    assert collect(installation, age=NOW) == Removed(1, 3, archived_files=1, archived_bytes=3)
    assert [place_of(installation, content).exists() for content in found] == [False, True, True]
    assert amount(installation).files == 2
    assert collect(installation, age=NOW) == Removed()


def test_gc_when_killed_or_cut_in_the_middle_then_the_next_one_finishes(installation: Installation) -> None:
    content = installation.store.put_bytes(b"old")
    run = installation.database.write(lambda session: _with(session, content))
    archive_all(installation, 1)
    installation.database.write(lambda session: end_run(session, run, deleted_at=clock.now() - timedelta(days=2)))
    place, folder = place_of(installation, content), installation.settings.archive_folder
    assert folder is not None
    folder.rename(folder.with_name("away"))
    folder.mkdir()
    done = collect(installation, age=NOW)
    folder.rmdir()
    folder.with_name("away").rename(folder)
    assert (done.files, done.archived_files) == (1, 0)
    assert done.archive_error
    assert collect(installation, age=NOW).archived_files == 1
    assert not place.exists()


def _with(session: Session, content: Content) -> int:
    run = new_run(session)
    add_file(session, run, content)
    return run


def test_removal_when_it_is_used_again_meanwhile_then_it_is_archived_anew(
    installation: Installation, full: dict[str, Content]
) -> None:
    archive_all(installation, 2)
    route = Route(installation.home_id, archive_of(installation).name)
    sha256, later = full["unused"].sha256, clock.now() + timedelta(seconds=60)

    def removal_that_died(session: Session) -> None:
        archiving.note(session, route, [full["unused"]])
        [(_, lay_there)] = archiving.claim_removal(session, route, [sha256], later, clock.now())
        assert not lay_there
        add_file(session, new_run(session), full["unused"])

    installation.database.write(removal_that_died)
    archive_all(installation, 3)
    assert place_of(installation, full["unused"]).read_bytes() == b"unused"


def test_verify_when_damaged_or_missing_and_archived_then_heals(
    installation: Installation, full: dict[str, Content]
) -> None:
    archive_all(installation, 2)
    spoil(installation.store.path(full["output"].sha256))
    installation.store.remove(full["upload"].sha256)  # as if it had been let go
    [fault] = verification.verify(installation, list(installation.store.contents())).faults
    assert (fault.sha256, fault.verdict, fault.is_archived, fault.is_lost) == (
        full["output"].sha256, "damaged", True, False,
    )  # fmt: skip
    assert bring_back_all(installation, [fault.sha256]) == {fault.sha256}
    assert installation.store.read(full["output"].sha256) == OUTPUT


def test_verify_when_the_archive_lost_it_too_then_says_so(installation: Installation, full: dict[str, Content]) -> None:
    archive_all(installation, 2)
    evict(installation)
    place_of(installation, full["output"]).unlink()
    spoil(place_of(installation, full["upload"]))
    [fault] = verification.verify(installation, list(installation.store.contents())).faults
    assert (fault.sha256, fault.verdict, fault.is_lost) == (full["output"].sha256, "missing", True)
    assert bring_back_all(installation, [one.sha256 for one in full.values()]) == set()
    assert not installation.store.has(full["upload"].sha256)


def test_heal_when_a_database_was_put_back_then_finds_what_it_does_not_know_to_be_archived(
    installation: Installation, full: dict[str, Content]
) -> None:
    archive_of(installation).prepare(was_used=False)
    archive_of(installation).put(full["output"], iter([OUTPUT]))
    installation.store.remove(full["output"].sha256)
    found = verification.verify(installation, list(installation.store.contents()))
    assert [fault.is_lost for fault in found.faults] == [True]
    assert bring_back_all(installation, [fault.sha256 for fault in found.faults]) == {full["output"].sha256}


def test_states_when_shown_are_those_of_the_table() -> None:
    assert {state.value for state in ArchiveState} == {"wanted", "copying", "archived", "removing"}


@pytest.mark.parametrize(
    "values",
    [
        {"archive": "/folder"},
        {"archive": "file:///"},
        {"archive": "file://host/folder"},
        {"archive": "file:///a/../b"},
        {"archive": "s3://bucket/prefix"},
        {"archive": "s3://bucket/a//b", "archive_access_key_id": "a", "archive_secret_access_key": "b"},
        {"archive": "s3://key:secret@bucket", "archive_access_key_id": "a", "archive_secret_access_key": "b"},
        {"archive": "file:///srv/home/archive", "home": "/srv/home"},
        {"archive": "file:///srv", "home": "/srv/home"},
        {"archive": "file:///srv/shared/archive", "file_roots": "/srv/shared"},
    ],
)
def test_settings_when_an_archive_cannot_be_there_then_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"ARCHIVE|s3://bucket/prefix"):
        Settings(_env_file=None, **values)


def test_settings_when_shown_hide_the_keys_of_the_archive() -> None:
    keys = {"archive_access_key_id": "the-key-id", "archive_secret_access_key": "the-secret"}
    settings = Settings(_env_file=None, archive="s3://bucket/prefix", **keys)
    assert "the-secret" not in repr(settings)
    assert "the-key-id" not in repr(settings)
    assert "the-secret" not in Archive(settings).shown


def test_doctor_when_there_is_an_archive_then_says_whether_it_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    settings = Settings(_env_file=None, home=tmp_path / "home", archive=f"file://{folder}")
    [missing] = examination._archive(settings)
    assert (missing.is_there, "not there" in missing.found) == (False, True)
    folder.mkdir()
    [there] = examination._archive(settings)
    assert (there.is_there, there.found, list(folder.iterdir())) == (True, f"file://{folder}", [])


def test_archive_when_its_key_is_not_accepted_then_says_so_without_the_key(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    with versitygw_serving(tmp_path) as port:
        keys = {"archive_access_key_id": USER, "archive_secret_access_key": WRONG}
        archive = Archive(
            Settings(_env_file=None, archive="s3://bucket", archive_endpoint=f"http://127.0.0.1:{port}", **keys)
        )
        with pytest.raises(ArchiveUnavailable) as refused:
            archive.check()
        archive.close()
    assert WRONG not in refused.value.reason + str(refused.value)
    assert "s3://bucket" in refused.value.reason
