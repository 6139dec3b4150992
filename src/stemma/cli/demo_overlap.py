"""What fetching inputs while steps run has saved, read from the record of a run: its PROV-JSON document."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

_REPLICATION: Final = "stemma:Replication"
_STEP: Final = "wfprov:ProcessRun"
_OF_STEPS: Final = "wfprov:WorkflowRun"
"""A sub-workflow, which lasts from its first step to its last whether or not one of them runs."""
_Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Seconds and counts."""

    files: int
    moved_bytes: int
    moving_seconds: float
    """In which something was moved."""
    overlap_seconds: float
    """Of them, those in which a step ran as well: so much longer it would have taken to fetch everything first."""


def overlap_in(document: Mapping[str, Any]) -> Overlap:
    """What the record says of a run's transfers and steps."""
    activities = list(document.get("activity", {}).values())
    moved = [one for one in activities if _REPLICATION in _types(one)]
    moving = _union(_spans(moved))
    steps = (one for one in activities if _STEP in (types := _types(one)) and _OF_STEPS not in types)
    running = _union(_spans(steps))
    return Overlap(
        files=len(moved),
        moved_bytes=sum(int(_plain(one.get("stemma:movedBytes")) or 0) for one in moved),
        moving_seconds=_length(moving),
        overlap_seconds=_length(moving) + _length(running) - _length(_union([*moving, *running])),
    )


def _types(activity: Mapping[str, Any]) -> list[str]:
    told = activity.get("prov:type", [])
    return [str(_plain(one)) for one in (told if isinstance(told, list) else [told])]


def _plain(value: Any) -> Any:
    return value["$"] if isinstance(value, dict) else value


def _spans(activities: Iterable[Mapping[str, Any]]) -> list[_Span]:
    return [
        (datetime.fromisoformat(one["prov:startTime"]), datetime.fromisoformat(one["prov:endTime"]))
        for one in activities
        if "prov:startTime" in one and "prov:endTime" in one
    ]


def _union(spans: Iterable[_Span]) -> list[_Span]:
    """The same time in spans that do not overlap."""
    found: list[_Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def _length(spans: Iterable[_Span]) -> float:
    return sum((end - begin).total_seconds() for begin, end in spans)
