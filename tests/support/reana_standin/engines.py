"""The server's side of the engines: one process a run, which hands in jobs and publishes how far it is."""

import asyncio
import multiprocessing
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from support.reana_standin.clock import Clock
from support.reana_standin.cluster import Cluster
from support.reana_standin.engine.entry import run
from support.reana_standin.faults import Faults
from support.reana_standin.rows import Job, Workflow
from support.reana_standin.waiting import passed

_BACKENDS = frozenset({None, "kubernetes"})
_ENGINE = "support.reana_standin.engine.main"


def prepare() -> None:
    """Load cwltool beside the server, once for all runs; this does not wait for it."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([_ENGINE])
    forkserver.ensure_running()


class EngineRun:
    """One run, from its engine's start to its end."""

    def __init__(self, workflow: Workflow, cluster: Cluster, faults: Faults, clock: Clock, folder: Path) -> None:
        self._workflow = workflow
        self._cluster = cluster
        self._faults = faults
        self._clock = clock
        self._log = folder / "engines" / f"{workflow.number}.log"
        self._pods: dict[str, asyncio.Task[str]] = {}
        self._process: ForkServerProcess | None = None
        self._pipe: Connection | None = None
        self._late: list[asyncio.Task[None]] = []
        self._killed = False
        self.gone = asyncio.Event()
        """Set once the engine has ended, and with it its claim to a place."""

    def start(self) -> None:
        """Start the engine's process."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        context = multiprocessing.get_context("forkserver")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=run, args=(theirs, str(self._log), self._task()), daemon=True)

        def listen(process: ForkServerProcess, pipe: Connection) -> None:
            process.start()
            theirs.close()
            if self._killed:
                process.kill()
            with suppress(EOFError, ConnectionError):
                while True:
                    loop.call_soon_threadsafe(self._heard, pipe.recv())
            process.join()
            loop.call_soon_threadsafe(self._ended)

        threading.Thread(target=listen, args=(self._process, self._pipe), daemon=True).start()

    def kill(self) -> None:
        """End the engine and its pods, as somebody stops or deletes the run."""
        self._killed = True
        for task in self._pods.values():
            task.cancel()
        if self._process is not None and self._process.pid is not None:
            self._process.kill()

    def _task(self) -> dict[str, Any]:
        workflow = self._workflow
        parameters = workflow.specification.get("inputs", {}).get("parameters", {})
        return {
            "workspace": str(workflow.workspace),
            "specification": workflow.specification["workflow"].get("specification"),
            "inputs": {**parameters, **workflow.input_parameters},
            "options": [word for pair in workflow.operational_options.items() for word in pair],
        }

    def _heard(self, said: dict[str, Any]) -> None:
        if self._killed:
            return
        handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "progress": self._progress,
            "submit": self._submit,
            "end": self._end,
        }
        handlers[said["kind"]](said)

    def _progress(self, said: dict[str, Any]) -> None:
        workflow = self._workflow
        if not workflow.can_become("running"):
            return
        if workflow.status != "running":
            workflow.become("running", self._clock.now())
        workflow.note_progress(said["progress"])

    def _submit(self, said: dict[str, Any]) -> None:
        wanted = said["job"]
        if wanted["compute_backend"] not in _BACKENDS:
            self._answer(
                {
                    "kind": "refused",
                    "message": f"Job submission failed. Backend {wanted['compute_backend']} is not supported.",
                }
            )
            return
        job = Job(
            workflow=self._workflow.number,
            name=wanted["job_name"],
            image=wanted["docker_img"],
            command=wanted["cmd"],
            started_at=self._clock.now(),
            timeout=wanted["kubernetes_job_timeout"],
        )
        self._workflow.jobs[job.number] = job
        self._answer({"kind": "submitted", "job_id": job.number})
        self._pods[job.number] = asyncio.create_task(self._pod(job))

    async def _pod(self, job: Job) -> str:
        status = await self._cluster.run(job)
        self._answer({"kind": "ended", "job_id": job.number, "status": status})
        return status

    def _answer(self, said: dict[str, Any]) -> None:
        if self._pipe is not None:
            with suppress(OSError):
                self._pipe.send(said)

    def _end(self, said: dict[str, Any]) -> None:
        """The engine's last word. Where the run may not become that, it stays what it is, for ever."""
        workflow = self._workflow
        if not workflow.can_become(said["status"]):
            return
        workflow.become(said["status"], self._clock.now())
        workflow.run_finished_at = self._clock.now()
        published = f"{said['logs']}\n" if said["logs"] else ""
        self._late.append(asyncio.create_task(self._store(f"{published}{self._said()}\n")))

    def _said(self) -> str:
        """The log of the engine's pod."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    async def _store(self, logs: str) -> None:
        await passed(lambda: self._faults.late_logs_seconds)
        self._workflow.logs += logs

    def _ended(self) -> None:
        """The process is gone."""
        for task in self._pods.values():
            task.cancel()
        if self._workflow.status == "stopped":
            self._workflow.run_finished_at = self._clock.now()
            self._workflow.logs += f"{self._said()}\n"
        if self._pipe is not None:
            self._pipe.close()
        self._log.unlink(missing_ok=True)
        self.gone.set()
