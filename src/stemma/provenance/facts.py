"""The facts of a run by what they are looked up with."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from stemma.file_fields import OCCURRENCE
from stemma.provenance import names
from stemma.provenance.vocabulary import QName
from stemma.records import Json, Occurrence, RunRecord, StepDefinition, StepRecord


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run, indexed."""

    run: RunRecord
    steps: dict[UUID, StepRecord]
    occurrences: dict[UUID, Occurrence]
    inputs: frozenset[UUID]
    """Occurrences that the run was given. Others that no step made were brought by the document."""
    parents: frozenset[UUID]
    """Occurrences that others belong to."""
    definitions: dict[str, StepDefinition]
    """The steps of the document, those of sub-workflows too, by path."""
    attempts: dict[int, QName]
    """The activity that an attempt is: its own where there were several, else the run itself."""
    output_ports: dict[UUID, tuple[str, ...]]
    """The outputs of the run that an occurrence is, or is part of."""

    def step(self, uuid: UUID) -> StepRecord:
        """The step execution ``uuid``.

        Raises:
            ValueError: the record names a step that it does not hold.
        """
        found = self.steps.get(uuid)
        if found is None:
            raise ValueError(f"run {self.run.id} refers to step {uuid}, which its record does not hold")
        return found

    def activity(self, attempt: int) -> QName:
        """What the steps of ``attempt`` were started by."""
        return self.attempts.get(attempt) or names.minted(self.run.uuid)


def index(run: RunRecord) -> RunFacts:
    """Index ``run``."""
    several = len(run.attempts) > 1
    whole = names.minted(run.uuid)
    return RunFacts(
        run=run,
        steps={step.uuid: step for step in run.steps},
        occurrences={occurrence.uuid: occurrence for occurrence in run.occurrences},
        inputs=frozenset(_named_in(run.inputs)),
        parents=frozenset(occurrence.parent for occurrence in run.occurrences if occurrence.parent),
        definitions={step.path: step for step in walk(run.revision.structure.steps)},
        attempts={attempt.number: names.minted(attempt.uuid) if several else whole for attempt in run.attempts},
        output_ports=_output_ports(run),
    )


def walk(steps: Iterable[StepDefinition]) -> Iterator[StepDefinition]:
    """``steps`` and the steps within them, outermost first."""
    for step in steps:
        yield step
        yield from walk(step.steps)


def _output_ports(run: RunRecord) -> dict[UUID, tuple[str, ...]]:
    ports: defaultdict[UUID, dict[str, None]] = defaultdict(dict)
    for output in run.run_outputs:
        ports[output.occurrence][output.port] = None
    return {uuid: tuple(found) for uuid, found in ports.items()}


def _named_in(value: Json) -> Iterator[UUID]:
    """The occurrences that an input object consists of."""
    if isinstance(value, list):
        for part in value:
            yield from _named_in(part)
    elif isinstance(value, dict):
        if OCCURRENCE in value:
            yield UUID(value[OCCURRENCE])
        for part in value.values():
            yield from _named_in(part)
