"""The board of a run and what is printed of it."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stemma.cli.board import Board
from stemma.cli.console import lasting, sized, visible
from stemma.cli.demonstration import compare
from stemma.cli.watching import line_of, picture
from stemma.client.models import Event, Run
from stemma.states import RunState, StepState

START = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = [
    {"path": "split", "kind": "tool", "steps": []},
    {"path": "each", "kind": "workflow", "steps": [{"path": "each/sum", "kind": "tool", "steps": []}]},
    {"path": "join", "kind": "tool", "steps": []},
]


def event(state, key=None, at=0.0, message=None):
    return Event("1", state, START + timedelta(seconds=at), key, message)


def run(**more):
    told = {"execution_id": 7, "status": "running", "reana_name": "rain:1", "engine": "cwltool", **more}
    return Run.of(told)


def shown(board, height=40):
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(picture(run(), board, height))
    return console.file.getvalue()


def test_board_when_steps_scatter_then_is_folded_and_counted():
    board = Board.of_steps(STEPS)
    assert board.progress == (0, 3)
    board.take(event("running", at=0))
    board.take(event("finished", "split", at=1))
    for number in range(4):
        board.take(event("running", f"each[{number}]", at=1))
        board.take(event("finished" if number else "running", f"each[{number}]/sum", at=2))
    assert board.progress == (4, 6)
    text = shown(board)
    assert "each/sum" in text
    assert "x4" in text
    assert "3 finished, 1 running" in text
    assert "4/6 steps" in text


def test_board_when_the_run_is_attempted_anew_then_starts_over():
    board = Board.of_steps(STEPS)
    for one in (event("pending"), event("running"), event("finished", "split"), event("pending"), event("running")):
        board.take(one)
    assert board.progress == (0, 3)
    assert board.state is RunState.RUNNING


@given(st.lists(st.tuples(st.sampled_from(["split", "each[0]/sum", "each[1]/sum", "new"]), st.sampled_from(StepState))))
def test_board_after_any_events_then_its_numbers_hold(history):
    board = Board.of_steps(STEPS)
    for key, state in history:
        board.take(event(state.value, key))
    ended, known = board.progress
    assert 0 <= ended <= known
    latest = dict(history)
    assert ended == sum(state.is_terminal for state in latest.values())
    assert shown(board)


def test_picture_when_there_is_little_room_then_keeps_what_runs_and_what_failed():
    board = Board()
    for number in range(50):
        board.take(event("finished", f"done{number}"))
    board.take(event("running", "busy"))
    board.take(event("failed", "broken"))
    text = shown(board, height=12)
    assert len(text.splitlines()) <= 12
    assert "busy" in text
    assert "broken" in text
    assert "more" in text


def test_line_when_a_step_ends_then_says_how_long_it_took():
    board = Board()
    board.take(event("running", "sum", at=0))
    ended = event("finished", "sum", at=2.5)
    board.take(ended)
    assert line_of(run(), board, ended).endswith("sum finished (2.5 s)")


def test_line_when_a_message_would_steer_the_terminal_then_is_shown_harmless():
    line = line_of(run(), Board(), event("stopped", message="a\x1b[2Jb\nc"))
    assert "\x1b" not in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_duration_when_shown_then_has_the_unit_that_fits(seconds, text):
    assert lasting(seconds) == text
    assert lasting(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("size", "text"), [(83, "83 B"), (2755, "2.8 kB"), (10**9, "1.0 GB"), (5 * 10**13, "50.0 TB")])
def test_size_when_shown_then_has_the_unit_that_fits(size, text):
    assert sized(size) == text


@given(st.text())
def test_text_when_made_visible_then_holds_no_control_sign(text):
    assert all(sign.isprintable() or sign in "\n\t" for sign in visible(text))


def checks(outputs, expected, status="finished"):
    return {one.what: one.holds for one in compare(run(status=status, outputs=outputs), expected)}


def test_results_when_compared_then_every_difference_is_found():
    expected = {
        "status": "finished",
        "steps": {"finished": 0},
        "outputs": {"a": {"class": "File", "size": 3}, "b": [1]},
    }
    good = {"a": {"class": "File", "size": 3, "id": 9}, "b": [1]}
    assert all(checks(good, expected).values())
    assert not checks({**good, "a": {"class": "File", "size": 4}}, expected)["a"]
    assert not checks({**good, "b": [2]}, expected)["b[0]"]
    assert not checks({**good, "b": [1, 1]}, expected)["b"]
    assert not checks({**good, "c": 1}, expected)["c"]
    assert not checks({"a": good["a"]}, expected)["b"]
    assert not checks(good, expected, "failed")["state"]
    assert not checks(good, {**expected, "steps": {"finished": 1}})["steps finished"]
