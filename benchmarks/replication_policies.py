"""The contestants: no replication, stage everything first, the published solution, the planner."""

from collections.abc import Iterator
from math import ceil

from replication_model import Policy, Simulation
from stemma.planning.durations import expected_seconds, remaining_seconds
from stemma.planning.planner import plan
from stemma.planning.situation import (
    Fetch,
    HeldFile,
    LinkState,
    Plan,
    RunShare,
    Situation,
    StepNeed,
    StoreState,
    StreamRate,
    WantedFile,
)
from stemma.planning.streams import observed

MIB = 2**20
LINK = "link"
Key = tuple[str, str]


class NoReplication(Policy):
    """Steps read what they need over the link when they start, one file after another, in their slot."""

    name = "no replication"

    def __init__(self) -> None:
        self._seen = -1

    def decide(self, simulation: Simulation) -> None:
        """Start what is ready."""
        if simulation.changes == self._seen:
            return
        for key in list(simulation.ready):
            if simulation.has_slot(key[0]):
                step = simulation.start(key, reading=False)
                self._read(simulation, key, list(step.files))
        self._seen = simulation.changes

    def _read(self, simulation: Simulation, key: Key, files: list[str]) -> None:
        if not files:
            simulation.compute(key)
            return
        size = simulation.work.files[files.pop(0)]
        simulation.transfer(size, simulation.link.delay_seconds, lambda: self._read(simulation, key, files))


class StageAll(Policy):
    """Everything is copied first, then the steps start. Needs a store that takes everything."""

    def __init__(self, streams: int) -> None:
        self.name = f"stage all, {streams} stream{'s' if streams > 1 else ''}"
        self._streams = streams
        self._coming: list[str] = []
        self._open = 0
        self._seen = -1

    def begin(self, simulation: Simulation) -> None:
        """In the order of names, as a copy tool does."""
        self._coming = sorted(simulation.work.files, reverse=True)

    def decide(self, simulation: Simulation) -> None:
        """Fill the streams; start steps when all is here."""
        while self._coming and self._open < self._streams:
            self._fetch(simulation, self._coming.pop())
        if self._coming or self._open or simulation.changes == self._seen:
            return
        for key in list(simulation.ready):
            if simulation.has_slot(key[0]):
                simulation.start(key)
        self._seen = simulation.changes

    def _fetch(self, simulation: Simulation, file: str) -> None:
        simulation.reserve(file)
        self._open += 1

        def arrive() -> None:
            self._open -= 1
            simulation.arrived(file)

        simulation.transfer(simulation.work.files[file], simulation.link.delay_seconds, arrive)


class Published(Policy):
    """One file after another in the order of need, three processes for each, the least recently used go.

    A file that is here is not copied again, and what a step waits for is not dropped: kinder than the original.
    """

    name = "published solution"
    PROCESSES_SECONDS = 0.242
    """Three rclone processes over loopback; each further millisecond of round trip costs ten."""
    ROUND_TRIPS = 10

    def __init__(self) -> None:
        self._coming: list[tuple[str, Key]] = []
        self._awaiting: dict[Key, None] = {}
        """Steps whose files were asked for and that have not started."""
        self._is_busy = False
        self._used: dict[str, float] = {}
        self._seen = -1

    def begin(self, simulation: Simulation) -> None:
        """Steps in an order that the graph allows, the files of each."""
        waits = dict(simulation.waits)
        order = [key for key, count in waits.items() if count == 0]
        for key in order:
            self._coming += [(file, key) for file in simulation.steps[key].files]
            for follower in simulation.follows[key]:
                waits[follower] -= 1
                if waits[follower] == 0:
                    order.append(follower)
        self._coming.reverse()

    def decide(self, simulation: Simulation) -> None:
        """Start what has its files; fetch the next."""
        if simulation.changes != self._seen:
            for key in list(simulation.ready):
                if simulation.has_slot(key[0]) and simulation.has_files(key):
                    self._used |= dict.fromkeys(simulation.start(key).files, simulation.now)
                    self._awaiting.pop(key, None)
            self._seen = simulation.changes
        while self._coming and not self._is_busy:
            file, step = self._coming[-1]
            if step not in simulation.ended and step not in simulation.running:
                self._awaiting[step] = None
            if file in simulation.here or step in simulation.ended:
                self._used[file] = simulation.now
                self._coming.pop()
            elif simulation.reserve(file) or self._make_room(simulation, file):
                self._coming.pop()
                self._fetch(simulation, file)
            else:
                return

    def _make_room(self, simulation: Simulation, file: str) -> bool:
        awaited = {name for key in self._awaiting for name in simulation.steps[key].files}
        idle = [name for name in simulation.here if not simulation.users[name] and name not in awaited]
        idle.sort(key=lambda name: self._used.get(name, 0.0), reverse=True)
        while not simulation.reserve(file):
            if not idle:
                return False
            simulation.drop(idle.pop())
        return True

    def _fetch(self, simulation: Simulation, file: str) -> None:
        self._is_busy = True

        def arrive() -> None:
            self._is_busy = False
            simulation.arrived(file)
            self._used[file] = simulation.now

        delay = self.PROCESSES_SECONDS + self.ROUND_TRIPS * simulation.link.delay_seconds
        simulation.transfer(simulation.work.files[file], delay, arrive)


class Planned(Policy):
    """The planner decides, streams take ranges of the first file in its order that has one."""

    name = "stemma"

    def __init__(self, interval_seconds: float = 0.0) -> None:
        self._interval = interval_seconds
        self._plan = Plan()
        self._planned_at = float("-inf")
        self._fetches: Iterator[Fetch] = iter(())
        self._fetch: Fetch | None = None
        self._left: dict[str, int] = {}
        """Bytes of moving files that no stream has taken yet."""
        self._on_way: dict[str, int] = {}
        """Bytes of moving files that have not arrived."""
        self._open = 0
        self._sizes: list[int] = []
        self._watch = _Watch()
        self._seen: tuple[int, ...] = ()
        self._served: dict[str, float] = {}
        self._times: dict[str, int] = {}
        self.rounds = 0

    def decide(self, simulation: Simulation) -> None:
        """Plan anew where something changed, then start steps and fill streams."""
        if self._state(simulation) != self._seen:
            is_due = simulation.now >= self._planned_at + self._interval
            if is_due or (self._open < self._streams and not self._next(simulation)):
                self._think(simulation)
            while self._start(simulation) and not self._interval:
                self._think(simulation)
            self._seen = self._state(simulation)
        while self._open < self._streams and self._take(simulation):
            pass
        self._watch.look(simulation, self._open, self._streams)

    @property
    def _streams(self) -> int:
        return self._plan.streams.get(LINK, 1)

    def _state(self, simulation: Simulation) -> tuple[int, ...]:
        return (len(simulation.here), simulation.changes, len(self._watch.rates))

    def _think(self, simulation: Simulation) -> None:
        self._plan = plan(self.situation(simulation))
        self._planned_at = simulation.now
        self._fetches = iter(self._plan.order)
        self._fetch = None
        self.rounds += 1

    def _start(self, simulation: Simulation) -> bool:
        started = False
        for key in self._plan.steps:
            if key in simulation.ready and simulation.has_files(key) and simulation.has_slot(key[0]):
                simulation.start(key)
                started = True
        return started

    def situation(self, simulation: Simulation) -> Situation:
        """What the planner is told."""
        sizes = simulation.work.files
        steps = []
        needed = set(simulation.reserved)
        for key, step in simulation.steps.items():
            if key in simulation.ended:
                continue
            began = simulation.running.get(key)
            steps.append(
                StepNeed(
                    step.key,
                    step.run,
                    step.files,
                    step.after,
                    _seconds(simulation, key),
                    0.0 if began is None else simulation.now - began,
                    is_waiting=key in simulation.ready,
                    is_running=began is not None,
                )
            )
            needed.update(step.files)
        wanted = tuple(
            WantedFile(file, LINK, sizes[file], sizes[file] - self._on_way.get(file, sizes[file]), file in self._on_way)
            for file in needed
            if file not in simulation.here
        )
        limit = None if simulation.store_bytes == float("inf") else int(simulation.store_bytes)
        store = StoreState(
            limit,
            tuple(HeldFile(file, size, LINK, times=self._times.get(file, 1)) for file, size in simulation.here.items()),
        )
        runs = tuple(
            RunShare(
                run,
                self._served.get(run, 0.0),
                slots=simulation.work.slots,
                idle_seconds=simulation.now - simulation.stirred[run],
            )
            for run in {step.run for step in simulation.work.steps}
        )
        link = LinkState(LINK, self._watch.rates, seconds_per_request=simulation.link.delay_seconds)
        return Situation(wanted, tuple(steps), (link,), store, runs)

    def _next(self, simulation: Simulation) -> Fetch | None:
        """The first of the order that has bytes to take."""
        while self._fetch is None or self._fetch.key in simulation.here or self._left.get(self._fetch.key) == 0:
            self._fetch = next(self._fetches, None)
            if self._fetch is None:
                return None
        return self._fetch

    def _take(self, simulation: Simulation) -> bool:
        """One more range on its way."""
        fetch = self._next(simulation)
        if fetch is None:
            return False
        file = fetch.key
        if file not in self._left:
            evict = (one for one in self._plan.evict if one in simulation.here and not simulation.users[one])
            while not simulation.reserve(file):
                drop = next(evict, None)
                if drop is None:
                    return False
                simulation.drop(drop)
            self._left[file] = self._on_way[file] = simulation.work.files[file]
        self._range(simulation, file)
        return True

    def _range(self, simulation: Simulation, file: str) -> None:
        left = self._left[file]
        rate = simulation.link.bytes_per_second
        most = max(16 * MIB, int(64 * simulation.link.delay_seconds * rate / self._streams), left // 256)
        size = left if self._streams == 1 else min(left, most, max(MIB, ceil(left / self._streams)))
        self._left[file] -= size
        self._open += 1

        def arrive() -> None:
            self._open -= 1
            self._on_way[file] -= size
            self._watch.requests += 1
            run = simulation.using[file][0][0]
            self._served[run] = self._served.get(run, 0.0) + size
            if self._on_way[file] == 0:
                del self._on_way[file], self._left[file]
                self._times[file] = self._times.get(file, 0) + 1
                simulation.arrived(file)

        simulation.transfer(size, simulation.link.delay_seconds, arrive)


def _seconds(simulation: Simulation, key: Key) -> float | None:
    """As at a first run: nobody knows how long a step takes, but how long others of the run took."""
    alike = simulation.took[key[0]]
    began = simulation.running.get(key)
    if began is None:
        return expected_seconds((), alike)
    return remaining_seconds((), simulation.now - began, alike)


class _Watch:
    """What the link brings with so many streams, while all of them are busy."""

    SECONDS = 0.5

    def __init__(self) -> None:
        self.rates: tuple[StreamRate, ...] = ()
        self.requests = 0
        """Ranges that have come."""
        self._streams = 0
        self._before = (0.0, 0.0, 0)

    def look(self, simulation: Simulation, busy: int, streams: int) -> None:
        """After each event: begin anew where a stream idles."""
        now = (simulation.now, simulation.arrived_bytes, self.requests)
        seconds, moved, requests = (new - old for new, old in zip(now, self._before, strict=True))
        if busy == self._streams == streams:
            if seconds < self.SECONDS:
                return
            self.rates = observed(self.rates, streams, moved, seconds, requests)
        self._streams = busy if busy == streams else 0
        self._before = now
