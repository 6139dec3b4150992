"""How the elements of a scatter take turns."""

import logging

from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.utils import JobsGeneratorType
from cwltool.workflow_job import ReceiveScatterOutput

_logger = logging.getLogger("cwltool")
_GOES_ON = ("success", "skipped")


def pull_in_turn(
    steps: list[JobsGeneratorType | None],
    rc: ReceiveScatterOutput,
    runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
) -> JobsGeneratorType:
    """The jobs of all elements, each as far as it can go; None when all wait.

    Does what cwltool's ``parallel_steps`` does. That one begins anew at the first element after every job, which
    for a thousand elements are half a million looks at elements that have nothing more to give.
    """
    living = {index: step for index, step in enumerate(steps) if step is not None}
    while rc.completed < rc.total:
        made_progress = False
        for index in list(living):
            if _is_over(rc, runtimeContext):
                break
            for job in _jobs_of(index, living, rc):
                made_progress = True
                yield job
                if _is_over(rc, runtimeContext):
                    break
        if not made_progress and rc.completed < rc.total:
            yield None


def _jobs_of(index: int, living: dict[int, JobsGeneratorType], rc: ReceiveScatterOutput) -> JobsGeneratorType:
    """What an element can give now; it is forgotten when it has given all."""
    try:
        for job in living[index]:
            if job is None:
                return
            yield job
    except WorkflowException as error:
        _logger.error("Cannot make scatter job: %s", error)  # noqa: TRY400 - as the library says it; the trace tells nothing
        rc.receive_scatter_output(index, {}, "permanentFail")
    del living[index]


def _is_over(rc: ReceiveScatterOutput, context: RuntimeContext) -> bool:
    return context.on_error == "stop" and rc.processStatus not in _GOES_ON
