"""The jobs that cwltool makes of tools and expressions, with what we record of them."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from shutil import rmtree
from typing import Any

import cwltool.job
from cwltool.command_line_tool import ExpressionJob
from cwltool.context import RuntimeContext
from cwltool.docker import DockerCommandLineJob
from cwltool.errors import WorkflowException
from cwltool.job import CommandLineJob, JobBase
from cwltool.utils import normalizeFilesDirs

from stemma.engines.cwltool import containers
from stemma.engines.cwltool.measure import MemoryWatch, kill_group, start_tool, take_exit, wait_for
from stemma.engines.cwltool.steps import StepExecution
from stemma.records import Json


def install() -> None:
    """Let cwltool start tools our way; it offers no other place to say so."""
    cwltool.job._job_popen = start_tool  # type: ignore[assignment]  # noqa: SLF001 - see above


class RecordedJob(JobBase):
    """What both ways of running a tool have in common."""

    step: StepExecution
    image: str | None = None
    image_digest: str | None = None
    _cid_file: Path | None = None

    def run(self, runtimeContext: RuntimeContext, tmpdir_lock: "threading.Lock | None" = None) -> None:  # noqa: N803 - the library's name
        """Run the tool to its end, and hand its outputs on; a failure of any kind is the step's."""
        context = runtimeContext.copy()
        context.rm_tmpdir = False  # we do it ourselves, for less
        context.cidfile_prefix = str(self.step.uuid)
        try:
            super().run(context, tmpdir_lock)  # type: ignore[safe-super]  # the class that is mixed in has one
        except Exception as error:
            if self.step.is_ended:
                raise  # it came from those who took the outputs, and is the run's
            self.step.fails(str(error))
        finally:
            self._give_up(runtimeContext)
            _remove(self.tmpdir, self.stagedir)

    def _execute(
        self,
        runtime: list[str],
        env: MutableMapping[str, str],
        runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
        monitor_function: Callable[[subprocess.Popen[str]], None] | None = None,  # noqa: ARG002 - we watch ourselves
    ) -> None:
        self.step.begin(tuple(str(word) for word in self.command_line), self.image, self.image_digest)
        watch = self._watch_container if self._cid_file is not None else self._watch_process
        with self._logs() as streams:
            context = runtimeContext.copy()
            context.default_stdout, context.default_stderr = streams
            super()._execute(runtime, env, context, watch)

    @contextlib.contextmanager
    def _logs(self) -> Iterator[tuple[Any, Any]]:
        """Where the tool's words go when the document does not say."""
        with contextlib.ExitStack() as stack:
            streams = []
            for name, target in (("stdout", self.stdout), ("stderr", self.stderr)):
                log = self.step.recorder.folder.step_log(self.step.uuid, name)
                self.step.streams[name] = Path(self.outdir, target) if target else log
                streams.append(None if target else stack.enter_context(log.open("ab", buffering=0)))
            yield streams[0], streams[1]

    def _watch_process(self, process: subprocess.Popen[Any]) -> None:
        """Wait for a tool on the host."""
        memory = MemoryWatch(process.pid)
        if not wait_for(process, self.timelimit, memory.look):
            self._is_late()
            kill_group(process.pid)
        self.step.use = take_exit(process, memory)
        self._ended(process)

    def _watch_container(self, process: subprocess.Popen[Any]) -> None:
        """Wait for a tool in a container: what we can wait for is the container engine's client."""
        last = containers.ResourceUse()

        def look() -> None:
            nonlocal last
            container = self._container_id()
            last = (containers.container_use(container) if container else None) or last

        if not wait_for(process, self.timelimit, look):
            self._is_late()
            self._kill_container()
            kill_group(process.pid)
        take_exit(process, MemoryWatch(process.pid))
        self.step.use = last
        self._ended(process)
        if self._cid_file is not None:
            self._cid_file.unlink(missing_ok=True)

    def _ended(self, process: subprocess.Popen[Any]) -> None:
        self.step.exit_code = process.returncode
        for name, target in (("stdout", self.stdout), ("stderr", self.stderr)):
            if target:
                log = self.step.recorder.folder.step_log(self.step.uuid, name)
                with contextlib.suppress(OSError):  # the tool may have removed it; the log is then not there either
                    os.link(self.step.streams[name], log)

    def _is_late(self) -> None:
        self.step.fails(f"it took longer than its time limit of {self.timelimit} seconds")

    def _container_id(self) -> str | None:
        with contextlib.suppress(OSError):
            return self._cid_file.read_text(encoding="ascii").strip() if self._cid_file is not None else None
        return None

    def _kill_container(self) -> None:
        container = self._container_id()
        if container:
            subprocess.run(
                ["docker", "kill", container],  # noqa: S607 - the engine that the PATH names started it
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
            )

    def _give_up(self, context: RuntimeContext) -> None:
        """Say that the step failed when nobody else did."""
        if self.step.is_ended or self.output_callback is None:
            return
        assert context.workflow_eval_lock is not None  # noqa: S101 - for the type checker: the executor made it
        with context.workflow_eval_lock:
            self.output_callback({}, "permanentFail")


class HostJob(RecordedJob, CommandLineJob):
    """A tool that runs on the host."""


class ContainerJob(RecordedJob, DockerCommandLineJob):
    """A tool that runs in a container."""

    def get_from_requirements(
        self,
        r: Any,
        pull_image: bool,
        force_pull: bool,
        tmp_outdir_prefix: str,
        image_base_path: str | None = None,
    ) -> str | None:
        """The image, once it is there.

        Raises:
            WorkflowException: it would have to be read from a place that the run may not read.
        """
        for field in ("dockerLoad", "dockerImport"):
            if field in r:
                raise WorkflowException(f"images are not read from files or addresses here ({field})")
        try:
            self.image = super().get_from_requirements(r, pull_image, force_pull, tmp_outdir_prefix, image_base_path)
        except subprocess.CalledProcessError as error:
            raise WorkflowException(f"the container image {r.get('dockerPull')!r} cannot be had: {error}") from error
        self.image_digest = containers.image_digest(self.image) if self.image is not None else None
        return self.image

    def create_runtime(
        self,
        env: MutableMapping[str, str],
        runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
    ) -> tuple[list[str], str | None]:
        """The command line of the container engine's client, and where it writes the container's id."""
        runtime, cid_file = super().create_runtime(env, runtimeContext)
        self._cid_file = Path(cid_file) if cid_file is not None else None
        return runtime, cid_file


class RecordedExpressionJob(ExpressionJob):
    """The evaluation of an ExpressionTool."""

    step: StepExecution

    def run(self, runtimeContext: RuntimeContext, tmpdir_lock: "threading.Lock | None" = None) -> None:  # noqa: ARG002, N803 - the library's signature
        """Evaluate the expression and hand its outputs on."""
        self.step.begin()
        outputs: dict[str, Json] = {}
        status = "permanentFail"
        try:
            outputs = self.step.generates(self._evaluated())
            status = "success"
        except Exception as error:  # noqa: BLE001 - the border of the library: what it raises here is the step's failure
            self.step.fails(str(error))
        assert runtimeContext.workflow_eval_lock is not None  # noqa: S101 - for the type checker: the executor made it
        with runtimeContext.workflow_eval_lock:
            assert self.output_callback is not None  # noqa: S101 - as above
            self.output_callback(outputs, status)

    def _evaluated(self) -> dict[str, Json]:
        normalizeFilesDirs(self.builder.job)
        value: Json = self.builder.do_eval(self.script)
        if not isinstance(value, dict):
            raise WorkflowException(f"the expression gave {value!r} and not an object with the outputs")
        normalizeFilesDirs(value)
        return value


def _remove(*folders: str | None) -> None:
    """Remove folders that a step leaves; most of them are empty."""
    for folder in folders:
        if folder:
            try:
                os.rmdir(folder)  # noqa: PTH106 - for every step; a Path costs more than the call
            except OSError:
                rmtree(folder, ignore_errors=True)
