"""Everything in the archive read again, and the figures of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session

from stemma.api.metrics import Metrics
from stemma.database.queries import archive as queries
from stemma.database.queries import replication_figures
from stemma.database.queries.archive import address_of
from stemma.database.queries.replication_figures import Needs
from stemma.lifecycle.archive.rereading import Reread, read_again
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.storekeeping.figures import StoreFigures
from stemma.records import Content
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
from support.stored import add_late, bring, fill, new_run

OUTPUT = bytes(range(256)) * 12_000  # three chunks


@pytest.fixture(params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with installation_with_archive(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def full(installation: Installation) -> dict[str, Content]:
    return fill(installation, OUTPUT)


def test_read_again_when_the_archive_has_other_bytes_or_none_then_says_so_and_copies_anew_what_the_store_has(
    installation: Installation, full: dict[str, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_all(installation, 2)
    monkeypatch.setattr(queries, "_PAGE", 1)
    assert read_again(installation) == Reread(2, len(OUTPUT) + len(b"upload"))
    installation.store.remove(full["upload"].sha256)  # as if it had been let go
    spoil(place_of(installation, full["output"]))
    place_of(installation, full["upload"]).unlink()
    seen: list[int] = []
    found = {fault.sha256: fault for fault in read_again(installation, on_read=seen.append).faults}
    assert {name: (found[full[name].sha256].verdict, found[full[name].sha256].is_lost) for name in ("output", "upload")} == {
        "output": ("damaged", False), "upload": ("missing", True),
    }  # fmt: skip
    assert len(found) == 2
    assert 0 < sum(seen) < len(OUTPUT)  # in pieces, as it comes
    archive_all(installation, 2)
    assert place_of(installation, full["output"]).read_bytes() == OUTPUT
    assert [fault.sha256 for fault in read_again(installation).faults] == [full["upload"].sha256]


def test_read_again_when_the_archive_is_not_there_then_says_why_and_changes_nothing(
    installation: Installation, full: dict[str, Content]
) -> None:
    archive_all(installation, 2)
    folder = installation.settings.archive_folder
    assert folder is not None
    folder.rename(folder.with_name("away"))
    found = read_again(installation)
    assert found.error
    assert found.faults == ()
    assert amount(installation).files == 2


def test_read_again_when_one_file_cannot_be_read_then_says_so_and_reads_the_others(
    installation: Installation, full: dict[str, Content]
) -> None:
    archive_all(installation, 2)
    first, second = sorted((full["output"], full["upload"]), key=lambda content: content.sha256)
    place_of(installation, first).unlink()
    place_of(installation, first).mkdir()  # as a bad sector is: it is there, and gives nothing
    spoil(place_of(installation, second))
    found = read_again(installation)
    assert first.sha256 in (found.error or "")
    assert [fault.sha256 for fault in found.faults] == [second.sha256]


def test_figures_when_there_is_an_archive_then_tell_what_lies_there_and_what_came_back(
    installation: Installation, full: dict[str, Content]
) -> None:
    spoil(installation.store.path(full["upload"].sha256))
    with archiving_goes_on(installation):
        until(lambda: amount(installation).files == amount(installation).troubled == 1)
    installation.store.remove(full["output"].sha256)

    def write(session: Session) -> None:
        run = new_run(session)
        bring(installation, session, add_late(installation, session, run, address_of(full["output"].sha256)), OUTPUT)
        add_late(installation, session, run, address_of(full["output"].sha256))  # is here by now

    before = replicated(installation)
    installation.database.write(write)
    after = replicated(installation)
    assert (after.brought_back - before.brought_back, after.misses - before.misses, after.hits - before.hits) == (
        1,
        1,
        1,
    )
    archive = archive_of(installation)
    figures = StoreFigures(installation.database, installation.store, installation.home_id, archive.name)
    told = Metrics(figures).exposed().decode()
    values = {
        "files": 1, "bytes": len(OUTPUT), "waiting_files": 1, "waiting_bytes": len(b"upload"), "failed_files": 1,
    }  # fmt: skip
    for name, value in values.items():
        [line] = [line for line in told.splitlines() if line.startswith(f"stemma_archive_{name} ")]
        assert float(line.split()[1]) == value
    assert "stemma_replication_brought_back_total" in told


def replicated(installation: Installation) -> Needs:
    with installation.database.reading() as session:
        return replication_figures.needs_between(session, 0, replication_figures.newest_need(session))
