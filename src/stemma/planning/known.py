"""A situation by numbers: files and steps are places in lists, which is what makes a decision quick."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from statistics import median

from stemma.planning.situation import RunShare, Situation, StepNeed, StoreState, WantedFile
from stemma.planning.streams import UNSEEN_BYTES_PER_SECOND, link_speed

GUESSED_BYTES = 16 * 2**20
"""What a file is taken to be whose size nobody tells, where no other file gives an idea."""


@dataclass(slots=True)
class Known:
    """Files and steps in the order of their keys, so that the situation's order means nothing."""

    keys: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    """Bytes still to come; 0 for a file that is here, at least 1 for any other."""
    is_here: list[bool] = field(default_factory=list)
    is_moving: list[bool] = field(default_factory=list)
    remotes: list[str] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    """Bytes a second of each file's link."""
    last_used: list[float] = field(default_factory=list)
    pinned: set[int] = field(default_factory=set)
    times: list[int] = field(default_factory=list)
    """How often each was brought for runs that go on."""
    steps: list[StepNeed] = field(default_factory=list)
    """Those that can be brought to their end by what is known; each after those that it waits for."""
    files_of: list[list[int]] = field(default_factory=list)
    after: list[list[int]] = field(default_factory=list)
    follows: list[list[int]] = field(default_factory=list)
    using: list[list[int]] = field(default_factory=list)
    """For each file the steps that read it."""
    runs: dict[str, RunShare] = field(default_factory=dict)
    room: float = float("inf")
    """What replicas may fill, the pinned and the moving among them."""


def room_bytes(store: StoreState) -> float:
    """What replicas may fill when no others are on their way: the limit less what is never dropped."""
    return float("inf") if store.limit_bytes is None else float(store.limit_bytes - store.kept_bytes)


def guessed_bytes(files: Iterable[WantedFile]) -> int:
    """What a file of unknown size is taken to be."""
    told = [file.size_bytes for file in files if file.size_bytes is not None]
    return int(median(told)) if told else GUESSED_BYTES


def size_of(file: WantedFile, guess: int) -> int:
    """Its size, or what it is taken to be."""
    size = guess if file.size_bytes is None else file.size_bytes
    return size if size > file.arrived_bytes else max(file.arrived_bytes, 0)


def known_of(situation: Situation) -> Known:
    """Number everything."""
    known = Known(
        runs={run.key: run for run in situation.runs},
        room=room_bytes(situation.store) - situation.store.reserved_bytes,
    )
    numbers = _number_files(situation, known)
    _number_steps(situation, known, numbers)
    known.follows = _turned(known.after, len(known.steps))
    known.using = _turned(known.files_of, len(known.keys))
    known.pinned = {numbers[key] for key in situation.store.pinned if key in numbers}
    for number, step in enumerate(known.steps):
        known.runs.setdefault(step.run, RunShare(step.run))
        if step.is_running:
            known.pinned.update(known.files_of[number])
    return known


def _number_files(situation: Situation, known: Known) -> dict[str, int]:
    by_key = attrgetter("key")
    held = sorted({file.key: file for file in situation.store.files}.values(), key=by_key)
    is_held = {file.key for file in held}
    wanted = sorted({file.key: file for file in situation.files if file.key not in is_held}.values(), key=by_key)
    speeds = {link.name: link_speed(link) for link in situation.links}
    usual = min(speeds.values(), default=UNSEEN_BYTES_PER_SECOND)
    guess = guessed_bytes(wanted)
    sizes = [size_of(file, guess) for file in wanted]
    known.keys = [file.key for file in held] + [file.key for file in wanted]
    known.sizes = [max(file.size_bytes, 0) for file in held] + sizes
    known.missing = [0] * len(held)
    known.missing += [max(size - file.arrived_bytes, 1) for size, file in zip(sizes, wanted, strict=True)]
    known.is_here = [True] * len(held) + [False] * len(wanted)
    known.is_moving = [False] * len(held) + [file.is_moving for file in wanted]
    known.remotes = [file.remote for file in held] + [file.remote for file in wanted]
    known.speeds = [speeds.get(remote, usual) for remote in known.remotes]
    known.last_used = [file.last_used for file in held] + [0.0] * len(wanted)
    known.times = [file.times for file in held] + [0] * len(wanted)
    return {key: number for number, key in enumerate(known.keys)}


def _number_steps(situation: Situation, known: Known, numbers: dict[str, int]) -> None:
    """Steps each after those it waits for. One whose files cannot be had is left out, and what comes after it."""
    steps = sorted(situation.steps, key=attrgetter("run", "key"))
    places = {(step.run, step.key): place for place, step in enumerate(steps)}
    waits = [[places[step.run, key] for key in sorted(set(step.after)) if (step.run, key) in places] for step in steps]
    follows = _turned(waits, len(steps))
    open_waits = [len(before) for before in waits]
    ready = [place for place, count in enumerate(open_waits) if count == 0]
    room = room_bytes(situation.store)
    number_of: dict[int, int] = {}
    for place in ready:  # grows as it is walked
        step = steps[place]
        keys = set(step.files)
        files = sorted([numbers[key] for key in keys if key in numbers])
        has_all = len(files) == len(keys) and sum([known.sizes[file] for file in files]) <= room
        if not has_all and not step.is_running:
            continue
        number_of[place] = len(known.steps)
        known.steps.append(step)
        known.files_of.append(files)
        known.after.append([number_of[one] for one in waits[place]])
        for follower in follows[place]:
            open_waits[follower] -= 1
            if open_waits[follower] == 0:
                ready.append(follower)


def _turned(rows: list[list[int]], count: int) -> list[list[int]]:
    """For each number the rows in which it is."""
    turned: list[list[int]] = [[] for _ in range(count)]
    for row, numbers in enumerate(rows):
        for number in numbers:
            turned[number].append(row)
    return turned
