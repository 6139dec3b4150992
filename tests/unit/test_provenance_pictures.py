"""Pictures of runs and of workflows: rendered by graphviz as it is installed, without fonts of the machine."""

import os
import re
import struct
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from stemma.clock import now
from stemma.errors import DrawingFailed
from stemma.provenance import labels
from stemma.provenance import render as render_module
from stemma.provenance.diagram import diagram_of_workflow, type_name
from stemma.provenance.dot import NODE_LIMIT, picture_of_run
from stemma.provenance.render import render
from stemma.provenance.style import FONT
from stemma.records import AttemptRecord, StepKind
from stemma.states import RunState, StepState
from support import provenance_runs as runs
from support.provenance_any_run import HOSTILE_NAMES, any_run

SVG = "{http://www.w3.org/2000/svg}"


def drawn(picture):
    """The picture as SVG: graphviz has taken it, and what people see can be read out of it."""
    return ET.fromstring(render(getattr(picture, "dot", picture), "svg", 30))


def words_of(picture):
    """The text of the picture."""
    return [" ".join("".join(text.itertext()).split()) for text in drawn(picture).iter(f"{SVG}text")]


def dimensions(png):
    return struct.unpack(">II", png[16:24])


def groups_of(svg, kind):
    """Title and group of each node, edge or cluster."""
    return [(group.find(f"{SVG}title").text, group) for group in svg.iter(f"{SVG}g") if group.get("class") == kind]


def arrows_of(picture):
    """The arrows between nodes, by the names that people read."""
    svg = drawn(picture)
    names = {
        title: next(text.text for text in group.iter(f"{SVG}text") if text.get("font-weight") == "bold")
        for title, group in groups_of(svg, "node")
    }
    ends = (title.split("->") for title, _ in groups_of(svg, "edge"))
    return {(names[tail], names[head]) for tail, head in ends}


def test_picture_of_two_steps_when_drawn_then_data_flows_from_input_to_output():
    assert arrows_of(picture_of_run(runs.two_steps())) == {
        ("words.txt", "sort"),
        ("sort", "sorted.txt"),
        ("sorted.txt", "count"),
        ("count", "count.txt"),
    }


def test_picture_of_two_steps_when_drawn_then_says_who_what_when_and_how_big():
    words = words_of(picture_of_run(runs.two_steps()))
    for said in ("weather by year : 1.2.0 #7", "finished", "ada for climate", "cwltool 3.3.20260925135507", "48.2 kB"):
        assert any(said in text for text in words), said
    assert "reverse = true" in words
    assert "1.3 s" in words


def test_picture_of_a_scatter_in_a_sub_workflow_when_drawn_then_it_is_folded_in_a_frame():
    picture = picture_of_run(runs.weather())
    words = words_of(picture)
    assert {"clean", "by_year", "select", "summary-202*.csv", "outliers", "skipped"} <= set(words)
    assert any("4 finished" in text for text in words)
    assert len(groups_of(drawn(picture), "cluster")) == 1
    assert ("all-stations.csv", "outliers") in arrows_of(picture)
    assert ("pick", "2024") in arrows_of(picture)


def test_picture_of_a_scatter_when_elements_are_asked_for_then_each_is_drawn():
    words = words_of(picture_of_run(runs.weather(), level="element"))
    assert sum(text == "select" for text in words) == 4
    assert {"station-0.csv", "station-1.csv", "station-2.csv"} <= set(words)


def test_picture_of_a_run_when_its_level_is_asked_for_then_is_one_box_with_what_went_in_and_came_out():
    picture = picture_of_run(runs.weather(), level="run")
    assert arrows_of(picture) == {
        ("station-*.csv", "weather-1.2.0"),
        ("weather-1.2.0", "by-year.csv"),
        ("weather-1.2.0", "chart.png"),
        ("weather-1.2.0", "2024"),
    }


def test_picture_of_a_failed_run_when_drawn_then_says_why():
    words = words_of(picture_of_run(runs.failed()))
    assert "Killed: out of memory <at> chr17" in words
    assert "failed · exit code 137 · 12 min 34 s" in words
    assert "step align failed with exit code 137" in words
    assert "reused" in words


def test_picture_of_a_wide_scatter_when_some_elements_fail_then_they_are_counted():
    words = words_of(picture_of_run(runs.wide(1000, 3)))
    assert any("997 finished · 3 failed" in text for text in words)
    assert "\N{MULTIPLICATION SIGN}997 files" in words


def test_picture_of_directories_when_drawn_then_they_stand_for_what_is_in_them():
    words = words_of(picture_of_run(runs.directories()))
    assert "12 files · 24.0 MB" in words
    assert "0 files" in words
    assert any("with 1 secondary" in text for text in words)
    assert "input · genome · also output genome" in words
    assert not any("IMG_" in text for text in words)


@pytest.mark.parametrize(
    ("run", "level", "shown"),
    [
        (runs.wide(1000), "element", "step"),
        (runs.chain(300), "step", "step"),
        (runs.chain(900), "element", "run"),
        (runs.weather(), "element", "element"),
    ],
)
def test_picture_when_it_would_have_too_many_nodes_then_is_coarser_and_says_so(run, level, shown):
    picture = picture_of_run(run, level=level)
    assert picture.level == shown
    assert picture.nodes <= NODE_LIMIT
    if picture.note:
        assert f"Too much for one picture: {picture.note}." in words_of(picture)
    assert (picture.note is None) == (len(run.steps) < 100)


def test_picture_when_the_run_has_not_ended_then_says_so():
    run = replace(runs.two_steps(), state=RunState.RUNNING, ended_at=None)
    run = replace(run, steps=(replace(run.steps[0], state=StepState.RUNNING, ended_at=None),), usages=run.usages[:1])
    run = replace(run, occurrences=run.occurrences[:1], run_outputs=())
    words = words_of(picture_of_run(run))
    assert "This run has not ended: what is drawn is what is known so far." in words
    assert "still running" in words


def test_picture_when_the_run_has_not_started_then_says_so():
    run = replace(runs.two_steps(), state=RunState.QUEUED, started_at=None, ended_at=None, steps=(), usages=())
    run = replace(run, occurrences=(), run_outputs=(), attempts=())
    assert "no step has started" in words_of(picture_of_run(run))


def test_picture_when_there_were_two_attempts_then_shows_the_last():
    run = runs.two_steps()
    begin = run.attempts[0].started_at
    again = AttemptRecord(2, run.uuid, "worker-2", begin, None)
    other = replace(run.steps[0], attempt=2, path="only-in-the-second", uuid=run.attempts[0].uuid)
    words = words_of(picture_of_run(replace(run, attempts=(*run.attempts, again), steps=(*run.steps, other))))
    assert "only-in-the-second" in words
    assert "sort" not in words
    assert any("Attempt 2 of 2" in text for text in words)


def test_picture_when_the_level_is_unknown_then_the_known_ones_are_named():
    with pytest.raises(ValueError, match="run, step, element"):
        picture_of_run(runs.two_steps(), level="atom")


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(any_run())
def test_picture_of_any_run_when_drawn_then_graphviz_takes_it(run):
    for level in ("run", "step", "element"):
        picture = picture_of_run(run, level=level)
        assert len(groups_of(drawn(picture), "node")) == picture.nodes


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_picture_when_names_are_hostile_then_they_are_text_and_nothing_else(name):
    scene = runs.Scene(8)
    step = scene.step(name.replace("/", ""), [("in", scene.input(name, name))], literals={name: name}, error=name)
    scene.output(name, scene.file(name, name, step))
    run = scene.run(runs.structure(), submitted_by=runs.Person(name, name), reason=name)
    picture = picture_of_run(replace(run, engine=name, revision=runs.revision(runs.structure(), name, name)))
    assert sum(labels.plain(name) in text for text in words_of(picture)) >= 3
    assert all(len(text) < 200 for text in words_of(picture))


def test_png_when_rendered_then_is_a_picture_of_a_size_for_a_screen():
    width, height = dimensions(render(picture_of_run(runs.weather()).dot, "png", 30))
    assert 400 < width < 2000
    assert 800 < height < 3000


def test_png_when_the_machine_has_no_fonts_then_the_text_is_drawn_with_ours(monkeypatch):
    """Without a font every character is the same box, so all names of a length look alike."""
    ours_alone = re.sub(r"<include.*</include>", "", render_module._FONTCONFIG)
    assert ours_alone != render_module._FONTCONFIG
    monkeypatch.setattr(render_module, "_FONTCONFIG", ours_alone)
    narrow, wide = (
        render(f'digraph {{ a [label="{text}" fontname="{FONT}"] }}', "png", 30) for text in ("i" * 9, "W" * 9)
    )
    assert dimensions(wide)[0] > 1.5 * dimensions(narrow)[0]


def test_render_when_dot_is_on_the_path_then_it_is_used(tmp_path, monkeypatch):
    program = tmp_path / "dot"
    renderer = f"{sys.executable} -m stemma.provenance.render"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\nexec {renderer} "${{1#-T}}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert dimensions(render("digraph { a }", "png", 30))[0] > 50
    assert (tmp_path / "called").read_text().strip() == "-Tpng"


def test_svg_when_rendered_then_is_well_formed():
    assert ET.fromstring(render(picture_of_run(runs.directories()).dot, "svg", 30)).tag == f"{SVG}svg"


def test_render_when_it_takes_too_long_then_it_is_ended_and_says_so():
    hub = "digraph { " + " ".join(f"a{n} -> b{m};" for n in range(150) for m in range(150)) + " }"
    started = now()
    with pytest.raises(DrawingFailed, match=r"longer than 0\.5 s"):
        render(hub, "svg", 0.5)
    assert (now() - started).total_seconds() < 5


def test_render_when_the_text_is_no_dot_then_says_so():
    with pytest.raises(DrawingFailed):
        render("this is no graph {", "png", 30)


def test_render_when_the_format_is_unknown_then_names_those_there_are():
    with pytest.raises(DrawingFailed, match="png, svg"):
        render("digraph {}", "exe", 30)


def test_diagram_when_drawn_then_shows_how_the_document_joins_its_steps():
    dot = diagram_of_workflow(runs.weather_structure(), "weather by year")
    assert arrows_of(dot) == {
        ("stations", "clean"),
        ("clean", "join"),
        ("join", "select"),
        ("years", "select"),
        ("select", "summarise"),
        ("summarise", "merge"),
        ("join", "outliers"),
        ("merge", "chart"),
        ("title", "chart"),
        ("merge", "pick"),
        ("chart", "chart"),
        ("merge", "merged"),
        ("pick", "hottest"),
    }
    words = words_of(dot)
    assert {"scatter over raw", "only when its condition holds", "File[]", "python:3.12-slim"} <= set(words)
    assert any("sub-workflow" in text for text in words)


def test_diagram_when_the_document_is_one_tool_then_it_is_one_step():
    structure = runs.structure((runs.definition("sort", StepKind.TOOL),))
    assert "CWL v1.2 Workflow, 1 step" in words_of(diagram_of_workflow(structure, "sort"))


@pytest.mark.parametrize(
    ("type_", "written"),
    [
        ("File", "File"),
        (["null", "int"], "int"),
        (["int", "string"], "int or string"),
        ({"type": "array", "items": {"type": "array", "items": "File"}}, "File[][]"),
        ({"type": "enum", "symbols": ["file:///x#main/kind/a", "b"]}, "one of a, b"),
        ({"type": "record", "fields": []}, "record"),
        ("null", "null"),
    ],
)
def test_type_name_when_given_a_cwl_type_then_is_what_people_write(type_, written):
    assert type_name(type_) == written


@pytest.mark.parametrize(
    ("count", "written"), [(0, "0 bytes"), (999, "999 bytes"), (2048, "2.0 kB"), (10**15, "1.0 PB")]
)
def test_size_when_given_bytes_then_has_a_unit(count, written):
    assert labels.size(count) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.4, "0.40 s"),
        (59.4, "59.4 s"),
        (59.9, "1 min 0 s"),
        (754, "12 min 34 s"),
        (7200, "2 h 0 min"),
        (10**6, "11 d 13 h"),
    ],
)
def test_duration_when_given_seconds_then_has_two_parts_at_most(seconds, written):
    assert labels.duration(seconds) == written


@pytest.mark.parametrize(
    ("names", "written"),
    [(["a.csv"], "a.csv"), (["p-1.csv", "p-22.csv"], "p-*.csv"), (["a", "aa"], "a*"), (["x", "y"], "*")],
)
def test_pattern_when_names_are_alike_then_keeps_what_they_share(names, written):
    assert labels.pattern(names) == written


def test_plain_when_a_name_is_long_then_its_ends_are_kept():
    short = labels.plain("sample_0001_lane_2_forward_reads.trimmed.filtered.fastq.gz")
    assert len(short) <= labels.NAME_LIMIT
    assert short.startswith("sample_0001")
    assert short.endswith("fastq.gz")
