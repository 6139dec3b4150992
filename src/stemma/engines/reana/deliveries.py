"""Brings late files to REANA, in threads of its own: a file may take hours, and whoever tells of it does not wait.

Nothing depends on these threads but time: what is left to do stands in the attempt's folder, and whichever process
follows the run goes on with it.
"""

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from stemma.engines.reana import faults
from stemma.engines.reana.accounts import check_account
from stemma.engines.reana.crumbs import Crumbs
from stemma.engines.reana.late import LateNotes, LateState, Note
from stemma.engines.reana.wrapping import LATE_FOLDER
from stemma.errors import EngineRefused, EngineUnreachable

if TYPE_CHECKING:
    from stemma.engines.reana.session import ReanaSession

logger = logging.getLogger(__name__)

_THREADS: Final = 4
"""So many files are brought at a time."""
_AGAIN_SECONDS: Final = 5.0
_CHUNK: Final = 1 << 20


@dataclass(slots=True)
class _Work:
    """What is done in this process."""

    pid: int
    lock: threading.Condition = field(default_factory=threading.Condition)
    queue: deque[tuple[str, UUID]] = field(default_factory=deque)
    """In the order in which they were told of."""
    jobs: dict[tuple[str, UUID], Callable[[], None]] = field(default_factory=dict)
    """What is queued, or done just now."""
    again_at: dict[tuple[str, UUID], float] = field(default_factory=dict)
    threads: int = 0
    is_closed: bool = False


class Deliveries:
    """The late files that this process brings."""

    def __init__(self, store_path: Callable[[str], Path]) -> None:
        self._store_path = store_path
        self._work = _Work(os.getpid())

    def go_on(self, reference: str, notes: LateNotes, folder: Path, session: "Callable[[], ReanaSession]") -> None:
        """Do what is left to do for the late files of an attempt; returns at once."""
        for occurrence in notes.open():
            self._enqueue((reference, occurrence), partial(self._bring, reference, occurrence, notes, folder, session))

    def cancel(self, reference: str) -> None:
        """Bring nothing more for an attempt: it has ended."""
        work = self._here()
        with work.lock:
            for key in [key for key in (*work.jobs, *work.again_at) if key[0] == reference]:
                work.jobs.pop(key, None)
                work.again_at.pop(key, None)

    def close(self) -> None:
        """Begin nothing more, and let go of what is under way."""
        work = self._here()
        with work.lock:
            work.is_closed = True
            work.jobs.clear()
            work.lock.notify_all()

    def _here(self) -> _Work:
        """What is done in this process: threads do not outlive a fork."""
        if self._work.pid != os.getpid():
            self._work = _Work(os.getpid())
        return self._work

    def _enqueue(self, key: tuple[str, UUID], job: Callable[[], None]) -> None:
        work = self._here()
        with work.lock:
            if work.is_closed or key in work.jobs or work.again_at.get(key, 0.0) > time.monotonic():
                return
            work.jobs[key] = job
            work.queue.append(key)
            work.lock.notify()
            if work.threads < min(_THREADS, len(work.jobs)):
                work.threads += 1
                threading.Thread(target=self._serve, args=(work,), name="reana-upload", daemon=True).start()

    def _serve(self, work: _Work) -> None:
        while True:
            with work.lock:
                while not work.queue and not work.is_closed:
                    work.lock.wait()
                if work.is_closed:
                    return
                key = work.queue.popleft()
                job = work.jobs.get(key)
            if job is not None:
                self._do(work, key, job)

    def _do(self, work: _Work, key: tuple[str, UUID], job: Callable[[], None]) -> None:
        try:
            job()
        except (EngineUnreachable, EngineRefused, OSError) as error:
            logger.warning("late file %s of run %s: %s; it is tried again", key[1], key[0], error)
            with work.lock:
                if key in work.jobs:
                    work.again_at[key] = time.monotonic() + _AGAIN_SECONDS
        except Exception:
            logger.exception("late file %s of run %s could not be brought", key[1], key[0])
            with work.lock:
                work.again_at[key] = time.monotonic() + 12 * _AGAIN_SECONDS
        else:
            with work.lock:
                work.again_at.pop(key, None)
        finally:
            with work.lock:
                work.jobs.pop(key, None)

    def _bring(
        self,
        reference: str,
        occurrence: UUID,
        notes: LateNotes,
        folder: Path,
        session_of: "Callable[[], ReanaSession]",
    ) -> None:
        """Do what is left to do for one file.

        Raises:
            EngineUnreachable: it is to be gone on with later.
        """
        # Where the folder is gone, the attempt was released, and nobody needs the file any more.
        with contextlib.suppress(FileNotFoundError), notes.holding(occurrence) as note:
            crumbs = Crumbs.of(folder)
            if note is None or crumbs.workflow_id is None:
                return
            session, key = session_of(), (reference, occurrence)
            delivery = _Delivery(session, crumbs.workflow_id, notes, lambda: key in self._here().jobs)
            try:
                delivery.go_on(note, self._store_path)
            except EngineRefused as error:
                if isinstance(error, faults.RunGone):
                    check_account(session, crumbs)
                notes.advance(note, LateState.FAILED, error.reason)


@dataclass(slots=True)
class _Delivery:
    """One file on its way. Whoever makes this holds the file."""

    session: "ReanaSession"
    workflow_id: str
    notes: LateNotes
    is_wanted: Callable[[], bool]

    def go_on(self, note: Note, store_path: Callable[[str], Path]) -> None:
        """Do what is left to do."""
        if note.state is LateState.TOLD and note.content is not None:
            path = store_path(note.content.sha256)
            self._upload(f"{note.occurrence}", self._chunks(path), note.content.size_bytes)
            note = self.notes.advance(note, LateState.BROUGHT)
        if note.state is LateState.BROUGHT and note.content is not None:
            self._say(f"{note.occurrence}.here", str(note.content.size_bytes))
            self.notes.advance(note, LateState.HERE)
        elif note.state is LateState.REFUSED:
            self._say(f"{note.occurrence}.refused", note.reason or "")
            self.notes.advance(note, LateState.KNOWN)

    def _say(self, name: str, line: str) -> None:
        """A line for the jobs: they take it only with its end."""
        text = f"{line}\n".encode()
        self._upload(name, text, len(text))

    def _upload(self, name: str, source: bytes | Iterator[bytes], size: int) -> None:
        self.session.upload(self.workflow_id, f"{LATE_FOLDER}/{name}", source, size)

    def _chunks(self, path: Path) -> Iterator[bytes]:
        """The bytes, as long as somebody wants them.

        Raises:
            EngineUnreachable: nobody does, here; or they are not in the store now.
        """
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise faults.unreachable(f"{path.name} is not in the store any more") from error
        with file:
            while chunk := file.read(_CHUNK):
                if not self.is_wanted():
                    raise faults.unreachable("the upload was broken off")
                yield chunk
