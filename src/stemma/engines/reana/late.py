"""Which late files of an attempt on REANA have been told of, and how far each of them has come.

In the attempt's folder (``arrivals/``), for all processes that may be told something or bring a file there:

  reana.late          what became of late files, a line each, only ever added to; the last line of a file counts
  reana.late.lock     held by whoever adds to it, for an instant
  <occurrence>.lock   held by whoever brings the file, for as long as that takes

In the workspace (``stemma/late/``), for the jobs there:

  files               all late files of the run: identity and name
  limit               for how many seconds a job waits for one
  <occurrence>        its bytes; whole once there is
  <occurrence>.here   its size
  <occurrence>.refused   why it cannot be had: a line
  waits/<job>         a job waits: the key of its step, and for which files

What lies among the inputs in the place of a late file (:func:`stemma.engines.reana.inputs.placeholder`) stays there.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID

import orjson
from pydantic import TypeAdapter

from stemma.engines.cwltool.folder import RunLock
from stemma.records import Content

_NOTES: Final = "reana.late"
_MOST_CHARACTERS: Final = 600


class LateState(StrEnum):
    """How far a late file has come."""

    TOLD = "told"
    """It is to be brought there."""
    BROUGHT = "brought"
    """Its bytes are there, and the jobs do not know it yet."""
    HERE = "here"
    """The jobs know."""
    REFUSED = "refused"
    """It cannot be had, and the jobs do not know it yet."""
    KNOWN = "known"
    """The jobs know that it cannot be had."""
    RECALLED = "recalled"
    """It was told of, and taken back before anything was done."""
    FAILED = "failed"
    """REANA does not take it."""


OPEN: Final = frozenset({LateState.TOLD, LateState.BROUGHT, LateState.REFUSED})
"""Something is left to do."""
SETTLED: Final = frozenset({LateState.HERE, LateState.KNOWN, LateState.FAILED})
"""Nothing more will come of it."""
KEPT: Final = frozenset({LateState.BROUGHT, LateState.HERE})
"""REANA has its bytes."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a late file."""

    occurrence: UUID
    state: LateState
    content: Content | None = None
    reason: str | None = None


class LateNotes:
    """The late files of one attempt, for all threads. Where its folder is gone, so is the run: ``FileNotFoundError``.

    Args:
        folder: the attempt's ``arrivals``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _NOTES
        self._read_bytes = 0
        self._notes: dict[UUID, Note] = {}
        self._open: dict[UUID, None] = {}
        self._settled: set[UUID] = set()
        self._lock = threading.RLock()

    def all(self) -> list[Note]:
        """All that is known, in the order in which it was told first."""
        with self._lock:
            self._read()
            return list(self._notes.values())

    def open(self) -> list[UUID]:
        """The files for which something is left to do, in the order in which they were told of. Cheap."""
        with self._lock:
            self._read()
            return list(self._open)

    def settled(self) -> int:
        """Of how many files it is known there what became of them. Cheap."""
        with self._lock:
            self._read()
            return len(self._settled)

    def find(self, occurrence: UUID) -> Note | None:
        """What is known of a file."""
        with self._lock:
            self._read()
            return self._notes.get(occurrence)

    def tell(self, occurrence: UUID, content: Content) -> None:
        """Note that a file is to be brought. Nothing happens when that is known."""
        with self._alone():
            before = self.find(occurrence)
            if before is None or before.state is LateState.RECALLED:
                self._add(Note(occurrence, LateState.TOLD, content))

    def refuse(self, occurrence: UUID, reason: str) -> None:
        """Note that a file cannot be had, unless it is to be brought, or was."""
        with self._alone():
            before = self.find(occurrence)
            if before is None or before.state is LateState.RECALLED:
                self._add(Note(occurrence, LateState.REFUSED, reason=sentence(reason)))

    def advance(self, note: Note, state: LateState, reason: str | None = None) -> Note:
        """Note how far a file has come; by whoever holds it (:meth:`holding`)."""
        with self._alone():
            self._add(Note(note.occurrence, state, note.content, reason or note.reason))
            return self._notes[note.occurrence]

    @contextlib.contextmanager
    def holding(self, occurrence: UUID) -> Iterator[Note | None]:
        """Be the only one who does something with a file; what is known of it then. None where another is at it."""
        lock = RunLock.take(self._folder / f"{occurrence}.lock")
        if lock is None:
            yield None
            return
        try:
            yield self.find(occurrence)
        finally:
            lock.release()

    def recall(self, occurrence: UUID) -> bool:
        """Whether nobody here needs the file any more; one that nobody has begun to bring counts as not told."""
        before = self.find(occurrence)
        if before is None or before.state is not LateState.TOLD:
            return True
        with self.holding(occurrence) as note:
            if note is None:
                return False
            if note.state is LateState.TOLD:
                self.advance(note, LateState.RECALLED)
            return True

    def _read(self) -> None:
        """Take in what was written since; only under the lock of this object."""
        try:
            if self._path.stat().st_size == self._read_bytes:
                return
            with self._path.open("rb") as file:
                file.seek(self._read_bytes)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            note = _ADAPTER.validate_json(line)
            self._notes[note.occurrence] = note
            if note.state in OPEN:
                self._open[note.occurrence] = None
            else:
                self._open.pop(note.occurrence, None)
            if note.state in SETTLED:
                self._settled.add(note.occurrence)

    def _add(self, note: Note) -> None:
        """Write it down; only under the lock, and so after everything else was read."""
        with self._path.open("ab", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != self._read_bytes:  # what one left that was killed while it wrote
                file.truncate(self._read_bytes)
            line = orjson.dumps(note, option=orjson.OPT_APPEND_NEWLINE)
            if file.write(line) != len(line):
                raise OSError(f"what became of the late files of {self._folder.parent} cannot be written down")
        self._read()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only one who writes, of all threads and processes."""
        with self._lock, (self._folder / f"{_NOTES}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # it goes with the file
            self._read()
            yield


_ADAPTER = TypeAdapter(Note)


def sentence(reason: str) -> str:
    """``reason`` on one line, of characters that can be seen."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in reason).split())
    return line[:_MOST_CHARACTERS] or "it cannot be had"
