"""The running of a workflow: the steps that are skipped or cannot be made are recorded, and those that wait do."""

import functools
from typing import Any

from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.utils import JobsGeneratorType, aslist
from cwltool.workflow import Workflow
from cwltool.workflow_job import WorkflowJob, WorkflowJobStep, object_from_state
from schema_salad.exceptions import ValidationException

from stemma.engines.cwltool.context import RunContext
from stemma.engines.cwltool.gate import FileRefused, Gate
from stemma.engines.cwltool.late_steps import OutputCallback, StepWait, kind_of
from stemma.engines.cwltool.places import WakingScatter, innermost_callback, scatter_index
from stemma.engines.cwltool.steps import StepExecution

_FINE = ("success", "skipped")


class RecordedWorkflowJob(WorkflowJob):
    """The running of a workflow: records the steps that are skipped, and those that cannot be made."""

    def __init__(self, workflow: Workflow, context: RunContext) -> None:
        super().__init__(workflow, context)
        self.context = context
        self._waits: dict[str, StepWait] = {}

    def job(self, joborder: Any, output_callback: OutputCallback, runtimeContext: RuntimeContext) -> JobsGeneratorType:  # noqa: N803 - the library's name
        """The jobs of all its steps."""
        try:
            yield from super().job(joborder, output_callback, runtimeContext)
        finally:
            if self.context.recorder.gate is not None:
                self._give_up()

    def _give_up(self) -> None:
        """Let no step wait any longer for files: none goes on."""
        for step in self.steps:
            if step.iterable is not None:
                step.iterable.close()
        for wait in self._waits.values():
            wait.lets_go()

    def try_make_job(
        self,
        step: WorkflowJobStep,
        final_output_callback: OutputCallback,
        runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
    ) -> JobsGeneratorType:
        """The jobs of one step, once its inputs are there."""
        gate = self.context.recorder.gate
        make = super().try_make_job
        try:
            if gate is None or step.submitted or "scatter" in step.tool:
                yield from make(step, final_output_callback, runtimeContext)
            elif self._can_go_on(gate, step, final_output_callback):
                yield from self._waits.pop(step.id).jobs(make(step, final_output_callback, runtimeContext))
        except (WorkflowException, ValidationException) as error:
            self._note(step, error)
            raise

    def _can_go_on(self, gate: Gate, step: WorkflowJobStep, final_output_callback: OutputCallback) -> bool:
        """Whether the jobs of a step can be made. It is asked each time that anything has changed in the workflow."""
        if step.id not in self._waits:
            if not self._has_sources(step):
                return False
            several, _ = self.workflow.get_requirement("MultipleInputFeatureRequirement")
            inputs = object_from_state(self.state, step.tool["inputs"], False, bool(several), "source")  # noqa: FBT003 - the library's signature
            place = self.context.enclosing.place(step.id, ())
            self._waits[step.id] = StepWait(self.context.recorder, gate, step, inputs or {}, place)
        try:
            is_over = self._waits[step.id].is_over(self.context.enclosing.branch)
        except FileRefused as error:
            self._waits.pop(step.id).refuse(error)
            step.submitted = True
            fail = functools.partial(
                self.receive_output, step, step.tool["outputs"], final_output_callback, {}, "permanentFail"
            )
            gate.put_off(fail, self.context.enclosing.branch)
            return False
        if is_over:  # the library takes the values from here once more
            for item in map(self.state.get, self._sources(step)):
                gate.fill_in(item.value if item is not None else None)
        return is_over

    def _sources(self, step: WorkflowJobStep) -> list[str]:
        return [source for port in step.tool["inputs"] for source in aslist(port.get("source") or [])]

    def _has_sources(self, step: WorkflowJobStep) -> bool:
        """Whether all is there that the step is made of; the library would copy what there is to find that out."""
        items = [self.state[source] for source in self._sources(step) if source in self.state]
        return all(item is not None and item.success in _FINE for item in items)

    def _note(self, step: WorkflowJobStep, error: Exception) -> None:
        place = self.context.enclosing.place(step.id, ())
        recorder = self.context.recorder
        recorder.note_failure(f"step {place.key!r} could not be started: {recorder.tidy(str(error))}")

    def receive_output(
        self,
        step: WorkflowJobStep,
        outputparms: list[Any],
        final_output_callback: OutputCallback,
        jobout: Any,
        processStatus: str,  # noqa: N803 - the library's name
    ) -> None:
        """Take the outputs of a step."""
        if processStatus == "skipped" and "scatter" not in step.tool:
            self.skip(step, ())
        super().receive_output(step, outputparms, final_output_callback, jobout, processStatus)

    def skip(self, step: WorkflowJobStep, index: tuple[int, ...]) -> None:
        """Record an execution of ``step`` whose ``when`` was false."""
        place = self.context.enclosing.place(step.id, index)
        StepExecution(self.context.recorder, place, kind_of(step)).end("skipped")


class RecordedScatter(WakingScatter):
    """What takes the outputs of a scattered step: records the elements that are skipped."""

    def receive_scatter_output(self, index: int, jobout: Any, processStatus: str) -> None:  # noqa: N803 - the library's name
        """Take the outputs of one element."""
        if processStatus == "skipped" and not jobout:
            self._skip(index)
        super().receive_scatter_output(index, jobout, processStatus)

    def _skip(self, index: int) -> None:
        whole = innermost_callback(self.output_callback)
        if isinstance(whole, functools.partial) and isinstance(
            job := getattr(whole.func, "__self__", None), RecordedWorkflowJob
        ):
            job.skip(whole.args[0], (*scatter_index(self.output_callback), index))
