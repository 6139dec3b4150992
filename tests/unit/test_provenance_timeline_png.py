"""Timelines as PNG, drawn with our own fonts in a process of its own."""

import struct
import xml.etree.ElementTree as ET

import pytest

from stemma.errors import DrawingFailed
from stemma.provenance.timeline import timeline_of_run
from stemma.provenance.timeline_png import png_of
from support import timeline_runs as late

TEXT = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="20" font-family="DejaVu Sans"><text y="14">{}</text></svg>'


def test_png_when_drawn_then_is_half_as_large_again_as_the_svg():
    svg = timeline_of_run(late.overlapping())
    png = png_of(svg, 30)
    width, height = struct.unpack(">II", png[16:24])
    root = ET.fromstring(svg)
    assert width == pytest.approx(1.5 * float(root.get("width")), abs=1)
    assert height == pytest.approx(1.5 * float(root.get("height")), abs=1)


def test_png_when_there_is_text_then_it_is_drawn_letter_by_letter():
    empty, narrow, wide = (png_of(TEXT.format(text), 30) for text in ("", "iii", "WWW"))
    assert len({empty, narrow, wide}) == 3


def test_png_when_it_is_no_svg_then_says_so():
    with pytest.raises(DrawingFailed, match="root node"):
        png_of("<svg", 30)


def test_png_when_it_takes_too_long_then_is_given_up():
    with pytest.raises(DrawingFailed, match=r"longer than 0\.001 s"):
        png_of(timeline_of_run(late.overlapping()), 0.001)
