"""How the jobs of a run follow each other."""

import copy
import json
import logging
import queue
import tempfile
import time
from pathlib import Path
from typing import Any

from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.executors import JobExecutor
from cwltool.mutation import MutationManager
from cwltool.process import Process, cleanIntermediate, relocateOutputs

from support.reana_standin.engine.desk import Desk
from support.reana_standin.engine.jobs import RemoteJob

log = logging.getLogger("reana-workflow-engine-cwl")
_LOOK_AGAIN_SECONDS = 0.5


class Pipeline(JobExecutor):
    """Submits every job as soon as its inputs are there."""

    def __init__(self, desk: Desk, workspace: str) -> None:
        super().__init__()
        self.desk = desk
        self.workspace = workspace
        self.printed = ""
        """The outputs as they are published when the run ends."""

    def execute(
        self,
        process: Process,
        job_order_object: Any,
        runtime_context: RuntimeContext,
        logger: logging.Logger = log,
    ) -> tuple[Any, str]:
        """Run all of it."""
        context = runtime_context.copy()
        goal = str(Path(context.outdir or "").absolute())
        home = tempfile.mkdtemp(prefix=context.tmp_outdir_prefix)
        context.outdir = home
        context.mutation_manager = MutationManager()
        context.tmpdir = context.get_tmpdir()
        context.docker_stagedir = f"{self.workspace}/cwl/docker_stagedir"
        context.docker_outdir = home
        context.docker_tmpdir = context.tmpdir
        self.output_dirs.add(home)
        self.run_jobs(process, job_order_object, logger, context)
        if not self.final_status:
            return None, "permanentFail"
        outputs = self.final_output[0]
        if outputs:
            outputs = relocateOutputs(outputs, goal, self.output_dirs, context.move_outputs, context.make_fs_access(""))
        cleanIntermediate(self.output_dirs)
        log.info("FinalOutput%sFinalOutput", json.dumps(outputs))
        self.printed = str(outputs)
        return copy.deepcopy(outputs), self.final_status[0]

    def run_jobs(
        self, process: Process, job_order_object: Any, logger: logging.Logger, runtime_context: RuntimeContext
    ) -> None:
        """Submit, and hear of ends, until there is nothing more to do."""
        try:
            for job in process.job(job_order_object, self.output_callback, runtime_context):
                if job is None:
                    self._hear(wait=True)
                    continue
                if own := getattr(job, "outdir", None):
                    self.output_dirs.add(own)
                job.run(runtime_context)
                self._hear(wait=False)
        except WorkflowException:
            raise
        except Exception as error:
            log.exception("unexpected")
            raise WorkflowException(str(error)) from error
        while RemoteJob.submitted:
            self._hear(wait=True)

    def _hear(self, *, wait: bool) -> None:
        """Deal with the jobs that have ended."""
        if wait and not RemoteJob.submitted:
            time.sleep(_LOOK_AGAIN_SECONDS)
        while RemoteJob.submitted:
            try:
                number, status = self.desk.ends.get(block=wait)
            except queue.Empty:
                return
            wait = False
            kind = "finished" if status == "finished" else "failed"
            self.desk.progress(**{kind: {"total": 1, "job_ids": [number]}})
            log.info("job %s: %s", number, status)
            RemoteJob.submitted.pop(number).ended(status)
