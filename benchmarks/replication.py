"""Does fetching inputs while steps run beat what people do today, and how near is it to what no schedule can beat?

All contestants in one run, shuffled, with fresh stores, behind one shared link (``link.py``): the lower bound
(``replication_bounds.py``) divides every makespan. The others run on a bare runner that costs nothing itself; ours is
the whole service: submission, worker, cwltool, record.

* *read when it starts*: no replication; each step reads its files from far away when it starts.
* *stage all*, with 1 and with 4 streams: copy everything, then run.
* *one after another*: the published way: three rclone processes a file, in the order of need, while steps run; what was
  used longest ago is dropped when the store is full.
* *Stemma*.

    python benchmarks/replication.py --repetitions 5
    python benchmarks/replication.py --workloads 1 --shares 100        # the first row alone
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from common import BIN, await_answer, started
from link import shared_link
from replication_bounds import lower_bound
from replication_workloads import Step, Workload, the_five
from stemma.client import Attachment, Client, PasswordTokens

RATE, DELAY, EACH = 12.5e6, 0.02, 3.125e6
"""100 Mbit/s shared, 40 ms there and back; 25 Mbit/s a connection where connections are limited."""
LIMIT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Measured:
    """One makespan."""

    seconds: float
    moved_bytes: float


@dataclass(slots=True)
class Place:
    """Where a contestant works: the far server's URL, an empty folder, the bytes that its store may hold."""

    url: str
    folder: Path
    limit_bytes: float
    moved_bytes: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, client: httpx.Client, name: str, target: BinaryIO | None) -> None:
        """Read a file from far away, and keep it where there is a target."""
        with client.stream("GET", f"{self.url}/{name}") as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes(1 << 20):
                if target is not None:
                    target.write(chunk)
                with self.guard:
                    self.moved_bytes += len(chunk)


def run_steps(work: Workload, before: Callable[[Step], None], after: Callable[[Step], None] = lambda _: None) -> None:
    """Run the steps as soon as those before them have ended, as many at once as there are slots.

    ``before`` returns when the files of a step are there; it is called with the step's slot taken.
    """
    done: set[str] = set()
    begun: set[str] = set()
    changed = threading.Condition()

    def carry_out(step: Step) -> None:
        before(step)
        time.sleep(step.seconds)
        after(step)
        with changed:
            done.add(step.key)
            changed.notify()

    with ThreadPoolExecutor(work.slots) as slots, changed:
        while len(done) < len(work.steps):
            for step in work.steps:
                if step.key not in begun and done.issuperset(step.after):
                    begun.add(step.key)
                    slots.submit(carry_out, step).add_done_callback(lambda future: future.result())
            changed.wait(LIMIT_SECONDS)


def read_when_it_starts(work: Workload, place: Place) -> None:
    """Each step reads from far away."""
    with httpx.Client(trust_env=False, timeout=60) as client:

        def read(step: Step) -> None:
            for name in step.files:
                place.fetch(client, name, None)

        run_steps(work, read)


def stage_all(streams: int) -> Callable[[Workload, Place], None]:
    """Copy everything with so many streams, then run."""

    def staged(work: Workload, place: Place) -> None:
        with httpx.Client(trust_env=False, timeout=60) as client, ThreadPoolExecutor(streams) as threads:

            def keep(name: str) -> None:
                with (place.folder / name).open("wb") as target:
                    place.fetch(client, name, target)

            list(threads.map(keep, work.files))
        run_steps(work, lambda _: None)

    return staged


class OneAfterAnother:
    """The published way."""

    def __init__(self, work: Workload, place: Place) -> None:
        self._work, self._place = work, place
        self._here: dict[str, int] = {}
        self._readers: dict[str, int] = {}
        self._used: dict[str, float] = {}
        self._uses_left = {name: sum(name in step.files for step in work.steps) for name in work.files}
        self._changed = threading.Condition()

    def go(self) -> None:
        """Copy in a thread of its own while the steps run."""
        threading.Thread(target=self._copy_all, daemon=True).start()
        run_steps(self._work, self._wait, self._let_go)

    def _copy_all(self) -> None:
        order = [name for step in self._work.steps for name in step.files]
        while order:
            for name in order:
                if name not in self._here and self._uses_left[name] > 0:
                    self._copy(name)
            order = [name for name in order if self._uses_left[name] > 0 and name not in self._here]

    def _copy(self, name: str) -> None:
        with self._changed:
            while not self._has_room(self._work.files[name]):
                self._changed.wait()
        for words in (["lsjson"], ["copyto"], ["lsjson"]):  # what is there, the copy, whether it came
            target = [str(self._place.folder / name)] if words == ["copyto"] else []
            subprocess.run(
                [BIN / "rclone", "--config", "", *words, f":http:{name}", *target, "--http-url", self._place.url],
                check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        with self._changed:
            self._here[name] = self._work.files[name]
            self._place.moved_bytes += self._work.files[name]
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        """Whether there is room, once what was used longest ago is dropped."""
        while sum(self._here.values()) + size > self._place.limit_bytes:
            idle = [name for name in self._here if not self._readers.get(name)]
            if not idle:
                return False
            oldest = min(idle, key=lambda name: self._used.get(name, 0.0))
            del self._here[oldest]
            (self._place.folder / oldest).unlink()
        return True

    def _wait(self, step: Step) -> None:
        with self._changed:
            while not self._here.keys() >= set(step.files):
                self._changed.wait()
            for name in step.files:
                self._readers[name] = self._readers.get(name, 0) + 1
                self._used[name] = time.monotonic()

    def _let_go(self, step: Step) -> None:
        with self._changed:
            for name in step.files:
                self._readers[name] -= 1
                self._uses_left[name] -= 1
            self._changed.notify_all()


def document(work: Workload) -> str:
    """The workload as CWL: a step reads its files and sleeps."""
    steps: dict[str, Any] = {}
    names = {name: f"f{number}" for number, name in enumerate(work.files)}
    ids = {step.key: f"s{number}" for number, step in enumerate(work.steps)}
    for step in work.steps:
        files = {f"i{number}": names[name] for number, name in enumerate(step.files)}
        after = {f"a{number}": f"{ids[one]}/done" for number, one in enumerate(step.after)}
        ports = {port: {"type": "File", "inputBinding": {"position": 1}} for port in files}
        tool = {
            "class": "CommandLineTool",
            "baseCommand": ["sh", "-c", f'cat "$@" > /dev/null; sleep {step.seconds}; echo > done', "step"],
            "inputs": ports | dict.fromkeys(after, "File"),
            "outputs": {"done": {"type": "File", "outputBinding": {"glob": "done"}}},
        }
        steps[ids[step.key]] = {"run": tool, "in": files | after, "out": ["done"]}
    last = ids[work.steps[-1].key]
    inputs = dict.fromkeys(names.values(), "File")
    outputs = {"done": {"type": "File", "outputSource": f"{last}/done"}}
    return json.dumps({"cwlVersion": "v1.2", "class": "Workflow", "inputs": inputs, "outputs": outputs, "steps": steps})


def stemma(work: Workload, place: Place) -> float:
    """The whole service; the seconds from the submission to the end, its start left out."""
    host = place.url.removeprefix("http://")
    settings = {
        "STEMMA_ALLOW_PLAIN_HTTP": "true",
        "STEMMA_ALLOW_PRIVATE_HOSTS": host,
        "STEMMA_CORES": str(work.slots),
        "STEMMA_STORE_BYTES": str(int(place.limit_bytes) + 2_000_000),
        "STEMMA_CONTAINERS": "never",
    }
    with (
        started(place.folder, **settings) as (url, _),
        Client(url, PasswordTokens(url, "user_1", "password_1")) as client,
    ):
        await_answer(url)
        spec = place.folder / "main.cwl"
        spec.write_text(document(work))
        entry = client.workflows.register(name="work", version="1", spec=Attachment("main.cwl", spec)).id
        inputs = {
            f"f{number}": {"class": "File", "location": f"{place.url}/{name}"} for number, name in enumerate(work.files)
        }
        began = time.monotonic()
        run = client.runs.wait(client.runs.submit(entry, inputs=inputs).id)
        took = time.monotonic() - began
        if run.state != "finished":
            raise RuntimeError(run.reason)
        place.moved_bytes = int(run.raw["replication"]["bytes"]["moved"])
    return took


def bare(contestant: Callable[[Workload, Place], None]) -> Callable[[Workload, Place], float]:
    """A contestant on the bare runner, timed."""

    def timed(work: Workload, place: Place) -> float:
        began = time.monotonic()
        contestant(work, place)
        return time.monotonic() - began

    return timed


CONTESTANTS: dict[str, Callable[[Workload, Place], float]] = {
    "read when it starts": bare(read_when_it_starts),
    "stage all, 1 stream": bare(stage_all(1)),
    "stage all, 4 streams": bare(stage_all(4)),
    "one after another": bare(lambda work, place: OneAfterAnother(work, place).go()),
    "Stemma": stemma,
}


@contextmanager
def far_server(work: Workload, folder: Path) -> Iterator[int]:
    """The files of a workload on a server; its port."""
    for name, size in work.files.items():
        (folder / name).write_bytes(random.Random(name).randbytes(size))
    command = [BIN / "rclone", "serve", "http", str(folder), "--addr", "127.0.0.1:0", "--dir-cache-time", "0s"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            yield _announced_port(process)
        finally:
            process.terminate()


def _announced_port(process: "subprocess.Popen[str]") -> int:
    for line in process.stderr or ():
        if "http://127.0.0.1:" in line:
            return int(line.rsplit(":", 1)[1].strip(' /]"\n'))
    raise RuntimeError("the far server did not start")


def compete(work: Workload, share: float, each: float | None, repetitions: int) -> dict[str, list[Measured]]:
    """Every contestant, as often, shuffled."""
    limit = max(work.size_bytes * share, work.largest_step_bytes)
    names = [name for name in CONTESTANTS if share >= 1 or not name.startswith("stage all")]
    found: dict[str, list[Measured]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="stemma-far-") as far, far_server(work, Path(far)) as port:
        for _ in range(repetitions):
            for name in random.sample(names, len(names)):
                with (
                    tempfile.TemporaryDirectory(prefix="stemma-bench-") as folder,
                    shared_link(
                        "127.0.0.1", port, bytes_per_second=RATE, delay_seconds=DELAY, connection_bytes_per_second=each
                    ) as near,
                ):
                    place = Place(f"http://127.0.0.1:{near}", Path(folder), limit)
                    seconds = CONTESTANTS[name](work, place)
                    found[name].append(Measured(seconds, place.moved_bytes))
    return found


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--workloads", type=int, nargs="*", help="by number, from 1; all without it")
    parser.add_argument("--shares", type=int, nargs="*", default=[100, 50, 25], help="per cent of the set in the store")
    parser.add_argument("--limits", choices=["none", "each", "both"], default="both", help="of single connections")
    chosen = parser.parse_args()
    works = the_five()
    works = [works[number - 1] for number in chosen.workloads] if chosen.workloads else works
    limits = {"none": [None], "each": [EACH], "both": [None, EACH]}[chosen.limits]
    print("| workload | link | store | bound | " + " | ".join(CONTESTANTS) + " | Stemma moved |")
    print("|---" * (5 + len(CONTESTANTS)) + "|")
    for work in works:
        for each in limits:
            for share in chosen.shares:
                _print_row(work, share / 100, each, compete(work, share / 100, each, chosen.repetitions))


def _print_row(work: Workload, share: float, each: float | None, found: dict[str, list[Measured]]) -> None:
    bound = lower_bound(work, RATE, 2 * DELAY)
    cells = []
    for name in CONTESTANTS:
        seconds = [one.seconds for one in found.get(name, [])]
        cells.append(f"{statistics.median(seconds) / bound:.2f}" if seconds else "-")
    moved = statistics.median(one.moved_bytes for one in found["Stemma"]) / work.size_bytes
    link = "shared" if each is None else "25 Mbit/s each"
    print(f"| {work.name} | {link} | {share:.0%} | {bound:.1f} s | {' | '.join(cells)} | {moved:.2f} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
