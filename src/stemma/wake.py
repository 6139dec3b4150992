"""Nudges between the processes of a data folder, so that nobody need poll fast.

Each worker keeps a named pipe in ``wake/``; a nudge is a byte into each: that there is work, or that the process of a
run has said something. Who follows a run looks at the time of a file there, which a worker touches when it has written
down something new. All of them are hints and nothing more: who misses one finds out at its next look.
"""

import contextlib
import errno
import fcntl
import os
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

_OWN: Final = b"."
_WORK: Final = b"x"
_RUNS: Final = 0x80
"""Bytes from here on stand for runs, several for each: a byte is written whole or not at all."""
_NEWS_FILES: Final = 64


@dataclass(frozen=True, slots=True)
class Heard:
    """What a bell was rung for; false where nobody rang."""

    rung: bytes = b""

    def __bool__(self) -> bool:
        """Whether somebody rang."""
        return bool(self.rung)

    @property
    def has_work(self) -> bool:
        """Whether some work was written down."""
        return _WORK in self.rung

    def is_of(self, run: UUID) -> bool:
        """Whether the process of ``run`` may have said something."""
        return _mark(run) in self.rung


class Bell:
    """A worker's pipe: waits for a nudge or for the time to pass. Close it at the end."""

    def __init__(self, home: Path, worker: str) -> None:
        folder = home / "wake"
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{worker}.pipe"
        # Who rings takes away pipes that nobody reads: it is called one when it is open.
        fresh = folder / f"{worker}.new"
        with _making(folder):
            for left_behind in folder.glob("*.new"):  # nobody else is at it: its worker was killed meanwhile
                left_behind.unlink(missing_ok=True)
            os.mkfifo(fresh, 0o600)
            try:
                # Opened for writing too, or it would read as closed whenever nobody else has it open.
                self._descriptor = os.open(fresh, os.O_RDWR | os.O_NONBLOCK)
                fresh.rename(self._path)
            except OSError:
                fresh.unlink(missing_ok=True)
                raise

    def wait(self, timeout_seconds: float) -> Heard:
        """Return at a nudge, or after ``timeout_seconds``. Several nudges count as one."""
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, timeout_seconds))
        heard = b""
        if ready:
            with contextlib.suppress(BlockingIOError):
                heard = os.read(self._descriptor, 65536)
        return Heard(heard)

    def ring(self) -> None:
        """Nudge this worker itself, from another thread or a signal handler."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._descriptor, _OWN)

    def close(self) -> None:
        """Take the pipe away."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


@contextlib.contextmanager
def _making(folder: Path) -> Iterator[None]:
    """One worker of a data folder makes its pipe at a time; who is killed at it is in nobody's way."""
    with (folder / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # for a process too that was forked meanwhile


def wake_workers(home: Path) -> None:
    """Tell every worker of this data folder that there is work; pipes of dead ones are taken away."""
    _ring_all(home, _WORK)


def tell_workers(home: Path, run: UUID) -> None:
    """Tell every worker of this data folder that the process of ``run`` has said something."""
    _ring_all(home, _mark(run))


def _ring_all(home: Path, word: bytes) -> None:
    for pipe in (home / "wake").glob("*.pipe"):
        try:
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno == errno.ENXIO:  # nobody reads it: its worker died
                pipe.unlink(missing_ok=True)
            continue
        try:
            # Full: it has been nudged already. Broken: its worker goes at this very moment.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(descriptor, word)
        finally:
            os.close(descriptor)


def _mark(run: UUID) -> bytes:
    return bytes([_RUNS | run.int % (256 - _RUNS)])


def tell_followers(home: Path, run_id: int) -> None:
    """Tell those who follow a run of this data folder that there is something new of it."""
    path, now = _news_file(home, run_id), time.time_ns()
    # A hint: the data folder may be gone, full or not to be written to; a worker goes on, and followers look by time.
    with contextlib.suppress(OSError):
        path.touch()
        os.utime(path, ns=(now, now))  # finer than what the file system writes by itself


class Following:
    """One who follows a run: knows whether something may be new since it last asked."""

    def __init__(self, home: Path, run_id: int) -> None:
        self._path = _news_file(home, run_id)
        self._seen = self._time()

    def has_news(self) -> bool:
        """Whether something may be new; costs next to nothing."""
        before, self._seen = self._seen, self._time()
        return self._seen != before

    def _time(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0


def _news_file(home: Path, run_id: int) -> Path:
    """Several runs share one, so that there are never many."""
    return home / "wake" / f"{run_id % _NEWS_FILES:02}.news"
