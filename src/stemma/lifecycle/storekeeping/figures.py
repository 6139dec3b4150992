"""The figures of replication and of the store, counted in the background however often somebody wants to know."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from stemma import clock
from stemma.database.connection import Database
from stemma.database.queries import replication_figures
from stemma.database.queries.archive import Archived, amount
from stemma.database.queries.replication_figures import Needs, Wait
from stemma.errors import Unavailable
from stemma.lifecycle.storekeeping.inventory import Amount, amounts
from stemma.store.content import ContentStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

FRESH_SECONDS: Final = 5.0
"""How long figures of the database hold."""
STORE_FRESH_SECONDS: Final = 60.0
"""How long a count of the store does."""
PATIENCE_SECONDS: Final = 2.0
"""How long who asks waits for figures that do not hold any more; then those of before are given."""
_SHARE: Final = 20
"""Counting takes a twentieth of the time at most."""
_SETTLED_SECONDS: Final = 600.0
"""After so long no transaction is open any more that took its number before one that is committed."""
_WAITS: Final = 5000


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of replication, on the whole database."""

    needs: Needs
    moved_bytes: int
    wait_seconds: float
    """Of waits that are over."""
    moving: int


class StoreFigures:
    """The latest figures. Safe to use from several threads."""

    def __init__(self, database: Database, store: ContentStore, home: str, archive: str | None = None) -> None:
        counting = _Counting(database)
        self._replication = _Background(counting.count, FRESH_SECONDS)
        self._amounts = _Background(lambda: amounts(database, store, home), STORE_FRESH_SECONDS)
        self._archived: _Background[Archived] | None = None
        if archive is not None:
            self._archived = _Background(lambda: _amount(database, archive), STORE_FRESH_SECONDS)

    def replication(self) -> Figures | None:
        """What is known; None where nothing is yet."""
        return self._replication.latest(PATIENCE_SECONDS)

    def amounts(self) -> dict[str, Amount] | None:
        """What lies in the store, by kind; None where it was never counted. A large one takes a while."""
        return self._amounts.latest(PATIENCE_SECONDS)

    def archived(self) -> Archived | None:
        """What lies in the archive; None where there is none, or where it was never counted."""
        return None if self._archived is None else self._archived.latest(PATIENCE_SECONDS)


def _amount(database: Database, archive: str) -> Archived:
    with database.reading() as session:
        return amount(session, archive)


class _Background(Generic[T]):
    """Does something again when somebody wants to know its result and the last one is old; once at a time."""

    def __init__(self, work: Callable[[], T], fresh_seconds: float) -> None:
        self._work, self._fresh_seconds = work, fresh_seconds
        self._guard = threading.Lock()
        self._done = threading.Event()
        self._is_at_work = False
        self._due = 0.0
        self._last: T | None = None

    def latest(self, patience_seconds: float) -> T | None:
        """The newest result, waited for so long where it is not fresh."""
        with self._guard:
            is_due = time.monotonic() >= self._due
            if is_due and not self._is_at_work:
                self._is_at_work = True
                self._done.clear()
                threading.Thread(target=self._go, name="figures", daemon=True).start()
        if is_due:
            self._done.wait(patience_seconds)
        return self._last

    def _go(self) -> None:
        began = time.monotonic()
        try:
            self._last = self._work()
        except Unavailable as error:
            logger.warning("figures not counted: %s", error)
        except Exception:
            logger.exception("figures could not be counted")
        finally:
            with self._guard:
                self._is_at_work = False
                now = time.monotonic()
                self._due = now + max(self._fresh_seconds, (now - began) * _SHARE)
            self._done.set()


class _Counting:
    """Goes on counting from where it stopped. For one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._settled, self._settled_id = Needs(), 0
        self._wait_seconds = 0.0
        self._open: dict[int, Wait] = {}
        self._settled_wait = 0
        self._seen: set[int] = set()
        """The waits behind that."""

    def count(self) -> Figures:
        """All figures as they are now."""
        settled_at = clock.now() - timedelta(seconds=_SETTLED_SECONDS)
        needs, wait_seconds = self._needs(settled_at), self._waits(settled_at)
        with self._database.reading() as session:
            moved = replication_figures.moved_bytes(session)
            return Figures(needs, moved, wait_seconds, replication_figures.moving(session))

    def _needs(self, settled_at: datetime) -> Needs:
        """Those that are settled are counted once; among younger ones some may still come to light."""
        with self._database.reading() as session:
            newest = replication_figures.newest_need(session)
            until = replication_figures.settled_need(session, newest, settled_at)
            if until > self._settled_id:
                self._settled += replication_figures.needs_between(session, self._settled_id, until)
                self._settled_id = until
            return self._settled + replication_figures.needs_between(session, self._settled_id, newest)

    def _waits(self, settled_at: datetime) -> float:
        """The seconds of waits that are over; the open ones are looked at again the next time."""
        last = self._settled_wait
        while True:
            with self._database.reading() as session:
                found = replication_figures.waits_after(session, last, _WAITS)
                self._open |= {wait.id: wait for wait in found if wait.id not in self._seen}
                ends = replication_figures.ends_of(session, self._open.values())
            for number, at in ends.items():
                self._wait_seconds += max(0.0, (at - self._open.pop(number).at).total_seconds())
            self._seen |= {wait.id for wait in found}
            settled = [wait.id for wait in found if wait.at < settled_at]
            if settled:
                self._settled_wait = settled[-1]
                self._seen = {number for number in self._seen if number > self._settled_wait}
            if not found:
                return self._wait_seconds
            last = found[-1].id
