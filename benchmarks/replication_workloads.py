"""The workloads of the replication benchmarks: steps, what they read, how long they take. No CWL, no network."""

import random
from dataclasses import dataclass, field

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """A step: the files that it reads, the steps that end before it, the seconds it computes."""

    key: str
    files: tuple[str, ...]
    after: tuple[str, ...]
    seconds: float
    run: str = "run"


@dataclass(frozen=True, slots=True)
class Workload:
    """Steps over files on one remote."""

    name: str
    files: dict[str, int]
    steps: tuple[Step, ...]
    slots: int = 4
    """Steps that run at once, in each run."""
    is_serial: bool = field(default=False)

    @property
    def size_bytes(self) -> int:
        """The set: every file that a step reads, once."""
        return sum(self.files.values())

    @property
    def largest_step_bytes(self) -> int:
        """What the store must take at least."""
        return max(sum(self.files[file] for file in set(step.files)) for step in self.steps)


def serial(name: str, count: int, file_bytes: int, seconds: float) -> Workload:
    """Steps one after another, a file each."""
    steps = tuple(
        Step(f"s{number:03}", (f"f{number:03}",), (f"s{number - 1:03}",) if number else (), seconds)
        for number in range(count)
    )
    return Workload(name, {f"f{number:03}": file_bytes for number in range(count)}, steps, slots=1, is_serial=True)


def fan_out(width: int = 40, file_bytes: int = 5 * MB, seconds: float = 1.5) -> Workload:
    """Many alike at once, each with its file, and one that joins them."""
    leaves = tuple(Step(f"leaf{number:03}", (f"f{number:03}",), (), seconds) for number in range(width))
    join = Step("join", ("final",), tuple(leaf.key for leaf in leaves), 1.0)
    files = {f"f{number:03}": file_bytes for number in range(width)} | {"final": 10 * MB}
    return Workload("fan-out 40 over 4", files, (*leaves, join))


def diamond() -> Workload:
    """Two branches from one step: a long one of small files, a short one with a large file; both are joined."""
    steps = (
        Step("head", ("head",), (), 1.0),
        Step("a1", ("a1",), ("head",), 3.0),
        Step("a2", ("a2",), ("a1",), 3.0),
        Step("a3", ("a3",), ("a2",), 3.0),
        Step("b1", ("b1", "b2"), ("head",), 2.0),
        Step("join", ("join",), ("a3", "b1"), 1.0),
    )
    files = {"head": 5 * MB, "a1": 10 * MB, "a2": 15 * MB, "a3": 20 * MB, "b1": 20 * MB, "b2": 20 * MB, "join": 10 * MB}
    return Workload("diamond, uneven branches", files, steps)


def layers(width: int = 12, own_bytes: int = 3 * MB) -> Workload:
    """Three layers; each step reads a file of its own and one of four references that others read too."""
    files = {f"reference{number}": 10 * MB for number in range(4)}
    steps = []
    for layer in range(3):
        for place in range(width):
            own = f"own{layer}.{place}"
            files[own] = own_bytes
            after = (f"l{layer - 1}.{place}", f"l{layer - 1}.{(place + 1) % width}") if layer else ()
            steps.append(Step(f"l{layer}.{place}", (own, f"reference{place % 4}"), after, 1.5 + 0.25 * (place % 3)))
    return Workload("3 layers, shared references", files, tuple(steps))


def random_dag(seed: int) -> Workload:
    """Steps with one to three files, shared now and then, after up to two earlier ones."""
    chance = random.Random(seed)
    count = chance.randint(15, 35)
    files: dict[str, int] = {}
    steps: list[Step] = []
    for number in range(count):
        names = set()
        for _ in range(chance.choice((1, 1, 2, 3))):
            if files and chance.random() < 0.3:
                names.add(chance.choice(sorted(files)))
            else:
                name = f"f{len(files):03}"
                files[name] = int(chance.lognormvariate(1.6, 0.8) * MB)
                names.add(name)
        before = {chance.choice(steps).key for _ in range(chance.choice((0, 1, 1, 2)))} if steps else set()
        steps.append(Step(f"s{number:03}", tuple(sorted(names)), tuple(sorted(before)), chance.uniform(0.5, 4.0)))
    return Workload(f"random {seed}", files, tuple(steps))


def the_five() -> list[Workload]:
    """Those of the benchmark with real transfers."""
    return [
        serial("8 serial, 10 MB", 8, 10 * MB, 1.5),
        serial("20 serial, 480 MB", 20, 24 * MB, 2.5),
        fan_out(),
        diamond(),
        layers(),
    ]


def crowd(runs: int, make: Workload) -> Workload:
    """Many runs of one workload at once: every run has files of its own, references are shared."""
    files: dict[str, int] = {}
    steps = []
    for run in range(runs):
        names = {file: file if file.startswith("reference") else f"{run:03}/{file}" for file in make.files}
        files |= {names[file]: size for file, size in make.files.items()}
        steps += [
            Step(step.key, tuple(names[file] for file in step.files), step.after, step.seconds, f"run{run:03}")
            for step in make.steps
        ]
    return Workload(f"{runs} runs: {make.name}", files, tuple(steps), make.slots)


def wide(name: str, steps: int, files_each: int, file_bytes: int, *, seconds: float, slots: int) -> Workload:
    """Independent steps of many files each."""
    works = []
    files = {}
    for step in range(steps):
        names = tuple(f"{step:05}/{number:05}" for number in range(files_each))
        files |= dict.fromkeys(names, file_bytes)
        works.append(Step(f"s{step:05}", names, (), seconds))
    return Workload(name, files, tuple(works), slots)
