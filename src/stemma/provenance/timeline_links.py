"""The lines from the arrival of an input to the step that it let start."""

from typing import Final, TypeAlias

from stemma.provenance.timeline_bars import Place, Places
from stemma.provenance.timeline_shapes import link
from stemma.provenance.timeline_svg import Svg

_MOST: Final = 160
_APART: Final = 40.0
"""How far lines between the same two rows are apart at least, where many share a row."""
_WIDEST: Final = 2000.0

Link: TypeAlias = tuple[Place, Place]


def draw_links(svg: Svg, places: Places, left: float) -> None:
    """Draw them; of many between the same rows, some."""
    found = _all(places)
    apart = _APART
    drawn = _some(found, left, apart)
    while len(drawn) > _MOST and apart < _WIDEST:
        apart *= 2
        drawn = _some(found, left, apart)
    for start, end in drawn[:_MOST]:
        link(svg, (start.x, start.y), (end.x, end.y))


def _all(places: Places) -> list[Link]:
    found = []
    for execution, end in places.executions:
        start = places.transfers.get(execution.awaited) if execution.awaited else None
        if start is not None:
            found.append((start, end))
    return found


def _some(links: list[Link], left: float, apart: float) -> list[Link]:
    """The links of which no two between the same folded rows are too close to be told apart."""
    kept: dict[object, Link] = {}
    for number, (start, end) in enumerate(links):
        is_folded = start.is_folded or end.is_folded
        place = (start.row, end.row, int((start.x - left) / apart)) if is_folded else number
        kept.setdefault(place, (start, end))
    return list(kept.values())
