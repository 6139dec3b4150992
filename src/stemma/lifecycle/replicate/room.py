"""Whether what a run needs from elsewhere can lie in a bounded store: said when it is submitted, not when it hangs."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from stemma import clock
from stemma.database.queries.demand import Sought
from stemma.engines.protocol import Engine
from stemma.errors import Finding, InvalidInputs
from stemma.lifecycle.replicate.delivery import takes_late
from stemma.lifecycle.replicate.needs import InputFile, RunSituation, step_needs
from stemma.planning.fitting import unfit_steps
from stemma.planning.situation import Situation, StepNeed, StoreState, WantedFile
from stemma.records import Occurrence, WorkflowStructure

_MEBIBYTE = 1024 * 1024
_TOLD = 20
"""A scatter may have thousands of elements, all of them too large."""


def check_room(
    limit_bytes: int | None,
    engine: Engine,
    structure: WorkflowStructure,
    sought: Sequence[Sought],
    occurrences: Sequence[Occurrence],
) -> None:
    """Return when each step's own files fit into the store together; all of them where the engine wants all at once.

    Raises:
        InvalidInputs: they do not; it says which step needs how much.
    """
    if limit_bytes is None or not sought:
        return
    places: Mapping[UUID, Occurrence] = {one.uuid: one for one in occurrences}
    files = [InputFile(one.occurrence, one.key, places[one.occurrence].port, places[one.occurrence].position)
             for one in sought]  # fmt: skip
    if takes_late(engine):
        steps = step_needs(RunSituation("", structure, files), clock.now())
    else:
        steps = [StepNeed("the run", "", tuple(sorted({file.key for file in files})))]
    sizes = {one.key: one.size_bytes for one in sought}
    wanted = tuple(WantedFile(key, "", size) for key, size in sorted(sizes.items()))
    unfit = unfit_steps(Situation(files=wanted, steps=tuple(steps), store=StoreState(limit_bytes=limit_bytes)))
    if unfit:
        raise InvalidInputs([_finding(one.step, one.needed_bytes, one.room_bytes) for one in unfit[:_TOLD]])


def _finding(step: str, needed: int, room: int) -> Finding:
    message = (
        f"{step} needs {needed / _MEBIBYTE:.1f} MiB from elsewhere at once, and the store has room for "
        f"{room / _MEBIBYTE:.1f} MiB; ask the operators for a larger STEMMA_STORE_BYTES, or split the step"
    )
    return Finding(message, "inputs/too-large-for-store")
