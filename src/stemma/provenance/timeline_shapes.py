"""The shapes of a timeline, which the legend shows too. Each can be told from the others without colours."""

from typing import Final

from stemma.provenance import style
from stemma.provenance.timeline_svg import HATCH, Look, Svg

_STEP, _FAILED, _HERE = (style.NODES[kind] for kind in ("step", "failed", "reused"))
_THIN: Final = 1.1
_DASHES: Final = "4 2.5"
_THINNEST: Final = 2.0
_SMALLEST: Final = 8.0
"""Of bars with dashed borders, which are no longer dashed when they are thin."""
_HATCHED: Final[Look] = {"fill": f"url(#{HATCH})", "stroke": _STEP.border, "stroke_width": 0.8}


def bar(svg: Svg, x: float, middle: float, wide: float, *, high: float, kind: str, is_open: bool, told: str) -> None:
    """Something that was done; ``is_open`` where it goes on."""
    look = style.NODES[kind]
    drawn: Look = {"fill": look.fill, "stroke": look.border, "stroke_width": look.width if look is _FAILED else _THIN}
    if is_dashed := is_open or "dashed" in look.style:
        drawn["stroke_dasharray"] = _DASHES
    wide = max(wide, _SMALLEST if is_dashed else _THINNEST)
    svg.add("rect", drawn, told=told, x=x, y=middle - high / 2, width=wide, height=high, rx=2.0)


def waiting(svg: Svg, x: float, middle: float, wide: float, *, high: float, told: str) -> None:
    """Time in which a step waited."""
    svg.add("rect", _HATCHED, told=told, x=x, y=middle - high / 2, width=max(wide, 1.0), height=high)


def queued(svg: Svg, x: float, middle: float, wide: float) -> None:
    """Time in which nothing was done yet."""
    look: Look = {"stroke": style.QUIET, "stroke_width": _THIN, "stroke_dasharray": "2.5 2.5"}
    svg.add("path", look, d=f"M{x:.1f} {middle:.1f}h{wide:.1f}")


def curve(svg: Svg, path: str, kind: str) -> None:
    """How much was done at each moment, as what ``kind`` is; ``waiting`` is hatched."""
    look = style.NODES["step" if kind == "waiting" else kind]
    drawn: Look = _HATCHED if kind == "waiting" else {"fill": look.fill, "stroke": look.border, "stroke_width": _THIN}
    if path:
        svg.add("path", drawn, d=path, stroke_linejoin="round")


def from_store(svg: Svg, x: float, middle: float, told: str) -> None:
    """A file that was here already."""
    look: Look = {"fill": _HERE.fill, "stroke": _HERE.border, "stroke_width": 1.6}
    svg.add("path", look, told=told, d=f"M{x - 5:.1f} {middle:.1f}l5 -5l5 5l-5 5Z")


def cross(svg: Svg, x: float, middle: float) -> None:
    """The end of what failed."""
    path = f"M{x - 4:.1f} {middle - 4:.1f}l8 8m0 -8l-8 8"
    for colour, width in (("#ffffff", 5.0), (_FAILED.border, 2.4)):
        svg.add("path", {"stroke": colour, "stroke_width": width}, layer=2, d=path, stroke_linecap="round", fill="none")


def link(svg: Svg, start: tuple[float, float], end: tuple[float, float]) -> None:
    """What let a step start."""
    look: Look = {"stroke": style.INK, "stroke_width": 0.8, "stroke_opacity": 0.65}
    svg.add("path", look, d=f"M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}")
    svg.add("circle", cx=end[0], cy=end[1], r=2.0, fill=style.INK)
