"""The worker: claims runs, attends to each until it has ended, renews its leases, drains on SIGTERM.

Runs that take place here take slots, as many as the machine bears. Those elsewhere only have to be looked at, so that a
worker holds many more of them, in threads of their own: a slow server there keeps nothing waiting here. Nor do files
on their way there or back keep other runs from being looked at: they have threads of their own as well.

The main thread claims and renews and never waits for anything but its bell; runs are attended to in a pool of
threads, one look at a time, sooner where something is happening. A worker that is killed loses nothing: its leases
pass, and whoever claims its runs goes on from what is in the database and in the run folders.
"""

import logging
import os
import queue as queue_of_runs
import signal
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from sqlmodel import Session

from stemma import clock
from stemma.database.queries import queue
from stemma.database.queries.queue import Claimant
from stemma.errors import LeaseLost, StemmaError, Unavailable
from stemma.lifecycle.archive.archivist import Archivist
from stemma.lifecycle.execute import Progress, attend, fail
from stemma.lifecycle.installation import Installation, open_installation
from stemma.lifecycle.replicate.replicator import Replicator
from stemma.records import Claim
from stemma.settings import Settings
from stemma.store.content import is_full
from stemma.wake import Bell, Heard, tell_followers

logger = logging.getLogger(__name__)

NEWS_SECONDS = 0.02
"""How soon to look again at a run in which something just happened."""
QUIET_LIMIT_SECONDS = 0.25
"""How long at most between two looks at a run in which nothing happens: a stop is noticed that soon."""
QUIET_LIMIT_ELSEWHERE_SECONDS = 2.0
"""The same for a run elsewhere: what is new is known there all at once for all runs (stemma.engines.reana.watch)."""
LOOKS_ELSEWHERE = 8
"""How many runs elsewhere are looked at at a time."""
CARRIED_ELSEWHERE = 8
"""For how many of them inputs are brought there, or outputs fetched, at a time: that may take hours. What a WES server
made comes with its report, in a look."""
CLAIM_SECONDS = 1.0
"""How often to look for work that no bell told of."""
TROUBLE_SECONDS = 0.5
"""The first pause when the database or an engine does not answer; doubled up to the limit."""
TROUBLE_LIMIT_SECONDS = 10.0


@dataclass(slots=True)
class Attended:
    """A run that this worker attends to."""

    claim: Claim
    is_elsewhere: bool = False
    due: float = 0.0
    """On the monotonic clock."""
    pause: float = NEWS_SECONDS
    trouble: float = TROUBLE_SECONDS
    looking: Future[None] | None = None
    carries: bool = False
    """The next look may carry files there or back."""
    is_hastened: bool = False
    """To be looked at again as soon as the look that goes on is over."""
    over: bool = False
    """Done, or lost to another worker."""

    def hasten(self) -> None:
        """Look at it at once."""
        self.due = 0.0
        self.is_hastened = self.looking is not None


@dataclass(slots=True)
class Worker:
    """One worker process's loop over the runs that it holds."""

    installation: Installation
    name: str = ""
    held: dict[int, Attended] = field(default_factory=dict)
    _draining: threading.Event = field(default_factory=threading.Event)
    _claimants: tuple[Claimant, Claimant] = field(init=False)
    """For runs here, and for runs elsewhere."""
    _bell: Bell | None = None
    _replicator: Replicator | None = None
    _arrived: queue_of_runs.SimpleQueue[set[int]] = field(default_factory=queue_of_runs.SimpleQueue)
    """Runs for which something has arrived from elsewhere."""
    _has_news: threading.Event = field(default_factory=threading.Event)
    """A look has found something new, or a run has ended: there may be more to fetch, or room for another run."""

    def __post_init__(self) -> None:
        """Take a name that no other worker has."""
        self.name = self.name or f"{socket.gethostname()[:60]}-{clock.new_uuid().hex[:12]}"
        self._claimants = self.claimant(elsewhere=False), self.claimant(elsewhere=True)

    def claimant(self, *, elsewhere: bool) -> Claimant:
        """This worker, as the queue sees it when it asks for runs here or elsewhere."""
        settings = self.installation.settings
        engines = self.installation.engines
        return Claimant(
            worker=self.name,
            home=self.installation.home_id,
            engines=tuple(name for name, engine in engines.working().items() if engine.is_remote is elsewhere),
            lease_seconds=settings.lease_seconds,
            takeover_seconds=settings.takeover_seconds,
        )

    def drain(self) -> None:
        """Finish what is being written, give the leases back, and end. Runs go on; others attend to them."""
        self._draining.set()
        if self._bell is not None:
            self._bell.ring()

    def run(self) -> None:
        """Work until :meth:`drain`."""
        self._bell = Bell(self.installation.settings.home, self.name)
        slots = self.installation.settings.worker_slots
        next_claim = next_renewal = 0.0
        pools = (
            ThreadPoolExecutor(slots, "attend"),
            ThreadPoolExecutor(LOOKS_ELSEWHERE, "elsewhere"),
            ThreadPoolExecutor(CARRIED_ELSEWHERE, "carrying"),
        )
        rung = Heard()
        has_work = True
        self._replicator = Replicator(self.installation, self.name, self._note_arrival)
        self._replicator.start()
        archivist = Archivist(self.installation, self.name)
        archivist.start()
        try:
            with pools[0], pools[1], pools[2]:
                while not self._draining.is_set():
                    now = time.monotonic()
                    self._forget()
                    self._hasten(rung)
                    if self._has_news.is_set():
                        self._has_news.clear()
                        has_work = True
                    if has_work:
                        self._replicator.nudge()
                    if now >= next_renewal:
                        next_renewal = now + (self._renew() or TROUBLE_SECONDS)
                    room = self._room()
                    if any(room) and (has_work or now >= next_claim):
                        next_claim = now + (self._claim(*room) or TROUBLE_SECONDS)
                    self._look(pools, now)
                    has_room = any(self._room())
                    rung = self._bell.wait(
                        self._until_next(min(next_claim, next_renewal) if has_room else next_renewal)
                    )
                    has_work = rung.has_work
                self._finish(pools, next_renewal)
            self._forget()
            self._replicator.close()
            self._release()
        finally:
            archivist.close()
            self._replicator.close()
            bell, self._bell = self._bell, None
            bell.close()

    def _note_arrival(self, runs: set[int]) -> None:
        """Something has arrived for these, said by the replicator's thread."""
        self._arrived.put(runs)
        self._ring_bell()

    def _hasten(self, rung: Heard) -> None:
        """Look at once at the runs for which something has arrived, and at those whose processes said something."""
        for attended in self.held.values():
            if attended.claim.run_uuid is not None and rung.is_of(attended.claim.run_uuid):
                attended.hasten()
        while not self._arrived.empty():
            for run_id in self._arrived.get():
                if run_id in self.held:
                    self.held[run_id].hasten()

    def _finish(self, pools: Sequence[ThreadPoolExecutor], next_renewal: float) -> None:
        """Let the looks in progress come to their end. Leases hold meanwhile: a look may be carrying a large file, and
        nobody else is to carry it at the same time."""
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        while looks := [attended.looking for attended in self.held.values() if attended.looking is not None]:
            if time.monotonic() >= next_renewal:
                next_renewal = time.monotonic() + (self._renew() or TROUBLE_SECONDS)
            wait(looks, max(0.0, next_renewal - time.monotonic()), FIRST_COMPLETED)
            self._forget()

    def _until_next(self, other: float) -> float:
        """Seconds until something is due. A look that ends rings the bell, so those in progress need no timer."""
        dues = [attended.due for attended in self.held.values() if attended.looking is None]
        return max(0.0, min([*dues, other]) - time.monotonic())

    def _room(self) -> tuple[int, int]:
        """How many more runs can be held: here, and elsewhere."""
        elsewhere = sum(attended.is_elsewhere for attended in self.held.values())
        settings = self.installation.settings
        return settings.worker_slots - (len(self.held) - elsewhere), settings.remote_runs - elsewhere

    def _forget(self) -> None:
        for run_id, attended in list(self.held.items()):
            if attended.looking is not None and attended.looking.done():
                if not attended.looking.cancelled():
                    attended.looking.result()
                attended.looking = None
                if attended.is_hastened:
                    attended.due, attended.is_hastened = 0.0, False
            if attended.over and attended.looking is None:
                del self.held[run_id]
                self._has_news.set()

    def _renew(self) -> float | None:
        """Extend the leases; the seconds until the next time, None when the database did not answer."""
        claims = [attended.claim for attended in self.held.values()]
        try:
            lost = self.installation.database.write(
                lambda session: queue.renew(session, self._claimants[0], claims, clock.now()) if claims else set(),
            )
        except Unavailable as error:
            logger.warning("leases not renewed: %s", error)
            return None
        for claim in lost:
            logger.warning("lost run %s to another worker", claim.run_id)
            self.held[claim.run_id].over = True
        return self.installation.settings.lease_seconds / 3

    def _claim(self, here: int, elsewhere: int) -> float | None:
        for limit, claimant in zip((here, elsewhere), self._claimants, strict=True):
            if limit <= 0 or not claimant.engines:
                continue
            try:
                claims = self.installation.database.write(partial(_claim, claimant, limit))
            except Unavailable as error:
                logger.warning("no runs claimed: %s", error)
                return None
            for claim in claims:
                # One that we hold and could claim anew had its lease passed unnoticed; the new claim replaces the old.
                self.held[claim.run_id] = Attended(claim, is_elsewhere=claimant is self._claimants[1])
        return CLAIM_SECONDS

    def _look(self, pools: Sequence[ThreadPoolExecutor], now: float) -> None:
        here, elsewhere, carrying = pools
        for attended in self.held.values():
            if attended.looking is None and not attended.over and attended.due <= now:
                far = carrying if attended.carries else elsewhere
                attended.looking = (far if attended.is_elsewhere else here).submit(self._attend, attended)
                # After it is done, not at its end: a bell rung before that would find nothing to do, and be forgotten.
                attended.looking.add_done_callback(self._ring)

    def _attend(self, attended: Attended) -> None:
        """One look at one run, in a thread of the pool. Whatever goes wrong with it, the worker goes on."""
        try:
            progress = attend(self.installation, self.name, attended.claim, may_carry=attended.carries)
        except LeaseLost:
            attended.over = True
        except Unavailable as error:
            self._put_off(attended, error)
        except StemmaError as error:
            self._give_up(attended, str(error))
        except Exception as error:
            if isinstance(error, OSError) and is_full(error):  # it goes on when there is space again
                self._put_off(attended, error)
                return
            incident = clock.new_uuid().hex[-12:]
            logger.exception("run %s cannot go on (incident %s)", attended.claim.run_id, incident)
            self._give_up(attended, f"an error inside Stemma; the service's log has it as incident {incident}")
        else:
            self._schedule(attended, progress)

    def _ring(self, _: Future[None]) -> None:
        self._ring_bell()

    def _ring_bell(self) -> None:
        if self._bell is not None:
            self._bell.ring()

    def _schedule(self, attended: Attended, progress: Progress) -> None:
        attended.over, attended.carries = progress.done, progress.carries
        if progress.news or progress.done:
            tell_followers(self.installation.settings.home, attended.claim.run_id)
            self._has_news.set()
        attended.trouble = TROUBLE_SECONDS
        limit = QUIET_LIMIT_ELSEWHERE_SECONDS if attended.is_elsewhere else QUIET_LIMIT_SECONDS
        attended.pause = NEWS_SECONDS if progress.news else min(attended.pause * 1.5, limit)
        attended.due = time.monotonic() + (0 if progress.news or progress.carries else attended.pause)

    def _put_off(self, attended: Attended, error: Exception) -> None:
        logger.warning("run %s waits: %s", attended.claim.run_id, error)
        attended.due = time.monotonic() + attended.trouble
        attended.trouble = min(attended.trouble * 2, TROUBLE_LIMIT_SECONDS)

    def _give_up(self, attended: Attended, reason: str) -> None:
        try:
            fail(self.installation, attended.claim, reason.encode("utf-8", "replace").decode())
        except LeaseLost:
            attended.over = True
        except Unavailable as error:
            self._put_off(attended, error)
        except Exception as error:
            logger.exception("run %s cannot even be ended", attended.claim.run_id)
            self._put_off(attended, error)
        else:
            attended.over = True
            tell_followers(self.installation.settings.home, attended.claim.run_id)

    def _release(self) -> None:
        """Give back what is held, so that others need not wait for the leases to pass."""
        claims = [attended.claim for attended in self.held.values()]

        def write(session: Session) -> None:
            for claim in claims:
                queue.release(session, claim, clock.now() - timedelta(microseconds=1))

        if not claims:
            return
        try:
            self.installation.database.write(write)
        except Unavailable as error:
            logger.warning("leases not given back, they pass by themselves: %s", error)


def _claim(claimant: Claimant, limit: int, session: Session) -> list[Claim]:
    return queue.claim(session, claimant, limit=limit, now=clock.now())


def run_worker(settings: Settings) -> int:
    """The process of ``stemma worker``: work until SIGTERM or SIGINT; return the exit code."""
    installation = open_installation(settings)
    installation.engines.start()
    worker = Worker(installation)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.drain())
    logger.info("worker %s (process %s) attends to %s runs at a time", worker.name, os.getpid(), settings.worker_slots)
    try:
        worker.run()
    finally:
        installation.close()
    return 0
