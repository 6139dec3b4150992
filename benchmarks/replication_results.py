"""Measured makespans: kept a line each as they come, read back, and shown beside the lower bound and the simulator."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median

from replication_bounds import lower_bound
from replication_model import Link, Policy
from replication_policies import NoReplication, Planned, Published, StageAll
from replication_simulator import Score, simulate
from replication_workloads import the_five

RATE, DELAY, EACH = 12.5e6, 0.02, 3.125e6
"""100 Mbit/s shared, 40 ms there and back; 25 Mbit/s a connection where connections are limited."""
LINKS: dict[str, float | None] = {"shared": None, "25 Mbit/s each": EACH}
"""What one connection gets at most."""
OURS = "Stemma"
SIMULATED: dict[str, Callable[[], Policy]] = {
    "read when it starts": NoReplication,
    "stage all, 1 stream": lambda: StageAll(1),
    "stage all, 4 streams": lambda: StageAll(4),
    "one after another": Published,
    OURS: Planned,
}
WITHOUT_STORE = "read when it starts"
"""It keeps nothing, so one figure holds for all sizes of the store."""
TOLERANCE = 0.1
"""How near the simulator is to come."""


@dataclass(frozen=True, slots=True)
class Row:
    """One case of the benchmark."""

    workload: str
    link: str
    share: int
    """Per cent of the set that the store holds."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One makespan."""

    row: Row
    contestant: str
    repetition: int
    seconds: float
    moved_bytes: float
    busy: float
    """How much of the machine's cores was at work meanwhile, for whomever."""

    @property
    def key(self) -> tuple[Row, str, int]:
        """What it is the measurement of."""
        return self.row, self.contestant, self.repetition


def keep(path: Path, measured: Measured) -> None:
    """Add one line."""
    with path.open("a") as file:
        file.write(json.dumps(asdict(measured)) + "\n")


def kept(path: Path) -> Iterator[Measured]:
    """All that were kept."""
    for line in path.read_text().splitlines() if path.exists() else []:
        told = json.loads(line)
        yield Measured(**{**told, "row": Row(**told["row"])})


def shares_of(contestant: str, shares: Iterable[int]) -> list[int]:
    """The sizes of the store that a contestant is measured with."""
    if contestant == WITHOUT_STORE:
        return [100]
    return [share for share in shares if share == 100 or not contestant.startswith("stage all")]


@cache
def simulated(row: Row, contestant: str) -> Score | None:
    """What the simulator says."""
    work = next(work for work in the_five() if work.name == row.workload)
    link = Link(RATE, LINKS[row.link] or float("inf"), 2 * DELAY)
    return simulate(work, link, row.share / 100, SIMULATED[contestant]())


def bound_of(row: Row) -> float:
    """The lower bound, in seconds."""
    return lower_bound(next(work for work in the_five() if work.name == row.workload), RATE, 2 * DELAY)


def report(path: Path) -> None:
    """Print what was measured, and how near the simulator came."""
    found: dict[tuple[Row, str], list[Measured]] = defaultdict(list)
    for one in kept(path):
        found[one.row, one.contestant].append(one)
    rows = sorted({row for row, _ in found}, key=_order)
    print("Makespan over the lower bound, medians [smallest-largest]; after ours in brackets the bytes over the set\n")
    names = list(SIMULATED)
    print("| workload | link | store | bound | " + " | ".join(names) + " | simulated | real / simulated | goals |")
    print("|---" * (len(names) + 7) + "|")
    for row in rows:
        measured = {name: _of(found, row, name) for name in names}
        if measured[OURS]:
            _print_row(row, measured)
    print("\nMeasured over simulated, medians (✗ where more than 10 % apart)\n")
    print("| workload | link | store | " + " | ".join(names) + " | runs | machine busy |")
    print("|---" * (len(names) + 5) + "|")
    for row in rows:
        _print_comparison(row, {name: found.get((row, name), []) for name in names})


def _order(row: Row) -> tuple[int, int, int]:
    return list(LINKS).index(row.link), -row.share, [work.name for work in the_five()].index(row.workload)


def _of(found: dict[tuple[Row, str], list[Measured]], row: Row, name: str) -> list[Measured]:
    share = row.share if name != WITHOUT_STORE else 100
    return found.get((Row(row.workload, row.link, share), name), [])


def _print_row(row: Row, measured: dict[str, list[Measured]]) -> None:
    bound = bound_of(row)
    ratios = {name: [one.seconds / bound for one in many] for name, many in measured.items()}
    size = next(work for work in the_five() if work.name == row.workload).size_bytes
    moved = median(one.moved_bytes for one in measured[OURS]) / size
    cells = [_spread(ratios[name]) + (f" ({moved:.2f})" if name == OURS else "") for name in ratios]
    expected = simulated(row, OURS)
    ours = median(ratios[OURS])
    beside = f"{expected.ratio:.2f} | {ours / expected.ratio:.2f}" if expected is not None else "- | -"
    missed = _missed(row, {name: median(many) for name, many in ratios.items() if many}, moved)
    case = f"{row.workload} | {row.link} | {row.share}% | {bound:.1f} s"
    print(f"| {case} | {' | '.join(cells)} | {beside} | {missed or 'met'} |")


def _missed(row: Row, ratios: dict[str, float], moved: float) -> str:
    """Which goals are missed; two digits count."""
    is_serial = next(work for work in the_five() if work.name == row.workload).is_serial
    most = 1.05 if is_serial else {100: 1.15, 25: 1.5}.get(row.share)
    ours = round(ratios[OURS], 2)
    missed = [] if most is None or ours <= most else [f"over {most}"]
    most_moved = {100: 1.0, 25: 1.3}.get(row.share)
    if most_moved is not None and round(moved, 2) > most_moved:
        missed.append(f"moves more than {most_moved}")
    missed += [f"{name} is better" for name, ratio in ratios.items() if round(ratio, 2) < ours]
    return ", ".join(missed)


def _spread(ratios: list[float]) -> str:
    if not ratios:
        return "-"
    spread = f" [{min(ratios):.2f}-{max(ratios):.2f}]" if len(ratios) > 1 else ""
    return f"{median(ratios):.2f}{spread}"


def _print_comparison(row: Row, measured: dict[str, list[Measured]]) -> None:
    bound = bound_of(row)
    cells = []
    for name, many in measured.items():
        expected = simulated(row, name) if many else None
        if expected is None:
            cells.append("-")
            continue
        apart = median(one.seconds for one in many) / bound / expected.ratio
        cells.append(f"{apart:.2f}{'' if abs(apart - 1) <= TOLERANCE else ' ✗'}")
    runs = max(len(many) for many in measured.values())
    busy = median(one.busy for many in measured.values() for one in many)
    print(f"| {row.workload} | {row.link} | {row.share}% | {' | '.join(cells)} | {runs} | {busy:.0%} |")
