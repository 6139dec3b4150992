"""``stemma run timeline`` as people use it: a real process that asks a service for a real run."""

import subprocess
import sys
from pathlib import Path

from conftest import Served
from support.terminal import environment


def command(served: Served, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    known = environment(folder, STEMMA_URL=served.url, STEMMA_USERNAME="user_1", STEMMA_PASSWORD="password_1")
    called = [sys.executable, "-m", "stemma.cli", "run", "timeline", *map(str, arguments)]
    return subprocess.run(called, env=known, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_timeline_when_a_file_is_named_then_it_is_what_its_name_says(
    served: Served, ended_run: int, tmp_path: Path
) -> None:
    done = command(served, tmp_path, ended_run)
    assert (done.returncode, done.stderr) == (0, f"execution-{ended_run}-timeline.svg written\n")
    svg = (tmp_path / f"execution-{ended_run}-timeline.svg").read_text()
    assert svg.startswith("<?xml")
    assert f"timeline of execution {ended_run}" in svg
    for name, beginning in (("a.png", b"\x89PNG"), ("b.PNG", b"\x89PNG"), ("c.svg", b"<?xml")):
        assert command(served, tmp_path, ended_run, "-o", name).returncode == 0
        assert (tmp_path / name).read_bytes().startswith(beginning)


def test_timeline_when_there_is_no_such_run_then_says_so_and_writes_nothing(served: Served, tmp_path: Path) -> None:
    done = command(served, tmp_path, 777777, "-o", "x.svg")
    assert done.returncode == 66
    assert "there is no execution 777777" in done.stderr
    assert list(tmp_path.iterdir()) == []
