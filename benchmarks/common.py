"""What the benchmarks share: a warm service, the peer's command, and figures side by side as ratios.

Contestants take turns in one run, since machines are noisy: only the ratio of neighbours means anything.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from stemma.cli.announcement import announced
from stemma.client import Client
from stemma.client.tokens import PasswordTokens

BIN = Path(sys.executable).parent
DOCUMENTS = Path(__file__).parent / "documents"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one repetition took."""

    wall_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Service:
    """A service of this checkout on a fresh data folder."""

    client: Client
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """CPU that all its processes have used so far, those that have ended included."""
        total = 0.0
        for process in [self.process, *self.process.children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total


@contextmanager
def started(folder: Path, *options: str, **variables: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """``stemma serve`` on a data folder and a free port: its address and process. Ended afterwards."""
    environment = {**os.environ, "STEMMA_HOME": str(folder), **variables}  # noqa: TID251 - handed on to a child process
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [BIN / "stemma", "serve", "--port", "0", *options], env=environment, stdout=log, stderr=log
        )
        try:
            yield _address(folder, process), process
        finally:
            process.terminate()
            process.wait(60)


def _address(folder: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError((folder / "serve.log").read_text())
        found = announced(folder)
        if found is not None:
            return found.url
        time.sleep(0.02)
    raise TimeoutError("the service did not start")


def await_answer(url: str) -> None:
    """Return when the service answers."""
    while True:
        try:
            httpx.get(f"{url}/healthz", trust_env=False).raise_for_status()
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return


@contextmanager
def service() -> Iterator[Service]:
    """A service with its worker, and a client that is logged in."""
    with (
        tempfile.TemporaryDirectory(prefix="stemma-bench-") as folder,
        started(Path(folder)) as (url, process),
        Client(url, PasswordTokens(url, "user_1", "password_1")) as client,
    ):
        await_answer(url)
        yield Service(client, psutil.Process(process.pid))


def cwltool(*arguments: str | Path) -> Cost:
    """Run the ``cwltool`` command once."""
    with tempfile.TemporaryDirectory(prefix="stemma-bench-") as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(
            [BIN / "cwltool", "--no-container", "--outdir", folder, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def compare(title: str, ours: Callable[[], Cost], peer: Callable[[], Cost], repetitions: int) -> tuple[float, float]:
    """Let both take turns; print and return the median ratios of wall time and CPU, ours over the peer's."""
    ours(), peer()  # warm caches of the file system, once each, not counted
    pairs = [(ours(), peer()) for _ in range(repetitions)]
    wall = [a.wall_seconds / b.wall_seconds for a, b in pairs]
    cpu = [a.cpu_seconds / b.cpu_seconds for a, b in pairs]
    print(f"{title} ({repetitions} pairs, medians; in brackets the smallest and largest ratio)")
    for what, ratios, attribute in (("wall", wall, "wall_seconds"), ("CPU", cpu, "cpu_seconds")):
        own = statistics.median(getattr(a, attribute) for a, _ in pairs)
        other = statistics.median(getattr(b, attribute) for _, b in pairs)
        spread = f"[{min(ratios):.2f}-{max(ratios):.2f}]"
        print(
            f"  {what:4} stemma {own:7.3f} s   cwltool {other:7.3f} s   ratio {statistics.median(ratios):.2f} {spread}"
        )
    return statistics.median(wall), statistics.median(cpu)
