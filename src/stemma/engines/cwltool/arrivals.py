"""Which late files of an attempt are here: told by whoever brings them, read by the run process.

<attempt>/arrivals/
  late.lock            held by whoever reads or changes what is told, for an instant
  late.news            the occurrences of which something was told, one a line, in the order of telling
  <occurrence>.json    what was told of it last; written aside and renamed
  <occurrence>.used    a step uses it; counts only as long as the run process lives

The news come before what they are about, and both under the lock: who is killed between leaves news of nothing,
and whoever tells it again tells both. The run process looks at the size of the news alone while it waits.
"""

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import UUID

import orjson

from stemma.records import Content

_LINE_BYTES = 37
"""A uuid and the end of the line."""
_AT_ONCE = 100
"""So many are told of before the lock is let go: a moment, in which the run process does not wait long."""
_PATIENCE_SECONDS = 2.0
_LOOK_SECONDS = 0.002


class Whereabouts(StrEnum):
    """What can be told of a late file."""

    HERE = "here"
    REFUSED = "refused"
    RECALLED = "recalled"


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of a late file last."""

    whereabouts: Whereabouts
    sha256: str | None = None
    size_bytes: int | None = None
    path: str | None = None
    """Where its bytes lie in the store."""
    reason: str | None = None
    """Why it cannot be had."""

    @property
    def content(self) -> Content | None:
        """Its bytes, once they were here."""
        if self.sha256 is None or self.size_bytes is None:
            return None
        return Content(self.sha256, self.size_bytes)


class ArrivalsBusy(Exception):
    """Somebody holds the lock for longer than anybody should."""


class Arrivals:
    """The end of those who bring files. Where the folder is gone, so is the run: ``FileNotFoundError``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, occurrence: UUID, content: Content, path: Path) -> None:
        """Tell that a file is here. Nothing happens when it was told before."""
        self.deliver_all({occurrence: (content, path)})

    def deliver_all(self, files: Mapping[UUID, tuple[Content, Path]]) -> None:
        """Tell that these are here. Of those that were told before nothing is told."""
        told = [
            (occurrence, Told(Whereabouts.HERE, content.sha256, content.size_bytes, str(path)))
            for occurrence, (content, path) in files.items()
        ]
        for start in range(0, len(told), _AT_ONCE):
            with self._alone():
                self._tell({one: what for one, what in told[start : start + _AT_ONCE] if self.told(one) != what})

    def refuse(self, occurrence: UUID, reason: str) -> None:
        """Tell that a file cannot be had, unless it is here."""
        with self._alone():
            before = self.told(occurrence)
            if before is None or before.whereabouts is Whereabouts.RECALLED:
                self._tell({occurrence: Told(Whereabouts.REFUSED, reason=reason)})

    def recall(self, occurrence: UUID, *, is_alive: Callable[[], bool]) -> bool:
        """Take a file back; False while a step of a run process that lives uses it."""
        with self._alone():
            before = self.told(occurrence)
            if before is None or before.whereabouts is not Whereabouts.HERE:
                return True
            if self.mark(occurrence).exists() and is_alive():
                return False
            self._tell({occurrence: Told(Whereabouts.RECALLED, before.sha256, before.size_bytes)})
            return True

    def told(self, occurrence: UUID) -> Told | None:
        """What was told of it last."""
        try:
            value = orjson.loads((self._folder / f"{occurrence}.json").read_bytes())
        except FileNotFoundError:
            return None
        return Told(**{**value, "whereabouts": Whereabouts(value["whereabouts"])})

    def mark(self, occurrence: UUID) -> Path:
        """The file that says that a step uses it."""
        return self._folder / f"{occurrence}.used"

    def _tell(self, told: Mapping[UUID, Told]) -> None:
        """Write it down; only under the lock."""
        with _opened(self._folder / "late.news") as news:
            size = os.fstat(news).st_size
            os.ftruncate(news, size - size % _LINE_BYTES)  # what one left that was killed, or had no space
            lines = "".join(f"{occurrence}\n" for occurrence in told).encode()
            if os.write(news, lines) != len(lines):
                raise OSError(f"the news of the late files of {self._folder.parent} cannot be written")
        aside = self._folder / f".{uuid.uuid4().hex}"
        try:
            for occurrence, what in told.items():
                aside.write_bytes(orjson.dumps(what))
                aside.replace(self._folder / f"{occurrence}.json")
        finally:
            aside.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            ArrivalsBusy: another holds it, and does not let go.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with _opened(self._folder / "late.lock") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise ArrivalsBusy from None
                    time.sleep(_LOOK_SECONDS)
            yield


class News:
    """The end of the run process: what was told since it last read, and which files its steps use."""

    def __init__(self, folder: Path) -> None:
        self._arrivals = Arrivals(folder)
        self._lock = _open(folder / "late.lock")
        self._news = _open(folder / "late.news")
        self._read_bytes = 0

    @property
    def is_there(self) -> bool:
        """Whether something may have been told since; costs nothing."""
        return os.fstat(self._news).st_size != self._read_bytes

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock: nobody tells anything meanwhile."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def read(self, most: int | None = None) -> list[tuple[UUID, Told]]:
        """What was told since (``most`` news of it), each file once; only under the lock."""
        size = os.fstat(self._news).st_size - self._read_bytes
        text = os.pread(self._news, size if most is None else min(size, most * _LINE_BYTES), self._read_bytes)
        whole = len(text) - len(text) % _LINE_BYTES
        self._read_bytes += whole
        names = dict.fromkeys(text[:whole].decode("ascii").split())
        found = ((UUID(name), self._arrivals.told(UUID(name))) for name in names)
        return [(occurrence, told) for occurrence, told in found if told is not None]

    def use(self, occurrence: UUID) -> None:
        """Say that a step uses a file; only under the lock."""
        os.close(_open(self._arrivals.mark(occurrence)))

    def let_go(self, occurrence: UUID) -> None:
        """Say that no step uses it any more."""
        self._arrivals.mark(occurrence).unlink(missing_ok=True)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = _open(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
