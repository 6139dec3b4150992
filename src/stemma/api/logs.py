"""What runs and their steps wrote: the last part of it, or all of it as it comes."""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final
from uuid import UUID

from stemma.api.schemas.runs import LogShown
from stemma.database.queries import events, recorded, runs
from stemma.engines.protocol import Engine, Owner
from stemma.errors import RunNotFound, UnknownEngine
from stemma.lifecycle.acting import engine_for
from stemma.lifecycle.installation import Installation
from stemma.records import RunSummary, StepRecord

STREAMS: Final = ("stdout", "stderr")
TAIL_BYTES: Final = 64 * 1024
"""How much of each log is shown where all steps are."""
ALL_TAILS_BYTES: Final = 8 * 1024 * 1024
"""How much of all logs together: with very many steps each shows less."""
WHOLE_BYTES: Final = 16 * 1024 * 1024
"""How much is shown of the log of a step that was asked for; ``follow`` has no such limit."""
LOOK_BYTES: Final = 1024 * 1024
"""How much one look brings."""
_LONGEST_LINE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Said:
    text: str
    is_part: bool


def engine_of(installation: Installation, run: RunSummary) -> Engine | None:
    """The engine that has the run; None where it is not set up here any more."""
    try:
        return engine_for(installation.engines, run.engine, Owner(run.submitted_by.subject, run.group))
    except UnknownEngine:
        return None


def is_called(step: StepRecord, name: str) -> bool:
    """Whether ``name`` is the step's uuid, number, key, path or name."""
    return name in {str(step.uuid), str(step.id), step.key, step.path, step.name}


def tails(
    installation: Installation, run: RunSummary, steps: Sequence[StepRecord], *, is_chosen: bool
) -> Iterator[LogShown]:
    """What the run and its steps wrote; where steps were chosen, what those wrote, and more of it."""
    engine = engine_of(installation, run)
    share = max(1024, ALL_TAILS_BYTES // (2 * max(1, len(steps))))
    limit = WHOLE_BYTES // max(1, len(steps)) if is_chosen else min(TAIL_BYTES, share)
    if not is_chosen:
        own = [_tail(engine, run, None, stream, limit) for stream in STREAMS]
        if any(said.text for said in own):
            yield _shown(None, run.state.value, own)
    for step in steps:
        said = [_tail(engine, run, step, stream, limit) for stream in STREAMS]
        yield _shown(step, step.state.value, said)


def _shown(step: StepRecord | None, status: str, said: Sequence[_Said]) -> LogShown:
    stdout, stderr = said
    return LogShown(
        step_id=str(step.uuid) if step else None,
        key=step.key if step else None,
        status=status,
        stdout=stdout.text,
        stderr=stderr.text,
        truncated=stdout.is_part or stderr.is_part,
    )


def _tail(engine: Engine | None, run: RunSummary, step: StepRecord | None, stream: str, limit: int) -> _Said:
    """The end of a log; what was recorded of it where the engine has it no more."""
    opened = _open(engine, run, step, stream)
    if opened is None:
        kept = (step.stdout_tail if stream == "stdout" else step.stderr_tail) if step else None
        return _Said(kept or "", is_part=bool(kept))
    with opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - limit))
        return _Said(opened.read(limit).decode("utf-8", "replace"), is_part=size > limit)


def _open(engine: Engine | None, run: RunSummary, step: StepRecord | None, stream: str) -> BinaryIO | None:
    is_of_now = step is None or step.attempt == run.attempt
    if engine is None or run.reference is None or not is_of_now:
        return None
    return engine.log(run.reference, step.uuid if step else None, stream)


@dataclass(slots=True)
class _Source:
    """One stream of one step, and how far it has been read."""

    step: StepRecord
    stream: str
    offset: int = 0
    rest: bytes = b""
    """The line that is not whole yet."""
    is_over: bool = False

    def lines(self, piece: bytes, prefix: bytes) -> bytes:
        """The whole lines that ``piece`` completes."""
        whole, end, rest = (self.rest + piece).rpartition(b"\n")
        if len(rest) > _LONGEST_LINE:
            whole, end, rest = self.rest + piece, b"", b""
        self.rest = rest
        return _prefixed(whole, prefix) if whole or end else b""

    def remainder(self, prefix: bytes) -> bytes:
        """The line that will never be whole."""
        rest, self.rest = self.rest, b""
        return _prefixed(rest, prefix) if rest else b""


def _prefixed(text: bytes, prefix: bytes) -> bytes:
    return b"".join(prefix + line + b"\n" for line in text.split(b"\n"))


@dataclass(slots=True)
class LogFollower:
    """Brings what a run's steps write, a look at a time."""

    installation: Installation
    run_id: int
    groups: Collection[str]
    wanted: str | None = None
    """Only the steps of this uuid, number, key, path or name."""
    has_prefixes: bool = True
    """Whether each line begins with the key of its step."""
    is_over: bool = False
    """Nothing more will come."""
    _seen_event: int = 0
    _attempt: int = 0
    _sources: dict[tuple[UUID, str], _Source] = field(default_factory=dict)

    def look(self) -> bytes:
        """What is new; at most some megabyte.

        Raises:
            Unavailable: the database or the engine does not answer; look again later.
        """
        try:
            run = self._note_steps()
        except RunNotFound:  # deleted meanwhile
            self.is_over = True
            return b""
        engine = engine_of(self.installation, run)
        found, budget = [], LOOK_BYTES
        for source in self._sources.values():
            if budget > 0 and not source.is_over:
                piece = self._read(engine, run, source, budget)
                budget -= len(piece)
                found.append(piece)
        self.is_over = run.state.is_terminal and all(source.is_over for source in self._sources.values())
        return b"".join(found)

    def _note_steps(self) -> RunSummary:
        """The run as it is; steps are read anew only when something has changed."""
        with self.installation.database.reading() as session:
            run = runs.get(session, self.run_id, self.groups)
            news = events.since(session, self.run_id, self._seen_event)
            if news or run.attempt != self._attempt:
                steps = recorded.steps(session, self.run_id, attempt=run.attempt)
                self._note(run.attempt, [step for step in steps if not self.wanted or is_called(step, self.wanted)])
                self._seen_event = news[-1].id if news else self._seen_event
        return run

    def _note(self, attempt: int, steps: Sequence[StepRecord]) -> None:
        if attempt != self._attempt:
            self._attempt, self._sources = attempt, {}
        for step in steps:
            for stream in STREAMS:
                source = self._sources.setdefault((step.uuid, stream), _Source(step, stream))
                source.step = step

    def _read(self, engine: Engine | None, run: RunSummary, source: _Source, budget: int) -> bytes:
        prefix = f"[{source.step.key}] ".encode() if self.has_prefixes else b""
        has_ended = source.step.state.is_terminal or run.state.is_terminal  # seen before the log is read
        opened = _open(engine, run, source.step, source.stream)
        if opened is None:
            piece = self._recorded(source) if has_ended else b""
        else:
            with opened:
                opened.seek(source.offset)
                piece = opened.read(budget)
        source.offset += len(piece)
        shown = source.lines(piece, prefix)
        if has_ended and len(piece) < budget:
            source.is_over = True
            shown += source.remainder(prefix)
        return shown

    @staticmethod
    def _recorded(source: _Source) -> bytes:
        step = source.step
        kept = step.stdout_tail if source.stream == "stdout" else step.stderr_tail
        return (kept or "").encode("utf-8", "replace") if source.offset == 0 else b""
