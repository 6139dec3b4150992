"""Starts a tool, waits for it, and says what it used. Stands in for cwltool's own ``_job_popen``.

cwltool starts tools in its own process group, ends only the first process of a tool that takes too long, watches
each with a timer thread, and keeps every one that ever ran. Here a tool leads a process group, which is
ended as a whole, and one wait gives exit code and resource use.
"""

import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, repeat
from pathlib import Path
from typing import IO, Any

from stemma.engines.cwltool.containers import ResourceUse

_LOOKS_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25)
"""How long to wait between looks at a running tool; the last one goes on."""
_KIB = 1024
_BLOCK = 512
"""In what the kernel tells the use of disks, whatever the disk."""


def start_tool(  # noqa: PLR0917 - the library's own signature
    commands: list[str],
    stdin_path: str | None,
    stdout_path: str | None,
    stderr_path: str | None,
    env: Mapping[str, str],
    cwd: str,
    make_job_dir: Callable[[], str],  # noqa: ARG001 - as above: for job scripts, which we never make
    job_script_contents: str | None = None,  # noqa: ARG001 - as above
    timelimit: int | None = None,  # noqa: ARG001 - as above: the job itself keeps the time
    name: str | None = None,  # noqa: ARG001 - as above
    monitor_function: Callable[[subprocess.Popen[Any]], None] | None = None,
    default_stdout: IO[bytes] | None = None,
    default_stderr: IO[bytes] | None = None,
) -> int:
    """Run ``commands`` to their end; returns the exit code. What cwltool's function of these parameters does."""
    stdin = _opened(stdin_path, os.O_RDONLY) if stdin_path is not None else subprocess.DEVNULL
    stdout = _output(stdout_path, default_stdout)
    stderr = stdout if stderr_path is not None and stderr_path == stdout_path else _output(stderr_path, default_stderr)
    try:
        process = subprocess.Popen(
            commands, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd, process_group=0
        )
    finally:
        for descriptor in {stdin, stdout, stderr} - {subprocess.DEVNULL}:
            os.close(descriptor)
    if monitor_function is not None:
        monitor_function(process)
    return process.wait()


def _output(path: str | None, default: IO[bytes] | None) -> int:
    if path is not None:
        return _opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    if default is None:
        return os.dup(2)
    return os.dup(default.fileno())


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o666)


def wait_for(
    process: subprocess.Popen[Any], timeout_seconds: float | None, look: Callable[[], object] | None = None
) -> bool:
    """Wait until ``process`` has ended, without taking its exit code. Returns whether it did so in time.

    ``look`` is called now and then while it runs.
    """
    deadline = time.monotonic() + timeout_seconds if timeout_seconds else None
    descriptor = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        for pause in chain(_LOOKS_SECONDS, repeat(_LOOKS_SECONDS[-1])):
            left = pause if deadline is None else min(pause, deadline - time.monotonic())
            if poll.poll(max(0.0, left) * 1000):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            if look is not None:
                look()
    finally:
        os.close(descriptor)
    raise AssertionError("unreachable")


def take_exit(process: subprocess.Popen[Any], memory: "MemoryWatch") -> ResourceUse:
    """Take the exit code of ``process``, which has ended, and end what is left of its group.

    While it is a zombie its number cannot be used again, so the group is the right one.
    """
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    kill_group(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return ResourceUse(usage.ru_utime + usage.ru_stime, memory.peak(usage.ru_maxrss * _KIB), *_disk_use(usage))


def kill_group(pid: int) -> None:
    """Kill all processes of the group that ``pid`` leads."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # the tool left its group and nobody stayed
    except PermissionError:
        os.kill(pid, signal.SIGKILL)  # one of the group is another user's


class MemoryWatch:
    """The peak memory of a tool's largest process.

    The kernel's own figure is exact, but begins at the size of the process that started the tool, which is ours;
    below that we have what we saw when we looked.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen = 0
        self._floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB

    def look(self) -> None:
        """Look at every process of the tool."""
        self._seen = max([self._seen, *(_peak(pid) for pid in _family(self._pid))])

    def peak(self, kernel_bytes: int) -> int | None:
        """The peak, given what the kernel says; None when the tool was small and gone before we looked."""
        if kernel_bytes > self._floor:
            return kernel_bytes
        return self._seen or None


def _disk_use(usage: resource.struct_rusage) -> tuple[int | None, int | None]:
    """Bytes read from and written to disks by the process and the ones that it waited for.

    None where the kernel does not count them: it says zero then. The tool's own file of this kind is no way to
    them, since of a process that has ended only root may read it.
    """
    if not Path("/proc/self/io").exists():
        return None, None
    return usage.ru_inblock * _BLOCK, usage.ru_oublock * _BLOCK


def _family(pid: int) -> Iterator[int]:
    """``pid`` and all that came from it."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _peak(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    _, _, after = status.partition("VmHWM:")
    return int(after.split(maxsplit=1)[0]) * _KIB if after else 0
