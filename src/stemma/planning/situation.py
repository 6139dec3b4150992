"""What the planner is told, and what it answers. Plain records: times in seconds from now, sizes in bytes."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file that steps need and that is not in the store, or not wholly."""

    key: str
    remote: str
    """The name of the :class:`LinkState` that it comes over."""
    size_bytes: int | None
    """None where the source does not tell; the planner guesses."""
    arrived_bytes: int = 0
    is_moving: bool = False
    """Its transfer has begun and its space is reserved: it stays in the order until it is here."""


@dataclass(frozen=True, slots=True)
class StepNeed:
    """A step execution that has not ended, as far as it is known by now."""

    key: str
    """Unique within its run."""
    run: str
    files: tuple[str, ...]
    """Every input file that it reads from the store: here already, or wanted. A key that is neither cannot be had
    at present, and the step is left aside. Files that steps of the run make are no matter of the planner's."""
    after: tuple[str, ...] = ()
    """Steps of the same run that end before this one starts. Those not among the situation's steps have ended."""
    seconds: float | None = 1.0
    """How long it takes, expected (``durations.expected_seconds``); for a running step how long still. None where
    nothing is known: then it is taken to last as long as its files take to come."""
    elapsed_seconds: float = 0.0
    """How long it has been running: asked for where ``seconds`` is None."""
    is_waiting: bool = False
    """It is known to wait: it could start now but for its files."""
    is_running: bool = False


@dataclass(frozen=True, slots=True)
class StreamRate:
    """What was seen with so many streams at once, all of them busy: sums, old ones decayed (``streams.observed``)."""

    streams: int
    moved_bytes: float
    seconds: float
    requests: float = 0.0
    """How many requests brought those bytes."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """The way to one remote."""

    name: str
    rates: tuple[StreamRate, ...] = ()
    """One for each number of streams that was tried."""
    bytes_per_second: float | None = None
    """Observed lately, all streams together; None before anything came over it."""
    most_streams: int = 16
    seconds_per_request: float = 0.0
    """From a request until its first byte."""


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A copy in the store that can be had again from its source: it may be dropped unless it is pinned."""

    key: str
    size_bytes: int
    remote: str = ""
    """The link that it came over."""
    last_used: float = 0.0
    """Any clock that grows: of files that no known step needs, the one used longest ago goes first."""
    times: int = 1
    """How often it was brought for runs that go on."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """The local store."""

    limit_bytes: int | None = None
    """None: without bound."""
    files: tuple[HeldFile, ...] = ()
    pinned: frozenset[str] = frozenset()
    """Keys of files that a step reads now. Files of running steps count as pinned whether named or not."""
    kept_bytes: int = 0
    """What is never dropped: outputs, uploads."""
    reserved_bytes: int = 0
    """Space promised to transfers that are not among the situation's files."""


@dataclass(frozen=True, slots=True)
class RunShare:
    """One run among several that share links and store."""

    key: str
    served_bytes: float = 0.0
    """What was moved for it over the last minute or so: a window, so that an old run owes nothing to a new one."""
    weight: float = 1.0
    slots: int | None = None
    """How many of its steps run at once; None: as many as are ready."""
    has_begun: bool = True
    """Whether its steps can start: a queued run's cannot, however many of its files are here."""
    came: float = 0.0
    """When it was submitted, by any clock that grows: of runs that got the same the oldest comes first."""
    idle_seconds: float = float("inf")
    """For how long none of its steps has begun, ended, or begun to wait."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision rests on. The order of its tuples means nothing."""

    files: tuple[WantedFile, ...] = ()
    steps: tuple[StepNeed, ...] = ()
    links: tuple[LinkState, ...] = ()
    store: StoreState = StoreState()
    runs: tuple[RunShare, ...] = ()
    """Those that are not named have the defaults of :class:`RunShare`."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """A file to bring."""

    key: str
    remote: str
    urgency: float
    """Seconds until the step that needs it first could start, 0 where it waits: for reports, the order says all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do until the next decision."""

    order: tuple[Fetch, ...] = ()
    """Most urgent first: each free stream takes the next range of the first file that has one. There is room for all
    of them, once as much of ``evict`` is dropped as the files up to it need."""
    evict: tuple[str, ...] = ()
    """What may go: drop from its front, no more than the next file of ``order`` needs."""
    streams: dict[str, int] = field(default_factory=dict)
    """How many streams at once on each link."""
    steps: tuple[tuple[str, str], ...] = ()
    """(run, step) in the order in which ready steps should start: those whose files are here come first."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """A step whose own files cannot lie in the store together."""

    run: str
    step: str
    needed_bytes: int
    room_bytes: int
    """The store's limit less what is never dropped."""
