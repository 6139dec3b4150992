"""The states of a run."""

from hypothesis import given
from hypothesis import strategies as st

from stemma.states import RUN_TRANSITIONS, RunState, may_advance


def test_transitions_when_listed_cover_every_state() -> None:
    assert set(RUN_TRANSITIONS) == set(RunState)


@given(st.lists(st.sampled_from(RunState), max_size=60))
def test_walk_when_ended_only_deletion_follows(wishes: list[RunState]) -> None:
    state, endings = RunState.CREATED, 0
    for wish in wishes:
        if may_advance(state, wish):
            assert not state.is_terminal or wish is RunState.DELETED
            state = wish
            endings += wish.is_terminal and wish is not RunState.DELETED
    assert endings <= 1


def test_terminal_when_asked_is_where_no_work_follows() -> None:
    assert {state for state in RunState if state.is_terminal} == {
        RunState.FINISHED,
        RunState.FAILED,
        RunState.STOPPED,
        RunState.DELETED,
    }
