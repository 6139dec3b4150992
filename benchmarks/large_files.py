"""Two gigabytes up and down through the API: how fast, and how much memory does it take?

Against bare FastAPI routes on the same uvicorn and the same disk: an ``UploadFile`` route that leaves the file where
the framework puts it, and one that copies it as a service must that keeps it; a ``FileResponse`` of the very same
file. ``curl`` sends and receives. Before each transfer the disk has nothing left to write, and what is read is dropped
from the page cache, for both alike.

    python benchmarks/large_files.py
    python benchmarks/large_files.py --gigabytes 0.5 --repetitions 1 --folder /var/tmp
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

import databases
from bare import bare
from common import BIN, await_answer, started

GOAL_RATIO = 0.5
GOAL_GROWTH = 100e6
REPETITIONS = 2
CHUNK = 16 * 1024 * 1024
DOCUMENT = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs: {data: File}
stdin: $(inputs.data.path)
stdout: data.out
outputs: {copied: stdout}
"""


class Watch:
    """The largest resident size of a process while it is looked at."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.first = self.largest = process.memory_info().rss

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        """By how much it grew at most."""
        return self.largest - self.first

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.largest = max(self.largest, self._process.memory_info().rss)


@dataclass(slots=True)
class Contest:
    """One question: bytes a second of ours and of bare servers, and by how much our API grew."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    growths: list[int] = field(default_factory=list)

    def report(self) -> None:
        """Print medians, ratios, and whether they are good enough. The first bare server is the one that counts."""
        name, *peers = self.rates
        ours = self.rates[name]
        for peer in peers:
            ratios = [own / other for own, other in zip(ours, self.rates[peer], strict=True)]
            own, other = statistics.median(ours) / 1e6, statistics.median(self.rates[peer]) / 1e6
            ratio, spread = statistics.median(ratios), f"[{min(ratios):.2f}-{max(ratios):.2f}]"
            print(f"  {name:15} stemma {own:5.0f} MB/s   {peer:18} {other:5.0f} MB/s   ratio {ratio:.2f} {spread}")
            if peer == peers[0]:
                print(f"      goal: at least {GOAL_RATIO:g} - {'met' if ratio >= GOAL_RATIO else 'NOT MET'}")
        growth = max(self.growths)
        verdict = "met" if growth < GOAL_GROWTH else "NOT MET"
        print(
            f"      memory grew by {growth / 1e6:.0f} MB; goal: less than {GOAL_GROWTH / 1e6:.0f} - {verdict}",
            flush=True,
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """Our service, the file to send, and how often."""

    url: str
    api: psutil.Process
    token: str
    home: Path
    folder: Path
    source: Path
    repetitions: int

    @property
    def login(self) -> list[str]:
        """What curl says of who asks."""
        return ["-H", f"Authorization: Bearer {self.token}"]

    def client(self) -> httpx.Client:
        """For what is small."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def contest(self, contestants: Mapping[str, Callable[[], float]], reading: Path) -> Contest:
        """Let all take turns, in alternating order; the first is ours."""
        found, names = Contest({name: [] for name in contestants}), list(contestants)
        for number in range(self.repetitions):
            for name in names if number % 2 == 0 else reversed(names):
                _calm(reading)
                with Watch(self.api) as watch:
                    found.rates[name].append(contestants[name]())
                if name == names[0]:
                    found.growths.append(watch.growth)
        return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; five times the size must be free")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stemma-bench-", dir=given.folder)))
        home, spool = folder / "home", folder / "spool"
        home.mkdir()
        spool.mkdir()
        databases.sqlite_in(home)
        source = _made(folder / "source", int(given.gigabytes * 1e9))
        url, process = stack.enter_context(started(home, "--no-worker", TMPDIR=str(spool)))
        await_answer(url)
        url = url.replace("localhost", "127.0.0.1")
        form = {"grant_type": "password", "username": "user_1", "password": "password_1"}
        token = httpx.post(f"{url}/auth/token", data=form, trust_env=False).raise_for_status().json()["access_token"]
        setting = Setting(url, psutil.Process(process.pid), token, home, folder, source, given.repetitions)
        print(f"{given.gigabytes:g} GB, {given.repetitions} pairs, medians; in brackets the smallest and largest ratio")
        _uploads(setting, spool)
        _downloads(setting)


def _uploads(setting: Setting, spool: Path) -> None:
    with setting.client() as client:
        files = {"spec_file": ("main.cwl", DOCUMENT)}
        form = {"name": "copy", "version": "1"}
        answer = client.post("/workflow_registry/register", data=form, files=files).raise_for_status()
        workflow = answer.json()["data"]["registry_id"]
    inputs = json.dumps({"data": {"class": "File", "location": "data"}})
    sent = f"files=@{setting.source};filename=data"
    fields = [*setting.login, "-F", sent, "-F", f"inputs={inputs}", "-F", "nowait=true"]

    def ours() -> float:
        return _curl(setting.source, [*fields, f"{setting.url}/workflow_execution/execute/{workflow}"])

    with bare("upload", setting.folder, TMPDIR=str(spool)) as (peer, _):
        contestants: dict[str, Callable[[], float]] = {
            "upload": ours,
            "bare": lambda: _curl(setting.source, ["-F", sent, f"{peer}/take"]),
            "bare, with a copy": lambda: _curl(setting.source, ["-F", sent, f"{peer}/take?copy=true"]),
        }
        setting.contest(contestants, setting.source).report()
    (setting.folder / "copy").unlink()


def _downloads(setting: Setting) -> None:
    run = _finished(setting)
    [made] = run["outputs"].values()
    digest = made["checksum"].removeprefix("sha256:")
    stored = setting.home / "store" / "sha256" / digest[:2] / digest[2:]
    with bare("download", stored.parent) as (peer, _):

        def theirs() -> float:
            return _curl(stored, [f"{peer}/{stored.name}"])

        for name, path in (("download", f"files/{made['id']}"), ("outputs as zip", f"outputs/{run['execution_id']}")):
            asked = [*setting.login, f"{setting.url}/workflow_execution/{path}"]
            contestants: dict[str, Callable[[], float]] = {name: partial(_curl, stored, asked), "bare": theirs}
            setting.contest(contestants, stored).report()


def _finished(setting: Setting) -> dict[str, Any]:
    """One of the runs that were submitted, carried out by a worker that ends afterwards; the others are stopped."""
    with setting.client() as client:
        first, *others = client.get("/workflow_execution").json()["data"]["items"]
        for other in others:
            client.post(f"/workflow_execution/{other['execution_id']}/stop").raise_for_status()
        environment = {**os.environ, "STEMMA_HOME": str(setting.home)}  # noqa: TID251 - handed on to a child process
        worker = subprocess.Popen(
            [BIN / "stemma", "worker"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while True:
                run = client.get(f"/workflow_execution/{first['execution_id']}").raise_for_status().json()["data"]
                if run["status"] == "finished":
                    return dict(run)
                if run["status"] in {"failed", "stopped"} or worker.poll() is not None:
                    raise RuntimeError(run)
                time.sleep(0.2)
        finally:
            worker.terminate()
            worker.wait(60)


def _made(path: Path, size: int) -> Path:
    """A file of ``size`` bytes that do not repeat soon."""
    with path.open("wb") as file:
        for start in range(0, size, CHUNK):
            file.write(os.urandom(min(CHUNK, size - start)))
    return path


def _calm(reading: Path) -> None:
    """Let the disk come to rest, and forget what will be read."""
    os.sync()
    descriptor = os.open(reading, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def _curl(file: Path, arguments: Sequence[str]) -> float:
    """Bytes of ``file`` a second, for a transfer of it."""
    command = ["curl", "-sS", "--fail", "--noproxy", "*", "-o", os.devnull, "-w", "%{time_total} %{size_download}"]
    said = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout
    seconds, received = said.split()
    size = file.stat().st_size
    if "-F" not in arguments and int(received) < size:
        raise RuntimeError(f"only {received} of {size} bytes came: {arguments[-1]}")
    return size / float(seconds)


if __name__ == "__main__":
    main()
