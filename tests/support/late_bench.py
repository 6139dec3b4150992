"""Late files for the embedded engine: given to a job before their bytes are in the store, delivered by the test."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from stemma import clock
from stemma.engines.protocol import Report, StepEnded, StepStarted, StepWaits
from support.cwltool_bench import TAG, Bench, Seen

_PATIENCE_SECONDS = 20


def late(basename: str, **more: Any) -> dict[str, Any]:
    """A File whose bytes come later."""
    return {"class": "File", "basename": basename, TAG: str(clock.new_uuid()), "stemma:late": True, **more}


def deliver(bench: Bench, reference: str, file: dict[str, Any], text: str) -> None:
    """Put the bytes of ``file`` into the store, and tell the run."""
    bench.engine.deliver(reference, UUID(file[TAG]), bench.put(text))


def until(bench: Bench, reference: str, condition: Callable[["Told"], bool]) -> "Told":
    """What the run told, once ``condition`` holds of it."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        told = Told(bench.engine.report(reference, ""))
        if condition(told):
            return told
        assert time.monotonic() < deadline, told
        assert not told.report.state.is_terminal, told.report
        time.sleep(0.01)


def waits(seen: Seen) -> dict[str, list[str]]:
    """For which occurrences each step waited."""
    return {fact.key: [str(item) for item in fact.occurrences] for fact in seen.facts if isinstance(fact, StepWaits)}


class Told:
    """What a run has told so far."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.waiting = {fact.key: fact for fact in report.facts if isinstance(fact, StepWaits)}
        started = [fact for fact in report.facts if isinstance(fact, StepStarted)]
        keys = {fact.uuid: fact.key for fact in started}
        self.started = set(keys.values())
        self.ended = {keys[fact.uuid] for fact in report.facts if isinstance(fact, StepEnded)}

    def __repr__(self) -> str:
        return f"waiting {sorted(self.waiting)}, started {sorted(self.started)}, ended {sorted(self.ended)}"
