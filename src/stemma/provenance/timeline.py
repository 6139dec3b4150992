"""The timeline of a run, as SVG: transfers above, steps below, on one time axis, and what waited for what.

Dashed lines are time in the queue, yellow bars transfers, hatched bars waiting, blue bars running. A thin line leads
from the arrival of an input to the step that it let start. Thousands share a row, which then shows a curve.
"""

from datetime import datetime
from typing import Final

from stemma.provenance import labels, style
from stemma.provenance.timeline_axis import axis_of
from stemma.provenance.timeline_bars import Bars
from stemma.provenance.timeline_facts import timeline_facts
from stemma.provenance.timeline_head import draw_head
from stemma.provenance.timeline_links import draw_links
from stemma.provenance.timeline_rows import Rows, Section, StepRow, TransferRow, rows_of
from stemma.provenance.timeline_svg import NAME_SIZE, Look, Svg, fitting
from stemma.provenance.timeline_totals import told
from stemma.records import AttemptRecord, RunRecord

_WIDTH: Final = 1240.0
_MARGIN: Final = 24.0
_NAMES: Final = 232.0
_LEFT: Final = _MARGIN + _NAMES + 12
_HEADING: Final = 27.0
_LINE: Final = 16.0
_BAND: Final = "#f4f6f8"
_GRID: Final = "#dde1e6"
_LABELS_APART: Final = 70.0


def timeline_of_run(run: RunRecord, *, at: datetime | None = None) -> str:
    """The timeline of ``run`` as SVG, as far as it is known; ``at`` is now, for a run that has not ended."""
    timeline = timeline_facts(run, at)
    name = f"{labels.plain(run.revision.name, 50)} : {labels.plain(run.revision.version, 20)}  #{run.number}"
    svg = Svg(_WIDTH, f"Timeline of {name}")
    top = draw_head(svg, timeline, name, _MARGIN) + 10
    picture = _Picture(svg, Bars(svg, axis_of(timeline, _LEFT, _WIDTH - _MARGIN - _LEFT)), run)
    bottom = picture.rows(rows_of(timeline), top + (_LINE if len(run.attempts) > 1 else 4))
    picture.grid(top, bottom)
    draw_links(svg, picture.bars.places, picture.bars.axis.left)
    y = bottom + _LINE + 16
    for sentence in told(timeline):
        y += _LINE
        svg.text(_MARGIN, y, sentence, size=NAME_SIZE, fill=style.INK)
    return svg.written(y + _MARGIN - 4)


class _Picture:
    """Everything between the head and the foot."""

    def __init__(self, svg: Svg, bars: Bars, run: RunRecord) -> None:
        self.svg = svg
        self.bars = bars
        self.run = run
        self._is_odd = False

    def rows(self, rows: Rows, y: float) -> float:
        """Draw all rows from ``y`` on; where they end."""
        y += 6
        if rows.transfers:
            y = self._heading("Inputs from elsewhere", y)
            for transfers in rows.transfers:
                self._named(transfers, y, high := self.bars.transfers(transfers, y))
                y += high
        for section in rows.sections:
            y = self._heading(self._title_of(section), y)
            for steps in section.rows:
                self._named(steps, y, high := self.bars.steps(steps, y))
                y += high
            if not section.rows:
                self.svg.text(_LEFT, y + 14, "no step began")
                y += 20
        return y + 6

    def grid(self, top: float, bottom: float) -> None:
        """The ticks of the axis above and below the rows, and lines between them."""
        axis = self.bars.axis
        for x, word in axis.ticks():
            self.svg.add("path", layer=0, d=f"M{x:.1f} {top + 6:.1f}V{bottom:.1f}", stroke=_GRID, stroke_width=1.0)
            for y in (top, bottom + 14):
                self.svg.text(x, y, word, anchor="middle")
        unit = f"{axis.unit} since {axis.begin:%H:%M:%S} UTC"
        self.svg.text(_MARGIN, top, unit)
        self._attempts(top + 8, bottom)

    def _attempts(self, top: float, bottom: float) -> None:
        """Lines where the second attempt and those after it began."""
        last = -_LABELS_APART
        for attempt in sorted(self.run.attempts, key=lambda one: one.number)[1:]:
            x = self.bars.axis.x(attempt.started_at)
            line: Look = {"stroke": style.QUIET, "stroke_width": 1.3, "stroke_dasharray": "7 4"}
            self.svg.add("path", line, d=f"M{x:.1f} {top:.1f}V{bottom:.1f}")
            is_near = x + _LABELS_APART > _WIDTH
            if x - last >= _LABELS_APART * (2 if is_near else 1):
                place, anchor = (x - 4, "end") if is_near else (x + 4, "start")
                self.svg.text(place, top + 10, f"attempt {attempt.number}", anchor=anchor, halo=True)
                last = x

    def _heading(self, words: str, y: float) -> float:
        room = _WIDTH - 2 * _MARGIN
        self.svg.text(
            _MARGIN,
            y + 18,
            fitting(words, room, NAME_SIZE, bold=True),
            size=NAME_SIZE,
            fill=style.INK,
            bold=True,
            halo=True,
        )
        self._is_odd = False
        return y + _HEADING

    def _title_of(self, section: Section) -> str:
        count = len(self.run.attempts)
        if len(section.attempts) > 1:
            return f"Steps of attempts {section.attempts[0]} to {section.attempts[-1]}"
        if count <= 1:
            return "Steps"
        attempt = next((one for one in self.run.attempts if one.number == section.attempts[0]), None)
        return " · ".join([f"Steps of attempt {section.attempts[0]} of {count}", *_ending(attempt)])

    def _named(self, row: TransferRow | StepRow, y: float, high: float) -> None:
        """The name of a row before it, and a band behind every other one."""
        if self._is_odd:
            place: Look = {"x": _MARGIN - 8, "y": y, "width": _WIDTH - 2 * _MARGIN + 16, "height": high}
            self.svg.add("rect", place, layer=0, fill=_BAND)
        self._is_odd = not self._is_odd
        name = fitting(row.name, _NAMES, NAME_SIZE, bold=row.is_folded)
        middle = y + high / 2 + NAME_SIZE * 0.36
        self.svg.text(_MARGIN, middle, name, size=NAME_SIZE, fill=style.INK, bold=row.is_folded)


def _ending(attempt: AttemptRecord | None) -> list[str]:
    if attempt is None:
        return []
    words = [attempt.worker]
    if attempt.outcome:
        words.append(attempt.outcome + (f": {attempt.reason}" if attempt.reason else ""))
    return words
