"""The time axis of a timeline: where a moment lies, and at which round times there are ticks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stemma.provenance.timeline_facts import Timeline

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_STEPS: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE,
    10 * _MINUTE, 20 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY,
    5 * _DAY, 10 * _DAY, 20 * _DAY, 50 * _DAY, 100 * _DAY, 200 * _DAY, 500 * _DAY, 1000 * _DAY,
)  # fmt: skip
"""Seconds between two ticks."""
_MOST_TICKS: Final = 11
_SHORTEST: Final = 0.01
"""Seconds that a picture shows at least."""
_QUEUE_SHARE: Final = 0.1
"""How much of the picture the waiting before the first event takes at most."""
_IN_SECONDS, _IN_MINUTES, _IN_HOURS = 120.0, 2 * _HOUR, 4 * _DAY


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps the time of a run to the width of its picture."""

    begin: datetime
    seconds: float
    left: float
    width: float

    def x(self, moment: datetime) -> float:
        """Where ``moment`` lies; what is before the beginning lies at the beginning."""
        passed = min(max((moment - self.begin).total_seconds(), 0.0), self.seconds)
        return self.left + self.width * passed / self.seconds

    def ticks(self) -> list[tuple[float, str]]:
        """Positions and words."""
        step = next((one for one in _STEPS if self.seconds / one <= _MOST_TICKS), _STEPS[-1])
        count = min(int(self.seconds / step), 10 * _MOST_TICKS)
        marks = [number * step for number in range(count + 1)]
        return [(self.left + self.width * mark / self.seconds, self._word(mark, step)) for mark in marks]

    @property
    def unit(self) -> str:
        """What the words of the ticks are."""
        if self.seconds <= _IN_SECONDS:
            return "seconds"
        if self.seconds <= _IN_MINUTES:
            return "minutes:seconds"
        return "hours:minutes" if self.seconds <= _IN_HOURS else "days"

    def _word(self, mark: float, step: float) -> str:
        if self.seconds <= _IN_SECONDS:
            digits = 3 if step < 0.01 else 2 if step < 0.1 else 1 if step < 1 else 0  # noqa: PLR2004 - as many as differ
            return f"{mark:.{digits}f}"
        if self.seconds <= _IN_MINUTES:
            return f"{int(mark // _MINUTE)}:{int(mark % _MINUTE):02}"
        if self.seconds <= _IN_HOURS:
            return f"{int(mark // _HOUR)}:{int(mark % _HOUR // _MINUTE):02}"
        return f"{mark / _DAY:g}"


def axis_of(timeline: Timeline, left: float, width: float) -> Axis:
    """The axis from the first to the last thing; a long time in the queue before anything began is cut off."""
    asked = [one.requested_at for one in timeline.transfers]
    begun = [one.begins_at for one in timeline.transfers if one.started_at is not None]
    begun += [one.begins_at for one in timeline.executions]
    begun += [attempt.started_at for attempt in timeline.run.attempts]
    first = min(begun, default=timeline.until)
    earliest = min([*asked, first])
    if begun:
        most = (timeline.until - first) * _QUEUE_SHARE / (1 - _QUEUE_SHARE)
        earliest = max(earliest, first - most)
    seconds = max((timeline.until - earliest).total_seconds(), _SHORTEST)
    return Axis(earliest, seconds, left, width)
