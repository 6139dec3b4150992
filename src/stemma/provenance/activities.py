"""What happened: the run, its attempts and its steps (PROV-DM §5.1)."""

import re
import shlex
from datetime import datetime
from uuid import UUID

from stemma.provenance import names
from stemma.provenance.agents import engine_of
from stemma.provenance.facts import RunFacts
from stemma.provenance.graph import Activity, Attributes, ProvGraph, json_value, pairs, types
from stemma.provenance.vocabulary import (
    LABEL,
    PROCESS_RUN,
    ROLE,
    TYPE,
    WORKFLOW_RUN,
    QName,
    RelationKind,
    segment,
    term,
)
from stemma.records import AttemptRecord, RunRecord, StepKind, StepRecord
from stemma.states import StepState

_STATE_TYPES = {StepState.SKIPPED: term("SkippedStep"), StepState.FAILED: term("FailedStep")}


def declare_run(graph: ProvGraph, run: RunRecord) -> None:
    """Declare the run itself."""
    lone = run.attempts[0] if len(run.attempts) == 1 else None
    graph.activities[names.minted(run.uuid)] = _activity(
        run.started_at,
        run.ended_at,
        pairs(
            *types(WORKFLOW_RUN),
            (LABEL, f"{run.name}#{run.number}"),
            (term("executionId"), run.id),
            (term("runName"), run.name),
            (term("runNumber"), run.number),
            (term("state"), run.state.value),
            (term("submittedAt"), run.submitted_at),
            (term("reason"), run.reason),
            (term("worker"), lone.worker if lone else None),
            (term("unfinished"), None if run.state.is_terminal else True),
            (term("deletedAt"), run.deleted_at),
        ),
    )


def declare_attempts(graph: ProvGraph, facts: RunFacts) -> None:
    """Declare each attempt where there were several, and where each ran."""
    before: QName | None = None
    for attempt in sorted(facts.run.attempts, key=lambda attempt: attempt.number):
        activity = facts.activity(attempt.number)
        if len(facts.run.attempts) > 1:
            _declare_attempt(graph, facts.run, attempt, before)
        _declare_environment(graph, attempt, activity)
        before = activity


def declare_steps(graph: ProvGraph, facts: RunFacts) -> None:
    """Declare each step execution, what started it, its plan, and the attempt at the same work before it."""
    earlier: dict[str, StepRecord] = {}
    for step in sorted(facts.run.steps, key=lambda step: step.attempt):
        _declare_step(graph, facts, step)
        before = earlier.get(step.key)
        if before is not None and before.attempt < step.attempt:
            _inform(graph, names.minted(step.uuid), names.minted(before.uuid), "Retry")
        earlier[step.key] = step
    _inform_of_files(graph, facts)


def within(moment: datetime | None, started_at: datetime | None, ended_at: datetime | None) -> bool:
    """Whether ``moment`` is known and lies in the interval, as far as that is known."""
    return moment is not None and not (
        (started_at is not None and moment < started_at) or (ended_at is not None and moment > ended_at)
    )


def _activity(started_at: datetime | None, ended_at: datetime | None, attributes: Attributes) -> Activity:
    """An activity that does not end before it starts: a clock that went back is told as an attribute."""
    if started_at is None or ended_at is None or started_at <= ended_at:
        return Activity(started_at, ended_at, attributes)
    return Activity(started_at, None, (*attributes, (term("recordedEnd"), ended_at)))


def _declare_attempt(graph: ProvGraph, run: RunRecord, attempt: AttemptRecord, before: QName | None) -> None:
    activity, plan = names.minted(attempt.uuid), names.revision(run.revision, run.revision.number)
    graph.activities[activity] = _activity(
        attempt.started_at,
        attempt.ended_at,
        pairs(
            (TYPE, term("Attempt")),
            (LABEL, f"{run.name}#{run.number} attempt {attempt.number}"),
            (term("attemptNumber"), attempt.number),
            (term("outcome"), attempt.outcome),
            (term("reason"), attempt.reason),
            (term("worker"), attempt.worker),
        ),
    )
    graph.relate(RelationKind.START, activity, None, names.minted(run.uuid), time=attempt.started_at)
    graph.relate(RelationKind.ASSOCIATION, activity, engine_of(run), plan)
    if before is not None:
        _inform(graph, activity, before, "Retry")


def _declare_environment(graph: ProvGraph, attempt: AttemptRecord, activity: QName) -> None:
    if not attempt.environment:
        return
    entity = names.part_of(attempt.uuid, "environment")
    graph.entities[entity] = pairs(
        (TYPE, term("Environment")),
        *(
            (QName(f"environment:{_attribute_name(key)}"), json_value(value))
            for key, value in attempt.environment.items()
            if value is not None
        ),
    )
    graph.relate(RelationKind.USAGE, activity, entity, attributes=pairs((ROLE, term("environment"))))


def _attribute_name(key: str) -> str:
    """``key`` as the local part of an attribute's name, which may not be empty."""
    return segment(re.sub(r"\s+", "_", key)) or "unnamed"


def _declare_step(graph: ProvGraph, facts: RunFacts, step: StepRecord) -> None:
    run, activity = facts.run, names.minted(step.uuid)
    graph.activities[activity] = _activity(step.started_at, step.ended_at, _step_attributes(step))
    starter = names.minted(facts.step(step.parent).uuid) if step.parent else facts.activity(step.attempt)
    graph.relate(RelationKind.START, activity, None, starter, time=step.started_at)
    plan = names.step_definition(run.revision, step.path)
    graph.relate(RelationKind.ASSOCIATION, activity, engine_of(run), plan)
    if step.image_digest:
        _declare_image(graph, step, step.image_digest)
    if step.reused_from:
        _declare_original(graph, facts, step.reused_from)
        _inform(graph, activity, names.minted(step.reused_from), "Reuse")


def _step_attributes(step: StepRecord) -> Attributes:
    kinds = (
        PROCESS_RUN,
        WORKFLOW_RUN if step.kind is StepKind.WORKFLOW else None,
        _STATE_TYPES.get(step.state),
        term("CacheHit") if step.reused_from else None,
    )
    return pairs(
        *((TYPE, kind) for kind in kinds),
        (LABEL, step.name),
        (term("stepKey"), step.key),
        (term("state"), step.state.value),
        (term("scatterIndex"), ",".join(map(str, step.scatter_index)) or None),
        (term("command"), shlex.join(step.command) or None),
        (term("exitCode"), step.exit_code),
        (term("error"), step.error),
        (term("stdoutTail"), step.stdout_tail),
        (term("stderrTail"), step.stderr_tail),
        (term("image"), step.image),
        (term("cpuSeconds"), step.cpu_seconds),
        (term("memoryPeakBytes"), step.memory_peak_bytes),
        (term("diskReadBytes"), step.disk_read_bytes),
        (term("diskWriteBytes"), step.disk_write_bytes),
        (term("backendJobId"), step.backend_job_id),
        (term("stepId"), step.id),
    )


def _declare_image(graph: ProvGraph, step: StepRecord, digest: str) -> None:
    entity = names.image(digest)
    graph.add_entity(entity, pairs((TYPE, term("ContainerImage")), (LABEL, step.image), (term("imageDigest"), digest)))
    usage = pairs((ROLE, term("container")))
    graph.relate(RelationKind.USAGE, names.minted(step.uuid), entity, attributes=usage)


def _declare_original(graph: ProvGraph, facts: RunFacts, uuid: UUID) -> None:
    """Declare the step that a reused result comes from, which may be another run's."""
    if uuid not in facts.steps:
        attributes = pairs(*types(PROCESS_RUN), (term("ofAnotherRun"), True))
        graph.activities[names.minted(uuid)] = Activity(None, None, attributes)


def _inform(graph: ProvGraph, informed: QName, informant: QName, why: str) -> None:
    graph.relate(RelationKind.COMMUNICATION, informed, informant, attributes=pairs((TYPE, term(why))))


def _inform_of_files(graph: ProvGraph, facts: RunFacts) -> None:
    """Relate steps to those whose files they used."""
    known: set[tuple[UUID, UUID]] = set()
    for usage in facts.run.usages:
        used = facts.occurrences.get(usage.occurrence)
        if used is None or used.step is None or used.step == usage.step:
            continue
        pair = (facts.step(usage.step).uuid, facts.step(used.step).uuid)
        if pair not in known:
            known.add(pair)
            graph.relate(RelationKind.COMMUNICATION, names.minted(pair[0]), names.minted(pair[1]))
