"""Does fetching inputs while steps run beat what people do today, and how near is it to what no schedule can beat?

All contestants in one run, shuffled, with fresh stores, each behind a shaper of its own (``link.py``) that is the same
for all; the lower bound (``replication_bounds.py``) divides every makespan. The others (``replication_others.py``) run
on a bare runner that costs nothing itself; ours (``replication_service.py``) is the whole service: submission, worker,
cwltool, record.

* *read when it starts*: no replication; each step reads its files from far away when it starts.
* *stage all*, with 1 and with 4 streams: copy everything, then run.
* *one after another*: the published way: three rclone processes a file, in the order of need, while steps run; what was
  used longest ago is dropped when the store is full.
* *Stemma*.

Each makespan is kept as a line of JSON when it is measured. Begun again with the same file, it goes on with what lacks.

    python benchmarks/replication.py --repetitions 5 --results replication.jsonl
    python benchmarks/replication.py --report replication.jsonl
    python benchmarks/replication.py --estimate --repetitions 5
    python benchmarks/replication.py --workloads 1 --shares 100 --links shared --repetitions 1        # one row
"""

import argparse
import heapq
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from common import BIN
from link import shared_link
from replication_others import OTHERS, Place
from replication_results import (
    DELAY,
    LINKS,
    OURS,
    RATE,
    SIMULATED,
    Measured,
    Row,
    bound_of,
    keep,
    kept,
    report,
    shares_of,
    simulated,
)
from replication_service import stemma
from replication_workloads import Workload, the_five

CONTESTANTS = {**OTHERS, OURS: stemma}
LANES = 6
WIDTHS = {"one after another": 2, OURS: 5}
"""How many lanes of the machine each takes; the rest one. Beside ours is at most one that waits for the link all the
time, and starts no processes."""
WARM = "warm"
_AROUND_SECONDS = {OURS: 9.0}
"""What a turn takes beside its makespan; the others a second."""

Turn = tuple[Row, str, int]


@contextmanager
def far_servers(works: Sequence[Workload]) -> Iterator[dict[str, int]]:
    """The files of each workload on a server; the ports."""
    with ExitStack() as stack:
        ports = {}
        for work in works:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stemma-far-")))
            for name, size in {**work.files, WARM: 1}.items():
                (folder / name).write_bytes(random.Random(name).randbytes(size))
            ports[work.name] = stack.enter_context(_served(folder))
        yield ports


@contextmanager
def _served(folder: Path) -> Iterator[int]:
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


def play(turn: Turn, work: Workload, port: int) -> Measured:
    """One contestant, once."""
    row, name, repetition = turn
    limit = max(work.size_bytes * row.share / 100, work.largest_step_bytes)
    with (
        tempfile.TemporaryDirectory(prefix="stemma-bench-") as folder,
        shared_link(
            "127.0.0.1",
            port,
            bytes_per_second=RATE,
            delay_seconds=DELAY,
            connection_bytes_per_second=LINKS[row.link],
        ) as near,
    ):
        place = Place(f"http://127.0.0.1:{near}", Path(folder), limit, f"http://127.0.0.1:{port}/{WARM}")
        before = _used_seconds(), time.monotonic()
        seconds = CONTESTANTS[name](work, place)
        used, wall = _used_seconds() - before[0], time.monotonic() - before[1]
    busy = used / wall / (psutil.cpu_count() or 1)
    return Measured(row, name, repetition, seconds, place.moved_bytes, busy)


def _used_seconds() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0)


class Lanes:
    """The machine: turns are played side by side as far as they fit, in their order."""

    def __init__(self, count: int) -> None:
        self.count = self._free = count
        self._changed = threading.Condition()

    def width(self, contestant: str) -> int:
        """How many lanes a contestant takes."""
        return min(WIDTHS.get(contestant, 1), self.count)

    @contextmanager
    def taken(self, contestant: str) -> Iterator[None]:
        """Meanwhile they are taken that were waited for with :meth:`wait`."""
        try:
            yield
        finally:
            with self._changed:
                self._free += self.width(contestant)
                self._changed.notify_all()

    def wait(self, contestant: str) -> None:
        """Take them as soon as they are free."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= self.width(contestant))
            self._free -= self.width(contestant)


def turns_of(chosen: argparse.Namespace, works: Sequence[Workload]) -> list[Turn]:
    """All turns, each repetition shuffled anew; the same each time, so that a part of it can be gone on with."""
    turns: list[Turn] = []
    for repetition in range(1, chosen.repetitions + 1):
        once = [
            (Row(work.name, link, share), name, repetition)
            for work in works
            for link in chosen.links
            for name in chosen.contestants
            for share in shares_of(name, chosen.shares)
        ]
        random.Random(repetition).shuffle(once)
        turns += _mixed(once)
    return turns


def _mixed(turns: list[Turn]) -> list[Turn]:
    """Behind each of ours one of those that may be played beside it, as far as there are any."""
    ours = [turn for turn in turns if turn[1] == OURS]
    beside = [turn for turn in turns if WIDTHS.get(turn[1], 1) == 1]
    rest = [turn for turn in turns if WIDTHS.get(turn[1], 1) not in {1, WIDTHS[OURS]}]
    pairs = [[one, *([beside.pop()] if beside else [])] for one in ours]
    return [turn for pair in pairs for turn in pair] + beside + rest


def measure(turns: Sequence[Turn], works: Sequence[Workload], lanes: Lanes, results: Path) -> None:
    """Play them, and keep what was measured."""
    by_name = {work.name: work for work in works}
    guard = threading.Lock()
    failures: list[str] = []

    def one(turn: Turn, port: int) -> None:
        row, name, repetition = turn
        with lanes.taken(name):
            try:
                measured = play(turn, by_name[row.workload], port)
            except Exception as error:  # noqa: BLE001 - the others go on; what lacks can be measured later
                failures.append(f"{turn}: {error!r}")
                print(f"FAILED {turn}: {error!r}", flush=True)
                return
        ratio = measured.seconds / bound_of(row)
        with guard:
            keep(results, measured)
            print(f"{repetition} {row.workload}, {row.link}, {row.share}%: {name} {ratio:.2f}", flush=True)

    with far_servers(works) as ports, ThreadPoolExecutor(lanes.count) as threads:
        for turn in turns:
            lanes.wait(turn[1])
            threads.submit(one, turn, ports[turn[0].workload])
    if failures:
        raise SystemExit(f"{len(failures)} turns failed; begin again with the same results")


def estimate(turns: Sequence[Turn], lanes: Lanes) -> float:
    """The seconds that the turns will take, as the simulator has it."""
    now, free = 0.0, lanes.count
    ends: list[tuple[float, int]] = []
    for row, name, _ in turns:
        while free < lanes.width(name):
            now, width = heapq.heappop(ends)
            free += width
        score = simulated(row, name)
        seconds = (score.ratio if score is not None else 1.0) * bound_of(row) + _AROUND_SECONDS.get(name, 1.0)
        heapq.heappush(ends, (now + seconds, lanes.width(name)))
        free -= lanes.width(name)
    return max(end for end, _ in ends)


def options() -> argparse.Namespace:
    """Those of the command line."""
    numbers = range(1, len(the_five()) + 1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--workloads", type=int, nargs="*", choices=numbers, default=list(numbers), help="by number")
    parser.add_argument("--shares", type=int, nargs="*", default=[100, 50, 25], help="per cent of the set in the store")
    parser.add_argument("--links", nargs="*", choices=["shared", "each"], default=["shared", "each"])
    parser.add_argument("--contestants", nargs="*", choices=list(SIMULATED), default=list(SIMULATED))
    parser.add_argument("--lanes", type=int, default=LANES, help="1: everybody alone")
    parser.add_argument("--results", type=Path, default=Path("replication.jsonl"), help="where figures are added")
    parser.add_argument("--report", type=Path, metavar="RESULTS", help="only print what was measured before")
    parser.add_argument("--estimate", action="store_true", help="only say how long it will take")
    chosen = parser.parse_args()
    chosen.links = [name for name, each in LINKS.items() if ("shared" if each is None else "each") in chosen.links]
    return chosen


def main() -> None:
    """Measure, and print the table."""
    chosen = options()
    if chosen.report is not None:
        report(chosen.report)
        return
    works = [the_five()[number - 1] for number in chosen.workloads]
    done = {one.key for one in kept(chosen.results)}
    turns = [turn for turn in turns_of(chosen, works) if turn not in done]
    lanes = Lanes(chosen.lanes)
    if turns:
        print(f"{len(turns)} turns, {estimate(turns, lanes) / 60:.0f} minutes", flush=True)
    if chosen.estimate:
        return
    measure(turns, works, lanes, chosen.results)
    report(chosen.results)


if __name__ == "__main__":
    main()
