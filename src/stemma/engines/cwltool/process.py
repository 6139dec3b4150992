"""The run process: forked from a preloaded parent, it runs one attempt and outlives whoever asked for it.

It holds the lock of its folder for its whole life, holds no credentials, opens no database and no network, and
says what it does in its journal. See :mod:`stemma.engines.cwltool.folder`.
"""

import contextlib
import ctypes
import gc
import logging
import os
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

from cwltool.process import get_schema

from stemma import clock
from stemma.engines.cwltool import journal_reader, leftovers, run
from stemma.engines.cwltool.folder import AttemptFolder, RunLock, RunOrder
from stemma.engines.cwltool.identity import ProcessIdentity
from stemma.engines.cwltool.journal import Beginning, Journal
from stemma.engines.cwltool.recorder import Recorder
from stemma.engines.protocol import JobState
from stemma.forkserver import Channel, ForkServerGone
from stemma.wake import tell_workers

_VERSIONS = ("v1.0", "v1.1", "v1.2")
_LOCK_TRIES = 100
_LOCK_PAUSE_SECONDS = 0.005
_GARBAGE_THRESHOLD = 100_000
"""cwltool makes many objects and few cycles; looking for those less often saves a tenth of its time."""
_PR_SET_CHILD_SUBREAPER = 36
"""``prctl(2)``: what a tool leaves behind becomes our child, so that we know of it."""

_node_version: str | None = None


def preload() -> Iterator[None]:
    """Load, in the parent, what every run needs: the schema of the newest version first."""
    global _node_version
    _, _node_version = run.known_node()
    for version in sorted(_VERSIONS, reverse=True):
        get_schema(version)
        yield


def serve(channel: Channel) -> None:
    """Run the attempt whose folder the message names, if nobody did before; answer as soon as it is begun."""
    message = channel.receive()
    folder = AttemptFolder(Path(os.path.realpath(message["folder"])))
    lock = _take_lock(folder)
    if lock is None:
        _answer(channel, started=False)
        return
    order = folder.order()
    journal = Journal(folder.journal, on_news=_teller(message.get("home"), order.run_uuid))
    journal.write(Beginning(clock.now(), ProcessIdentity.own(), run.environment(order, _node_version)))
    _answer(channel, started=True)
    channel.close()
    _settle_in(folder)
    recorder = Recorder(folder, journal, order.attempt)
    watcher = _watch(folder, recorder, order)
    outcome = run.carry_out(order, folder, recorder)
    clear = partial(_leave_nothing, folder)
    if not recorder.end(outcome.state, outputs=outcome.outputs, reason=outcome.reason, meanwhile=clear):
        watcher.join()  # it is ending the run, and then the process


def _teller(home: str | None, run_uuid: str) -> Callable[[], None] | None:
    """Tells the workers of the data folder that something was said. Whoever is not reached finds out by itself."""

    def tell() -> None:
        with contextlib.suppress(OSError):
            tell_workers(Path(home or ""), UUID(run_uuid))

    return None if home is None else tell


def _answer(channel: Channel, *, started: bool) -> None:
    """Tell who asked. It may have been killed since: the attempt is begun all the same, and the journal says so."""
    with contextlib.suppress(ForkServerGone):
        channel.send({"started": started})


def _take_lock(folder: AttemptFolder) -> RunLock | None:
    """The lock; None when the attempt was begun before, by whomever.

    Tried more than once, since whoever looks whether it is held takes it for an instant.
    """
    for _ in range(_LOCK_TRIES):
        lock = RunLock.take(folder.lock_file)
        has_begun = journal_reader.has_begun(folder.journal)
        if lock is not None and not has_begun:
            return lock
        if has_begun:
            return None
        time.sleep(_LOCK_PAUSE_SECONDS)
    return None


def _settle_in(folder: AttemptFolder) -> None:
    """Make the attempt's folder the process's world."""
    log = os.open(folder.engine_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(nothing)
    os.chdir(folder.path)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder.tmp)  # noqa: TID251 - what our children get; see leftovers
    logger = logging.getLogger("cwltool")
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    logger.setLevel(logging.WARNING)
    gc.set_threshold(_GARBAGE_THRESHOLD)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _watch(folder: AttemptFolder, recorder: Recorder, order: RunOrder) -> threading.Thread:
    """Let a thread wait for the signal to stop, and for the time limit.

    The signal is passed through a pipe: the main thread may be anywhere, and may hold any lock.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGTERM, lambda *_: None)
    watch = partial(_end_when_told, reader, folder, recorder, order.time_limit_seconds)
    watcher = threading.Thread(target=watch, name="watch", daemon=True)
    watcher.start()
    return watcher


def _end_when_told(reader: int, folder: AttemptFolder, recorder: Recorder, limit_seconds: float | None) -> None:
    told, _, _ = select.select([reader], [], [], limit_seconds)
    clear = partial(leftovers.end_all, folder)
    if told:
        is_ended = recorder.end(JobState.STOPPED, reason="it was stopped", meanwhile=clear)
    else:
        reason = f"it took longer than the time limit of {limit_seconds:g} seconds"
        is_ended = recorder.end(JobState.FAILED, reason=reason, meanwhile=clear)
    if is_ended:
        os._exit(0)


def _leave_nothing(folder: AttemptFolder) -> None:
    """End what the tools left running."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return
    leftovers.kill_all(folder)
