"""How steps of a workflow wait for late files before their jobs can be made.

cwltool evaluates ``valueFrom``, ``when`` and ``loadContents`` of a step when it makes its jobs, and those of a
scatter for all of its elements at once. Here each element waits for its own files, and is evaluated after.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cwltool.workflow_job
from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.utils import JobsGeneratorType
from cwltool.workflow_job import WorkflowJobStep

from stemma.engines.cwltool.context import RunContext, run_context
from stemma.engines.cwltool.gate import FileRefused, Gate, Wait
from stemma.engines.cwltool.places import Branch, Place, branch_of, scatter_index
from stemma.engines.cwltool.reading import ports_read
from stemma.engines.cwltool.recorder import Recorder
from stemma.engines.cwltool.steps import StepExecution
from stemma.records import Json, StepKind

OutputCallback = Callable[[Any, str], None]
Evaluate = Callable[[Any], Any]
_SCATTERS = {
    name: getattr(cwltool.workflow_job, name)
    for name in ("dotproduct_scatter", "nested_crossproduct_scatter", "flat_crossproduct_scatter")
}
_KINDS = {"Workflow": StepKind.WORKFLOW, "ExpressionTool": StepKind.EXPRESSION, "Operation": StepKind.OPERATION}


def install() -> None:
    """Let the elements of scatters wait for late files; cwltool looks these up by name and offers no other way."""
    for name, scatter in _SCATTERS.items():
        setattr(cwltool.workflow_job, name, functools.partial(_scatter, scatter))


def kind_of(step: WorkflowJobStep) -> StepKind:
    """What a step runs."""
    return _KINDS.get(step.step.embedded_tool.tool["class"], StepKind.TOOL)


def wait_in_process(step: StepExecution, ports: Json) -> Iterator[None]:
    """Wait until the files in ``ports`` are here; they are in use until the step ends.

    Raises:
        FileRefused: one of them cannot be had.
    """
    gate = step.recorder.gate
    if gate is None or not (files := gate.needed_for(ports)):
        return
    step.wait = Wait(gate, files, step.branch)
    if not step.wait.is_over():
        step.recorder.step_waits(step.key, step.place.path, step.wait.missing)
        while not step.wait.is_over():
            yield None
    gate.fill_in(ports)


class StepWait:
    """The waiting of a step execution whose jobs cannot be made yet.

    What runs a tool or an expression waits for all of its files here: the less is kept of an element that waits, the
    more can wait. What runs a workflow waits only for what is read to make its jobs, and so does what may be skipped.
    """

    def __init__(
        self, recorder: Recorder, gate: Gate, step: WorkflowJobStep, inputs: Mapping[str, Json], place: Place
    ) -> None:
        self._recorder = recorder
        self._place = place
        self._kind = kind_of(step)
        is_partial = self._kind is StepKind.WORKFLOW or ("when" in step.tool and not step.tool.get("loop"))
        ports = ports_read(step) if is_partial else None
        read = inputs if ports is None else {port: inputs.get(port) for port in ports}
        self._files = gate.needed_for(read)
        self._told = self._files if self._kind is StepKind.WORKFLOW else gate.needed_for(inputs)
        self._gate = gate
        self._wait: Wait | None = None

    def is_over(self, branch: Branch | None) -> bool:
        """Whether the jobs can be made; the files are in use from then on.

        Raises:
            FileRefused: one of the files cannot be had.
        """
        if self._wait is None:
            self._wait = Wait(self._gate, self._files, branch)
            if not self._wait.is_over():
                missing = tuple(file.known.uuid for file in self._told if not file.is_here)
                self._recorder.step_waits(self._place.key, self._place.path, missing)
        return self._wait.is_over()

    def lets_go(self) -> None:
        """Use the files no longer, or wait for them no longer."""
        if self._wait is not None:
            self._wait.lets_go()

    def refuse(self, error: FileRefused) -> None:
        """Record that the step fails."""
        step = StepExecution(self._recorder, self._place, self._kind)
        step.fails(str(error))
        step.end("permanentFail")

    def jobs(self, jobs: JobsGeneratorType) -> JobsGeneratorType:
        """All of ``jobs``; the files are in use until the first is made, which then uses them itself."""
        with contextlib.closing(jobs):
            try:
                first = list(itertools.islice(jobs, 1))
            finally:
                self.lets_go()
            yield from first
            yield from jobs


class LateElements:
    """Stands for a scattered step towards cwltool: each element waits for its own files, and is evaluated after."""

    def __init__(self, step: WorkflowJobStep, gate: Gate, evaluate: Evaluate | None) -> None:
        self.tool = step.tool
        self._step = step
        self._gate = gate
        self._evaluate = evaluate

    def job(
        self,
        joborder: dict[str, Json],
        output_callback: OutputCallback,
        runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
    ) -> JobsGeneratorType:
        """The jobs of one element."""
        context = run_context(runtimeContext)
        place = context.enclosing.place(self._step.id, scatter_index(output_callback))
        branch = branch_of(output_callback, context.enclosing.branch)
        wait = StepWait(context.recorder, self._gate, self._step, joborder, place)
        try:
            while not wait.is_over(branch):
                yield None
        except FileRefused as error:
            wait.refuse(error)
            self._gate.put_off(functools.partial(output_callback, {}, "permanentFail"), branch)
            return
        except GeneratorExit:
            wait.lets_go()
            raise
        yield from wait.jobs(self._jobs(joborder, output_callback, context, place))

    def _jobs(
        self, inputs: dict[str, Json], output_callback: OutputCallback, context: RunContext, place: Place
    ) -> JobsGeneratorType:
        self._gate.fill_in(inputs)
        try:
            evaluated = self._evaluate(inputs) if self._evaluate is not None else inputs
        except WorkflowException as error:
            recorder = context.recorder
            recorder.note_failure(f"step {place.key!r} could not be started: {recorder.tidy(str(error))}")
            raise
        if evaluated is None:
            output_callback({}, "skipped")
        else:
            yield from self._step.job(evaluated, output_callback, context)


def _scatter(  # noqa: PLR0917 - the library's signature
    scatter: Callable[..., JobsGeneratorType],
    process: WorkflowJobStep | LateElements,
    joborder: dict[str, Json],
    keys: Any,
    output_callback: OutputCallback,
    runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
) -> JobsGeneratorType:
    """The jobs of a scattered step; ``scatter`` is the library's way of making them."""
    gate = run_context(runtimeContext).recorder.gate
    if gate is None or isinstance(process, LateElements) or not gate.needed_for(joborder):
        return scatter(process, joborder, keys, output_callback, runtimeContext)
    context = runtimeContext.copy()
    evaluate, context.postScatterEval = context.postScatterEval, None
    return scatter(LateElements(process, gate, evaluate), joborder, keys, output_callback, context)
