"""Which step needs which file: from the document, from what steps have said so far, and from how long they took before.

It serves to decide what to fetch first. Where the document does not tell exactly (a scatter over several ports), what
is said here is an estimate; a step that has come so far says itself what it waits for.
"""

import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from graphlib import TopologicalSorter
from typing import Final
from uuid import UUID

from stemma.lifecycle.replicate.hinted import OTHERS, RUNNING, Hints, StepTold
from stemma.planning.durations import expected_seconds, remaining_seconds
from stemma.planning.situation import StepNeed
from stemma.records import StepDefinition, StepKind, WorkflowStructure

OUTPUTS: Final = "*outputs"
"""Stands for the end of a run among its steps."""
_INDEX: Final = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file from elsewhere among the inputs of a run."""

    occurrence: UUID
    key: str
    """Of its replica."""
    port: str
    position: str


@dataclass(frozen=True, slots=True)
class StepSeen:
    """A step execution that has begun."""

    key: str
    path: str
    started_at: datetime
    ended_at: datetime | None
    has_failed: bool = False


@dataclass(frozen=True, slots=True)
class StepWaiting:
    """A step execution that waits for files, or did."""

    key: str
    path: str
    occurrences: tuple[UUID, ...]

    @classmethod
    def of(cls, key: str, path: str, occurrences: Iterable[str]) -> "StepWaiting":
        """As it is kept: with the occurrences as texts."""
        return cls(key, path, tuple(map(UUID, occurrences)))


@dataclass(frozen=True, slots=True)
class RunSituation:
    """What is known of a run that goes on."""

    run: str
    structure: WorkflowStructure
    files: Sequence[InputFile]
    seen: Sequence[StepSeen] = ()
    waiting: Sequence[StepWaiting] = ()
    earlier: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """How long steps took before, by path, newest first."""
    told: Sequence[StepTold] = ()
    lacking: frozenset[str] = frozenset()
    """The keys of the files that are not here."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a value comes from: inputs of the run, steps."""

    ports: frozenset[tuple[str, int | None]] = frozenset()
    """Each with the number of its element, where a scatter takes it apart."""
    steps: frozenset[str] = frozenset()
    """By their keys."""

    def element(self, index: int) -> "_Origin":
        """One element of it."""
        return _Origin(frozenset((port, index) for port, _ in self.ports), self.steps)


@dataclass(frozen=True, slots=True)
class _Execution:
    """A step execution as the document lets expect it."""

    key: str
    path: str
    files: tuple[InputFile, ...]
    after: frozenset[str]


def step_needs(situation: RunSituation, now: datetime) -> list[StepNeed]:
    """The step executions of a run that have not ended, and the files that each needs."""
    ended = {step.key for step in situation.seen if step.ended_at is not None}
    running = {step.key: step for step in situation.seen if step.ended_at is None}
    waits = {wait.key: wait for wait in situation.waiting if wait.key not in ended and wait.key not in running}
    keys = {file.occurrence: file.key for file in situation.files}
    expected = {one.key: one for one in _Expectation(situation).executions()}
    for key in _never(expected, situation.seen):
        del expected[key]
    hints = Hints(
        situation.told,
        {key: one.after for key, one in expected.items()},
        known={one.key for one in situation.seen} | waits.keys(),
        lacking={key for key, one in expected.items() if any(file.key in situation.lacking for file in one.files)},
        now=now,
    )
    durations = _Durations(situation)
    needs = []
    handed_on = _handed_on(situation)
    if handed_on:
        left = tuple(sorted(expected.keys() - ended - hints.gone))
        needs.append(StepNeed(OUTPUTS, situation.run, handed_on, left, seconds=0.0, is_waiting=not left))
    for execution in _with_unexpected(expected, waits, running):
        if execution.key in ended or execution.key in hints.gone:
            continue
        wait = waits.get(execution.key)
        files = {file.key for file in execution.files}
        if wait is not None:
            files |= {keys[uuid] for uuid in wait.occurrences if uuid in keys}
        step = running.get(execution.key)
        elapsed = None if step is None else (now - step.started_at).total_seconds()
        needs.append(
            StepNeed(
                key=execution.key,
                run=situation.run,
                files=tuple(sorted(files)),
                after=tuple(sorted(hints.after(execution.key, execution.after) - ended)),
                seconds=durations.of(execution.path, elapsed),
                elapsed_seconds=elapsed or 0.0,
                is_waiting=wait is not None or execution.key in hints.waiting,
                is_running=step is not None,
            )
        )
    if hints.waiting:
        needs.append(StepNeed(RUNNING, situation.run, (), tuple(sorted(hints.waiting)), seconds=0.0))
    if hints.ended - hints.gone:
        others = tuple(sorted(expected.keys() - ended - hints.ended))
        needs.append(StepNeed(OTHERS, situation.run, (), others, seconds=0.0))
    return needs


def _never(expected: Mapping[str, _Execution], seen: Iterable[StepSeen]) -> set[str]:
    """What comes after a step that failed: it will not be executed, and what it reads is not to keep others waiting."""
    failed = {key for key, has_failed in {step.key: step.has_failed for step in seen}.items() if has_failed}
    never: set[str] = set()
    for key, one in expected.items() if failed else ():  # each after those before it
        if not one.after.isdisjoint(failed) or not one.after.isdisjoint(never):
            never.add(key)
    return never


def _handed_on(situation: RunSituation) -> tuple[str, ...]:
    """Inputs that are outputs of the run as they are: the run cannot end without them."""
    ports = {source for port in situation.structure.outputs for source in port.sources if "/" not in source}
    return tuple(sorted({file.key for file in situation.files if file.port in ports}))


def _with_unexpected(
    expected: Mapping[str, _Execution], waits: Mapping[str, StepWaiting], running: Mapping[str, StepSeen]
) -> Iterator[_Execution]:
    """What the document lets expect, and what is there all the same: elements of a scatter over results, say."""
    yield from expected.values()
    paths = {key: step.path for key, step in running.items()} | {key: wait.path for key, wait in waits.items()}
    for key, path in paths.items():
        if key not in expected:
            yield _Execution(key, path, (), frozenset())


class _Durations:
    """How long steps of a run take: what is closest says most, and a run's own steps are closer than other runs'."""

    def __init__(self, situation: RunSituation) -> None:
        self._earlier = situation.earlier
        self._lasted: dict[str, list[float]] = {}
        alike: list[float] = []
        for one in reversed(situation.seen):
            if one.ended_at is not None:
                seconds = (one.ended_at - one.started_at).total_seconds()
                self._lasted.setdefault(one.path, []).append(seconds)
                alike.append(seconds)
        self._alike = [*alike, *(seconds for each in situation.earlier.values() for seconds in each[:3])]
        self._same: dict[str, list[float]] = {}
        """Of each step that was asked for: a scatter asks as often as it has elements."""

    def of(self, path: str, elapsed: float | None) -> float | None:
        """How long a step takes, or still takes where it has been running for ``elapsed`` seconds."""
        if path not in self._same:
            self._same[path] = [*self._lasted.get(path, ()), *self._earlier.get(path, ())]
        same = self._same[path]
        if elapsed is None:
            return expected_seconds(same, self._alike)
        return remaining_seconds(same, elapsed, self._alike)


class _Expectation:
    """Walks the document."""

    def __init__(self, situation: RunSituation) -> None:
        self._files: dict[str, list[InputFile]] = {}
        for file in situation.files:
            self._files.setdefault(file.port, []).append(file)
        self._structure = situation.structure
        self._elements_of: dict[str, dict[int, list[InputFile]]] = {}
        self._found: list[_Execution] = []

    def executions(self) -> list[_Execution]:
        """All that will be executed, as far as the document tells."""
        ports = {port.id: _Origin(ports=frozenset({(port.id, None)})) for port in self._structure.inputs}
        self._walk(self._structure.steps, ports, "")
        return self._found

    def _walk(self, steps: Iterable[StepDefinition], inputs: Mapping[str, _Origin], prefix: str) -> dict[str, _Origin]:
        """Expect ``steps``; returns which executions each step consists of, by its name."""
        by_name = {step.path.rsplit("/", 1)[-1]: step for step in steps}
        order = TopologicalSorter({name: _names(step) & by_name.keys() - {name} for name, step in by_name.items()})
        known = ChainMap[str, _Origin]({}, dict(inputs))
        for name in order.static_order():
            known.maps[0][name] = self._expect(f"{prefix}{name}", by_name[name], known)
        return dict(known.maps[0])

    def _expect(self, key: str, step: StepDefinition, known: Mapping[str, _Origin]) -> _Origin:
        origins = {entry.port: _joined(entry.sources, known) for entry in step.inputs}
        if not step.inputs:  # a document that is a single tool: its ports are the run's
            origins = {port: origin for port, origin in known.items() if origin.ports}
        scattered = {port for port in step.scatter if port in origins}
        count = max((self._elements(origins[port]) for port in scattered), default=0)
        if not count:
            return self._one(key, step, origins)
        elements = []
        for index in range(count):
            own = {port: origin.element(index) if port in scattered else origin for port, origin in origins.items()}
            elements.append(self._one(f"{key}[{index}]", step, own))
        return _all_of(elements)

    def _one(self, key: str, step: StepDefinition, origins: Mapping[str, _Origin]) -> _Origin:
        if step.kind is StepKind.WORKFLOW and step.steps:
            inner = self._walk(step.steps, origins, f"{key}/")
            return _joined(inner, inner)
        ports = frozenset(port for origin in origins.values() for port in origin.ports)
        files = tuple(file for port, element in ports for file in self._of(port, element))
        after = frozenset(one for origin in origins.values() for one in origin.steps)
        self._found.append(_Execution(key, step.path, files, after))
        return _Origin(steps=frozenset({key}))

    def _of(self, port: str, element: int | None) -> Iterator[InputFile]:
        """The files at a port, or those of one element of it."""
        if element is None:
            return iter(self._files.get(port, ()))
        return iter(self._by_element(port).get(element, ()))

    def _by_element(self, port: str) -> Mapping[int, list[InputFile]]:
        if port not in self._elements_of:
            found: dict[int, list[InputFile]] = {}
            for file in self._files.get(port, ()):
                match = _INDEX.match(file.position)
                if match is not None:
                    found.setdefault(int(match[1]), []).append(file)
            self._elements_of[port] = found
        return self._elements_of[port]

    def _elements(self, origin: _Origin) -> int:
        return max((max(self._by_element(port), default=-1) + 1 for port, _ in origin.ports), default=0)


def _names(step: StepDefinition) -> set[str]:
    return {source.split("/", 1)[0] for entry in step.inputs for source in entry.sources if "/" in source}


def _joined(sources: Iterable[str], known: Mapping[str, _Origin]) -> _Origin:
    return _all_of([known[name] for name in {source.split("/", 1)[0] for source in sources} if name in known])


def _all_of(origins: Sequence[_Origin]) -> _Origin:
    """Joined at once: one after another they would be copied as often as there are of them."""
    ports = frozenset[tuple[str, int | None]]().union(*(origin.ports for origin in origins))
    return _Origin(ports, frozenset[str]().union(*(origin.steps for origin in origins)))
