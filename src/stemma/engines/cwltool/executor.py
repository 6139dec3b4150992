"""Runs the jobs of a run, as many at a time as the cores and the memory allow.

cwltool's own executor looks again at every waiting job for every new one, holds every job of a scatter ready
at once, and wakes every three seconds. This one takes jobs from the workflow as it needs them, and waits
until something ends.
"""

import logging
import math
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cwltool.context import RuntimeContext
from cwltool.cuda import cuda_version_and_device_count
from cwltool.errors import WorkflowException
from cwltool.executors import JobExecutor
from cwltool.job import JobBase
from cwltool.mutation import MutationManager
from cwltool.process import Process

from stemma.engines.cwltool.context import run_context
from stemma.engines.cwltool.gate import Gate, LateFile, Wait

_MIB = 1024 * 1024
_WAITING_JOBS = 32
"""How many jobs may be made before they can run: enough to find one that fits beside a large one."""
_LOOK_SECONDS = 0.02
"""Between two looks whether a late file has come, while something waits for one."""


class RunExecutor(JobExecutor):
    """Runs one process to its end."""

    waits_for_files = True

    def __init__(self, cores: int) -> None:
        super().__init__()
        self.max_cores = cores
        self.max_ram_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB
        self._used: dict[str, float] = {"cores": 0, "ram": 0, "cudaDeviceCount": 0}
        self._waiting: list[Any] = []
        self._running = 0
        self._ended = 0
        self._error: BaseException | None = None

    def select_resources(
        self,
        request: dict[str, int | float],
        runtime_context: RuntimeContext,  # noqa: ARG002 - the library's signature
    ) -> dict[str, int | float]:
        """What a step gets of what it asks for.

        Raises:
            WorkflowException: it asks for more than there is.
        """
        limits = {"cores": self.max_cores, "ram": self.max_ram_mib}
        if "cudaDeviceCountMin" in request:
            limits["cudaDeviceCount"] = cuda_version_and_device_count()[1]
        result: dict[str, int | float] = {}
        for name, limit in limits.items():
            least, most = request[f"{name}Min"], request[f"{name}Max"]
            if least > limit:
                unit = " MiB of" if name == "ram" else ""
                raise WorkflowException(f"it asks for {least}{unit} {name}, and this machine lets a run use {limit}")
            result[name] = math.ceil(most) if most < limit else limit
        result["tmpdirSize"] = math.ceil(request["tmpdirMin"])
        result["outdirSize"] = math.ceil(request["outdirMin"])
        return result

    def execute(
        self,
        process: Process,
        job_order_object: Any,
        runtime_context: RuntimeContext,
        logger: logging.Logger = logging.getLogger("cwltool"),  # noqa: B008 - the library's signature; a logger is a constant
    ) -> tuple[Any, str]:
        """Run ``process``; returns its outputs, left where the steps made them, and cwltool's word for how it ended.

        Raises:
            WorkflowException: it cannot be run.
        """
        process.visit(_refuse_operations)
        context = runtime_context.copy()
        context.outdir = context.create_outdir()
        context.mutation_manager = MutationManager()
        context.toplevel = True
        context.workflow_eval_lock = threading.Condition(threading.RLock())
        self.run_jobs(process, job_order_object, logger, context)
        if self.final_output and self.final_status:
            return self.final_output[0], self.final_status[0]
        return None, "permanentFail"

    def run_jobs(
        self, process: Process, job_order_object: Any, logger: logging.Logger, runtime_context: RuntimeContext
    ) -> None:
        """Run the jobs of ``process``."""
        changed = runtime_context.workflow_eval_lock
        assert changed is not None  # noqa: S101 - for the type checker: execute() made it
        gate = run_context(runtime_context).recorder.gate
        with ThreadPoolExecutor(self.max_cores, "step") as threads, changed:
            for job in process.job(job_order_object, self.output_callback, runtime_context):
                if job is not None:
                    self._waiting.append(job)
                elif gate is not None and gate.look():
                    continue
                elif self._running == 0 and not self._awaits_files(gate):
                    if gate is not None and gate.fail():
                        continue
                    logger.error("the workflow cannot go on: nothing runs, and what is left waits for something")
                    break
                else:
                    self._wait(changed, gate)
                self._start_what_fits(threads, runtime_context)
                while len(self._waiting) >= _WAITING_JOBS:
                    self._wait(changed)
                    self._start_what_fits(threads, runtime_context)
            while self._running:
                self._wait(changed)
                self._start_what_fits(threads, runtime_context)
            if gate is not None:
                gate.fail()

    def wait_for_files(self, gate: Gate, files: list[LateFile]) -> None:
        """Wait until files are here that the run itself needs, when all of its steps have ended.

        Raises:
            FileRefused: one of them cannot be had.
        """
        wait = Wait(gate, files, None)
        while not wait.is_over():
            gate.look()
            time.sleep(_LOOK_SECONDS)

    def _awaits_files(self, gate: Gate | None) -> bool:
        return gate is not None and self.waits_for_files and gate.is_awaited

    def _wait(self, changed: threading.Condition, gate: Gate | None = None) -> None:
        """Wait until a job has ended, or late files have come that something waits for.

        Raises:
            WorkflowException: it ended by a fault that is no step's.
        """
        if gate is None or not self._awaits_files(gate):
            changed.wait()
        else:
            ended = self._ended  # a notice may come just when the wait is over, and is not told of then
            while self._ended == ended and not gate.look():
                changed.wait(_LOOK_SECONDS)
        if self._error is not None:
            raise WorkflowException(str(self._error)) from self._error

    def _start_what_fits(self, threads: ThreadPoolExecutor, context: RuntimeContext) -> None:
        """Start the waiting jobs for which there is room, the oldest first."""
        left = []
        for job in self._waiting:
            needs = _needs(job)
            if self._fits(needs):
                self._account(needs, 1)
                self._running += 1
                threads.submit(self._run, job, needs, context)
            else:
                left.append(job)
        self._waiting = left

    def _fits(self, needs: dict[str, float]) -> bool:
        """Whether there is room; a job that is alone always fits, since it was checked when it was made."""
        limits = {"cores": self.max_cores, "ram": self.max_ram_mib}
        return self._running == 0 or all(self._used[name] + needs.get(name, 0) <= limits[name] for name in limits)

    def _account(self, needs: dict[str, float], sign: int) -> None:
        for name, amount in needs.items():
            self._used[name] += sign * amount

    def _run(self, job: Any, needs: dict[str, float], context: RuntimeContext) -> None:
        """Run one job, in a thread."""
        changed = context.workflow_eval_lock
        assert changed is not None  # noqa: S101 - for the type checker: execute() made it
        try:
            job.run(context)
        except BaseException as error:
            logging.getLogger("cwltool").exception("a job ended by a fault")
            self._error = error
        finally:
            with changed:
                self._account(needs, -1)
                self._running -= 1
                self._ended += 1
                changed.notify_all()


def _needs(job: Any) -> dict[str, float]:
    """What a job takes of the machine; expressions take nothing that counts."""
    if not isinstance(job, JobBase):
        return {}
    resources = job.builder.resources
    return {name: resources[name] for name in ("cores", "ram", "cudaDeviceCount") if name in resources}


def _refuse_operations(tool: Any) -> None:
    if tool["class"] == "Operation":
        raise WorkflowException(f"{tool.get('id')} is an abstract operation, which says what it does and not how")
