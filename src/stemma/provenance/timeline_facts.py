"""What a timeline shows: when inputs came from elsewhere, when steps waited for them, and when they ran."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from stemma.records import Occurrence, ReplicationRecord, RunRecord, StepKind, StepRecord, StepWaitRecord
from stemma.states import StepState

_PLACE: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)(?://)?(?:[^/?#]*@)?([^/?#]*)")


class Came(StrEnum):
    """How an input came."""

    STORE = "from the store"
    MOVED = "moved"
    MOVING = "moving"
    QUEUED = "queued"
    UNUSED = "not fetched"
    """The run ended before its turn."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One input from elsewhere."""

    occurrence: UUID
    name: str
    remote: str
    """Server or bucket: what rows are folded by."""
    came: Came
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime
    """When it was here or known not to come; else the end of what is drawn."""
    moved_bytes: int
    size_bytes: int | None
    times: int
    error: str | None

    @property
    def begins_at(self) -> datetime:
        """Where its bar begins, or the line where there is none."""
        if self.came is Came.STORE:
            return self.ended_at
        return self.started_at or self.requested_at


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of a step, with what it waited for before."""

    attempt: int
    key: str
    path: str
    look: str
    """Of ``style.NODES``."""
    waited_from: datetime | None
    waited_until: datetime | None
    """When the last input came. After that it may have been in line for a core, which is no waiting for inputs."""
    awaited: UUID | None
    """The input that let it start, or whose failure made it fail: the last one of those that it waited for."""
    started_at: datetime | None
    """None where it never came to that."""
    ended_at: datetime
    exit_code: int | None = None

    @property
    def begins_at(self) -> datetime:
        """Where its bar begins, with the waiting before it."""
        return self.waited_from or self.started_at or self.ended_at

    @property
    def waited_seconds(self) -> float:
        """How long it waited for inputs."""
        if self.waited_from is None or self.waited_until is None:
            return 0.0
        return (self.waited_until - self.waited_from).total_seconds()


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that is drawn."""

    run: RunRecord
    until: datetime
    """The end of what is known: where open bars end."""
    transfers: list[Transfer]
    """By their beginning."""
    executions: list[Execution]
    """By attempt, then by their beginning."""


def timeline_facts(run: RunRecord, at: datetime | None) -> Timeline:
    """What ``run`` has to show; ``at`` is now, for a run that has not ended."""
    until = _end_of(run, at)
    occurrences = {file.uuid: file for file in run.occurrences}
    brought = [one for one in run.replications if not one.is_handed]
    transfers = [_transfer(one, occurrences.get(one.occurrence), until, run) for one in brought]
    transfers.sort(key=lambda one: (one.begins_at, one.requested_at))
    executions = _executions(run, until, _Arrivals(transfers, occurrences))
    executions.sort(key=lambda one: (one.attempt, one.begins_at))
    return Timeline(run, until, transfers, executions)


def _end_of(run: RunRecord, at: datetime | None) -> datetime:
    known = [run.submitted_at, run.started_at, None if run.state.is_terminal else at, run.ended_at]
    known += [moment for step in run.steps for moment in (step.started_at, step.ended_at)]
    known += [moment for one in run.replications for moment in (one.requested_at, one.started_at, one.arrived_at)]
    known += [wait.at for wait in run.waits]
    known += [attempt.started_at for attempt in run.attempts]
    return max(filter(None, known))


def _transfer(record: ReplicationRecord, file: Occurrence | None, until: datetime, run: RunRecord) -> Transfer:
    address = str(record.source.get("url") or "")
    came = _came(record, run)
    begun = record.started_at or record.requested_at
    return Transfer(
        occurrence=record.occurrence,
        name=file.basename if file else address.rsplit("/", 1)[-1],
        remote=_remote(address),
        came=came,
        requested_at=record.requested_at,
        started_at=None if came is Came.STORE else record.started_at,
        ended_at=max(record.arrived_at or (begun if came in {Came.STORE, Came.FAILED} else until), begun),
        moved_bytes=record.moved_bytes,
        size_bytes=file.content.size_bytes if file and file.content else None,
        times=record.times,
        error=record.error,
    )


def _came(record: ReplicationRecord, run: RunRecord) -> Came:
    if record.error is not None:
        return Came.FAILED
    if record.was_here:
        return Came.STORE
    if record.arrived_at is not None:
        return Came.MOVED
    if run.state.is_terminal:
        return Came.UNUSED
    return Came.QUEUED if record.started_at is None else Came.MOVING


def _remote(address: str) -> str:
    """The server or bucket of an address: ``https://host``, ``s3://bucket``, ``rclone:name``."""
    found = _PLACE.match(address)
    if found is None:
        return "elsewhere"
    return f"{found[1]}{'' if found[1] == 'rclone:' else '//'}{found[2]}"


class _Arrivals:
    """When each file, and each folder with what is in it, was here or known not to come."""

    def __init__(self, transfers: Iterable[Transfer], occurrences: Mapping[UUID, Occurrence]) -> None:
        self._last: dict[UUID, Transfer] = {}
        for transfer in transfers:
            self._note(transfer.occurrence, transfer)
            owner, seen = occurrences.get(transfer.occurrence), {transfer.occurrence}
            while owner is not None and owner.parent is not None and owner.parent not in seen:
                seen.add(owner.parent)
                self._note(owner.parent, transfer)
                owner = occurrences.get(owner.parent)

    def last_of(self, files: Iterable[UUID], *, has_failed: bool) -> Transfer | None:
        """The last of ``files`` to come; where one failed and the step with it, that one."""
        found = [self._last[file] for file in files if file in self._last]
        if has_failed and (failed := [one for one in found if one.came is Came.FAILED]):
            return min(failed, key=lambda one: one.ended_at)
        came = [one for one in found if one.came is Came.MOVED]
        return max(came, key=lambda one: one.ended_at) if len(came) == len(found) and came else None

    def _note(self, file: UUID, transfer: Transfer) -> None:
        known = self._last.get(file)
        if known is None or _weight(transfer) > _weight(known):
            self._last[file] = transfer


def _weight(transfer: Transfer) -> tuple[bool, bool, datetime]:
    """What decides about a folder: what failed, what is still to come, then what came last."""
    return transfer.came is Came.FAILED, transfer.came not in {Came.MOVED, Came.STORE}, transfer.ended_at


def _executions(run: RunRecord, until: datetime, arrivals: _Arrivals) -> list[Execution]:
    """The steps without those that stand for others, and those that waited and never began."""
    waits: dict[tuple[int, str], StepWaitRecord] = {}
    for told in run.waits:
        waits.setdefault((told.attempt, told.key), told)
    ends = {attempt.number: attempt.ended_at for attempt in run.attempts}
    parents = {step.parent for step in run.steps}
    found = []
    for step in run.steps:
        wait = waits.pop((step.attempt, step.key), None)
        if step.uuid not in parents:
            end = step.ended_at or ends.get(step.attempt) or until
            found.append(_execution(step, wait, max(end, step.started_at), arrivals))
    for (attempt, key), left in waits.items():
        end = max(ends.get(attempt) or until, left.at)
        found.append(Execution(attempt, key, left.path, "waiting", *_waiting(left, end, arrivals), None, end))
    return found


def _execution(step: StepRecord, wait: StepWaitRecord | None, end: datetime, arrivals: _Arrivals) -> Execution:
    waiting: tuple[datetime | None, datetime | None, UUID | None] = (None, None, None)
    if wait is not None and wait.at <= step.started_at:
        waiting = _waiting(wait, step.started_at, arrivals, has_failed=step.state is StepState.FAILED)
    return Execution(step.attempt, step.key, step.path, _look(step), *waiting, step.started_at, end, step.exit_code)


def _waiting(
    wait: StepWaitRecord, end: datetime, arrivals: _Arrivals, *, has_failed: bool = False
) -> tuple[datetime, datetime, UUID | None]:
    """From when until when a step waited that began or was given up at ``end``, and for what in the end."""
    last = arrivals.last_of(wait.occurrences, has_failed=has_failed)
    if last is None or last.ended_at < wait.at:  # it had just come: what the step waited for was its delivery
        return wait.at, end, None
    return wait.at, min(last.ended_at, end), last.occurrence


def _look(step: StepRecord) -> str:
    if step.reused_from is not None:
        return "reused"
    if step.state is StepState.FINISHED:
        return "expression" if step.kind is StepKind.EXPRESSION else "step"
    return step.state.value
