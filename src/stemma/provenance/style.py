"""How pictures look: one table of colours and shapes, and the words beside them in the legend.

The fills are the ones that W3C PROV draws with (entities yellow, activities blue, agents orange), paler, so
that black text on them reads well.
"""

from dataclasses import dataclass
from typing import Final

FONT: Final = "DejaVu Sans,Verdana,sans-serif"
"""DejaVu lies in ``fonts`` beside this module; Verdana, of the same widths, is for viewers of SVG without it."""

NAME_POINTS: Final = 12
DETAIL_POINTS: Final = 9
TITLE_POINTS: Final = 17
INK: Final = "#1b1f24"
QUIET: Final = "#5b6570"
DPI: Final = 120

AGENT_FILL: Final = "#fed9a0"


@dataclass(frozen=True, slots=True)
class NodeStyle:
    """The look of one kind of node."""

    fill: str
    border: str
    legend: str
    shape: str = "box"
    style: str = "filled"
    width: float = 1.0
    """Of the border, in points."""
    ink: str = INK


_STEP, _FILE = ("#c9d4ff", "#4a5fc1"), ("#fffcc2", "#a89b1c")

NODES: Final[dict[str, NodeStyle]] = {
    "input": NodeStyle("#fff3a3", "#8a6d00", "input", style="rounded,filled", width=2.0),
    "input directory": NodeStyle("#fff3a3", "#8a6d00", "input directory", shape="folder", width=2.0),
    "document": NodeStyle("#f3f0e6", "#8f8a73", "brought by the workflow", style="rounded,filled"),
    "step": NodeStyle(*_STEP, "step"),
    "expression": NodeStyle("#e8ecff", "#8d9ad6", "expression"),
    "sub-workflow": NodeStyle(*_STEP, "sub-workflow, closed", width=2.0),
    "reused": NodeStyle("#d8f0dc", "#2e7d42", "reused, did not run again", style="dashed,filled", width=1.6),
    "running": NodeStyle("#d9f1ff", "#0b78b8", "still running", style="dashed,filled", width=1.8),
    "failed": NodeStyle("#ffd4d0", "#c1121f", "failed", width=2.2),
    "stopped": NodeStyle("#ffe3c4", "#b25b00", "stopped", width=1.6),
    "skipped": NodeStyle("#f6f7f8", "#9aa3ab", "skipped", style="dashed,filled", ink=QUIET),
    "conditional": NodeStyle("#e3e9ff", "#4a5fc1", "step with a condition", style="dashed,filled", width=1.4),
    "waiting": NodeStyle("#ffffff", "#9aa3ab", "not started", style="dashed,filled", ink=QUIET),
    "file": NodeStyle(*_FILE, "file", style="rounded,filled"),
    "directory": NodeStyle(*_FILE, "directory", shape="folder"),
    "value": NodeStyle("#fffdea", "#c9bf6a", "value", style="rounded,filled"),
    "output": NodeStyle("#e2f5b8", "#4c7a00", "output", style="rounded,filled", width=2.4),
    "output directory": NodeStyle("#e2f5b8", "#4c7a00", "output directory", shape="folder", width=2.4),
}
"""In the order of the legend."""

EDGES: Final[dict[str, tuple[str, str, str]]] = {
    "used": ("#6b7683", "used", "solid"),
    "generated": ("#4a5fc1", "generated", "solid"),
    "flow": ("#6b7683", "goes to", "solid"),
    "unused": ("#aab2ba", "would have used", "dashed"),
}
"""Colour, word in the legend, line."""

CLUSTER_FILL: Final = "#f4f6fd"
CLUSTER_BORDER: Final = "#8d9ad6"
CLUSTER_FAILED_BORDER: Final = "#c1121f"

STATES: Final[dict[str, tuple[str, str]]] = {
    "finished": ("#2e7d42", "#ffffff"),
    "failed": ("#c1121f", "#ffffff"),
    "stopped": ("#b25b00", "#ffffff"),
    "running": ("#0b78b8", "#ffffff"),
    "deleted": ("#5b6570", "#ffffff"),
}
"""Fill and ink of the badge of a run's state; other states are drawn like deleted."""
