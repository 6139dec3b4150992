"""Fetches what runs need from elsewhere, in the order of need: one of the workers of a data folder does it for all.

Each round reads what is wanted, asks the planner, claims what comes first, and lets the mover move it. What has
arrived is written down, and whoever attends to the runs gives it to their engines. Killed at any point, the next worker
goes on: leases pass, parts that were fetched are gone on from, and what is in the store is found there.
"""

import fcntl
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any, Final

from sqlmodel import Session

from stemma import clock
from stemma.database.queries import hints, replicas, transfers
from stemma.database.queries.arrivals import Arrival, arrive_all
from stemma.database.queries.replicas import Replica
from stemma.errors import SourceUnavailable, StemmaError, Unavailable
from stemma.lifecycle.installation import Installation

if TYPE_CHECKING:
    from stemma.lifecycle.moving.mover import Mover
    from stemma.lifecycle.moving.orders import Moved
    from stemma.lifecycle.replicate.round import Rounds

logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 1.0
"""How often to look for work that nobody told of."""
BUSY_SECONDS: Final = 0.25
"""How long at most between two rounds while something is moved."""
SOON_SECONDS: Final = 0.1
"""How soon to read again after word of something new: many words come while a run goes on."""
READY_SECONDS: Final = 5.0
"""After that long without work, what fetches is loaded, so that the first file need not wait for it."""
_READING_SHARE: Final = 10
"""Reading the situation takes a tenth of the time, but where there is news, or little left to move."""
_FEW: Final = 32
"""Where more are on their way, what arrives is gathered for a moment, and written down together."""
_LONGEST_PAUSE_SECONDS: Final = 60.0
_FORGETTING_SECONDS: Final = 60.0
"""How often hints that count no more are removed."""


class Replicator:
    """The loop. ``on_arrival`` is called with the runs for which something has arrived, or cannot be had."""

    def __init__(self, installation: Installation, name: str, on_arrival: Callable[[set[int]], None]) -> None:
        self._installation = installation
        self._name = name
        self._on_arrival = on_arrival
        self._ended: queue.SimpleQueue[tuple[int, Moved | StemmaError]] = queue.SimpleQueue()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._mover: Mover | None = None
        self._rounds: Rounds | None = None
        self._claimed: dict[int, tuple[Replica, int]] = {}
        """What is being moved, with its fence."""
        self._began = time.monotonic()
        self._next_read = self._next_renewal = self._last_read = self._last_read_took = 0.0
        self._next_settling = self._next_forgetting = self._nudged = 0.0

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="replicator")
        self._thread.start()

    def nudge(self) -> None:
        """There may be something new."""
        self._nudged = time.monotonic()
        self._read_soon()
        self._news.set()

    def _read_soon(self) -> None:
        self._next_read = min(self._next_read, self._last_read + max(SOON_SECONDS, 2 * self._last_read_took))

    def close(self) -> None:
        """End; what was fetched in part is there for whoever goes on."""
        self._closing.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        lock = (self._installation.settings.home / "replication.lock").open("ab")
        try:
            while not self._closing.is_set():
                pause = IDLE_SECONDS
                try:
                    if _is_ours(lock):
                        pause = self._round()
                except Unavailable as error:
                    logger.warning("replication waits: %s", error)
                except Exception:
                    logger.exception("a round of replication failed (incident %s)", clock.new_uuid().hex[-12:])
                self._news.wait(pause)
                self._news.clear()
            self._end()
        finally:
            lock.close()

    def _round(self) -> float:
        """One round; how long to wait until the next."""
        now = time.monotonic()
        if len(self._claimed) <= _FEW or now >= self._next_settling:
            self._settle()
            took = time.monotonic() - now
            now += took
            self._next_settling = now + max(SOON_SECONDS, 2 * took)
        if now >= self._next_renewal:
            self._renew()
        if now >= self._next_forgetting:
            self._next_forgetting = now + (0.0 if self._forget_hints() else _FORGETTING_SECONDS)
        if now >= self._next_read:
            self._last_read = now
            is_busy = self._plan()
            self._last_read_took = took = time.monotonic() - self._last_read
            self._next_read = time.monotonic() + max(BUSY_SECONDS if is_busy else IDLE_SECONDS, took * _READING_SHARE)
            if self._nudged >= self._last_read:  # of something that may have come too late to be read
                self._read_soon()
        elif self._claimed and self._rounds is not None and self._mover is not None:
            self._rounds.widen(self._mover)
        has_more = len(self._claimed) > _FEW or self._ended.qsize()
        due = min(self._next_read, self._next_settling) if has_more else self._next_read
        return min(BUSY_SECONDS if self._claimed else IDLE_SECONDS, max(0.0, due - time.monotonic()))

    def _forget_hints(self) -> bool:
        """Remove some hints that count no more; whether there may be others."""
        database, now = self._installation.database, clock.now()
        with database.reading() as session:
            if not hints.has_expired(session, now):
                return False
        return database.write(lambda session: hints.forget(session, now))

    def _plan(self) -> bool:
        """Read what is wanted and say what to move; whether there is anything."""
        with self._installation.database.reading() as session:
            is_open = bool(self._claimed) or replicas.has_open(session, self._installation.home_id)
        if not is_open and time.monotonic() - self._began < READY_SECONDS:
            return False
        if self._rounds is None or self._mover is None:
            self._rounds, self._mover = self._made()
            self._last_read = time.monotonic()  # that took time, and is done once
        if not is_open:
            return False
        self._rounds.go(self._mover, self._claimed)
        return bool(self._claimed)

    def _made(self) -> "tuple[Rounds, Mover]":
        """What moves and plans: loaded when something is first wanted, or when there is time for it."""
        from stemma.lifecycle.moving.mover import Mover  # noqa: PLC0415 - see above
        from stemma.lifecycle.moving.orders import Limits  # noqa: PLC0415 - see above
        from stemma.lifecycle.remotes_opened import load  # noqa: PLC0415 - see above
        from stemma.lifecycle.replicate.round import Rounds  # noqa: PLC0415 - see above

        load()
        settings = self._installation.settings
        mover = Mover(
            self._installation.store,
            on_done=self._note,
            on_failed=self._note,
            limits=Limits(max_bytes=settings.max_replica_bytes, connections=settings.replication_streams),
        )
        self._installation.store.sweep()
        return Rounds(self._installation, self._name), mover

    def _note(self, key: str, what: "Moved | StemmaError") -> None:
        """A transfer has ended, in whatever thread."""
        self._ended.put((int(key), what))
        if len(self._claimed) <= _FEW:  # else it is looked at soon
            self._news.set()

    def _settle(self) -> None:
        """Write down what has ended since the last time, all of it at once."""
        ended: list[tuple[int, Moved | StemmaError]] = []
        while not self._ended.empty():
            ended.append(self._ended.get())
        if not ended:
            return
        try:
            runs = self._written(ended)
        except Unavailable:
            for one in ended:  # to be written when the database answers again
                self._ended.put(one)
            raise
        for replica_id, what in ended:
            if self._claimed.pop(replica_id, None) is not None and self._rounds is not None:
                self._rounds.ended(replica_id, 0 if isinstance(what, StemmaError) else what.moved_bytes)
            if self._mover is not None:  # so that it takes another order for it, whenever that comes
                self._mover.drop(str(replica_id), keep_part=True)
        self._read_where_little_is_left()
        if runs:
            self._on_arrival(runs)

    def _read_where_little_is_left(self) -> None:
        if len(self._claimed) <= _FEW:
            self._next_read = 0.0
        elif self._rounds is not None and self._rounds.is_running_dry:
            self._read_soon()

    def _written(self, ended: "Sequence[tuple[int, Moved | StemmaError]]") -> set[int]:
        """Write down what has ended; the runs that it concerns."""
        try:
            return self._installation.database.write(lambda session: self._write(session, ended))
        except Unavailable:
            raise
        except Exception:
            incident = clock.new_uuid().hex[-12:]
            logger.exception("what was fetched could not be written down at once (incident %s)", incident)
        # One of them is to blame, and the others need not wait for it.
        return set().union(*map(self._written_alone, ended))

    def _written_alone(self, one: "tuple[int, Moved | StemmaError]") -> set[int]:
        """Write down one that has ended; where that cannot be, that it failed."""
        database = self._installation.database
        try:
            return database.write(lambda session: self._write(session, [one]))
        except Unavailable:
            raise
        except Exception:
            incident = clock.new_uuid().hex[-12:]
            logger.exception("copy %s could not be written down (incident %s)", one[0], incident)
            fault = StemmaError(f"an error inside Stemma; the service's log has it as incident {incident}")
            return database.write(lambda session: self._write(session, [(one[0], fault)]))

    def _write(self, session: Session, ended: "Sequence[tuple[int, Moved | StemmaError]]") -> set[int]:
        ours = [(*self._claimed[number], what) for number, what in ended if number in self._claimed]
        arrived = [_arrival(copy, fence, what) for copy, fence, what in ours if not isinstance(what, StemmaError)]
        runs = arrive_all(session, arrived)
        for replica, fence, what in sorted(ours, key=lambda one: one[0].id):
            if isinstance(what, StemmaError):
                runs |= self._failed(session, replica, fence, what)
        return runs

    def _failed(self, session: Session, replica: Replica, fence: int, error: StemmaError) -> set[int]:
        """Try again later what may come later; the rest cannot be had."""
        pauses = [min(2.0 ** min(tries, 10), _LONGEST_PAUSE_SECONDS) for tries in range(replica.tries + 1)]
        is_patient = sum(pauses) <= self._installation.settings.replication_patience_seconds
        if isinstance(error, Unavailable) and is_patient:
            logger.warning("a file from elsewhere is tried again in %.0f s: %s", pauses[-1], error)
            until = clock.now() + timedelta(seconds=pauses[-1])
            transfers.put_off(session, replica.id, fence, error=str(error), until=until, tries=replica.tries + 1)
            return set()
        reason = str(error)
        if isinstance(error, SourceUnavailable):
            reason = f"{reason}; it was asked {replica.tries + 1} times"
        return transfers.fail(session, replica.id, fence, reason)

    def _renew(self) -> None:
        lease = self._installation.settings.lease_seconds
        self._next_renewal = time.monotonic() + lease / 3
        if not self._claimed or self._mover is None:
            return
        arrived = self._mover.progress()
        progress = {each: (fence, arrived.get(str(each), 0)) for each, (_, fence) in self._claimed.items()}
        until = clock.now() + timedelta(seconds=lease)
        for lost in self._installation.database.write(lambda session: transfers.renew(session, progress, until)):
            logger.warning("lost the transfer of copy %s to another process", lost)
            self._mover.drop(str(lost), keep_part=True)
            del self._claimed[lost]
            if self._rounds is not None:
                self._rounds.ended(lost, 0)

    def _end(self) -> None:
        """Stop moving, and give back what was claimed."""
        if self._mover is not None:
            self._mover.close()
        try:
            self._settle()
            fences = {replica_id: fence for replica_id, (_, fence) in self._claimed.items()}
            if fences:
                self._installation.database.write(lambda session: transfers.release(session, fences))
        except Unavailable as error:
            logger.warning("transfers not given back, their leases pass by themselves: %s", error)


def _arrival(replica: Replica, fence: int, moved: "Moved") -> Arrival:
    from stemma.lifecycle.sources import shown  # noqa: PLC0415 - see Replicator._made

    is_other = bool(replica.version) and moved.version != replica.version
    return Arrival(
        replica_id=replica.id,
        fence=fence,
        content=moved.content,
        verified=moved.verified,
        moved_bytes=moved.moved_bytes,
        started_at=moved.started_at,
        ended_at=moved.ended_at,
        version=moved.version if is_other else None,
        told=moved.told,
        shown=shown(replica.address),
    )


def _is_ours(lock: IO[Any]) -> bool:
    """Whether this process is the one that replicates; it stays so until it ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
