"""The folder of an attempt, and what removes it."""

import shutil
import threading
from pathlib import Path

import pytest

from stemma.engines.cwltool.folder import AttemptFolder
from stemma.errors import EngineUnreachable


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    return AttemptFolder(tmp_path / "run" / "1")


def _fill(folder: AttemptFolder, folders: int) -> None:
    for number in range(folders):
        (folder.tmp / str(number) / "inner").mkdir(parents=True)


def test_release_when_somebody_removes_the_folder_meanwhile_then_it_is_gone_and_nothing_is_raised(
    folder: AttemptFolder,
) -> None:
    for _ in range(10):
        _fill(folder, 100)
        other = threading.Thread(target=shutil.rmtree, args=[folder.path], kwargs={"ignore_errors": True})
        other.start()
        folder.release()
        other.join()
        assert not folder.tmp.exists()


def test_release_when_something_cannot_be_removed_then_the_engine_is_unreachable(
    folder: AttemptFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise OSError(16, "Device or resource busy")

    _fill(folder, 1)
    monkeypatch.setattr(shutil, "rmtree", busy)
    with pytest.raises(EngineUnreachable, match="Device or resource busy"):
        folder.release()
    assert folder.tmp.exists()
