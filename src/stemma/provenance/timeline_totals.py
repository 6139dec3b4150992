"""What the foot of a timeline tells: how much of the moving took place while steps ran, and how long steps waited."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from stemma.provenance import labels
from stemma.provenance.timeline_facts import Came, Timeline

_DREW_NOTHING = frozenset({"waiting", "skipped", "reused"})


@dataclass(frozen=True, slots=True)
class Totals:
    """Seconds, bytes and counts."""

    moving_seconds: float
    """In which at least one input was moved."""
    overlap_seconds: float
    """Of them, those in which a step ran too."""
    waited_seconds: float
    """Of all steps together."""
    waited_steps: int
    moved_bytes: int
    moved_files: int
    store_files: int


def totals(timeline: Timeline) -> Totals:
    """The sums over all that is drawn."""
    moving = _union(
        (one.started_at, one.ended_at)
        for one in timeline.transfers
        if one.started_at is not None and one.came in {Came.MOVED, Came.MOVING, Came.FAILED}
    )
    running = _union(
        (one.started_at, one.ended_at)
        for one in timeline.executions
        if one.started_at is not None and one.look not in _DREW_NOTHING
    )
    waited = [one.waited_seconds for one in timeline.executions if one.waited_from is not None]
    return Totals(
        moving_seconds=_length(moving),
        overlap_seconds=_common(moving, running),
        waited_seconds=sum(waited),
        waited_steps=len(waited),
        moved_bytes=sum(one.moved_bytes for one in timeline.transfers),
        moved_files=sum(one.came is Came.MOVED for one in timeline.transfers),
        store_files=sum(one.came is Came.STORE for one in timeline.transfers),
    )


def told(timeline: Timeline) -> list[str]:
    """The totals as sentences."""
    found = totals(timeline)
    return [_moving(timeline, found), _waiting(timeline, found)] if timeline.transfers else [_waiting(timeline, found)]


def _moving(timeline: Timeline, found: Totals) -> str:
    files = len(timeline.transfers)
    sources = (
        f"{found.moved_files:,} of {files:,} input{'s' if files > 1 else ''} moved ({labels.size(found.moved_bytes)})"
    )
    if found.store_files:
        sources += f", {found.store_files:,} from the store"
    if not found.moving_seconds:
        return f"{sources}."
    share = found.overlap_seconds / found.moving_seconds
    return (
        f"{sources}. Transfers took {labels.duration(found.moving_seconds)}; for "
        f"{labels.duration(found.overlap_seconds)} of that ({share:.0%}) steps ran at the same time."
    )


def _waiting(timeline: Timeline, found: Totals) -> str:
    count = len(timeline.executions)
    if not found.waited_steps:
        return "No step waited for inputs from elsewhere."
    return (
        f"Steps waited {labels.duration(found.waited_seconds)} in all for inputs: "
        f"{found.waited_steps:,} of {count:,} step{'s' if count > 1 else ''} waited."
    )


def _union(intervals: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The same moments as intervals that do not touch, in order."""
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _length(intervals: Iterable[tuple[datetime, datetime]]) -> float:
    return sum((end - start).total_seconds() for start, end in intervals)


def _common(one: list[tuple[datetime, datetime]], other: list[tuple[datetime, datetime]]) -> float:
    """How long both lasted at the same time."""
    common, i, j = 0.0, 0, 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        common += max((end - start).total_seconds(), 0.0)
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return common
