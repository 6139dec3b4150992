"""Looking after the store: what lies there, what may go, what is damaged."""

import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session

from conftest import opened_installation
from stemma import clock
from stemma.database.queries import captures, contents, eviction, replicas, storekeeping
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.guard import giving_out
from stemma.lifecycle.storekeeping import removal, verification
from stemma.lifecycle.storekeeping.inventory import take_inventory
from stemma.lifecycle.storekeeping.removal import Removed, collect, evict
from stemma.lifecycle.storekeeping.verification import Fault
from stemma.records import Content
from support.databases import KINDS
from support.rows import ADA, add_workflow
from support.stored import add_file, add_late, bring, end_run, fill, new_run

NOW = timedelta(0)


@pytest.fixture(params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with opened_installation(request.param, tmp_path) as opened:
        yield opened


def is_here(installation: Installation, *found: Content) -> list[bool]:
    return [installation.store.has(content.sha256) for content in found]


def spoil(installation: Installation, content: Content) -> None:
    """Other bytes under the same name, as many."""
    path = installation.store.path(content.sha256)
    path.chmod(0o644)
    path.write_bytes(b"?" * content.size_bytes)


def damaged(installation: Installation) -> list[Fault]:
    found = verification.verify(installation, list(installation.store.contents()))
    return [fault for fault in found.faults if fault.verdict == "damaged"]


@pytest.fixture
def full(installation: Installation) -> dict[str, Content]:
    return fill(installation)


def test_inventory_when_taken_then_each_content_counts_once_as_what_stays_longest(
    installation: Installation, full: dict[str, Content]
) -> None:
    def again(session: Session) -> None:  # the upload is the output of another run, and a copy of something elsewhere
        run = new_run(session)
        add_file(session, run, full["upload"], output=True)
        bring(installation, session, add_late(installation, session, run, "s3://b/other"), b"upload")

    installation.database.write(again)
    found = take_inventory(installation)
    counted = {kind: (amount.files, amount.size_bytes) for kind, amount in found.kinds.items()}
    assert counted == {
        "documents": (1, 3), "outputs": (2, 12), "uploads": (0, 0), "replicas": (1, 7), "unused": (1, 6),
    }  # fmt: skip
    assert [one.sha256 for one in found.first_to_drop] == [full["replica"].sha256]
    assert (found.moved_bytes, found.needs.misses, found.needs.hits) == (13, 2, 0)


def test_gc_when_run_then_takes_what_nothing_refers_to_and_nothing_else(
    installation: Installation, full: dict[str, Content]
) -> None:
    assert collect(installation, age=NOW, dry_run=True) == Removed(1, 6)
    assert is_here(installation, full["unused"]) == [True]
    assert collect(installation, age=NOW) == Removed(1, 6)
    assert {name: installation.store.has(content.sha256) for name, content in full.items()} == {
        "document": True, "output": True, "upload": True, "replica": True, "unused": False,
    }  # fmt: skip
    assert collect(installation, age=NOW) == Removed()


def test_gc_when_something_came_or_was_sent_again_today_then_leaves_it(installation: Installation) -> None:
    sent = installation.store.put_bytes(b"sent")
    os.utime(installation.store.path(sent.sha256), (0, 0))  # a tool may say that its files are old
    assert collect(installation) == Removed()
    assert is_here(installation, sent) == [True]


def test_gc_when_a_run_was_deleted_then_its_files_go_a_day_later_and_its_record_stays(
    installation: Installation,
) -> None:
    put = installation.store.put_bytes

    def write(session: Session) -> tuple[Content, Content, Content]:
        recently, long_ago = new_run(session), new_run(session)
        young, old, record = put(b"young"), put(b"old"), put(b"record")
        add_file(session, recently, young)
        add_file(session, long_ago, old)
        contents.remember(session, [record], clock.now())
        captures.add(session, long_ago, record.sha256, ADA, clock.now())
        end_run(session, recently, deleted_at=clock.now() + timedelta(seconds=60))
        end_run(session, long_ago, deleted_at=clock.now() - timedelta(days=2))
        return young, old, record

    found = installation.database.write(write)
    assert collect(installation, age=NOW) == Removed(1, 3)
    assert is_here(installation, *found) == [True, False, True]


def test_gc_when_an_upload_comes_while_it_looks_then_it_stays(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying = installation.store.put_bytes(b"sent before, and now again")
    before = clock.now()
    looked = removal._unused

    def sent_after_the_look(*arguments: object) -> list[Content]:
        found = looked(*arguments)  # type: ignore[arg-type]
        if found:
            installation.store.put_bytes(b"sent before, and now again")
        return found

    monkeypatch.setattr(removal, "_unused", sent_after_the_look)
    monkeypatch.setattr(removal.clock, "now", lambda: before)
    assert collect(installation, age=NOW) == Removed()
    assert is_here(installation, lying) == [True]


def test_keep_and_remove_when_both_happen_at_once_then_who_kept_it_has_it(installation: Installation) -> None:
    store = installation.store
    for number in range(200):
        content = store.put_bytes(b"%d" % number)
        limit = store.path(content.sha256).stat().st_ctime + 1
        barrier, kept = threading.Barrier(2), []

        def keep(content: Content = content, barrier: threading.Barrier = barrier, kept: list[bool] = kept) -> None:
            barrier.wait()
            kept.append(store.keep(content.sha256))

        thread = threading.Thread(target=keep)
        thread.start()
        barrier.wait()
        store.remove_unused(content.sha256, limit)
        thread.join()
        # Kept before the look, it is removed all the same: this limit lies in the future. Kept during it, it is not.
        if not kept[0]:
            assert not store.has(content.sha256)
    assert not list((installation.settings.store_folder / "incoming").iterdir())


def test_gc_when_a_writer_died_then_its_leftovers_go(installation: Installation) -> None:
    incoming = installation.settings.store_folder / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    (incoming / "left").write_bytes(b"x" * 8192)
    assert collect(installation).left_bytes == 8192
    assert not list(incoming.iterdir())


def test_gc_when_files_are_given_out_then_waits_for_that(installation: Installation) -> None:
    unused = installation.store.put_bytes(b"unused")
    collecting = threading.Thread(target=lambda: collect(installation, age=NOW))
    with giving_out(installation.settings.home):
        collecting.start()
        collecting.join(0.3)
        assert is_here(installation, unused) == [True]
    collecting.join()
    assert is_here(installation, unused) == [False]


def test_evict_when_the_bytes_of_a_copy_were_kept_just_now_then_leaves_them(installation: Installation) -> None:
    def write(session: Session) -> Content:
        run = new_run(session)
        found = bring(installation, session, add_late(installation, session, run, "s3://b/k"), b"copy")
        end_run(session, run)
        return found

    found = installation.database.write(write)
    time.sleep(0.02)
    installation.store.keep(found.sha256)  # for an upload, say, that is about to be written down
    assert evict(installation) == Removed()
    assert is_here(installation, found) == [True]
    with installation.database.reading() as session:
        assert [one.sha256 for one in storekeeping.droppable(session, installation.home_id)] == [found.sha256]


def test_evict_when_another_copy_with_the_same_bytes_came_later_and_is_gone_then_drops_the_first(
    installation: Installation,
) -> None:
    def write(session: Session, group: str) -> int:
        run = new_run(session, group)
        late = add_late(installation, session, run, "s3://b/k", group=group)
        bring(installation, session, late, b"copy")
        end_run(session, run)
        return late.replica

    installation.database.write(lambda session: write(session, "group1"))
    time.sleep(0.02)
    later = installation.database.write(lambda session: write(session, "group2"))
    assert installation.database.write(lambda session: eviction.evict(session, installation.home_id, later))
    assert evict(installation) == Removed(1, 4)


def test_evict_when_asked_then_drops_what_no_run_needs_the_longest_unused_first(installation: Installation) -> None:
    def write(session: Session) -> list[Content]:
        needed, over = new_run(session), new_run(session)
        found = [bring(installation, session, add_late(installation, session, needed, "s3://b/needed"), b"needed")]
        for name in (b"first", b"second"):
            late = add_late(installation, session, over, f"s3://b/{name.decode()}")
            found.append(bring(installation, session, late, name))
        end_run(session, over)
        return found

    found = installation.database.write(write)
    assert evict(installation, wanted_bytes=1) == Removed(1, 5)
    assert is_here(installation, *found) == [True, False, True]
    assert evict(installation) == Removed(1, 6)
    assert is_here(installation, *found) == [True, False, False]
    with installation.database.reading() as session:
        assert [one.sha256 for one in replicas.held(session, installation.home_id)] == [found[0].sha256]


def test_evict_when_the_bytes_are_something_else_too_then_they_stay(installation: Installation) -> None:
    def write(session: Session) -> list[Content]:
        run = new_run(session)
        found = []
        for body in (b"upload", b"document", b"passed through"):
            late = add_late(installation, session, run, f"s3://b/{body.decode()}")
            found.append(bring(installation, session, late, body))
            if body == b"passed through":  # a late input is itself an output of its run
                from stemma.database.queries import facts
                from stemma.records import RunOutput

                facts.add_outputs(session, run, [RunOutput(late.occurrence, "y", "")])
        add_file(session, new_run(session), found[0])
        add_workflow(session, name="same bytes", spec=found[1])
        end_run(session, run)
        return found

    found = installation.database.write(write)
    assert evict(installation) == Removed(3, 0)
    assert is_here(installation, *found) == [True, True, True]
    assert collect(installation, age=NOW) == Removed()
    assert is_here(installation, *found) == [True, True, True]


def test_verify_when_a_copy_is_damaged_then_it_is_fetched_again_by_the_run_that_needs_it(
    installation: Installation,
) -> None:
    def write(session: Session) -> tuple[int, Content]:
        run = new_run(session)
        late = add_late(installation, session, run, "s3://b/k")
        return late.replica, bring(installation, session, late, b"as it was")

    replica, content = installation.database.write(write)
    spoil(installation, content)
    [fault] = damaged(installation)
    assert (fault.verdict, fault.sha256, fault.copies, fault.aside, fault.is_lost) == (
        "damaged", content.sha256, (replica,), None, False,
    )  # fmt: skip
    assert is_here(installation, content) == [False]
    with installation.database.reading() as session:
        assert [one.id for one in replicas.open_replicas(session, installation.home_id)] == [replica]


def test_verify_when_an_output_is_damaged_then_it_is_laid_aside_and_the_run_named(
    installation: Installation, full: dict[str, Content]
) -> None:
    output = full["output"]
    spoil(installation, output)
    [fault] = damaged(installation)
    assert fault.is_lost
    assert [(owner.kind, owner.what) for owner in fault.owners] == [("outputs", "data.txt")]
    assert fault.aside is not None
    assert fault.aside.read_bytes() == b"??????"
    assert is_here(installation, output) == [False]
    assert installation.store.put_bytes(b"output") == output  # made again, it is whole again
    assert verification.verify(installation, list(installation.store.contents())).faults == ()


def test_verify_when_contents_are_missing_then_says_whose_they_are(
    installation: Installation, full: dict[str, Content]
) -> None:
    for name in ("document", "output", "upload", "replica", "unused"):
        installation.store.remove(full[name].sha256)
    faults = {fault.sha256: fault for fault in verification.verify(installation, []).faults}
    assert set(faults) == {full[name].sha256 for name in ("document", "output", "upload", "replica")}
    kinds = {name: [owner.kind for owner in faults[full[name].sha256].owners] for name in full if name != "unused"}
    assert kinds == {
        "document": ["documents"], "output": ["outputs"], "upload": ["uploads"], "replica": ["replicas", "replicas"],
    }  # fmt: skip
    assert [name for name in kinds if faults[full[name].sha256].is_lost] == ["document", "output", "upload"]


def test_verify_when_the_file_is_replaced_while_it_is_read_then_the_new_one_counts(
    installation: Installation, full: dict[str, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = full["output"]
    spoil(installation, output)
    read = type(installation.store).verify

    def replaced_after(store: object, sha256: str) -> str:
        found = read(store, sha256)  # type: ignore[arg-type]
        if found == "damaged":
            installation.store.remove(sha256)
            installation.store.put_bytes(b"output")
        return found

    monkeypatch.setattr(type(installation.store), "verify", replaced_after)
    assert verification.verify(installation, [output]).faults == ()
    assert installation.store.read(output.sha256) == b"output"
