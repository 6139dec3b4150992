"""``stemma run timeline`` as people use it: a real process that asks a service for a real run."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from conftest import Served
from support.documents import ECHO


@pytest.fixture
def run(served: Served, user: httpx.Client) -> int:
    """A run that has ended."""
    files = {"spec_file": ("main.cwl", ECHO), "input_file": ("inputs.yml", b"words: hi")}
    made = user.post("/workflow_registry/register", data={"name": served.name(), "version": "1.0"}, files=files)
    started = user.post(f"/workflow_execution/execute/{made.json()['data']['registry_id']}")
    number: int = started.json()["data"]["execution_id"]
    assert served.run_to_end(user, number)["status"] == "finished"
    return number


def command(served: Served, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("STEMMA_", "XDG_"))}  # noqa: TID251 - for a process
    asked = {"STEMMA_URL": served.url, "STEMMA_USERNAME": "user_1", "STEMMA_PASSWORD": "password_1"}
    more = {"HOME": str(folder), "NO_COLOR": "1", "COLUMNS": "200", "STEMMA_ENV_FILE": os.devnull}
    called = [sys.executable, "-m", "stemma.cli", "run", "timeline", *map(str, arguments)]
    return subprocess.run(
        called, env={**kept, **asked, **more}, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_timeline_when_a_file_is_named_then_it_is_what_its_name_says(served: Served, run: int, tmp_path: Path) -> None:
    done = command(served, tmp_path, run)
    assert (done.returncode, done.stderr) == (0, f"execution-{run}-timeline.svg written\n")
    svg = (tmp_path / f"execution-{run}-timeline.svg").read_text()
    assert svg.startswith("<?xml")
    assert f"timeline of execution {run}" in svg
    for name, beginning in (("a.png", b"\x89PNG"), ("b.PNG", b"\x89PNG"), ("c.svg", b"<?xml")):
        assert command(served, tmp_path, run, "-o", name).returncode == 0
        assert (tmp_path / name).read_bytes().startswith(beginning)


def test_timeline_when_there_is_no_such_run_then_says_so_and_writes_nothing(served: Served, tmp_path: Path) -> None:
    done = command(served, tmp_path, 777777, "-o", "x.svg")
    assert done.returncode == 66
    assert "there is no execution 777777" in done.stderr
    assert list(tmp_path.iterdir()) == []
