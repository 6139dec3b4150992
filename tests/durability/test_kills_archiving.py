"""SIGKILL to workers while they copy to the archive: nothing counts as archived that does not lie there whole.

STEMMA_KILL_TEST_SECONDS asks for a longer form.
"""

import hashlib
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session

from conftest import opened_installation
from stemma.database.queries import archive as queries
from stemma.lifecycle.archive import upkeep
from stemma.lifecycle.archive.reading import archived
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.storekeeping import verification
from stemma.lifecycle.storekeeping.removal import collect, evict
from stemma.records import Content
from support.databases import KINDS
from support.killing import Service, chance, killing_seconds
from support.stored import add_file, end_run, new_run

FILES, SIZE = 60, 2_000_000
PATIENCE_SECONDS = 120.0


@pytest.fixture(params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "home").mkdir()
    (tmp_path / "archive").mkdir()
    place = f"file://{tmp_path / 'archive'}"
    with opened_installation(request.param, tmp_path / "home", archive=place, lease_seconds=1.5) as opened:
        yield opened


def _bytes_of(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


def _add(installation: Installation, number: int) -> Content:
    """Another run that has ended, with an output."""
    content = installation.store.put_bytes(_bytes_of(number))

    def write(session: Session) -> None:
        run = new_run(session)
        add_file(session, run, content, output=True)
        end_run(session, run)

    installation.database.write(write)
    return content


def _archived(installation: Installation, contents: list[Content]) -> set[str]:
    with installation.database.reading() as session:
        return set(queries.archived_of(session, [content.sha256 for content in contents]))


@pytest.mark.timeout(600)
def test_archiving_when_workers_are_killed_at_random_then_what_counts_lies_there_whole(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "IN_USE_SECONDS", 0.0)
    drawn, seconds = chance(), killing_seconds()
    archive, folder = installation.archive, installation.settings.archive_folder
    assert archive is not None
    assert folder is not None
    contents = [_add(installation, number) for number in range(FILES)]
    killed, checked, began = 0, set[str](), time.monotonic()
    service = Service(installation.settings, STEMMA_ARCHIVE=installation.settings.archive or "")
    try:
        while (is_killing := time.monotonic() - began < seconds) or len(_archived(installation, contents)) < len(
            contents
        ):
            assert time.monotonic() - began < seconds + PATIENCE_SECONDS
            if is_killing and time.monotonic() - began > 1:
                service.kill(drawn.choice(["worker 1", "worker 2", "all"]), drawn)
                killed += 1
                contents.append(_add(installation, len(contents)))
                service.keep_alive()
            for sha256 in _archived(installation, contents) - checked:
                found = (folder / "sha256" / sha256[:2] / sha256[2:]).read_bytes()
                assert hashlib.sha256(found).hexdigest() == sha256
                checked.add(sha256)
            time.sleep(drawn.uniform(0.1, 1.2))
    finally:
        service.close()
    print(f"killed {killed} times; {len(contents)} files archived")
    with installation.database.reading() as session:
        found_there = queries.amount(session, archive.name)
    assert (found_there.files, found_there.waiting) == (len(contents), 0)
    assert evict(installation).archived_files == len(contents)
    faults = verification.verify(installation, list(installation.store.contents())).faults
    assert {fault.sha256 for fault in faults}.isdisjoint(content.sha256 for content in contents)
    for number, content in enumerate(contents):
        assert b"".join(archived(installation, content.sha256).begun()) == _bytes_of(number)
    collect(installation, age=timedelta(seconds=-60))  # what the dead left, which nobody ever took for anything
    left = [path for path in (folder / "sha256").rglob("*") if path.is_file()]
    assert {path.parent.name + path.name for path in left} == {content.sha256 for content in contents}
