"""cwltool's processes for a replay: tools are answered for, not run."""

import contextlib
import errno
import os
from collections.abc import Callable, MutableMapping
from pathlib import Path
from shutil import rmtree
from typing import IO, Any

import cwltool.job
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.job import CommandLineJob, JobBase
from cwltool.process import Process
from ruamel.yaml.comments import CommentedMap

from stemma.engines.cwltool import tools
from stemma.engines.cwltool.confinement import ConfinedAccess, Confinement
from stemma.engines.cwltool.executor import RunExecutor
from stemma.engines.cwltool.jobs import RecordedJob
from stemma.engines.cwltool.tools import RecordedTool
from stemma.engines.replay.recorder import ReplayRecorder
from stemma.engines.replay.results import JobResult, LeftFile, inner_path

_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
"""What goes wrong here alone, and says nothing of the job."""
_answers: dict[str, Callable[[], int]] = {}
"""By the folder that a tool would work in: what stands for its running."""


class BytesElsewhere(WorkflowException):  # type: ignore[misc,unused-ignore]  # the library's class, so that a step fails by it
    """The document reads a file whose bytes are not here yet."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the contents of {name} are needed here")


def install() -> None:
    """Let cwltool take answers where it would start tools."""
    tools.install()
    cwltool.job._job_popen = _answer  # type: ignore[assignment]  # noqa: SLF001 - it offers no other place to say so


def make_process(toolpath_object: CommentedMap, loadingContext: LoadingContext) -> Process:  # noqa: N803 - the library's name
    """The process of a document, with tools that are answered for."""
    if toolpath_object.get("class") == "CommandLineTool":
        return ReplayedTool(toolpath_object, loadingContext)
    return tools.make_process(toolpath_object, loadingContext)


def _answer(_commands: list[str], *, cwd: str, **_more: object) -> int:
    return _answers.pop(cwd)()


class ReplayedTool(RecordedTool):
    """A CommandLineTool whose job took place elsewhere."""

    def make_job_runner(self, runtimeContext: RuntimeContext) -> type[JobBase]:  # noqa: ARG002, N803 - the library's signature
        """Always the same: where it ran does not matter here."""
        return ReplayedJob


class ReplayedJob(RecordedJob, CommandLineJob):
    """A job that is looked up. One that is not there is passed over without a word; one that runs has only begun."""

    _updates_in_place = False

    def run(self, runtimeContext: RuntimeContext, tmpdir_lock: Any = None) -> None:  # noqa: N803 - the library's name
        """Take over what is known of it."""
        recorder = _recorder(self)
        result = recorder.jobs.get(self.step.key)
        if result is None:
            recorder.missing.append(self.step.key)
            return
        recorder.moment = result.started_at
        self.image = result.image
        self.step.backend_job_id = result.backend_job_id
        if result.ended_at is None:
            self.step.begin(tuple(map(str, self.command_line)), self.image)
            return
        # Nothing that may be written is copied here, however large it is: lay_out() knows what became of it.
        self._updates_in_place, self.inplace_update = self.inplace_update, True
        super().run(runtimeContext, tmpdir_lock)

    def _execute(
        self,
        runtime: list[str],
        env: MutableMapping[str, str],
        runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
        monitor_function: Any = None,  # noqa: ARG002 - nothing runs
    ) -> None:
        recorder = _recorder(self)
        result = recorder.jobs[self.step.key]
        self.inplace_update = self._updates_in_place
        self.step.begin(tuple(map(str, self.command_line)), self.image)
        for name in result.streams:
            self.step.streams[name] = recorder.folder.step_log(self.step.uuid, name)
        _answers[self.outdir] = lambda: self._take(recorder, result)
        JobBase._execute(self, runtime, env, runtimeContext, None)  # noqa: SLF001 - past what watches a running tool

    def _take(self, recorder: ReplayRecorder, result: JobResult) -> int:
        """What the tool left, and its exit code.

        Raises:
            WorkflowException: nobody saw an exit code, or the engine says that it failed all the same.
        """
        assert result.ended_at is not None  # noqa: S101 - for the type checker: run() has seen to it
        recorder.moment = result.ended_at
        self.step.exit_code = result.exit_code
        if result.failure is not None:
            self.step.fails(result.failure)
        if result.exit_code is None or (result.failure is not None and result.exit_code in {0, *self.successCodes}):
            raise WorkflowException(result.failure or "its exit code is not known")
        try:
            lay_out(recorder, self.outdir, result)
        except OSError as error:
            if error.errno in _OF_THE_MACHINE:
                recorder.trouble = error
            raise
        return result.exit_code


def _recorder(job: RecordedJob) -> ReplayRecorder:
    recorder = job.step.recorder
    assert isinstance(recorder, ReplayRecorder)  # noqa: S101 - for the type checker: a replay has no other
    return recorder


def lay_out(recorder: ReplayRecorder, folder: str, result: JobResult) -> None:
    """Put files of the right names and sizes where the tool left them, and nothing else.

    What was staged there goes first: the tool may have removed it, and no name may lead through a link of it. Inputs
    that cannot be written are linked there anew afterwards, by cwltool.

    Raises:
        UnusableName: a name leads out of the folder.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                rmtree(entry.path)
            else:
                os.unlink(entry.path)  # noqa: PTH108 - for every step; a Path costs more than the call
    for path in result.folders:
        os.makedirs(os.path.join(folder, inner_path(path)), exist_ok=True)  # noqa: PTH103, PTH118 - for every folder
    for file in result.files:
        place = os.path.join(folder, inner_path(file.path))  # noqa: PTH118 - for every file
        os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120 - as above
        _stand_in(recorder, place, file)


def _stand_in(recorder: ReplayRecorder, place: str, file: LeftFile) -> None:
    arrived = Path(recorder.folder.arrivals, file.content.sha256)
    if arrived.is_file():
        os.link(arrived, place)
    else:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with contextlib.closing(os.fdopen(descriptor, "wb")) as target:
            target.truncate(file.content.size_bytes)
    recorder.stands_in(place, file)


class ReplayAccess(ConfinedAccess):
    """cwltool's access to files: nobody reads the zeros of one that only stands for another."""

    def __init__(self, recorder: ReplayRecorder, confinement: Confinement, basedir: str) -> None:
        super().__init__(confinement, basedir)
        self._recorder = recorder

    def open(self, fn: str, mode: str) -> IO[Any]:
        """The file, for reading.

        Raises:
            BytesElsewhere: its bytes are not here; it is noted which.
        """
        path = self.realpath(self._abs(fn))
        known = self._recorder.stand_in(path)
        if known is not None and known.content.size_bytes and not self._has_arrived(known):
            self._recorder.wanted.add(known.place)
            raise BytesElsewhere(os.path.basename(path))  # noqa: PTH119 - a name to be told
        return super().open(fn, mode)

    def _has_arrived(self, file: LeftFile) -> bool:
        return Path(self._recorder.folder.arrivals, file.content.sha256).is_file()


class ReplayExecutor(RunExecutor):
    """Goes through the jobs one after another; what a step asks for was given to it elsewhere.

    It does not wait for late files: what cannot go on without one is gone through by a later replay.
    """

    waits_for_files = False

    def __init__(self) -> None:
        super().__init__(1)

    def select_resources(
        self,
        request: dict[str, int | float],
        runtime_context: RuntimeContext,  # noqa: ARG002 - the library's signature
    ) -> dict[str, int | float]:
        """What it asks for."""
        return {
            **{name: request[f"{name}Min"] for name in ("cores", "ram")},
            "tmpdirSize": request["tmpdirMin"],
            "outdirSize": request["outdirMin"],
        }
