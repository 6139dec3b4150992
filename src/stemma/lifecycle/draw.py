"""Station *draw*: what is known of a run, and what a workflow consists of, as pictures."""

from stemma import clock
from stemma.lifecycle.installation import Installation
from stemma.provenance.diagram import diagram_of_workflow
from stemma.provenance.dot import picture_of_run
from stemma.provenance.render import Format, render
from stemma.provenance.timeline import timeline_of_run
from stemma.provenance.timeline_png import png_of
from stemma.records import RunRecord, WorkflowStructure


def draw_run(installation: Installation, run: RunRecord, picture_format: Format) -> bytes:
    """The provenance of ``run`` as far as it is known, as PNG or SVG.

    Raises:
        DrawingFailed: it could not be drawn, or not in time.
    """
    return render(picture_of_run(run).dot, picture_format, installation.settings.draw_timeout_seconds)


def timeline(installation: Installation, run: RunRecord, picture_format: Format) -> bytes:
    """The transfers and steps of ``run`` on one time axis, as far as they are known, as PNG or SVG.

    Raises:
        DrawingFailed: it could not be drawn, or not in time.
    """
    svg = timeline_of_run(run, at=clock.now())
    return svg.encode() if picture_format == "svg" else png_of(svg, installation.settings.draw_timeout_seconds)


def draw_workflow(
    installation: Installation, structure: WorkflowStructure, title: str, picture_format: Format
) -> bytes:
    """What a workflow asks for, its steps, and what it gives, as PNG or SVG.

    Raises:
        DrawingFailed: it could not be drawn, or not in time.
    """
    text = diagram_of_workflow(structure, title)
    return render(text, picture_format, installation.settings.draw_timeout_seconds)
