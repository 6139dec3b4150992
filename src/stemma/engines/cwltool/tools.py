"""cwltool's processes as we need them: they do what cwltool's do, and every step execution is recorded."""

import functools
from collections.abc import Callable, Generator
from typing import Any

import cwltool.workflow_job
from cwltool.builder import Builder
from cwltool.command_line_tool import CommandLineTool, ExpressionTool
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import UnsupportedRequirement, WorkflowException
from cwltool.job import JobBase
from cwltool.process import Process
from cwltool.utils import JobsGeneratorType
from cwltool.workflow import Workflow, WorkflowStep, default_make_tool
from ruamel.yaml.comments import CommentedMap

from stemma.engines.cwltool import late_steps
from stemma.engines.cwltool.context import RunContext, run_context
from stemma.engines.cwltool.gate import FileRefused, Gate, Wait
from stemma.engines.cwltool.jobs import ContainerJob, HostJob, RecordedExpressionJob, RecordedJob
from stemma.engines.cwltool.late_steps import OutputCallback, wait_in_process
from stemma.engines.cwltool.places import Enclosing, Place, branch_of, scatter_index, short_name, tool_name
from stemma.engines.cwltool.scatter import pull_in_turn
from stemma.engines.cwltool.steps import StepExecution
from stemma.engines.cwltool.workflow_jobs import RecordedScatter, RecordedWorkflowJob
from stemma.records import Json, StepKind

_INPLACE = ("InplaceUpdateRequirement", "http://commonwl.org/cwltool#InplaceUpdateRequirement")


def install() -> None:
    """Put our scatter in the place of cwltool's, which looks both up by name and offers no other way."""
    cwltool.workflow_job.ReceiveScatterOutput = RecordedScatter  # type: ignore[misc]
    cwltool.workflow_job.parallel_steps = pull_in_turn
    late_steps.install()


def make_process(toolpath_object: CommentedMap, loadingContext: LoadingContext) -> Process:  # noqa: N803 - the library's name
    """The process of a document, as ours where we have one."""
    kinds: dict[str, type[Process]] = {
        "CommandLineTool": RecordedTool,
        "ExpressionTool": RecordedExpression,
        "Workflow": RecordedWorkflow,
    }
    kind = kinds.get(toolpath_object.get("class", ""))
    return (kind or default_make_tool)(toolpath_object, loadingContext)


def _new_step(process: Process, context: RunContext, kind: StepKind) -> StepExecution:
    place = context.place
    if place is None:
        name = tool_name(process.tool["id"])
        place = Place(name, name)
    step = StepExecution(context.recorder, place, kind)
    step.branch = context.branch
    return step


def _fail(step: StepExecution, ports: Json, error: Exception) -> None:
    """Record a step that could not even be made."""
    step.fails(str(error))
    if isinstance(ports, dict):
        step.takes({})
    step.end("permanentFail")


class RecordedTool(CommandLineTool):
    """A CommandLineTool."""

    def __init__(self, toolpath_object: CommentedMap, loadingContext: LoadingContext) -> None:  # noqa: N803 - the library's name
        super().__init__(toolpath_object, loadingContext)
        # To change an input in place would change the stored file; the standard lets an engine copy it instead.
        self.requirements = [item for item in self.requirements if item["class"] not in _INPLACE]
        self.hints = [item for item in self.hints if item["class"] not in _INPLACE]
        self._asks_for_checksums = any("checksum" in str(port.get("outputBinding")) for port in self.tool["outputs"])

    def make_job_runner(self, runtimeContext: RuntimeContext) -> type[JobBase]:  # noqa: N803 - the library's name
        """How the tool is run.

        Raises:
            UnsupportedRequirement: it needs a container, or must run in one, and that cannot be.
        """
        policy = run_context(runtimeContext).policy
        image, is_required = self.get_requirement("DockerRequirement")
        if policy == "required" and (image is None or not runtimeContext.use_container):
            lack = "it names no container image" if image is None else "no container engine answers"
            raise UnsupportedRequirement(f"{lack}, and STEMMA_CONTAINERS=required lets no tool run without one")
        if image is not None and runtimeContext.use_container:
            return ContainerJob
        if is_required and policy == "auto":
            raise UnsupportedRequirement(
                "it requires a container, and no container engine answers; start one, or set STEMMA_CONTAINERS=never"
            )
        return HostJob

    def job(
        self,
        job_order: Any,
        output_callbacks: OutputCallback,
        runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
    ) -> Generator[Any, None, None]:
        """The one job that runs the tool."""
        context = run_context(runtimeContext).copy()
        context.compute_checksum = self._asks_for_checksums
        step = _new_step(self, context, StepKind.TOOL)
        try:
            yield from wait_in_process(step, job_order)
            for job in super().job(job_order, functools.partial(_end_step, step, output_callbacks), context):
                assert isinstance(job, RecordedJob)  # noqa: S101 - for the type checker: make_job_runner says so
                job.step = step
                step.takes(job.joborder)
                step.finds({entry.target: location for location, entry in job.pathmapper.items()})
                job.collect_outputs = functools.partial(_collect, job, job.collect_outputs)
                yield job
        except GeneratorExit:
            _stop_waiting(step)
            raise
        except FileRefused as error:
            _refuse(step, output_callbacks, error)
        except Exception as error:
            _fail(step, job_order, error)
            raise


def _refuse(step: StepExecution, output_callbacks: OutputCallback, error: FileRefused) -> None:
    """Let a step fail for want of a file: it ends now, its workflow hears of it when nothing else can go on."""
    step.fails(str(error))
    step.end("permanentFail")
    assert step.wait is not None  # noqa: S101 - for the type checker: it was refused while it waited
    step.wait.gate.put_off(functools.partial(output_callbacks, {}, "permanentFail"), step.branch)


def _stop_waiting(step: StepExecution) -> None:
    """Wait no longer for the files of a step that is given up; one that has its files uses them."""
    if step.wait is not None and not step.wait.is_taken:
        step.wait.lets_go()


def _collect(job: RecordedJob, collect: Callable[..., Any], outdir: str, rcode: int) -> Any:
    """Collect the outputs of a tool that has ended well, and give each file its identity."""
    failures = (*job.temporaryFailCodes, *job.permanentFailCodes)
    if rcode not in job.successCodes and (rcode != 0 or rcode in failures):
        return {}
    try:
        return job.step.generates(collect(outdir, rcode), outdir)
    except Exception as error:
        job.step.fails(str(error))
        raise


def _end_step(step: StepExecution, output_callbacks: OutputCallback, outputs: Any, status: str) -> None:
    """Write down that a step ended, then let its outputs go on."""
    if step.is_ended:
        return
    step.end(status)
    output_callbacks(outputs, status)


class RecordedExpression(ExpressionTool):
    """An ExpressionTool."""

    def job(
        self,
        job_order: Any,
        output_callbacks: OutputCallback | None,
        runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
    ) -> Generator[Any, None, None]:
        """The one job that evaluates the expression."""
        context = run_context(runtimeContext)
        step = _new_step(self, context, StepKind.EXPRESSION)
        assert output_callbacks is not None  # noqa: S101 - for the type checker: a run always takes its outputs
        try:
            yield from wait_in_process(step, job_order)
            builder = self._init_job(job_order, context)
            step.takes(builder.job)
        except GeneratorExit:
            _stop_waiting(step)
            raise
        except FileRefused as error:
            _refuse(step, output_callbacks, error)
            return
        except Exception as error:
            _fail(step, job_order, error)
            raise
        job = RecordedExpressionJob(
            builder,
            self.tool["expression"],
            functools.partial(_end_step, step, output_callbacks),
            self.requirements,
            self.hints,
        )
        job.step = step
        yield job


class RecordedStep(WorkflowStep):
    """A step of a workflow: tells the process that it runs where it stands."""

    def job(
        self,
        job_order: Any,
        output_callbacks: OutputCallback,
        runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
    ) -> JobsGeneratorType:
        """The jobs of one execution of the step."""
        context = run_context(runtimeContext).copy()
        context.place = context.enclosing.place(self.id, scatter_index(output_callbacks))
        if context.recorder.gate is not None:
            context.branch = branch_of(output_callbacks, context.enclosing.branch)
        context.name = context.place.key  # unique already, so that cwltool need not search for a free one
        yield from super().job(job_order, output_callbacks, context)


class RecordedWorkflow(Workflow):
    """A Workflow: the run's own, which is no step, or that of a step."""

    def __init__(self, toolpath_object: CommentedMap, loadingContext: LoadingContext) -> None:  # noqa: N803 - the library's name
        super().__init__(toolpath_object, loadingContext)
        order = {step["id"]: index for index, step in enumerate(self.tool["steps"])}
        self.steps.sort(key=lambda step: order[step.id])  # cwltool shuffles them; two runs should not differ by that
        self._loaded = [short_name(port["id"]) for port in self.tool["inputs"] if "loadContents" in str(port)]

    def make_workflow_step(
        self,
        toolpath_object: CommentedMap,
        pos: int,
        loadingContext: LoadingContext,  # noqa: N803 - the library's name
        parentworkflowProv: Any = None,  # noqa: N803 - the library's name
    ) -> RecordedStep:
        """A step of it."""
        return RecordedStep(toolpath_object, pos, loadingContext, parentworkflowProv)

    def job(
        self,
        job_order: Any,
        output_callbacks: OutputCallback,
        runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
    ) -> JobsGeneratorType:
        """The jobs of all its steps."""
        context = run_context(runtimeContext).copy()
        if context.place is None:
            yield from self._jobs(job_order, output_callbacks, context)
            return
        step = _new_step(self, context, StepKind.WORKFLOW)
        context.enclosing = Enclosing(context.place.path, context.place.key, step.uuid, context.branch)
        if isinstance(job_order, dict):
            step.takes(job_order)
        step.begin()
        try:
            yield from self._jobs(job_order, functools.partial(_end_workflow, step, output_callbacks), context)
        except WorkflowException as error:
            _fail(step, None, error)
            raise

    def _jobs(self, job_order: Any, output_callbacks: OutputCallback, context: RunContext) -> JobsGeneratorType:
        if context.recorder.gate is None:
            builder = self._init_job(job_order, context)
        else:
            builder = yield from self._init_late(context.recorder.gate, job_order, context)
        inner = RecordedWorkflowJob(self, context)
        context.part_of = f"workflow {inner.name}"
        context.toplevel = False
        yield from inner.job(builder.job, output_callbacks, context)

    def _init_late(self, gate: Gate, job_order: Any, context: RunContext) -> Generator[None, None, Builder]:
        """What the workflow starts from, once the files are here whose contents it loads itself."""
        wait = Wait(gate, gate.needed_for({port: job_order.get(port) for port in self._loaded}), context.branch)
        try:
            if not wait.is_over() and context.place is not None:
                context.recorder.step_waits(context.place.key, context.place.path, wait.missing)
            while not wait.is_over():
                yield None
            return self._init_job(job_order, context)
        finally:
            wait.lets_go()


def _end_workflow(step: StepExecution, output_callbacks: OutputCallback, outputs: Any, status: str) -> None:
    if status not in ("success", "skipped"):
        step.fails("a step in it failed")
    _end_step(step, output_callbacks, outputs, status)
