"""What is let go because it lies in the archive: asked for each file, not while it is in use, and without standing."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlmodel import Session, update

from conftest import opened_installation
from stemma import clock
from stemma.auth.principal import Principal
from stemma.database.queries import archiving, replicas
from stemma.database.queries.archive import Route, address_of
from stemma.database.tables import ArchivedRow
from stemma.lifecycle.archive import upkeep
from stemma.lifecycle.archive.archivist import Archivist
from stemma.lifecycle.archive.news import News
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.register import register
from stemma.lifecycle.replicate.drops import Drops
from stemma.lifecycle.replicate.guard import dropping
from stemma.lifecycle.replicate.kept import Kept
from stemma.lifecycle.replicate.outlook import Reader
from stemma.lifecycle.storekeeping.removal import collect, evict
from stemma.lifecycle.validate import Upload, validate
from stemma.records import Content
from support.archives import archive_all, archive_of, place_of
from support.databases import KINDS
from support.rows import ADA
from support.stored import add_file, add_late, bring, end_run, new_run

OUTPUT = b"an output"
STORE_BYTES = 1024 * 1024
TOOL = b"{cwlVersion: v1.2, class: CommandLineTool, baseCommand: 'true', inputs: {}, outputs: {}}"


@pytest.fixture(params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "archive").mkdir()
    values: dict[str, Any] = {"archive": f"file://{tmp_path / 'archive'}", "store_bytes": STORE_BYTES}
    with opened_installation(request.param, tmp_path / "home", lease_seconds=1.5, **values) as opened:
        yield opened


@pytest.fixture
def output(installation: Installation) -> Content:
    """An output that lies in the archive and in the store."""
    content = installation.store.put_bytes(OUTPUT)
    installation.database.write(lambda session: with_output(session, content))
    archive_all(installation, 1)
    return content


@pytest.fixture
def copy(installation: Installation, output: Content) -> int:
    """It was let go, and came back from the archive for a run that waits for it."""
    installation.store.remove(output.sha256)

    def write(session: Session) -> int:
        late = add_late(installation, session, new_run(session), address_of(output.sha256))
        bring(installation, session, late, OUTPUT)
        return late.replica

    return installation.database.write(write)


def with_output(session: Session, content: Content) -> int:
    run = new_run(session)
    add_file(session, run, content, output=True)
    end_run(session, run)
    return run


def take_away(installation: Installation) -> Callable[[], Path]:
    """The archive cannot be reached; what brings it back."""
    folder = installation.settings.archive_folder
    assert folder is not None
    away = folder.rename(folder.with_name("away"))
    return lambda: away.rename(folder)


def drops(installation: Installation, kept: Kept) -> Drops:
    return Drops(installation, Reader(installation), kept)


def test_drop_when_the_archive_has_what_came_from_it_then_it_goes_at_once(
    installation: Installation, output: Content, copy: int
) -> None:
    assert drops(installation, Kept(installation)).drop(copy)
    assert not installation.store.has(output.sha256)


def test_drop_when_the_archive_lost_what_came_from_it_then_it_stays(
    installation: Installation, output: Content, copy: int
) -> None:
    place_of(installation, output).unlink()
    assert not drops(installation, Kept(installation)).drop(copy)
    assert installation.store.read(output.sha256) == OUTPUT
    with installation.database.reading() as session:
        assert replicas.get(session, copy).state is replicas.ReplicaState.HERE


def test_drop_when_it_was_asked_for_since_it_came_then_it_stays(
    installation: Installation, output: Content, copy: int
) -> None:
    time.sleep(0.02)
    installation.store.touch(output.sha256)
    assert not drops(installation, Kept(installation)).drop(copy)
    assert installation.store.has(output.sha256)


def test_drop_when_the_bytes_of_a_copy_were_kept_for_something_else_then_it_stays(installation: Installation) -> None:
    def write(session: Session) -> tuple[int, Content]:
        late = add_late(installation, session, new_run(session), "s3://b/k")
        return late.replica, bring(installation, session, late, b"copy")

    replica, content = installation.database.write(write)
    time.sleep(0.02)
    installation.store.keep(content.sha256)  # a run that has ended gives it out, say, and that is about to be written
    assert not drops(installation, Kept(installation)).drop(replica)
    assert installation.store.has(content.sha256)
    os.utime(installation.store.path(content.sha256), (0, 0))
    assert drops(installation, Kept(installation)).drop(replica)
    assert not installation.store.has(content.sha256)


def test_drop_when_the_archive_is_silent_then_it_is_not_asked_again_at_once(
    installation: Installation, output: Content, copy: int
) -> None:
    kept = Kept(installation)
    back = take_away(installation)
    assert not drops(installation, kept).drop(copy)
    back()
    assert not drops(installation, kept).drop(copy)
    assert drops(installation, Kept(installation)).drop(copy)


def test_evict_when_the_archive_lost_or_may_have_lost_what_came_from_it_then_it_stays(
    installation: Installation, output: Content, copy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end_all(session: Session) -> None:
        for need in replicas.needs(session, [copy]):
            end_run(session, need.run_id)

    installation.database.write(end_all)
    assert evict(installation).files == 0  # it came just now
    monkeypatch.setattr(upkeep, "IN_USE_SECONDS", 0.0)
    back = take_away(installation)
    assert evict(installation).archive_error
    assert installation.store.has(output.sha256)
    place = back() / "sha256" / output.sha256[:2] / output.sha256[2:]
    lost = place.rename(place.with_name("lost"))
    assert evict(installation).files == 0
    assert installation.store.has(output.sha256)
    lost.rename(place)
    archive_all(installation, 1)
    assert evict(installation).files == 1
    assert not installation.store.has(output.sha256)


def test_kept_when_the_archive_is_silent_then_nothing_is_offered_for_a_while(
    installation: Installation, output: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "IN_USE_SECONDS", 0.0)
    kept = Kept(installation)
    kept.count([], STORE_BYTES)
    [offered] = kept.files
    back = take_away(installation)
    assert not kept.drop(offered.key)
    back()
    assert (kept.files, kept.size_bytes) == ((), len(OUTPUT))
    assert not kept.drop(offered.key)
    assert installation.store.has(output.sha256)


def test_kept_when_there_is_room_then_what_may_go_is_not_looked_for(
    installation: Installation, output: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "IN_USE_SECONDS", 0.0)
    kept = Kept(installation)
    kept.count([], 0)
    assert (kept.files, kept.size_bytes) == ((), len(OUTPUT))
    kept.count([], STORE_BYTES)
    assert [one.size_bytes for one in kept.files] == [len(OUTPUT)]


def test_drops_when_a_round_has_dropped_for_long_then_the_rest_is_for_the_next(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stemma.lifecycle.replicate.drops._LONG_SECONDS", 0.01)
    found = drops(installation, Kept(installation))
    assert found.may_go_on()
    time.sleep(0.02)
    assert not found.may_go_on()
    found.begin()
    assert found.may_go_on()


def test_let_go_when_it_came_as_long_ago_as_a_submission_looks_around_then_leaves_it(
    installation: Installation, output: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after(seconds: float) -> dict[str, int]:
        then = clock.now() + timedelta(seconds=seconds)
        monkeypatch.setattr(upkeep, "clock", SimpleNamespace(now=lambda: then))
        return upkeep.let_go(installation, [output.sha256])

    assert after(200) == {}
    assert after(400) == {output.sha256: len(OUTPUT)}


def test_register_when_something_is_being_dropped_then_its_bytes_come_afterwards(installation: Installation) -> None:
    principal = Principal(ADA.subject, ADA.username, ("group1",))
    digest = hashlib.sha256(TOOL).hexdigest()
    values: dict[str, Any] = {"name": "tool", "version": "1", "spec": Upload("tool.cwl", TOOL)}
    validate(installation, values["spec"])  # what checks documents is ready then
    registering = threading.Thread(target=lambda: register(installation, principal, **values))
    with dropping(installation.settings.home):
        registering.start()
        registering.join(2)
        assert registering.is_alive()
        assert not installation.store.has(digest)
    registering.join()
    assert installation.store.has(digest)


def test_gc_when_it_was_stopped_and_another_archived_it_meanwhile_then_that_stays(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [installation.store.put_bytes(body) for body in (b"one", b"two")]
    runs = [installation.database.write(lambda session, it=it: with_output(session, it)) for it in found]  # type: ignore[misc]
    archive_all(installation, 2)
    archive, route = archive_of(installation), Route(installation.home_id, archive_of(installation).name)
    long_ago = clock.now() - timedelta(days=2)
    for run in runs:
        installation.database.write(lambda session, it=run: end_run(session, it, deleted_at=long_ago))  # type: ignore[misc]
    removed: list[str] = []

    def remove(sha256: str) -> None:
        archive.remove(sha256)
        removed.append(sha256)
        installation.database.write(go_on)

    def go_on(session: Session) -> None:
        for one in archiving.claim(session, route, "w2", clock.now() + timedelta(seconds=60), 9):
            archiving.lies_there(session, route.archive, one.content.sha256, one.fence)

    monkeypatch.setattr(upkeep, "_REMOVAL", timedelta(seconds=-1))
    slow = SimpleNamespace(name=archive.name, remove=remove, sweep=archive.sweep)
    collect(replace(installation, archive=slow), age=timedelta(0))  # type: ignore[arg-type]
    assert len(removed) == 1
    assert sorted(place_of(installation, it).exists() for it in found) == [False, True]


def test_archivist_when_one_cannot_be_written_down_then_the_others_are_and_it_is_copied_anew(
    installation: Installation,
) -> None:
    found = [installation.store.put_bytes(body) for body in (b"one", b"two")]
    refused: list[str] = []

    class Refusing(Archivist):
        def _write(self, session: Session, route: Route, ended: list[Any]) -> None:
            super()._write(session, route, ended)
            if len(refused) < 2 and any(one.content == found[0] for one, _ in ended):
                refused.append(found[0].sha256)
                raise ValueError(found[0].sha256)

    for content in found:
        installation.database.write(lambda session, it=content: with_output(session, it))  # type: ignore[misc]
    archive_all(installation, 2, Refusing)
    assert len(refused) == 2


def test_news_when_another_folder_left_many_then_all_that_lie_here_are_taken_over(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "_PAGE", 1)
    here, there = Route(installation.home_id, archive_of(installation).name), "another data folder"
    lying = [installation.store.put_bytes(b"%d" % number) for number in range(3)]
    missing = [Content(digit * 64, 1) for digit in "0f"]

    def left(session: Session) -> None:
        archiving.note(session, replace(here, home=there), [*lying, *missing])
        session.execute(update(ArchivedRow).values(noted_at=datetime.fromisoformat("2020-01-01T00:00:00+00:00")))

    installation.database.write(left)
    News(installation, here).note()
    with installation.database.reading() as session:
        assert archiving.deserted(session, here, "") == ["0" * 64]
        assert archiving.deserted(session, here, "0" * 64) == ["f" * 64]
