"""Discrete events: one link that connections share, steps that take slots, a store with a limit."""

import heapq
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from replication_workloads import Step, Workload


@dataclass(frozen=True, slots=True)
class Link:
    """The shared link: bytes a second in all and for each connection at most, a round trip before the first byte."""

    bytes_per_second: float = 12.5e6
    connection_bytes_per_second: float = float("inf")
    delay_seconds: float = 0.04


class Simulation:
    """Time, link, slots and store; a policy decides what is fetched, dropped and started."""

    def __init__(self, work: Workload, link: Link, store_bytes: float) -> None:
        self.work = work
        self.link = link
        self.store_bytes = store_bytes
        self.now = 0.0
        self.moved_bytes = 0
        """Bytes asked for."""
        self.arrived_bytes = 0.0
        """Bytes that came over the link so far, those of open transfers included."""
        self.here: dict[str, int] = {}
        self.reserved: dict[str, int] = {}
        self.filled_bytes = 0
        self.users: dict[str, int] = defaultdict(int)
        """How many running steps read a file."""
        self.waits = {(step.run, step.key): len(step.after) for step in work.steps}
        self.steps = {(step.run, step.key): step for step in work.steps}
        self.follows: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for step in work.steps:
            for one in step.after:
                self.follows[step.run, one].append((step.run, step.key))
        self.ready = {key: None for key, count in self.waits.items() if count == 0}
        """Steps that wait for nothing but files and a slot."""
        self.using: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.lacks = {key: len(set(step.files)) for key, step in self.steps.items()}
        """How many files each step lacks."""
        for key, step in self.steps.items():
            for file in set(step.files):
                self.using[file].append(key)
        self.changes = 0
        """Counts what steps may start by: ends, starts, arrivals that complete a step."""
        self.running: dict[tuple[str, str], float] = {}
        """Steps in slots, and when they began."""
        self.in_run: dict[str, int] = defaultdict(int)
        self.stirred: dict[str, float] = defaultdict(float)
        """When a step of a run began or ended last."""
        self.ended: set[tuple[str, str]] = set()
        self.took: dict[str, list[float]] = defaultdict(list)
        """How long the steps of a run that have ended took, the latest first."""
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._flows: list[tuple[float, int, Callable[[], None]]] = []
        self._served = 0.0
        """Bytes that a connection which was open from the start would have got."""
        self._count = 0
        self._chance = random.Random(1)

    # --- time

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        """Call in so many seconds."""
        self._count += 1
        heapq.heappush(self._timers, (self.now + seconds, self._count, call))

    def transfer(self, size: int, delay: float, call: Callable[[], None]) -> None:
        """One request: a delay that varies a little, or streams would march in step; then bytes over a connection."""
        self.moved_bytes += size

        def begin() -> None:
            self._count += 1
            heapq.heappush(self._flows, (self._served + size, self._count, call))

        self.at(delay * self._chance.uniform(0.9, 1.1), begin)

    def run(self, policy: "Policy") -> float:
        """Until every step has ended: the makespan in seconds."""
        policy.begin(self)
        policy.decide(self)
        while len(self.ended) < len(self.steps):
            if not self._timers and not self._flows:
                raise RuntimeError(
                    f"{policy.name} is stuck at {self.now:.1f} s: {len(self.ended)} of {len(self.steps)}"
                )
            self._advance()
            policy.decide(self)
        return self.now

    def _advance(self) -> None:
        """To the next event; what happens at one moment happens together."""
        rate = self._rate()
        timer = self._timers[0][0] if self._timers else float("inf")
        flow = self.now + max(self._flows[0][0] - self._served, 0.0) / rate if self._flows else float("inf")
        then = min(timer, flow)
        if self._flows:
            served = self._flows[0][0] if flow <= timer else self._served + (then - self.now) * rate
            self.arrived_bytes += (served - self._served) * len(self._flows)
            self._served = served
        self.now = then
        calls = []
        while self._flows and self._flows[0][0] <= self._served + 1e-6:
            calls.append(heapq.heappop(self._flows)[2])
        while self._timers and self._timers[0][0] <= self.now + 1e-9:
            calls.append(heapq.heappop(self._timers)[2])
        for call in calls:
            call()

    def _rate(self) -> float:
        """What each open connection gets."""
        if not self._flows:
            return self.link.bytes_per_second
        return min(self.link.connection_bytes_per_second, self.link.bytes_per_second / len(self._flows))

    # --- store

    def reserve(self, file: str) -> bool:
        """Space for a file that is coming; False where there is none."""
        size = self.work.files[file]
        if self.filled_bytes + size > self.store_bytes + 1e-6:
            return False
        self.reserved[file] = size
        self.filled_bytes += size
        return True

    def arrived(self, file: str) -> None:
        """A file for which space was reserved is here."""
        self.here[file] = self.reserved.pop(file)
        for key in self.using[file]:
            self.lacks[key] -= 1
            self.changes += self.lacks[key] == 0

    def drop(self, file: str) -> None:
        """Out of the store."""
        if self.users[file]:
            raise RuntimeError(f"{file} is dropped while it is read")
        self.filled_bytes -= self.here.pop(file)
        for key in self.using[file]:
            self.lacks[key] += 1

    # --- steps

    def has_files(self, key: tuple[str, str]) -> bool:
        """Whether a step's files are all here."""
        return self.lacks[key] == 0

    def has_slot(self, run: str) -> bool:
        """Whether another step of the run may start."""
        return self.in_run[run] < self.work.slots

    def start(self, key: tuple[str, str], *, reading: bool = True) -> Step:
        """A step takes a slot; with ``reading`` its files stay where they are, and it computes."""
        step = self.steps[key]
        del self.ready[key]
        self.changes += 1
        self.running[key] = self.stirred[key[0]] = self.now
        self.in_run[step.run] += 1
        if reading:
            for file in step.files:
                self.users[file] += 1
            self.compute(key, release=step.files)
        return step

    def compute(self, key: tuple[str, str], release: tuple[str, ...] = ()) -> None:
        """A step that has its slot and its bytes works, then ends."""

        def end() -> None:
            for file in release:
                self.users[file] -= 1
            self.changes += 1
            self.stirred[key[0]] = self.now
            self.took[key[0]].insert(0, self.now - self.running.pop(key))
            self.in_run[key[0]] -= 1
            self.ended.add(key)
            for follower in self.follows[key]:
                self.waits[follower] -= 1
                if self.waits[follower] == 0:
                    self.ready[follower] = None

        self.at(self.steps[key].seconds, end)


class Policy:
    """How inputs are brought."""

    name = ""

    def begin(self, simulation: Simulation) -> None:
        """Before anything happens."""

    def decide(self, simulation: Simulation) -> None:
        """Something happened."""
        raise NotImplementedError
