"""What would come of serving steps by a rule: links, slots and store, played through to the end."""

import heapq
from dataclasses import dataclass

from stemma.planning.estimates import Estimates
from stemma.planning.known import Known
from stemma.planning.ranking import Ranking, Rule
from stemma.planning.shelf import Shelf

_SOON = 1e-9
"""Moments closer than this are one."""
_FAR_FILES = 1000
"""Farther ahead than so many files nothing is played: the next decisions will see."""
_BYTES_COST = 1.0
"""A second of the link counts as so many seconds of everybody's time. Ends are told from guesses, bytes are not: an
order that seems to end a little sooner, and moves more for it, would be another at the next decision."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a play went."""

    order: list[int]
    """Steps as they were served."""
    ends: dict[str, float]
    """When each run ended, in seconds."""
    moved_seconds: float
    """How long the links were busy."""

    @property
    def cost(self) -> float:
        """The less, the better: half the last end, half the mean end."""
        ends = self.ends.values()
        return (max(ends) + sum(ends) / len(ends)) / 2 + _BYTES_COST * self.moved_seconds if ends else 0.0


class Forecast:
    """One play. Steps are promised their files one after another; whoever has all of them and a slot runs."""

    def __init__(self, known: Known, estimates: Estimates, rule: Rule) -> None:
        self._known = known
        self._estimates = estimates
        self._shelf = Shelf(known, estimates)
        self._ranking = Ranking(known, rule, estimates.tails, self._shelf.left)
        self._now = 0.0
        self._busy = dict.fromkeys(known.remotes, 0.0)
        """When each link is free."""
        self._arrives = [0.0] * len(known.keys)
        self._waits = [len(before) for before in known.after]
        """How many steps must end before this one starts."""
        self._unserved = list(self._waits)
        """How many of those have not been served: their end cannot be told."""
        self._ends = list(estimates.needs)
        """When each step ends, as far as that is known."""
        self._is_served = [False] * len(known.steps)
        self._used = dict.fromkeys(known.runs, 0)
        self._startable: dict[str, list[tuple[float, int]]] = {key: [] for key in known.runs}
        self._complete: dict[str, list[tuple[float, int]]] = {key: [] for key in known.runs}
        """Steps that lack nothing, by run, though nobody promised them anything."""
        self._changed: set[str] = set()
        """Runs where such a step may start."""
        self._events: list[tuple[float, bool, int]] = []
        """When a step ends (True) or has its files (False)."""
        self._first: int | None = None
        """The step that is served and does not fit yet: room is made for it as others end."""
        self._moving = [file for file, moving in enumerate(known.is_moving) if moving]
        self._order: list[int] = []
        self._run_ends = dict.fromkeys(known.runs, 0.0)
        self._moved_seconds = 0.0
        self._brought = 0

    def play(self) -> Outcome:
        """To the end."""
        self._begin()
        while True:
            while self._brought < _FAR_FILES and self._decide():
                pass
            if self._brought >= _FAR_FILES or not self._wait():
                break
        rest = [step for step, is_served in enumerate(self._is_served) if not is_served]
        rest.sort(key=self._estimates.places.__getitem__)
        for step in rest:  # cannot be told: far away, but no reason to forget them
            run = self._known.steps[step].run
            self._run_ends[run] = max(self._run_ends[run], self._now) + self._estimates.tails[step]
        return Outcome(self._order + rest, self._run_ends, self._moved_seconds)

    def _begin(self) -> None:
        for number, step in enumerate(self._known.steps):
            if step.is_running:
                self._is_served[number] = True
                self._used[step.run] += 1
                self._ends[number] = self._estimates.seconds[number]
                heapq.heappush(self._events, (self._ends[number], True, number))
                for follower in self._known.follows[number]:
                    self._unserved[follower] -= 1
        for number, is_served in enumerate(self._is_served):
            if not is_served and self._unserved[number] == 0:
                self._offer(number)

    def _wait(self) -> bool:
        """Until something happens; False when nothing will."""
        moments = [busy for busy in self._busy.values() if busy > self._now + _SOON]
        if self._events:
            moments.append(self._events[0][0])
        if not moments:
            return False
        self._now = max(self._now, min(moments))
        while self._events and self._events[0][0] <= self._now + _SOON:
            _, has_ended, number = heapq.heappop(self._events)
            if has_ended:
                self._end(number)
            else:
                self._line_up(number)
        return True

    # --- serving

    def _decide(self) -> bool:
        """Serve somebody; False when there is nobody to serve, or nothing to serve with."""
        if self._start_complete():
            return True
        if self._first is not None:
            return self._go_on(self._first)
        if self._busy and min(self._busy.values()) > self._now + _SOON:
            return False
        number = self._ranking.first(self._now + _SOON)
        if number is None:
            return False
        files = self._known.files_of[number]
        has_room = self._make_room(files)
        self._promise(number)
        if has_room:
            self._bring(number, files)
            self._have_all(number)
        else:
            self._first = number
        return True

    def _go_on(self, number: int) -> bool:
        """As much of the first step's files as there is room for."""
        files = [file for file in self._known.files_of[number] if self._shelf.missing[file]]
        files = [file for file in files if self._make_room([file]) and self._bring(number, [file])]
        if self._shelf.lacks[number] == 0:
            self._first = None
            self._have_all(number)
            return True
        if self._events or files or not self._moving:
            return False
        for file in self._moving:  # nobody was promised them, but their space is taken: they come, then they may go
            if self._shelf.missing[file]:
                self._ranking.look_again(self._shelf.bring(file))
        self._moving = []
        return True

    def _make_room(self, files: list[int]) -> bool:
        dropped = self._shelf.make_room(files)
        for file in dropped or ():
            self._ranking.look_again(self._known.using[file])
        return dropped is not None

    def _promise(self, number: int) -> None:
        self._shelf.promise(number)
        self._ranking.remove(number)
        self._is_served[number] = True
        self._order.append(number)

    def _bring(self, number: int, files: list[int]) -> bool:
        for file in files:
            size = self._shelf.missing[file]
            if size == 0:
                continue
            remote = self._known.remotes[file]
            seconds = size / self._known.speeds[file]
            self._busy[remote] = self._arrives[file] = max(self._busy[remote], self._now) + seconds
            self._moved_seconds += seconds
            self._brought += 1
            self._ranking.count(number, size)
            users = self._shelf.bring(file)
            self._ranking.look_again(users)
            for user in users:
                self._note_complete(user)
        return True

    def _have_all(self, number: int) -> None:
        """The step's files are here or on their way: its end can be told."""
        comes = max((self._arrives[file] for file in self._known.files_of[number]), default=0.0)
        self._ends[number] = max(self._ends[number], self._now, comes) + self._estimates.seconds[number]
        for follower in self._known.follows[number]:
            self._unserved[follower] -= 1
            if self._unserved[follower] == 0:
                self._offer(follower)
        if self._waits[number] == 0:
            self._await_files(number)

    def _offer(self, number: int) -> None:
        need = max([self._estimates.needs[number], *(self._ends[before] for before in self._known.after[number])])
        self._ends[number] = need
        self._ranking.add(number, need)
        self._note_complete(number)

    # --- running

    def _note_complete(self, number: int) -> None:
        if self._waits[number] == 0 and self._shelf.lacks[number] == 0 and number in self._ranking:
            run = self._known.steps[number].run
            heapq.heappush(self._complete[run], (-self._estimates.tails[number], number))
            self._changed.add(run)

    def _start_complete(self) -> bool:
        """A step whose files are all here runs when there is a slot, whatever its rank."""
        for run in sorted(self._changed):
            heap = self._complete[run]
            while heap and self._has_slot(run):
                number = heapq.heappop(heap)[1]
                if self._shelf.lacks[number] == 0 and number in self._ranking:
                    self._promise(number)
                    self._have_all(number)
                    return True
            self._changed.discard(run)
        return False

    def _has_slot(self, run: str) -> bool:
        slots = self._known.runs[run].slots
        return slots is None or self._used[run] + len(self._startable[run]) < slots

    def _await_files(self, number: int) -> None:
        comes = max((self._arrives[file] for file in self._known.files_of[number]), default=0.0)
        if comes <= self._now + _SOON:
            self._line_up(number)
        else:
            heapq.heappush(self._events, (comes, False, number))

    def _line_up(self, number: int) -> None:
        run = self._known.steps[number].run
        heapq.heappush(self._startable[run], (-self._estimates.tails[number], number))
        self._start(run)

    def _start(self, run: str) -> None:
        slots = self._known.runs[run].slots
        heap = self._startable[run]
        while heap and (slots is None or self._used[run] < slots):
            number = heapq.heappop(heap)[1]
            self._used[run] += 1
            self._ends[number] = self._now + self._estimates.seconds[number]
            heapq.heappush(self._events, (self._ends[number], True, number))

    def _end(self, number: int) -> None:
        run = self._known.steps[number].run
        self._used[run] -= 1
        self._run_ends[run] = max(self._run_ends[run], self._now)
        self._shelf.release(number)
        for follower in self._known.follows[number]:
            self._waits[follower] -= 1
            if self._waits[follower] == 0:
                if not self._is_served[follower]:
                    self._note_complete(follower)
                elif follower != self._first:
                    self._await_files(follower)
        self._changed.add(run)
        self._start(run)
