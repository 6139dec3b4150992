"""Where the runs of one token are: one look at REANA's list serves all that ask.

There is no thread for it. Whoever asks when the list is old fetches it; meanwhile others are given what is known, or
wait where nothing is. How old it may be depends on whether anything changes, on how many requests a look costs, and on
how many tokens are watched on the server.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID

from stemma.engines.reana import faults
from stemma.engines.reana.answers import GOING_ON, RunState, RunStatus
from stemma.errors import EngineRefused, EngineUnreachable

if TYPE_CHECKING:
    from stemma.engines.reana.session import ReanaSession

_SHORTEST: Final = 1.0
_LONGEST: Final = 5.0
_SLOWER: Final = 1.5
_LOOKS_PER_SECOND: Final = 2.0
"""How many requests one token may cost in the mean."""
_SHARE: Final = 0.4
"""The part of what the server takes that all watching together may use."""
_LONGEST_PAUSE: Final = 60.0
_FORGET_SECONDS: Final = 120.0
"""A run that nobody has asked about for so long is not watched any more."""
_SETTLED_SECONDS: Final = 60.0
"""How long it is believed that a run has ended, or is gone, before it is looked at again."""
_RUNS_A_PAGE: Final = (500, 100, 20)
_NEVER: Final = float("-inf")
_FEW: Final = 3
_SINGLE_LOOKS: Final = 20


@dataclass(slots=True)
class _Known:
    """What is known in this process."""

    pid: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    looking: threading.Lock = field(default_factory=threading.Lock)
    """Held by whoever fetches the list."""
    asked: dict[str, float] = field(default_factory=dict)
    runs: dict[str, RunStatus] = field(default_factory=dict)
    settled: dict[str, float] = field(default_factory=dict)
    """When it was seen that a run has ended, or that there is none."""
    odd: dict[str, Exception] = field(default_factory=dict)
    """What is wrong with single runs, by the last look."""
    looked_at: float = _NEVER
    interval: float = _SHORTEST
    failures: int = 0
    failure: EngineUnreachable | EngineRefused | None = None
    again_at: float = 0.0


class Watch:
    """The newest known states of runs."""

    def __init__(self, session: "ReanaSession", *, clock: Callable[[], float] = time.monotonic) -> None:
        self._session, self._clock = session, clock
        self._known = _Known(os.getpid())

    def look(self, workflow_id: str) -> RunStatus:
        """Where the run is, or was some seconds ago.

        Raises:
            RunGone: the owner has no such run.
            EngineUnreachable: the server does not answer. It is not asked again for every run, but after a while.
            EngineRefused: the token is no good any more, say.
        """
        workflow_id = str(UUID(workflow_id))
        known = self._here()
        with known.lock:
            known.asked[workflow_id] = self._clock()
            found = self._answer(known, workflow_id)
            latest = known.runs.get(workflow_id)
        if found is not None:
            return found
        if latest is None:
            known.looking.acquire()
        elif not known.looking.acquire(blocking=False):
            return latest
        try:
            with known.lock:
                found = self._answer(known, workflow_id)  # another may have looked while this one waited
            if found is None:
                self._look(known)
        finally:
            known.looking.release()
        with known.lock:
            found = self._answer(known, workflow_id)
        if found is None:
            raise faults.unreachable(f"it has not been asked for run {workflow_id} yet")
        return found

    def look_anew(self, workflow_id: str) -> None:
        """Believe nothing of what is known of the run: it was told to do something else."""
        known = self._here()
        with known.lock:
            known.runs.pop(workflow_id, None)
            known.settled.pop(workflow_id, None)

    @property
    def is_in_use(self) -> bool:
        """Whether anybody has asked lately."""
        known = self._here()
        with known.lock:
            return any(self._clock() - when < _FORGET_SECONDS for when in known.asked.values())

    def _here(self) -> _Known:
        """What this process knows: locks do not outlive a fork."""
        if self._known.pid != os.getpid():
            self._known = _Known(os.getpid())
        return self._known

    def _answer(self, known: _Known, workflow_id: str) -> RunStatus | None:
        """What can be said without asking; None where it is time to ask."""
        now = self._clock()
        if known.failure is not None and now < known.again_at:
            raise _again(known.failure)
        is_fresh = now - known.looked_at < known.interval
        if is_fresh and workflow_id in known.odd:
            raise known.odd[workflow_id]
        is_settled = now - known.settled.get(workflow_id, _NEVER) < _SETTLED_SECONDS
        run = known.runs.get(workflow_id)
        if is_settled and run is None:
            raise faults.RunGone(workflow_id)
        return run if is_settled or is_fresh else None

    def _look(self, known: _Known) -> None:
        """Fetch the list, and what it does not tell."""
        now = self._clock()
        with known.lock:
            for workflow_id in [id_ for id_, when in known.asked.items() if now - when > _FORGET_SECONDS]:
                del known.asked[workflow_id]
            unsettled = {id_ for id_ in known.asked if now - known.settled.get(id_, _NEVER) > _SETTLED_SECONDS}
            before = dict(known.runs)
        try:
            found = _Looked(self._session)
            found.at_all(unsettled, before)
        except (EngineUnreachable, EngineRefused) as error:
            with known.lock:
                known.failures += 1
                known.failure = error
                known.again_at = self._clock() + min(2.0 ** (known.failures - 1), _LONGEST_PAUSE)
            raise
        others = self._session.server.watched()
        with known.lock:
            self._learn(known, found, before, now, others)

    def _learn(self, known: _Known, found: "_Looked", before: dict[str, RunStatus], began: float, others: int) -> None:
        now = self._clock()
        known.failure, known.failures = None, 0
        kept = {id_: run for id_, run in known.runs.items() if id_ in known.asked and id_ not in found.gone}
        known.runs = kept | found.runs
        known.odd = found.odd
        known.settled = {id_: when for id_, when in known.settled.items() if id_ in known.asked}
        over = {id_ for id_, run in found.runs.items() if run.state.is_terminal and id_ in known.asked}
        known.settled.update(dict.fromkeys(over | found.gone, now))
        is_moving = any(before.get(id_) != known.runs.get(id_) for id_ in known.asked)
        wanted = _SHORTEST if is_moving else min(known.interval * _SLOWER, _LONGEST)
        share = others / (_SHARE * self._session.server.limiter.per_second)
        known.interval = max(wanted, found.requests / _LOOKS_PER_SECOND, share, now - began)
        known.looked_at = now


class _Looked:
    """What one look found."""

    def __init__(self, session: "ReanaSession") -> None:
        self._session = session
        self.runs: dict[str, RunStatus] = {}
        self.gone: set[str] = set()
        self.odd: dict[str, Exception] = {}
        self.requests = 0

    def at_all(self, wanted: set[str], before: dict[str, RunStatus]) -> None:
        """The runs that go on, whoever wants them; and of ``wanted`` the others, of which not too many at once."""
        self._list(GOING_ON, pages=10)
        if len(wanted - self.runs.keys()) > _FEW:
            self._list(frozenset(RunState) - GOING_ON, pages=1)
        missing = sorted(wanted - self.runs.keys(), key=lambda id_: id_ in before)
        for workflow_id in missing[:_SINGLE_LOOKS]:
            self._one(workflow_id)

    def _list(self, states: frozenset[RunState], *, pages: int) -> None:
        """Some pages of the list; smaller ones where the jobs of its runs are so many that a page is too large."""
        for size in _RUNS_A_PAGE:
            try:
                self._pages(states, size, pages)
            except faults.AnswerTooLarge:
                continue
            return
        raise faults.unreachable("its list of runs is too large")

    def _pages(self, states: frozenset[RunState], size: int, pages: int) -> None:
        self.requests += 1
        for count, run in enumerate(self._session.listed(states=sorted(states), page_size=size)):
            if count >= pages * size:
                break
            self.requests += count > 0 and count % size == 0
            self.runs[run.id] = run

    def _one(self, workflow_id: str) -> None:
        self.requests += 1
        try:
            run = self._session.find(workflow_id)
        except faults.WrongAnswer as error:
            self.odd[workflow_id] = error
            return
        if run is None:
            self.gone.add(workflow_id)
        else:
            self.runs[workflow_id] = run


def _again(error: EngineUnreachable | EngineRefused) -> EngineUnreachable | EngineRefused:
    """The same for another who asks."""
    if isinstance(error, EngineRefused):
        return EngineRefused(error.engine, error.reason)
    return EngineUnreachable(error.engine, error.reason)
