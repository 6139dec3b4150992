"""Takes runs from the queue: to an engine, or, without execution, through the states by the clock."""

import asyncio
from pathlib import Path

from support.reana_standin.clock import Clock
from support.reana_standin.cluster import Cluster
from support.reana_standin.engines import EngineRun
from support.reana_standin.faults import Faults
from support.reana_standin.rows import Job, Workflow
from support.reana_standin.waiting import passed, until


class Scheduler:
    """What happens to a run after its start was accepted."""

    def __init__(
        self, cluster: Cluster, faults: Faults, clock: Clock, folder: Path, *, places: int, pretend: float | None
    ) -> None:
        """Keep what runs need.

        Args:
            cluster: where jobs run.
            faults: the switches.
            clock: the server's.
            folder: for logs.
            places: so many runs are pending or running at a time.
            pretend: nothing is executed; a run is ``running`` for so many seconds.
        """
        self._cluster = cluster
        self._faults = faults
        self._clock = clock
        self._folder = folder
        self._places = asyncio.Semaphore(places)
        self._pretend = pretend
        self._engines: dict[str, EngineRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def submit(self, workflow: Workflow) -> None:
        """Queue it."""
        workflow.become("queued", self._clock.now())
        task = asyncio.create_task(self._live(workflow))
        self._tasks[workflow.number] = task
        task.add_done_callback(lambda _: self._tasks.pop(workflow.number, None))

    def kill(self, workflow: Workflow) -> None:
        """Take it off the cluster; its status is another matter."""
        engine = self._engines.get(workflow.number)
        if engine is not None:
            engine.kill()
        elif (task := self._tasks.get(workflow.number)) is not None:
            task.cancel()

    async def close(self) -> None:
        """Kill everything."""
        for engine in list(self._engines.values()):
            engine.kill()
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _live(self, workflow: Workflow) -> None:
        await passed(lambda: self._faults.queued_seconds)
        await until(lambda: not self._faults.queued_forever)
        async with self._places:
            if not workflow.can_become("pending"):
                return
            workflow.become("pending", self._clock.now())
            await passed(lambda: self._faults.pending_seconds)
            await until(lambda: not self._faults.pending_forever)
            if self._pretend is None:
                await self._execute(workflow)
            else:
                await self._go_through_the_motions(workflow, self._pretend)
            # Where its engine is gone without a word, it stays pending and keeps its place for ever.
            await until(lambda: workflow.status != "pending")

    async def _execute(self, workflow: Workflow) -> None:
        if workflow.status != "pending":
            return
        engine = EngineRun(workflow, self._cluster, self._faults, self._clock, self._folder)
        self._engines[workflow.number] = engine
        try:
            engine.start()
            await engine.gone.wait()
        finally:
            engine.kill()
            del self._engines[workflow.number]

    async def _go_through_the_motions(self, workflow: Workflow, seconds: float) -> None:
        """Nothing is executed: one job that says so."""
        if not workflow.can_become("running"):
            return
        workflow.become("running", self._clock.now())
        job = Job(
            workflow=workflow.number,
            name="not-executed",
            image="none",
            command="true # the stand-in was started with --no-run",
            started_at=self._clock.now(),
        )
        workflow.jobs[job.number] = job
        one = {"total": 1, "job_ids": [job.number]}
        workflow.note_progress({"total": {"total": 1, "job_ids": []}, "running": one})
        await asyncio.sleep(seconds)
        if workflow.status != "running":
            job.status = "stopped"
            return
        job.status, job.finished_at = "finished", self._clock.now()
        job.logs = "job: :\n nothing was executed (--no-run)\n\nCompleted\n"
        workflow.note_progress({"finished": one})
        workflow.become("finished", self._clock.now())
        workflow.logs = "FinalOutput{}FinalOutput\nnothing was executed (--no-run)\n"
