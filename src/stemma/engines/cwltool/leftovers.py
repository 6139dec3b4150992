"""Finds and ends everything that an attempt started, even when its run process was killed.

A tool belongs to an attempt when it is in the session that the run process leads, when it descends from the run
process, or when its ``TMPDIR`` lies in the attempt's folder. The session is enough for all that do not leave it,
and costs nothing. What leaves it (``setsid``, a daemon) comes back to the run process as an orphan, which adopts
all of its own, as long as that lives; and it still carries the environment that it was started with, unless it
emptied that: cwltool gives every tool ``TMPDIR`` after all that a document may set, and we give the same to the
clients of containers. A death signal (``PR_SET_PDEATHSIG``) would reach direct children alone, and a list of
process numbers would miss what the tools start themselves.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from stemma.engines.cwltool import journal_reader
from stemma.engines.cwltool.folder import AttemptFolder
from stemma.engines.cwltool.identity import ProcessIdentity, ProcessStat, process_stat

GRACE_SECONDS = 0.5
"""Between asking a process to end and making it."""
_KILL_SECONDS = 1.0
_LOOK_SECONDS = 0.01


def end_all(folder: AttemptFolder) -> None:
    """Ask everything that the attempt started to end, then make it. Returns when nothing is left."""
    beginning = journal_reader.beginning(folder.journal)
    leader = beginning.process if beginning is not None else None
    _signal(folder, leader, signal.SIGTERM)
    _kill_containers(folder)
    if not wait_until(lambda: not any(_members(folder, leader)), GRACE_SECONDS):
        _kill_members(folder, leader)


def kill_all(folder: AttemptFolder) -> None:
    """Make everything that the attempt started end at once."""
    beginning = journal_reader.beginning(folder.journal)
    _kill_containers(folder)
    _kill_members(folder, beginning.process if beginning is not None else None)


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Whether ``condition`` came true in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _kill_members(folder: AttemptFolder, leader: ProcessIdentity | None) -> None:
    """Kill until nothing is left: one may have started another since we looked."""

    def none_is_left() -> bool:
        _signal(folder, leader, signal.SIGKILL)
        return not any(_members(folder, leader))

    wait_until(none_is_left, _KILL_SECONDS)


def _signal(folder: AttemptFolder, leader: ProcessIdentity | None, number: signal.Signals) -> None:
    for pid in _members(folder, leader):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _members(folder: AttemptFolder, leader: ProcessIdentity | None) -> Iterator[int]:
    """The numbers of the attempt's living processes, our own left out."""
    session = _session_of(leader)
    mark = b"\0TMPDIR=" + os.fsencode(folder.tmp)
    stats = _all_stats()  # before any is ended: its children would have another parent then
    for pid, stat in stats.items():
        if pid == os.getpid() or stat.is_zombie:
            continue
        is_ours = session is not None and (stat.session == session or _descends(stat, session, stats))
        if is_ours or _carries(pid, mark):
            yield pid


def _all_stats() -> dict[int, ProcessStat]:
    """What the kernel says of every process."""
    names = os.listdir("/proc")  # noqa: PTH208 - names are all we need, and there may be thousands
    found = ((int(name), process_stat(int(name))) for name in names if name.isdigit())
    return {pid: stat for pid, stat in found if stat is not None}


def _descends(stat: ProcessStat, ancestor: int, stats: Mapping[int, ProcessStat]) -> bool:
    """Whether the process ``ancestor`` started it, or adopted it, directly or through others."""
    seen: set[int] = set()  # numbers may be used again while we look, so that the row of parents has no end
    while stat.parent != ancestor:
        parent = stats.get(stat.parent)
        if parent is None or stat.parent in seen:
            return False
        seen.add(stat.parent)
        stat = parent
    return True


def _session_of(leader: ProcessIdentity | None) -> int | None:
    """The session that ``leader`` led; None when its number belongs to another process by now.

    The kernel gives a number to no new process while a session of that number has members, so
    members of it without their leader are ours.
    """
    if leader is None or not leader.is_here:
        return None
    stat = process_stat(leader.pid)
    return leader.pid if stat is None or stat.start_ticks == leader.start_ticks else None


def _carries(pid: int, mark: bytes) -> bool:
    try:
        return mark in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False  # it ended meanwhile, or is another user's


def _kill_containers(folder: AttemptFolder) -> None:
    identifiers = folder.container_ids()
    if identifiers:
        with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):
            subprocess.run(
                ["docker", "kill", *identifiers],  # noqa: S607 - the engine that the PATH names started them
                check=False,  # those that ended meanwhile are not running
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_KILL_SECONDS,
            )
