"""The cluster: a pod is a local process, ``bash -c <command>`` in a session of its own with a clean environment.

No container is started: the image of a job is only written down, and looked at to see whether it has ``bash``.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path

from support.reana_standin.clock import Clock
from support.reana_standin.faults import Faults
from support.reana_standin.rows import Job
from support.reana_standin.waiting import passed

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "HOSTNAME": "pod"}


class Cluster:
    """Runs so many pods at a time, and lets the others wait."""

    def __init__(self, folder: Path, slots: int, faults: Faults, clock: Clock) -> None:
        self._folder = folder / "pods"
        self._slots = asyncio.Semaphore(slots)
        self._faults = faults
        self._clock = clock
        self._late: set[asyncio.Task[None]] = set()

    async def run(self, job: Job) -> str:
        """Run ``job`` to its end, and note logs and status in it; the status.

        Cancelling the task kills the pod, and leaves the job ``stopped``.
        """
        try:
            async with self._slots:
                log, status = await self._pod(job)
        except asyncio.CancelledError:
            job.status = "stopped"
            raise
        if not self._faults.lost_logs:
            storing = asyncio.create_task(self._store(job, log))
            self._late.add(storing)
            storing.add_done_callback(self._late.discard)
            if not self._faults.late_logs_seconds:
                await storing
        job.finished_at = self._clock.now()
        job.status = status
        return status

    async def _store(self, job: Job, log: str) -> None:
        await passed(lambda: self._faults.late_logs_seconds)
        job.logs = log

    async def _pod(self, job: Job) -> tuple[str, str]:
        if self._faults.lacks_bash(job.image):
            return _log("", "StartError"), "failed"
        folder = self._folder / job.number
        folder.mkdir(parents=True)
        try:
            code = await self._process(job, folder)
            said = _tail(folder / "log", self._faults.log_tail_bytes)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if code is None:
            # The words about the timeout are a template that nobody fills in on a real server.
            return _log(said, "Error") + "\n{message}\n", "failed"
        return (_log(said, "Error"), "failed") if code else (_log(said, "Completed"), "finished")

    async def _process(self, job: Job, folder: Path) -> int | None:
        """The exit code; nothing where the time was up."""
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-c", job.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        try:
            return await asyncio.wait_for(process.wait(), job.timeout)
        except TimeoutError:
            return None
        finally:
            # As in a container, nothing outlives the first process.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _log(said: str, reason: str) -> str:
    return f"job: :\n {said}\n\n{reason}\n"


def _tail(path: Path, limit: int) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - limit))
        return file.read().decode(errors="replace")
