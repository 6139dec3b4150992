"""One row of a timeline: the bars of a transfer or a step, or the curves of many, and the words beside them."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from stemma.provenance import labels, style
from stemma.provenance import timeline_shapes as shapes
from stemma.provenance.timeline_axis import Axis
from stemma.provenance.timeline_density import curve, marks
from stemma.provenance.timeline_facts import Came, Execution, Transfer
from stemma.provenance.timeline_rows import StepRow, TransferRow
from stemma.provenance.timeline_svg import DETAIL_SIZE, Look, Svg, fitting, width_of

ROW: Final = 23.0
FOLDED_ROW: Final = 44.0
_LANE: Final = 13.0
_BAR: Final = 14.0
_THINNEST: Final = 2.0
_GAP: Final = 6.0
_INK: Final = "#3d454e"
_TEXT_SHARE: Final = 0.92
"""How wide words are at most of what is reckoned."""
_MARKS_APART: Final = 9.0
_FEWEST: Final = 90.0
"""How much room there is at least where words are cut."""
_OTHER_WORDS: Final = {"waiting": "not started"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a link may begin or end."""

    x: float
    y: float
    row: int
    is_folded: bool


@dataclass(slots=True)
class Places:
    """Where transfers ended and steps began."""

    transfers: dict[UUID, Place] = field(default_factory=dict)
    executions: list[tuple[Execution, Place]] = field(default_factory=list)


@dataclass(slots=True)
class Bars:
    """Draws rows, and remembers where things are."""

    svg: Svg
    axis: Axis
    places: Places = field(default_factory=Places)
    rows: int = 0

    def transfers(self, row: TransferRow, y: float) -> float:
        """Draw a row of transfers; how high it is."""
        self.rows += 1
        if row.is_folded:
            return self._many_transfers(row, y)
        one = row.members[0]
        middle = y + ROW / 2
        self._queue(one, middle)
        begin, end = self.axis.x(one.begins_at), self.axis.x(one.ended_at)
        if one.came is Came.STORE:
            shapes.from_store(self.svg, end, middle, _spoken(one))
        elif one.started_at is not None:
            kind, is_open = "failed" if one.came is Came.FAILED else "input", one.came is Came.MOVING
            shapes.bar(self.svg, begin, middle, end - begin, high=_BAR, kind=kind, is_open=is_open, told=_spoken(one))
        if one.came is Came.FAILED:
            shapes.cross(self.svg, end, middle)
            end += _GAP
        is_bar = one.started_at is not None or one.came is not Came.STORE
        within = begin if one.started_at is not None else None
        self._words(transfer_words(one), begin if is_bar else end - _GAP, end + (0 if is_bar else _GAP), middle, within)
        self.places.transfers[one.occurrence] = Place(self.axis.x(one.ended_at), middle, self.rows, is_folded=False)
        return ROW

    def steps(self, row: StepRow, y: float) -> float:
        """Draw a row of steps; how high it is."""
        self.rows += 1
        if row.is_folded:
            return self._many_steps(row, y)
        one = row.members[0]
        middle = y + ROW / 2
        begin, end = self.axis.x(one.started_at or one.ended_at), self.axis.x(one.ended_at)
        ready = self._wait(one, begin, middle)
        if one.started_at is not None:
            told = f"{one.key}: {step_words(one)}"
            shapes.bar(self.svg, begin, middle, end - begin, high=_BAR, kind=one.look, is_open=False, told=told)
        if one.look == "failed":
            shapes.cross(self.svg, end, middle)
        end = max(end, begin + 8) if "dashed" in style.NODES[one.look].style else end
        end += _GAP if one.look == "failed" else 0
        self._words(
            step_words(one), self.axis.x(one.begins_at), end, middle, begin if one.started_at is not None else None
        )
        self.places.executions.append((one, Place(ready, middle, self.rows, is_folded=False)))
        return ROW

    def _wait(self, one: Execution, begin: float, middle: float) -> float:
        """Draw what comes before the bar that starts at ``begin``; where the waiting for inputs was over."""
        if one.waited_from is None or one.waited_until is None:
            return begin
        left, ready = self.axis.x(one.waited_from), self.axis.x(one.waited_until)
        shapes.waiting(self.svg, left, middle, ready - left, high=_BAR - 4, told=f"{one.key} waited")
        if begin - ready > 1:
            shapes.queued(self.svg, ready, middle, begin - ready)
        return ready

    def _many_transfers(self, row: TransferRow, y: float) -> float:
        base = y + FOLDED_ROW - 5
        moved = [one for one in row.members if one.started_at is not None]
        spans = [(one.begins_at, one.ended_at, float(one.moved_bytes or 1)) for one in moved]
        shapes.curve(self.svg, curve(self.axis, spans, base, FOLDED_ROW - 22), "input")
        failed = [one.ended_at for one in row.members if one.came is Came.FAILED]
        here = [one.ended_at for one in row.members if one.came is Came.STORE]
        for x in marks(self.axis, here, _MARKS_APART):
            shapes.from_store(self.svg, x, base - 4, "from the store")
        for x in marks(self.axis, failed, _MARKS_APART):
            shapes.cross(self.svg, x, base - 5)
        self._heading(many_transfers_words(row.members), y)
        for one in row.members:
            self.places.transfers[one.occurrence] = Place(self.axis.x(one.ended_at), base, self.rows, is_folded=True)
        return FOLDED_ROW

    def _many_steps(self, row: StepRow, y: float) -> float:
        waits = [
            (one.waited_from, one.waited_until, one.waited_seconds)
            for one in row.members
            if one.waited_from and one.waited_until
        ]
        high = FOLDED_ROW + (_LANE if waits else 0.0)
        base = y + high - 5
        waiting = curve(self.axis, waits, y + 18 + _LANE, _LANE - 2)
        shapes.curve(self.svg, waiting, "waiting")
        ran = [(one.started_at, one.ended_at, _seconds(one)) for one in row.members if one.started_at]
        shapes.curve(self.svg, curve(self.axis, ran, base, FOLDED_ROW - 24), "step")
        failed = [one.ended_at for one in row.members if one.look == "failed"]
        for x in marks(self.axis, failed, _MARKS_APART):
            shapes.cross(self.svg, x, base - 5)
        self._heading(many_steps_words(row.members), y)
        for one in row.members:
            place = Place(self.axis.x(one.waited_until or one.begins_at), y + 18 + _LANE, self.rows, is_folded=True)
            self.places.executions.append((one, place))
        return high

    def _queue(self, one: Transfer, middle: float) -> None:
        left, right = self.axis.x(one.requested_at), self.axis.x(one.started_at or one.ended_at)
        if right - left > 1:
            shapes.queued(self.svg, left, middle, right - left)

    def _words(self, words: str, begin: float, end: float, middle: float, within: float | None = None) -> None:
        """Words beside what lies from ``begin`` to ``end``, or in its bar, which begins at ``within``, or none."""
        wide, end = width_of(words, DETAIL_SIZE), max(end, begin + 2) + _GAP
        right, left = self.axis.left + self.axis.width - end, begin - _GAP - self.axis.left
        is_in_bar = within is not None and end - within - 3 * _GAP >= wide
        inside = within if within is not None and is_in_bar else begin
        inner = end - inside - 3 * _GAP
        if wide <= right or (wide > max(left, inner) and right >= max(left, inner, _FEWEST)):
            self._boxed(fitting(words, right, DETAIL_SIZE), end, middle, is_over=False)
        elif wide <= left or (wide > inner and left >= max(inner, _FEWEST)):
            line = fitting(words, left, DETAIL_SIZE)
            self._boxed(line, begin - _GAP, middle, anchor="end", is_over=True)
        elif inner >= _FEWEST:
            self._boxed(fitting(words, inner, DETAIL_SIZE), inside + _GAP, middle, is_over=not is_in_bar)

    def _boxed(self, words: str, x: float, middle: float, *, anchor: str = "start", is_over: bool) -> None:
        """Words that can be read though something may lie below them, as it does where ``is_over``."""
        if is_over:
            wide = width_of(words, DETAIL_SIZE) * _TEXT_SHARE
            place: Look = {
                "x": x - (wide if anchor == "end" else 0) - 2,
                "y": middle - 6,
                "width": wide + 4,
                "height": 12,
            }
            self.svg.add("rect", place, layer=2, fill="#ffffff", rx=2.0)
        self.svg.text(x, middle + DETAIL_SIZE * 0.36, words, anchor=anchor, fill=_INK, halo=not is_over)

    def _heading(self, words: str, y: float) -> None:
        line = fitting(words, self.axis.width - _GAP, DETAIL_SIZE)
        self.svg.text(self.axis.left + 2, y + 12, line, halo=True)


def transfer_words(one: Transfer) -> str:
    """What stands beside a transfer: how it ended, how much, how fast."""
    size = one.moved_bytes or one.size_bytes
    words = [labels.size(size)] if size is not None else []
    match one.came:
        case Came.FAILED:
            return f"failed: {labels.plain(one.error or '', 200)}"
        case Came.MOVED:
            words += [rate] if (rate := _rate([one])) else []
            words += [f"moved {one.times} times"] if one.times > 1 else []
        case _:
            words = [*([labels.size(one.size_bytes)] if one.size_bytes is not None else []), one.came.value]
    return " · ".join(words)


def many_transfers_words(members: list[Transfer]) -> str:
    """What stands above the curve of many transfers."""
    counts = Counter(one.came for one in members)
    words = [f"{len(members):,} inputs", labels.size(sum(one.moved_bytes for one in members))]
    words += [rate] if (rate := _rate(members)) else []
    return " · ".join(words + [f"{count:,} {came.value}" for came, count in counts.items() if came is not Came.MOVED])


def step_words(one: Execution) -> str:
    """What stands beside a step: how it ended, how long it ran, how long it waited."""
    words = [] if one.look in {"step", "expression"} else [_OTHER_WORDS.get(one.look, one.look)]
    if one.exit_code:
        words.append(f"exit code {one.exit_code}")
    if one.started_at is not None and one.look not in {"skipped", "reused"}:
        words += [labels.duration(_seconds(one))] if one.look != "failed" or _seconds(one) else []
    if one.waited_from is not None:
        words.append(f"waited {labels.duration(one.waited_seconds)}")
    return " · ".join(words)


def many_steps_words(members: list[Execution]) -> str:
    """What stands above the curves of many steps."""
    counts = Counter(
        "finished" if one.look in {"step", "expression"} else _OTHER_WORDS.get(one.look, one.look) for one in members
    )
    words = [f"{len(members):,} executions"]
    words += [f"{count:,} {look}" for look, count in counts.items()] if set(counts) != {"finished"} else []
    words.append(f"{labels.duration(sum(_seconds(one) for one in members if one.started_at))} of running")
    waited = sum(one.waited_seconds for one in members)
    return " · ".join([*words, f"{labels.duration(waited)} of waiting"] if waited else words)


def _spoken(one: Transfer) -> str:
    return f"{one.name} of {one.remote}: {transfer_words(one)}"


def _seconds(one: Execution) -> float:
    return (one.ended_at - one.started_at).total_seconds() if one.started_at else 0.0


def _rate(members: list[Transfer]) -> str:
    """Bytes a second while they were moved; those that were moved again are left out, as those times are not known."""
    known = [one for one in members if one.came is Came.MOVED and one.started_at is not None and one.times <= 1]
    if not known:
        return ""
    seconds = (max(one.ended_at for one in known) - min(one.begins_at for one in known)).total_seconds()
    return f"{labels.size(round(sum(one.moved_bytes for one in known) / seconds))}/s" if seconds > 0 else ""
