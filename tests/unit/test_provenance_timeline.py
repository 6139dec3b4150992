"""The timeline of a run: what people see of transfers and steps, read out of the SVG."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings

from stemma.provenance import labels
from stemma.provenance.timeline import timeline_of_run
from stemma.provenance.timeline_axis import Axis, axis_of
from stemma.provenance.timeline_density import curve
from stemma.provenance.timeline_facts import Came, timeline_facts
from stemma.provenance.timeline_rows import MOST_ROWS, rows_of
from stemma.provenance.timeline_totals import totals
from stemma.records import Person
from stemma.states import StepState
from support import provenance_runs as runs
from support import timeline_runs as late
from support.provenance_any_run import HOSTILE_NAMES, any_run

SVG = "{http://www.w3.org/2000/svg}"


class Drawn:
    """A timeline as people see it."""

    def __init__(self, run, **more):
        self.text = timeline_of_run(run, **more)
        self.root = ET.fromstring(self.text)
        self.words = {(text.text or ""): text for text in self.root.iter(f"{SVG}text")}

    def y(self, words):
        return float(self.words[words].get("y"))

    def bars(self, beginning):
        """Begin and end of the shapes whose spoken text begins so."""
        found = []
        for shape in self.root.iter(f"{SVG}rect"):
            title = shape.find(f"{SVG}title")
            if title is not None and title.text.startswith(beginning):
                begin = float(shape.get("x"))
                found.append((begin, begin + float(shape.get("width"))))
        return found

    def links(self):
        """From where to where the thin lines lead."""
        found = []
        for path in self.root.iter(f"{SVG}path"):
            if path.get("stroke-opacity"):
                begin, end = re.findall(r"([\d.]+) ([\d.]+)", path.get("d"))
                found.append((tuple(map(float, begin)), tuple(map(float, end))))
        return found[1:]  # the first is in the legend

    def crosses(self):
        return sum(
            "l8 8m0 -8l-8 8" in path.get("d") and path.get("stroke") != "#ffffff"
            for path in self.root.iter(f"{SVG}path")
        )


def rows(run):
    return rows_of(timeline_facts(run, None))


def all_rows(run):
    found = rows(run)
    return [*found.transfers, *(row for section in found.sections for row in section.rows)]


def test_timeline_when_drawn_then_transfers_are_above_steps_each_in_order_of_start():
    drawn = Drawn(late.overlapping())
    order = [
        "Inputs from elsewhere", "land-mask.nc", "grid.nc", "rain-2026-01.nc", "rain-2026-02.nc", "stations.csv",
        "reference-climate-1991-2020.nc", "Steps", "prepare", "clean[0]", "clean[1]", "compare", "chart",
    ]  # fmt: skip
    assert all(drawn.y(first) < drawn.y(second) for first, second in pairwise(order))


def test_timeline_when_drawn_then_bars_are_as_long_as_what_they_show_lasted():
    drawn = Drawn(late.overlapping())
    ((grid_begin, grid_end),) = drawn.bars("grid.nc of s3://climate")
    ((chart_begin, chart_end),) = drawn.bars("chart: ")
    second = (grid_end - grid_begin) / 3.2
    assert chart_end - chart_begin == pytest.approx(1.4 * second, abs=0.05)
    assert chart_begin - grid_begin == pytest.approx((29.3 - 0.4) * second, abs=0.1)
    begin = float(drawn.words["0"].get("x"))
    assert grid_begin - begin == pytest.approx(3.4 * second, abs=0.1)


def test_timeline_when_a_step_waited_then_the_waiting_ends_where_the_last_input_arrived_and_a_line_leads_there():
    drawn = Drawn(late.overlapping())
    ((_, arrived),) = drawn.bars("rain-2026-02.nc")
    ((_, waited),) = drawn.bars("clean[1] waited")
    ((started, _),) = drawn.bars("clean[1]: ")
    assert waited == pytest.approx(arrived, abs=0.05)
    assert started > waited
    assert len(drawn.links()) == 4
    (link,) = [one for one in drawn.links() if one[1][0] == pytest.approx(arrived, abs=0.1)]
    assert link[0][0] == pytest.approx(arrived, abs=0.1)
    assert link[0][1] < drawn.y("rain-2026-02.nc") < drawn.y("clean[0]") < link[1][1]


def test_timeline_when_drawn_then_says_sizes_rates_and_durations():
    words = Drawn(late.overlapping()).words
    assert {
        "weather by year : 1.2.0 #7", "finished", "ada for climate", "180 MB · 56.2 MB/s", "22.0 MB · from the store",
        "6.0 s · waited 8.5 s", "1.4 s", "seconds since 08:59:57 UTC",
    } <= set(words)  # fmt: skip


def test_foot_when_drawn_then_says_what_overlapped_and_what_waited():
    words = Drawn(late.overlapping()).words
    assert (
        "5 of 6 inputs moved (1.2 GB), 1 from the store. Transfers took 20.6 s; for 15.2 s of that (74%) "
        "steps ran at the same time." in words
    )
    assert "Steps waited 26.0 s in all for inputs: 4 of 5 steps waited." in words


def test_foot_when_nothing_came_from_elsewhere_then_says_so():
    drawn = Drawn(runs.two_steps())
    assert "No step waited for inputs from elsewhere." in drawn.words
    assert "Inputs from elsewhere" not in drawn.words


def test_timeline_when_things_failed_then_they_are_marked_and_say_why():
    drawn = Drawn(late.failing())
    assert drawn.crosses() == 5 + 1  # and one in the legend
    words = set(drawn.words)
    assert {
        "failed: there is no panel.vcf",
        "failed · exit code 137 · 3.0 s · waited 3.6 s",
        "skipped",
        "reused",
    } <= words
    assert {"360 MB · moved 3 times", "10.0 kB · not fetched", "not started · waited 14.7 s"} <= words
    assert any(text.startswith("failed: https://lab") and text.endswith("of lab were revoked") for text in words)
    assert "failed · waited 8.2 s" in words
    assert "step align: an input cannot be had" in words


def test_timeline_when_an_input_failed_then_a_line_leads_to_the_step_that_failed_with_it():
    facts = timeline_facts(late.failing(), None)
    names = {one.occurrence: one.name for one in facts.transfers}
    awaited = {one.path: names.get(one.awaited) for one in facts.executions}
    assert awaited["align"].startswith("reads_")
    assert (awaited["filter"], awaited["publish"], awaited["report"]) == (None, None, "index.bin")


def test_timeline_when_a_step_waited_for_a_folder_then_until_its_last_file_came():
    facts = timeline_facts(late.folder(), None)
    (step,) = facts.executions
    assert step.waited_seconds == 2.5
    assert step.awaited == facts.transfers[-1].occurrence


def test_timeline_when_there_were_attempts_then_each_has_its_section_and_its_line():
    drawn = Drawn(late.attempted())
    headings = [
        "Steps of attempt 1 of 3 · worker-1 · lost: its worker gives no sign of life",
        "Steps of attempt 2 of 3 · worker-2 · failed: step b: exit code 1",
        "Steps of attempt 3 of 3 · worker-3 · finished",
    ]
    assert [drawn.y(words) for words in headings] == sorted(drawn.y(words) for words in headings)
    lines = [path.get("d") for path in drawn.root.iter(f"{SVG}path") if path.get("stroke-dasharray") == "7 4"]
    assert len(lines) == 2
    ((second, _), _) = sorted(drawn.bars("a: 6.0 s"))
    assert float(re.match(r"M([\d.]+)", lines[0])[1]) < second
    assert {"attempt 2", "attempt 3"} <= set(drawn.words)


def test_rows_when_there_were_many_attempts_then_the_first_ones_share_a_section():
    found = rows(late.many_attempts(20))
    assert [section.attempts for section in found.sections[1:]] == [(16,), (17,), (18,), (19,), (20,)]
    assert found.sections[0].attempts == tuple(range(1, 16))
    assert len(found.sections[0].rows) == 15
    drawn = Drawn(late.many_attempts(20))
    assert "Steps of attempts 1 to 15" in drawn.words


def test_rows_when_there_are_thousands_then_the_large_groups_share_a_row():
    found = rows(late.thousands(600))
    assert [(row.name, len(row.members)) for row in found.transfers] == [
        ("https://tiles.example.org", 480), ("style.json", 1), ("s3://tiles-archive", 120),
    ]  # fmt: skip
    assert [(row.name, len(row.members)) for row in found.sections[0].rows] == [
        ("tile", 600),
        ("mosaic", 1),
        ("publish", 1),
    ]


def test_timeline_when_there_are_thousands_then_it_is_no_larger_and_says_how_many():
    few, many = Drawn(late.thousands(400)), Drawn(late.thousands(4000))
    assert len(many.text) < 2 * len(few.text) < 80_000
    assert float(many.root.get("height")) == float(few.root.get("height"))
    words = " | ".join(many.words)
    assert "4,000 executions · 3,998 finished · 2 failed" in words
    assert "3,200 inputs" in words
    assert "from the store" in words
    assert 5 < len(many.links()) < 60


def test_rows_when_kinds_are_too_many_then_the_last_ones_share_a_row():
    found = all_rows(runs.chain(300))
    assert len(found) == MOST_ROWS
    assert (found[-1].name, len(found[-1].members)) == ("and 241 others", 241)


def test_rows_when_a_large_workflow_was_attempted_often_then_each_attempt_keeps_some():
    chain = runs.chain(100)
    again = [replace(step, attempt=attempt) for attempt in (1, 2, 3) for step in chain.steps]
    found = rows(replace(chain, steps=tuple(again)))
    assert [len(section.rows) for section in found.sections] == [20, 20, 20]
    assert all(sum(len(row.members) for row in section.rows) == 100 for section in found.sections)


def test_rows_when_sub_workflows_ran_then_only_what_ran_in_them_is_shown():
    names = [row.name for row in all_rows(runs.weather())]
    assert "by_year[0]/select" in names
    assert "by_year[0]" not in names


def test_timeline_when_the_run_goes_on_then_open_bars_end_now_and_it_says_so():
    run = late.going()
    facts = timeline_facts(run, late.after(10))
    assert [one.came for one in facts.transfers] == [Came.QUEUED, Came.MOVED, Came.MOVING]
    assert {one.ended_at for one in facts.transfers if one.came is not Came.MOVED} == {late.after(10)}
    drawn = Drawn(run, at=late.after(10))
    assert "This run has not ended: what is drawn is what was known at 09:00:10 UTC." in drawn.words
    assert any("not started · waited 9.7 s" in words for words in drawn.words)
    (moving,) = [shape for shape in drawn.root.iter(f"{SVG}rect") if "second.bin" in "".join(shape.itertext())]
    assert moving.get("stroke-dasharray")


def test_totals_when_intervals_overlap_among_themselves_then_time_counts_once():
    scene = late.Late(30)
    for begin in (0, 1, 2):
        scene.late(f"{begin}.bin", begin, begin + 4.0)
    scene.does("a", [], begins=3, seconds=2)
    scene.does("b", [], begins=4, seconds=10)
    found = totals(timeline_facts(scene.told(), None))
    assert (found.moving_seconds, found.overlap_seconds, found.waited_seconds) == (6.0, 3.0, 0.0)


def test_axis_when_the_queue_was_long_then_it_takes_a_tenth():
    run = late.overlapping()
    early = tuple(replace(one, requested_at=late.after(-7200)) for one in run.replications)
    early = tuple(replace(one, arrived_at=None, was_here=False) if one.was_here else one for one in early)
    axis = axis_of(timeline_facts(replace(run, replications=early, submitted_at=late.after(-7200)), None), 0, 1000)
    assert axis.x(late.after(-7200)) == 0
    assert axis.x(late.after(0)) == pytest.approx(100, abs=1)


@pytest.mark.parametrize(
    ("seconds", "unit", "some"),
    [
        (0.02, "seconds", ["0.000", "0.002"]),
        (0.7, "seconds", ["0.0", "0.1"]),
        (30, "seconds", ["0", "5", "10"]),
        (600, "minutes:seconds", ["0:00", "1:00", "2:00"]),
        (7 * 3600, "hours:minutes", ["0:00", "1:00", "2:00"]),
        (40 * 86400, "days", ["0", "5", "10"]),
        (30000 * 86400, "days", ["0", "1000"]),
    ],
)
def test_ticks_when_asked_for_then_are_round_and_few(seconds, unit, some):
    axis = Axis(runs.BEGIN, seconds, 0, 900)
    ticks = axis.ticks()
    assert axis.unit == unit
    assert [word for _, word in ticks][: len(some)] == some
    assert 2 <= len(ticks) <= 111
    assert all(0 <= x <= 900 for x, _ in ticks)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_timeline_when_names_are_hostile_then_they_are_text_and_short(name):
    scene = late.Late(31)
    file = scene.late(name, 0.5, 2.0, url=name, error=name)
    scene.does(name, [file], waits=0.1, begins=2.1, state=StepState.FAILED)
    run = scene.told(submitted_by=Person(name, name), reason=name, revision=runs.revision(runs.structure(), name, name))
    drawn = Drawn(replace(run, engine=name))
    assert all(len(text) < 220 for text in drawn.words)
    tags = {element.tag.removeprefix(SVG) for element in drawn.root.iter()}
    assert tags <= {"svg", "title", "defs", "pattern", "rect", "g", "path", "circle", "text"}
    assert not any(
        key in element.attrib for element in drawn.root.iter() for key in ("style", "class", "href", "onload")
    )
    assert "\N{REPLACEMENT CHARACTER}" in "".join(drawn.words) or labels.plain(name, 10**6) == " ".join(name.split())


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(any_run())
def test_timeline_of_any_run_when_drawn_then_is_well_formed_and_ends_within_the_picture(run):
    drawn = Drawn(run)
    width, height = (float(drawn.root.get(side)) for side in ("width", "height"))
    for shape in drawn.root.iter(f"{SVG}rect"):
        if shape.get("x"):
            assert 0 <= float(shape.get("x")) <= width
            assert 0 <= float(shape.get("y")) <= height
    assert sum(len(row.members) for row in all_rows(run)) <= len(run.steps)


def test_timeline_when_a_clock_went_back_then_bars_have_no_negative_length():
    run = late.overlapping()
    back = tuple(replace(one, arrived_at=one.requested_at - timedelta(seconds=9)) for one in run.replications)
    steps = tuple(replace(one, ended_at=one.started_at - timedelta(seconds=5)) for one in run.steps)
    run = replace(run, replications=back, steps=steps)
    facts = timeline_facts(run, None)
    assert all(one.ended_at >= one.begins_at for one in (*facts.transfers, *facts.executions))
    drawn = Drawn(run)
    assert all(begin <= end for begin, end in drawn.bars(""))
    assert drawn.bars("grid.nc")


def test_rows_when_one_group_is_large_then_the_others_keep_rows_of_their_own():
    scene = late.Late(32)
    for n in range(90):
        scene.late(f"{n}.bin", n, n + 1.0, url="s3://large" if n % 9 else "s3://small")
    found = [(row.name, len(row.members)) for row in rows(scene.told()).transfers]
    assert ("s3://large", 80) in found
    assert len(found) == 11


def test_totals_when_there_are_breaks_then_only_common_time_overlaps():
    scene = late.Late(33)
    for begin in (0, 4, 20):
        scene.late(f"{begin}.bin", begin, begin + 2.0)
    scene.does("a", [], begins=1, seconds=4)
    scene.does("b", [], begins=5.5, seconds=1)
    scene.does("c", [], begins=10, seconds=10.5)
    found = totals(timeline_facts(scene.told(), None))
    assert (found.moving_seconds, found.overlap_seconds) == (6.0, 1.0 + 1.0 + 0.5 + 0.5)


def test_curve_when_much_and_little_is_done_then_is_one_outline_of_that_height():
    axis = Axis(runs.BEGIN, 10, 100, 200)
    spans = [(late.after(0), late.after(10), 10.0), (late.after(5), late.after(10), 15.0)]
    assert curve(axis, spans, 50, 40) == "M100.0 50.0V40.0H200.0V10.0H300.0V50.0Z"
    assert curve(axis, [], 50, 40) == ""


def test_curve_when_there_is_a_break_then_it_comes_down():
    axis = Axis(runs.BEGIN, 10, 0, 200)
    spans = [(late.after(1), late.after(2), 1.0), (late.after(8), late.after(9), 1.0)]
    assert curve(axis, spans, 50, 40) == "M20.0 50.0V10.0H40.0V50.0ZM160.0 50.0V10.0H180.0V50.0Z"
