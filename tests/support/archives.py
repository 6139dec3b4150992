"""An installation's archive: what lies there, and what copies to it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import opened_installation
from stemma.database.queries import archive as queries
from stemma.lifecycle.archive.archivist import Archivist
from stemma.lifecycle.installation import Installation
from stemma.records import Content
from stemma.storages.archive import Archive


@contextmanager
def installation_with_archive(kind: str, folder: Path) -> Iterator[Installation]:
    """One whose archive is a folder beside it."""
    (folder / "archive").mkdir()
    place = f"file://{folder / 'archive'}"
    with opened_installation(kind, folder / "home", archive=place, lease_seconds=1.5) as opened:
        yield opened


def archive_of(installation: Installation) -> Archive:
    assert installation.archive is not None
    return installation.archive


def place_of(installation: Installation, content: Content) -> Path:
    """Where a content lies in the archive."""
    folder = installation.settings.archive_folder
    assert folder is not None
    return folder / "sha256" / content.sha256[:2] / content.sha256[2:]


def spoil(path: Path) -> None:
    """Other bytes, as many."""
    path.chmod(0o644)
    path.write_bytes(b"?" * path.stat().st_size)


def amount(installation: Installation) -> queries.Archived:
    with installation.database.reading() as session:
        return queries.amount(session, archive_of(installation).name)


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def archiving_goes_on(
    installation: Installation, name: str = "w1", kind: type[Archivist] = Archivist
) -> Iterator[Archivist]:
    archivist = kind(installation, name)
    archivist.start()
    try:
        yield archivist
    finally:
        archivist.close()


def archive_all(installation: Installation, files: int, kind: type[Archivist] = Archivist) -> None:
    with archiving_goes_on(installation, kind=kind):
        until(lambda: amount(installation).files == files)
