"""SVG written element by element: everything that comes from people is text or an attribute, never markup.

Presentation is in attributes, since browsers that show a picture of ours are told to take no styles.
"""

import unicodedata
import xml.etree.ElementTree as ET
from typing import Final, TypeAlias

from stemma.provenance import labels, style

Attribute: TypeAlias = str | float
Look: TypeAlias = dict[str, Attribute]
"""Attributes, with ``_`` where SVG has a hyphen."""

DETAIL_SIZE: Final = 10.5
NAME_SIZE: Final = 12.0
TITLE_SIZE: Final = 19.0
HATCH: Final = "waited"
_ELLIPSIS_AT_LEAST: Final = 4
_WIDTHS: Final = {
    **dict.fromkeys("ijlI'|.,:;!()[]ft /-·", 0.4),
    **dict.fromkeys("mMW%@w", 0.98),
    **dict.fromkeys("ABCDEFGHKNOPQRSUVXYZ", 0.74),
}
"""Of the characters of DejaVu Sans, as shares of the size, rounded up; the others are as wide as digits."""
_OTHER, _FULL = 0.64, 1.05
_BOLD: Final = 1.1


class Svg:
    """A picture in the making."""

    def __init__(self, width: float, title: str) -> None:
        self.width = width
        self._root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "font-family": style.FONT})
        ET.SubElement(self._root, "title").text = title
        self._defs = ET.SubElement(self._root, "defs")
        self._page = ET.SubElement(self._root, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
        self._groups = [ET.SubElement(self._root, "g") for _ in range(3)]
        self._define_hatch()

    def add(
        self, tag: str, look: Look | None = None, *, layer: int = 1, told: str | None = None, **more: Attribute
    ) -> None:
        """An element; in layer 0 under all others, in layer 2 above them. ``told`` is seen by who points at it."""
        element = ET.SubElement(self._groups[layer], tag, _written((look or {}) | more))
        if told:
            ET.SubElement(element, "title").text = labels.plain(told, 300)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = DETAIL_SIZE,
        fill: str = style.QUIET,
        anchor: str = "start",
        bold: bool = False,
        halo: bool = False,
    ) -> None:
        """Words, above everything; with a ``halo`` where lines may run below them."""
        more: Look = {"font_weight": "bold"} if bold else {}
        if halo:
            more |= {"stroke": "#ffffff", "stroke_width": 3, "stroke_linejoin": "round", "paint_order": "stroke"}
        found = {"x": x, "y": y, "font_size": size, "fill": fill, "text_anchor": anchor, **more}
        ET.SubElement(self._groups[2], "text", _written(found)).text = words

    def written(self, height: float) -> str:
        """The picture, ``height`` high."""
        for name, value in (("width", self.width), ("height", height)):
            self._root.set(name, _number(value))
        self._root.set("viewBox", f"0 0 {_number(self.width)} {_number(height)}")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(self._root, encoding="unicode")}\n'

    def _define_hatch(self) -> None:
        size = {"width": "5", "height": "5"}
        more = {"id": HATCH, "patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)"}
        pattern = ET.SubElement(self._defs, "pattern", {**more, **size})
        ET.SubElement(pattern, "rect", {**size, "fill": "#ffffff"})
        ET.SubElement(pattern, "rect", {"width": "1.4", "height": "5", "fill": style.NODES["step"].border})


def width_of(words: str, size: float, *, bold: bool = False) -> float:
    """About how wide ``words`` are, rather too wide than too narrow."""
    shares = (_FULL if unicodedata.east_asian_width(one) in "WF" else _WIDTHS.get(one, _OTHER) for one in words)
    return sum(shares) * size * (_BOLD if bold else 1.0)


def fitting(words: str, room: float, size: float, *, bold: bool = False) -> str:
    """``words`` on one line, without what cannot be seen, their middle left out where they are wider than ``room``."""
    line = labels.plain(words, max(int(room / size * 3), _ELLIPSIS_AT_LEAST))
    while (wide := width_of(line, size, bold=bold)) > room and len(line) > _ELLIPSIS_AT_LEAST:
        line = labels.plain(line, max(min(int(len(line) * room / wide), len(line) - 1), _ELLIPSIS_AT_LEAST))
    return line


def _written(attributes: Look) -> dict[str, str]:
    return {
        name.replace("_", "-"): value if isinstance(value, str) else _number(value)
        for name, value in attributes.items()
    }


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
