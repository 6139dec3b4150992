"""What others' engines tell of their steps: hints for what to fetch next. Nothing of it is put on any record."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

from sqlmodel import Session

from stemma import clock
from stemma.auth.principal import Principal
from stemma.cwl.steps import from_json
from stemma.database.queries import hints, people, runs, workflows
from stemma.database.queries.hints import LIFETIME, StepTold, Subject, Told, ToldState
from stemma.errors import Finding, InvalidRequest, NotFound, StemmaError
from stemma.lifecycle import audit
from stemma.lifecycle.audit import Deed
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.hinted import plain
from stemma.lifecycle.telling_inputs import Ahead, Inputs, Wishes, look, share
from stemma.records import Json, StepDefinition, WorkflowStructure
from stemma.wake import wake_workers

MOST_STEPS: Final = 20_000
"""Of how many steps a group may have told within a day: whoever plans reads those of a run each time. One member may
have told of half of what the others leave."""
MOST_ADDRESSES: Final = 1000
"""How many one request may name: whoever tells waits until all were looked at."""
_STEPS_NAMED: Final = 20
_CLOCKS_DIFFER: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class StepEvent:
    """That a step of a run, or of a workflow that somebody else executes, has come to a state."""

    step: str
    """As the document calls it; ``each[3]`` for one element of a scatter."""
    state: ToldState
    execution_id: int | None = None
    registry_id: int | None = None
    """One of the two is given."""
    revision: int | None = None
    """Of the workflow; None for the newest."""
    run: str = ""
    """What the sender calls its run of the workflow."""
    at: datetime | None = None
    """None for now."""
    inputs: Sequence[Json] = ()
    """Addresses, or Files and Directories as in an input object."""


class Result(StrEnum):
    """What became of an event."""

    TAKEN = "taken"
    KNOWN = "known"
    """It told nothing new: it came before, or something later did."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event, and why."""

    event: StepEvent
    result: Result
    reason: str | None = None
    ahead: Ahead | None = None


class NobodyTold(NotFound):
    """None of the events is about anything that there is for the caller."""

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        super().__init__(message)
        self._findings = tuple(findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One of each event."""
        return self._findings


@dataclass(frozen=True, slots=True)
class _Target:
    """What events are about, as it was found."""

    subject: Subject
    """What the sender calls its run is left to the event."""
    steps: frozenset[str]
    """Their names."""
    some_steps: str
    """For messages."""


_About: TypeAlias = tuple[int | None, int | None, int | None]


@dataclass(slots=True)
class _Accepted:
    """An event that is good, with what its step reads."""

    place: int
    """Among those that came."""
    event: StepEvent
    noted: StepTold
    inputs: Inputs | None = None


def tell(installation: Installation, principal: Principal, events: Sequence[StepEvent]) -> list[Outcome]:
    """Take what is good of ``events``; what became of each, in their order.

    Raises:
        NobodyTold: all are about what does not exist for ``principal``.
        InvalidRequest: none is good.
        TooManyFetches: their inputs cannot be looked at now.
    """
    now = clock.now()
    refused: dict[int, StemmaError] = {}
    accepted = _accepted(installation, principal, events, now, refused)
    if not accepted:
        _refuse(refused)
    accepted = _looked(installation, principal, accepted, refused)
    if not accepted:
        _refuse(refused)
    outcomes, over = installation.database.write(
        lambda session: _write(installation, session, principal, accepted, now)
    )
    refused |= over
    if not outcomes:
        _refuse(refused)
    wake_workers(installation.settings.home)
    outcomes |= {place: Outcome(events[place], Result.REFUSED, str(error)) for place, error in refused.items()}
    return [outcomes[place] for place in range(len(events))]


def _refuse(refused: dict[int, StemmaError]) -> None:
    findings = [Finding(f"event {place}: {error}", f"events/{error.code}") for place, error in sorted(refused.items())]
    first = str(next(iter(refused.values())))
    message = first if len(refused) == 1 else f"none of {len(refused)} events was taken; the first: {first}"
    if all(isinstance(error, NotFound) for error in refused.values()):
        raise NobodyTold(message, findings)
    raise InvalidRequest(message, findings)


def _accepted(
    installation: Installation,
    principal: Principal,
    events: Sequence[StepEvent],
    now: datetime,
    refused: dict[int, StemmaError],
) -> list[_Accepted]:
    """The events that are good; the others are put into ``refused``."""
    targets: dict[_About, _Target | StemmaError] = {}
    accepted: list[_Accepted] = []
    with installation.database.reading() as session:
        for place, event in enumerate(events):
            about = (event.execution_id, event.registry_id, event.revision)
            if about not in targets:
                targets[about] = _target(session, principal, event)
            target = targets[about]
            if isinstance(target, StemmaError):
                refused[place] = target
                continue
            problem = _problem(event, target, now)
            if problem is not None:
                refused[place] = _invalid(problem)
                continue
            told = Told(event.state, event.at or now)
            subject = replace(target.subject, label=event.run if event.execution_id is None else "")
            accepted.append(_Accepted(place, event, StepTold(subject, event.step, told)))
        # What is over the bound already need not be looked at; what is within is counted again when it is written.
        return _bounded(session, principal.subject, accepted, now, refused)


def _bounded(
    session: Session, subject: str, accepted: Sequence[_Accepted], now: datetime, refused: dict[int, StemmaError]
) -> list[_Accepted]:
    """As many of ``accepted`` as ``subject`` may tell of for their groups."""
    known = hints.states(session, [one.noted for one in accepted], now)
    left: dict[str, int] = {}
    within: list[_Accepted] = []
    new: set[str] = set()
    for one in accepted:
        group, key = one.noted.subject.group, one.noted.key
        if group not in left:
            others = hints.count(session, group, now, but_by=subject)
            left[group] = share(MOST_STEPS, others) - (hints.count(session, group, now) - others)
        if key not in known and key not in new:
            if left[group] <= 0:
                refused[one.place] = _invalid(
                    f"a group may tell of {MOST_STEPS} steps within a day, and each of its members of half of what "
                    "the others leave: you have told of enough"
                )
                continue
            left[group] -= 1
            new.add(key)
        within.append(one)
    return within


def _target(session: Session, principal: Principal, event: StepEvent) -> _Target | StemmaError:
    try:
        if event.execution_id is not None:
            run = runs.get(session, event.execution_id, principal.groups)
            if run.state.is_terminal:
                return _invalid(f"execution {run.id} is {run.state.value}: its steps need nothing any more")
            row = workflows.revision_row(session, run.workflow_id, run.revision_number)
            subject = Subject(run.group, run_id=run.id, attempt=run.attempt)
        else:
            workflow = workflows.get(session, event.registry_id or 0, principal.groups)
            row = workflows.revision_row(session, workflow.id, event.revision or workflow.latest_number)
            subject = Subject(workflow.group, workflow_id=workflow.id)
    except NotFound as error:
        return error
    names = list(_names(from_json(row.structure)))
    some = ", ".join(names[:_STEPS_NAMED]) + (", …" if len(names) > _STEPS_NAMED else "")
    return _Target(subject, frozenset(names), some)


def _names(structure: WorkflowStructure) -> Iterator[str]:
    """The names of all steps, and of those in them."""
    pending: list[StepDefinition] = [*reversed(structure.steps)]
    while pending:
        step = pending.pop()
        yield step.path
        pending += reversed(step.steps)


def _problem(event: StepEvent, target: _Target, now: datetime) -> str | None:
    """Why an event cannot be taken."""
    if target.steps.isdisjoint((event.step, plain(event.step))):
        return f"there is no step {event.step!r}; there are: {target.some_steps}"
    if event.at is not None and event.at > now + _CLOCKS_DIFFER:
        return f"its time is in the future: {event.at.isoformat()}"
    if event.at is not None and event.at + LIFETIME <= now:
        return f"it is from {event.at.isoformat()}: what happened more than a day ago says nothing of what is next"
    return None


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, [Finding(message, "events/invalid")])


def _looked(
    installation: Installation, principal: Principal, accepted: Sequence[_Accepted], refused: dict[int, StemmaError]
) -> list[_Accepted]:
    """Those of ``accepted`` whose inputs can be understood, each with what these lead to."""
    fine: list[_Accepted] = []
    left = MOST_ADDRESSES
    for one in accepted:
        if one.event.inputs:
            try:
                one.inputs = Inputs.read(one.event.inputs)
            except InvalidRequest as error:
                refused[one.place] = error
                continue
            left -= len(one.inputs.references)
            if left < 0:
                refused[one.place] = _invalid(f"one request may name {MOST_ADDRESSES} addresses; send this in another")
                continue
        fine.append(one)
    by_group: dict[str, list[Inputs]] = {}
    for one in fine:
        if one.inputs is not None and not one.event.state.has_ended:
            by_group.setdefault(one.noted.subject.group, []).append(one.inputs)
    for group, inputs in by_group.items():
        look(installation, principal, group, inputs)
    return fine


def _write(
    installation: Installation, session: Session, principal: Principal, accepted: Sequence[_Accepted], now: datetime
) -> tuple[dict[int, Outcome], dict[int, StemmaError]]:
    """Write down what was told; what became of each event, by its place, and which are refused after all."""
    refused: dict[int, StemmaError] = {}
    hints.one_at_a_time(session, {one.noted.subject.group for one in accepted})
    accepted = _bounded(session, principal.subject, accepted, now, refused)
    if not accepted:
        return {}, refused
    people.remember(session, principal.person, now)
    noted = hints.note(session, [one.noted for one in accepted], principal.subject, now)
    wishes = Wishes(installation, session, principal.subject)
    outcomes: dict[int, Outcome] = {}
    changed: dict[Subject, None] = {}
    for one, told in zip(accepted, noted, strict=True):
        ahead = None
        if one.inputs is not None:
            wanted = one.inputs if not told.now.state.has_ended else Inputs()
            ahead = wishes.add(one.noted.subject.group, told.id, wanted)
        outcomes[one.place] = Outcome(one.event, Result.TAKEN if told.is_new else Result.KNOWN, None, ahead)
        if told.is_new:
            changed[one.noted.subject] = None
    for subject in changed:
        kind, number = (audit.RUN, subject.run_id) if subject.run_id else (audit.WORKFLOW, subject.workflow_id)
        audit.record(session, principal, Deed.RUN_EVENTS, number or 0, group=subject.group, now=now, kind=kind)
    return outcomes, refused
