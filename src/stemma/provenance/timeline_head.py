"""What stands above a timeline: what it is of, how it went, and what its shapes mean."""

from collections.abc import Callable, Iterator
from typing import Final

from stemma.provenance import labels, style
from stemma.provenance import timeline_shapes as shapes
from stemma.provenance.timeline_facts import Came, Timeline
from stemma.provenance.timeline_svg import DETAIL_SIZE, TITLE_SIZE, Svg, fitting, width_of
from stemma.records import RunRecord

_LINE: Final = 18.0
_BADGE: Final = 20.0
_SWATCH: Final = 26.0
_GAP: Final = 18.0
_WORDS: Final = {
    "step": "step ran",
    "expression": "expression",
    "reused": "step reused",
    "running": "still running",
    "stopped": "step stopped",
    "skipped": "step skipped",
}


def draw_head(svg: Svg, timeline: Timeline, name: str, left: float) -> float:
    """Draw title, badges, notes and legend; where they end."""
    run, room = timeline.run, svg.width - 2 * left
    svg.text(left, 36, fitting(name, room, TITLE_SIZE, bold=True), size=TITLE_SIZE, fill=style.INK, bold=True)
    _badges(svg, run, left, 48)
    y = 48 + _BADGE + _LINE
    svg.text(left, y, _when(run))
    if run.reason:
        y += _LINE
        colour = style.STATES.get(run.state.value, style.STATES["deleted"])[0]
        svg.text(left, y, fitting(run.reason, room, DETAIL_SIZE), fill=colour)
    if not run.state.is_terminal:
        y += _LINE
        svg.text(left, y, f"This run has not ended: what is drawn is what was known at {timeline.until:%H:%M:%S} UTC.")
    return _legend(svg, timeline, left, y + _LINE + 6) + 30


def _when(run: RunRecord) -> str:
    told = [f"timeline of execution {run.id}", f"submitted {run.submitted_at:%-d %b %Y %H:%M:%S} UTC"]
    if run.started_at is not None:
        told.append(f"started {labels.duration(max((run.started_at - run.submitted_at).total_seconds(), 0.0))} later")
        if run.ended_at is not None and run.ended_at >= run.started_at:
            told.append(f"took {labels.duration((run.ended_at - run.started_at).total_seconds())}")
    return " · ".join(told)


def _badges(svg: Svg, run: RunRecord, x: float, y: float) -> None:
    fill, ink = style.STATES.get(run.state.value, style.STATES["deleted"])
    engine = f"{run.engine} {run.engine_version or ''}"
    person = f"{run.submitted_by.username} for {run.group.removeprefix('/')}"
    for words, back, front in (
        (run.state.value, fill, ink),
        (person, style.AGENT_FILL, style.INK),
        (engine, style.AGENT_FILL, style.INK),
    ):
        line = fitting(words, 300, DETAIL_SIZE)
        wide = width_of(line, DETAIL_SIZE) + 14
        svg.add("rect", x=x, y=y, width=wide, height=_BADGE, rx=4.0, fill=back)
        svg.text(x + wide / 2, y + _BADGE * 0.69, line, fill=front, anchor="middle")
        x += wide + 6


def _legend(svg: Svg, timeline: Timeline, left: float, y: float) -> float:
    """The shapes that occur, each with its word."""
    x = left
    for draw, words in _shapes(timeline):
        wide = _SWATCH + 6 + width_of(words, DETAIL_SIZE)
        if x > left and x + wide > svg.width - left:
            x, y = left, y + _LINE
        draw(svg, x, y)
        svg.text(x + _SWATCH + 6, y + DETAIL_SIZE * 0.36, words)
        x += wide + _GAP
    return y


def _shapes(timeline: Timeline) -> Iterator[tuple[Callable[[Svg, float, float], None], str]]:
    """How to draw a shape at a place, and its word."""
    came = {one.came for one in timeline.transfers}
    looks = {one.look for one in timeline.executions}
    in_line = (one.started_at != one.waited_until for one in timeline.executions if one.waited_until)
    if any(one.came is not Came.STORE for one in timeline.transfers) or any(in_line):
        yield lambda svg, x, y: shapes.queued(svg, x, y, _SWATCH), "queued"
    if came & {Came.MOVED, Came.MOVING}:
        yield _box("input"), "moved"
    if Came.STORE in came:
        yield lambda svg, x, y: shapes.from_store(svg, x + _SWATCH / 2, y, ""), "from the store"
    if Came.FAILED in came or "failed" in looks:
        yield lambda svg, x, y: shapes.cross(svg, x + _SWATCH / 2, y), "failed"
    if any(one.waited_from is not None for one in timeline.executions):
        yield lambda svg, x, y: shapes.waiting(svg, x, y, _SWATCH, high=10, told=""), "step waited for inputs"
    if any(one.awaited is not None for one in timeline.executions):
        yield lambda svg, x, y: shapes.link(svg, (x, y), (x + _SWATCH, y)), "the input that it waited for last"
    for kind, words in _WORDS.items():
        if kind in looks:
            yield _box(kind), words


def _box(kind: str) -> Callable[[Svg, float, float], None]:
    return lambda svg, x, y: shapes.bar(svg, x, y, _SWATCH, high=12, kind=kind, is_open=False, told="")
