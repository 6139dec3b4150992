"""Situations for the planner, drawn by Hypothesis, and a small world that follows its plans."""

from dataclasses import dataclass, field

from hypothesis import strategies as st

from stemma.planning.planner import plan
from stemma.planning.situation import (
    HeldFile,
    LinkState,
    Plan,
    RunShare,
    Situation,
    StepNeed,
    StoreState,
    WantedFile,
)

LINKS = (LinkState("a", bytes_per_second=100.0), LinkState("b", bytes_per_second=30.0))


@st.composite
def step_needs(draw: st.DrawFn, files: list[str], *, most: int = 12) -> tuple[StepNeed, ...]:
    """Steps of up to three runs, after some of those before them."""
    steps: list[StepNeed] = []
    for number in range(draw(st.integers(1, most))):
        run = draw(st.sampled_from(("r1", "r2", "r3")))
        before = [step.key for step in steps if step.run == run]
        steps.append(
            StepNeed(
                f"s{number}",
                run,
                tuple(draw(st.lists(st.sampled_from(files), max_size=4))) if files else (),
                tuple(draw(st.lists(st.sampled_from(before), max_size=2))) if before else (),
                draw(st.floats(0, 20)),
            )
        )
    return tuple(steps)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Anything that may be told, stores that are too full and steps that do not fit included."""
    sizes = draw(st.lists(st.integers(0, 50), min_size=0, max_size=14))
    keys = [f"f{number:02}" for number in range(len(sizes))]
    states = [draw(st.sampled_from(("here", "wanted", "moving", "unknown"))) for _ in keys]
    held = [HeldFile(k, s, "a") for k, s, w in zip(keys, sizes, states, strict=True) if w == "here"]
    wanted = [
        WantedFile(
            key, draw(st.sampled_from("ab")), draw(st.sampled_from((size, size, None))), size // 3, state == "moving"
        )
        for key, size, state in zip(keys, sizes, states, strict=True)
        if state in {"wanted", "moving"}
    ]
    steps = list(draw(step_needs(keys)))
    here = {file.key for file in held}
    for place, step in enumerate(steps):
        if not step.after and here.issuperset(step.files) and draw(st.booleans()):
            steps[place] = StepNeed(step.key, step.run, step.files, (), step.seconds, is_running=True)
    pinned = draw(st.sets(st.sampled_from(sorted(here)))) if here else set()
    limit = draw(st.one_of(st.none(), st.integers(0, 300)))
    runs = [RunShare(key, draw(st.floats(0, 1e6)), slots=draw(st.integers(1, 3))) for key in ("r1", "r2")]
    store = StoreState(limit, tuple(held), frozenset(pinned), draw(st.integers(0, 20)), draw(st.integers(0, 20)))
    return Situation(tuple(wanted), tuple(steps), LINKS, store, tuple(runs))


@dataclass(slots=True)
class World:
    """Steps, files and a store; follows the planner, a file at a time, until nothing moves any more."""

    sizes: dict[str, int]
    steps: tuple[StepNeed, ...]
    limit: int
    slots: int = 2
    here: set[str] = field(default_factory=set)
    running: list[StepNeed] = field(default_factory=list)
    ended: set[tuple[str, str]] = field(default_factory=set)
    served: dict[str, float] = field(default_factory=dict)
    moved: int = 0
    times: dict[str, int] = field(default_factory=dict)

    def situation(self) -> Situation:
        """What there is now."""
        running = {(step.run, step.key) for step in self.running}
        open_steps = [step for step in self.steps if (step.run, step.key) not in self.ended]
        return Situation(
            tuple(WantedFile(key, "a", size) for key, size in self.sizes.items() if key not in self.here),
            tuple(
                StepNeed(s.key, s.run, s.files, s.after, s.seconds, is_running=(s.run, s.key) in running)
                for s in open_steps
            ),
            LINKS,
            StoreState(
                self.limit,
                tuple(HeldFile(key, self.sizes[key], "a", times=self.times[key]) for key in sorted(self.here)),
            ),
            tuple(RunShare(run, served, slots=self.slots) for run, served in self.served.items()),
        )

    def go(self) -> None:
        """Start what can start, bring one file, else end one step; again, until nothing is left to do."""
        for _ in range(20 * (len(self.steps) + 1) * (len(self.sizes) + 1)):
            decision = plan(self.situation())
            if not (self._start(decision) or self._bring(decision) or self._end()):
                return
        raise AssertionError(f"it goes on and on: {self.steps} limit {self.limit}")

    def _start(self, decision: Plan) -> bool:
        waiting = {(step.run, step.key): step for step in self.steps if (step.run, step.key) not in self.ended}
        for key in decision.steps:
            step = waiting.get(key)
            is_ready = step is not None and all((step.run, one) in self.ended for one in step.after)
            busy = sum(one.run == key[0] for one in self.running)
            if is_ready and busy < self.slots and step not in self.running and self.here.issuperset(step.files):
                self.running.append(step)
                return True
        return False

    def _bring(self, decision: Plan) -> bool:
        if not decision.order:
            return False
        key = decision.order[0].key
        evict = list(decision.evict)
        while sum(self.sizes[one] for one in self.here) + self.sizes[key] > self.limit:
            self.drop(evict.pop(0))
        self.here.add(key)
        self.moved += self.sizes[key]
        self.times[key] = self.times.get(key, 0) + 1
        users = [step.run for step in self.steps if key in step.files and (step.run, step.key) not in self.ended]
        self.served[users[0]] = self.served.get(users[0], 0.0) + self.sizes[key]
        return True

    def drop(self, key: str) -> None:
        """Out of the store."""
        if any(key in step.files for step in self.running):
            raise AssertionError(f"{key} is read")
        self.here.remove(key)

    def _end(self) -> bool:
        if not self.running:
            return False
        step = min(self.running, key=lambda one: (one.seconds, one.run, one.key))
        self.running.remove(step)
        self.ended.add((step.run, step.key))
        return True
