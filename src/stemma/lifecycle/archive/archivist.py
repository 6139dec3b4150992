"""Copies outputs and uploads to the archive, in a thread of each worker: whatever is wrong with it, runs go on.

What is new is noted, claimed with a lease, copied, and then counted as archived: never before all of it lies there, and
never under the digest of something else. Killed at any point, another worker begins that copy anew when the lease has
passed. An archive that does not answer is asked again, with longer and longer pauses.
"""

import logging
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import BinaryIO, Final

from sqlmodel import Session

from stemma import clock
from stemma.database.queries import archive as queries
from stemma.database.queries import archiving
from stemma.database.queries.archive import Route
from stemma.database.queries.archiving import Claimed
from stemma.errors import ContentDamaged, ContentMissing, StemmaError, Unavailable
from stemma.lifecycle.archive.news import News
from stemma.lifecycle.archive.reading import archived_chunks, checked
from stemma.lifecycle.installation import Installation
from stemma.storages.archive import Archive
from stemma.store.content import CHUNK_BYTES

logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 2.0
"""How often to look for what is new."""
BUSY_SECONDS: Final = 0.5
"""The same while something is copied; its end is noticed at once."""
_STREAMS: Final = 4
_AHEAD: Final = 32
"""How many copies are claimed at a time: small files follow each other without a pause."""
_LONGEST_PAUSE_SECONDS: Final = 60.0
_DAMAGED_SECONDS: Final = 3600.0
"""How soon to look again at what is damaged in the store: people have to mend it."""


class _GivenUp(Exception):
    """A copy is left to others, or to later."""


class Archivist:
    """The loop. Does nothing where there is no archive."""

    def __init__(self, installation: Installation, name: str) -> None:
        self._installation = installation
        self._name = name
        self._claimed: dict[str, Claimed] = {}
        self._ended: queue.SimpleQueue[tuple[Claimed, Exception | None]] = queue.SimpleQueue()
        self._wakeup, self._closing, self._resting = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._is_ready = False
        self._failures = 0
        self._next_renewal = self._rest_until = 0.0

    def start(self) -> None:
        """Begin, in a thread of its own."""
        if self._installation.archive is not None:
            self._thread = threading.Thread(target=self._run, args=(self._installation.archive,), name="archivist")
            self._thread.start()

    def close(self) -> None:
        """End; a copy that is under way is begun anew by whoever goes on."""
        self._closing.set()
        self._wakeup.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, archive: Archive) -> None:
        route = Route(self._installation.home_id, archive.name)
        news = News(self._installation, route)
        pool = ThreadPoolExecutor(_STREAMS, "archive")
        while not self._closing.is_set():
            pause = BUSY_SECONDS if self._claimed else IDLE_SECONDS
            try:
                self._round(archive, route, news, pool)
            except Unavailable as error:
                self._rest(error)
            except Exception:
                logger.exception("a round of archiving failed (incident %s)", clock.new_uuid().hex[-12:])
            self._wakeup.wait(pause)
            self._wakeup.clear()
        pool.shutdown(cancel_futures=True)
        self._end(route)

    def _round(self, archive: Archive, route: Route, news: News, pool: ThreadPoolExecutor) -> None:
        self._settle(route)
        now = time.monotonic()
        if self._claimed and now >= self._next_renewal:
            self._renew(route)
        if now < self._rest_until:
            return
        self._resting.clear()
        if not self._is_ready:
            with self._installation.database.reading() as session:
                was_used = queries.has_any(session, archive.name)
            archive.prepare(was_used=was_used)
            logger.info("outputs and uploads are copied to the archive %s", archive.shown)
            self._is_ready = True
        news.note()
        room = _AHEAD - len(self._claimed)
        with self._installation.database.reading() as session:
            is_due = archiving.has_free(session, route)
        if room > 0 and is_due:
            for claimed in self._claim(route, room):
                self._claimed[claimed.content.sha256] = claimed
                pool.submit(self._copy_one, archive, claimed)

    def _claim(self, route: Route, room: int) -> list[Claimed]:
        lease = self._installation.settings.lease_seconds
        until = clock.now() + timedelta(seconds=lease)
        if not self._claimed:
            self._next_renewal = time.monotonic() + lease / 3
        # One that we hold and can claim anew had its lease passed unnoticed: its thread finds that it is another.
        return self._installation.database.write(
            lambda session: archiving.claim(session, route, self._name, until, room)
        )

    def _renew(self, route: Route) -> None:
        lease = self._installation.settings.lease_seconds
        self._next_renewal = time.monotonic() + lease / 3
        fences = {sha256: claimed.fence for sha256, claimed in self._claimed.items()}
        until = clock.now() + timedelta(seconds=lease)
        lost = self._installation.database.write(lambda session: archiving.renew(session, route.archive, fences, until))
        for sha256 in lost:
            logger.warning("lost the copy of %s to another worker", sha256)
            del self._claimed[sha256]

    def _copy_one(self, archive: Archive, claimed: Claimed) -> None:
        """One copy, in a thread of the pool."""
        error: Exception | None = None
        try:
            self._look_out(claimed, begins=True)
            self._copy(archive, claimed)
        except Exception as caught:  # noqa: BLE001 - told where it is written down
            error = caught
            if isinstance(caught, Unavailable):  # the others wait as well
                self._resting.set()
        self._ended.put((claimed, error))
        self._wakeup.set()

    def _copy(self, archive: Archive, claimed: Claimed) -> None:
        content = claimed.content
        try:
            source = self._installation.store.open(content.sha256)
        except ContentMissing:
            self._settle_without(archive, claimed)
            return
        with source:
            archive.put(content, checked(self._read(source, claimed), content))

    def _read(self, source: BinaryIO, claimed: Claimed) -> Iterator[bytes]:
        """What lies in the store, for as long as the copy goes on."""
        while chunk := source.read(CHUNK_BYTES):
            self._look_out(claimed)
            yield chunk

    def _look_out(self, claimed: Claimed, *, begins: bool = False) -> None:
        """Go on, unless it is another's by now, or the end has come; nothing is begun that is for later."""
        is_ours = self._claimed.get(claimed.content.sha256) is claimed
        if self._closing.is_set() or not is_ours or (begins and self._resting.is_set()):
            raise _GivenUp

    def _settle_without(self, archive: Archive, claimed: Claimed) -> None:
        """What to do where the store does not have it any more: somebody may have copied it and died.

        Raises:
            ContentMissing: it is used, and lies nowhere.
        """
        content = claimed.content
        with self._installation.database.reading() as session:
            is_used = not queries.unused(session, self._installation.home_id, [content.sha256], clock.now())
        if not is_used:
            archive.remove(content.sha256)
            raise _Gone
        try:
            for _ in archived_chunks(archive, content):
                self._look_out(claimed)
        except ContentDamaged as error:
            raise ContentMissing(content.sha256) from error

    def _settle(self, route: Route) -> None:
        """Write down what has ended since the last time."""
        ended: list[tuple[Claimed, Exception | None]] = []
        while not self._ended.empty():
            ended.append(self._ended.get())
        ours = [one for one in ended if self._claimed.get(one[0].content.sha256) is one[0]]
        if not ours:
            return
        try:
            self._write_down(route, ours)
        except Unavailable:
            for one in ended:  # to be written when the database answers again
                self._ended.put(one)
            raise
        for claimed, _ in ours:
            self._claimed.pop(claimed.content.sha256, None)
        if any(error is None for _, error in ours):
            self._failures = 0
        trouble = next((error for _, error in ours if isinstance(error, Unavailable)), None)
        if trouble is not None:
            raise trouble

    def _write_down(self, route: Route, ended: list[tuple[Claimed, Exception | None]]) -> None:
        try:
            self._installation.database.write(lambda session: self._write(session, route, ended))
        except Unavailable:
            raise
        except Exception:
            incident = clock.new_uuid().hex[-12:]
            logger.exception("what was archived could not be written down at once (incident %s)", incident)
            # One of them is to blame, and the others need not wait for it.
            for one in ended:
                self._write_alone(route, one)

    def _write_alone(self, route: Route, one: tuple[Claimed, Exception | None]) -> None:
        """Write down one that has ended; where that cannot be, it is copied anew when its lease has passed."""
        try:
            self._installation.database.write(lambda session: self._write(session, route, [one]))
        except Unavailable:
            raise
        except Exception:
            incident = clock.new_uuid().hex[-12:]
            logger.exception("the copy of %s could not be written down (incident %s)", one[0].content.sha256, incident)

    def _write(self, session: Session, route: Route, ended: list[tuple[Claimed, Exception | None]]) -> None:
        for claimed, error in sorted(ended, key=lambda one: one[0].content.sha256):
            sha256 = claimed.content.sha256
            if error is None:
                archiving.lies_there(session, route.archive, sha256, claimed.fence)
            elif isinstance(error, _Gone):
                archiving.forget(session, route.archive, sha256, claimed.fence)
            elif isinstance(error, _GivenUp):
                archiving.release(session, route.archive, {sha256: claimed.fence})
            else:
                seconds = _pause(claimed.tries)
                if isinstance(error, ContentDamaged | ContentMissing):
                    seconds = _DAMAGED_SECONDS
                    logger.error("%s is not archived: %s (stemma store verify tells whose it is)", sha256, error)
                elif not isinstance(error, StemmaError):
                    logger.error("%s is not archived", sha256, exc_info=error)
                until = clock.now() + timedelta(seconds=seconds)
                archiving.put_off(session, route.archive, claimed, _said(error), until)

    def _rest(self, error: Unavailable) -> None:
        """Ask again later."""
        self._resting.set()
        seconds = _pause(self._failures)
        self._failures += 1
        self._is_ready = False
        self._rest_until = time.monotonic() + seconds
        logger.warning("archiving waits %.0f s: %s", seconds, _said(error))

    def _end(self, route: Route) -> None:
        """Give back what was claimed."""
        try:
            self._settle(route)
            fences = {sha256: claimed.fence for sha256, claimed in self._claimed.items()}
            if fences:
                self._installation.database.write(lambda session: archiving.release(session, route.archive, fences))
        except Unavailable as error:
            logger.warning("copies not given back, their leases pass by themselves: %s", _said(error))


class _Gone(Exception):
    """Nothing refers to it, and it lies neither here nor there."""


def _pause(tries: int) -> float:
    return min(2.0 ** min(tries, 10), _LONGEST_PAUSE_SECONDS)


def _said(error: Exception) -> str:
    """What operators are to know: of what is unavailable, why it is."""
    reason = getattr(error, "reason", None)
    if isinstance(error, StemmaError):
        return reason if isinstance(reason, str) else str(error)
    return type(error).__name__
