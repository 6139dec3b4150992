"""How the elements of a scatter take turns."""

import logging
from collections.abc import Iterable

from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.utils import JobsGeneratorType
from cwltool.workflow_job import ReceiveScatterOutput

from stemma.engines.cwltool.context import run_context
from stemma.engines.cwltool.places import WakingScatter

_logger = logging.getLogger("cwltool")
_GOES_ON = ("success", "skipped")


def pull_in_turn(
    steps: list[JobsGeneratorType | None],
    rc: ReceiveScatterOutput,
    runtimeContext: RuntimeContext,  # noqa: N803 - the library's name
) -> JobsGeneratorType:
    """The jobs of all elements, each as far as it can go; None when all wait.

    Does what cwltool's ``parallel_steps`` does. That one begins anew at the first element after every job, which
    for a thousand elements are half a million looks at elements that have nothing more to give. Where elements wait
    for files, an element is asked again only when something in it has changed: see :class:`Branch`.
    """
    living = {index: step for index, step in enumerate(steps) if step is not None}
    has_late_files = run_context(runtimeContext).recorder.gate is not None
    turn: Iterable[int] = list(living)
    while rc.completed < rc.total:
        made_progress = False
        for index in turn:
            if _is_over(rc, runtimeContext):
                break
            for job in _jobs_of(index, living, rc):
                made_progress = True
                yield job
                if _is_over(rc, runtimeContext):
                    break
        if has_late_files and _is_over(rc, runtimeContext):
            _give_up(living)
        if not made_progress and rc.completed < rc.total:
            yield None
        turn = _woken(rc, living) if has_late_files else list(living)


def _woken(rc: ReceiveScatterOutput, living: dict[int, JobsGeneratorType]) -> list[int]:
    """The elements in which something has changed."""
    assert isinstance(rc, WakingScatter)  # noqa: S101 - for the type checker: there are no others in our runs
    woken = sorted(index for index in rc.woken if index in living)
    rc.woken.clear()
    return woken


def _give_up(living: dict[int, JobsGeneratorType]) -> None:
    """Let no element wait any longer for files: none goes on."""
    for step in living.values():
        step.close()
    living.clear()


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
