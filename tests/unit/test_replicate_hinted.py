"""What others told of the steps of a run, and what follows from it for what is fetched next."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.lifecycle.replicate.hinted import OTHERS, RUNNING, TRUSTED, StepTold
from stemma.lifecycle.replicate.needs import InputFile, RunSituation, StepSeen, StepWaiting, step_needs
from stemma.planning.planner import plan
from stemma.planning.situation import LinkState, Situation, StepNeed, WantedFile
from stemma.records import StepKind, WorkflowStructure
from support.structures import file, step, workflow

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def needed(structure: WorkflowStructure, *files: InputFile, **more: object) -> dict[str, StepNeed]:
    """What steps need, where nothing is here."""
    situation = RunSituation("7", structure, files, lacking=frozenset(one.key for one in files))
    found = step_needs(dataclasses.replace(situation, **more), NOW)  # type: ignore[arg-type]
    assert len({need.key for need in found}) == len(found)
    known = {need.key for need in found}
    assert all(known.issuperset(need.after) for need in found)
    return {need.key: need for need in found}


def told(key: str, state: str, ago: timedelta = timedelta()) -> StepTold:
    return StepTold(key, state == "ended", state == "running", NOW - ago)


CHAIN = workflow(("a", "b"), step("one", ("x", ("a",))), step("two", ("x", ("one/out",)), ("y", ("b",))))
PAIR = workflow(("a", "b"), step("one", ("x", ("a",))), step("two", ("x", ("b",))))
FAN = workflow(("many",), step("each", ("x", ("many",)), scatter=("x",)), step("last", ("x", ("each/out",))))
LONG_AGO = 2 * TRUSTED


def elements(count: int) -> list[InputFile]:
    return [file(f"m{number}", "many", f"[{number}]") for number in range(count)]


def test_needs_when_a_step_is_told_to_run_then_it_waits_now_and_others_come_behind_it() -> None:
    needs = needed(PAIR, file("1", "a"), file("2", "b"), told=[told("two", "running")])
    assert (needs["two"].is_waiting, needs["two"].after, needs["two"].is_running) == (True, (), False)
    assert (needs["one"].is_waiting, needs["one"].after) == (False, (RUNNING,))
    assert (needs[RUNNING].after, needs[RUNNING].files) == (("two",), ())


def test_needs_when_what_is_told_to_run_has_its_files_then_nobody_is_behind_it_nor_are_they_pinned() -> None:
    needs = needed(PAIR, file("1", "a"), file("2", "b"), told=[told("two", "running")], lacking=frozenset({"1"}))
    assert {key: need.after for key, need in needs.items()} == {"one": (), "two": ()}
    assert not any(need.is_waiting or need.is_running for need in needs.values())


def test_needs_when_a_step_runs_or_has_ended_then_so_have_those_before_it() -> None:
    for state, left in (("running", {"two", RUNNING}), ("ended", set())):
        assert needed(CHAIN, file("1", "a"), file("2", "b"), told=[told("two", state)]).keys() == left


def test_needs_when_a_step_is_told_to_have_ended_then_its_files_may_go_and_the_next_need_not_wait() -> None:
    needs = needed(CHAIN, file("1", "a"), file("2", "b"), told=[told("one", "ended")])
    assert {key: need.after for key, need in needs.items()} == {"two": ()}


def test_needs_when_a_step_is_told_to_have_been_added_then_the_document_has_said_so_already() -> None:
    files = file("1", "a"), file("2", "b")
    assert needed(CHAIN, *files, told=[told("two", "added")]) == needed(CHAIN, *files)


def test_needs_when_the_engine_says_nothing_of_it_for_long_then_its_files_come_behind_all_others() -> None:
    needs = needed(CHAIN, file("1", "a"), file("2", "b"), told=[told("one", "ended", LONG_AGO)])
    assert needs["two"].after == ()
    assert (needs["one"].files, needs["one"].after) == (("1",), (OTHERS,))
    assert (needs[OTHERS].files, needs[OTHERS].after) == ((), ("two",))


@pytest.mark.parametrize("state", ["ended", "running", "added"])
def test_needs_when_the_engine_tells_itself_then_what_others_told_counts_nothing(state: str) -> None:
    late = file("1", "a")
    files, own = (late, file("2", "b")), {
        "seen": [StepSeen("two", "two", NOW - timedelta(seconds=3), None)],
        "waiting": [StepWaiting("one", "one", (late.occurrence,))],
    }  # fmt: skip
    assert needed(PAIR, *files, **own, told=[told("one", state), told("two", state)]) == needed(PAIR, *files, **own)


def test_needs_when_one_element_is_told_of_then_it_alone_is_meant_and_the_step_as_a_whole_is_all_of_them() -> None:
    one = needed(FAN, *elements(3), told=[told("each[1]", "ended"), told("each[2]", "running")])
    assert one.keys() == {"each[0]", "each[2]", "last", RUNNING}
    assert (one["each[2]"].is_waiting, one["each[0]"].is_waiting) == (True, False)
    assert one["last"].after == (RUNNING, "each[0]", "each[2]")
    assert needed(FAN, *elements(3), told=[told("each", "ended")]).keys() == {"last"}
    both = needed(FAN, *elements(3), told=[told("each", "ended"), told("each[1]", "running")])
    assert both.keys() == {"each[1]", "last", RUNNING}


def test_needs_when_an_element_runs_that_nobody_could_count_then_its_step_does() -> None:
    over_results = workflow(("a", "b"), step("one", ("x", ("a",))), step("each", ("x", ("one/out",)), ("y", ("b",))))
    files = file("1", "a"), file("2", "b")
    needs = needed(over_results, *files, told=[told("each[7]", "running")])
    assert (needs["each"].is_waiting, needs["each"].files) == (True, ("2",))
    assert needed(over_results, *files, told=[told("each[7]", "ended")]) == needed(over_results, *files)


def test_needs_when_a_sub_workflow_has_ended_then_so_have_its_steps_and_when_it_runs_nobody_knows_which() -> None:
    inner = (step("by/first", ("x", ("p",))), step("by/second", ("x", ("first/out",)), ("y", ("q",))))
    outer = step("by", ("p", ("a",)), ("q", ("b",)), kind=StepKind.WORKFLOW, steps=inner)
    whole, files = workflow(("a", "b"), outer), (file("1", "a"), file("2", "b"))
    assert needed(whole, *files, told=[told("by", "ended")]) == {}
    assert needed(whole, *files, told=[told("by", "running")]) == needed(whole, *files)


def test_plan_when_another_engine_says_what_runs_then_that_comes_first_and_what_has_ended_not_at_all() -> None:
    files = [file("1", "a"), file("2", "b")]
    wanted = tuple(WantedFile(one.key, "link", 10_000_000) for one in files)
    links = (LinkState("link", bytes_per_second=1e6),)

    def order(structure: WorkflowStructure, *hinted: StepTold) -> list[str]:
        steps = tuple(needed(structure, *files, told=hinted).values())
        return [fetch.key for fetch in plan(Situation(wanted, steps, links)).order]

    for structure in (CHAIN, PAIR):
        assert order(structure) == ["1", "2"]
        assert order(structure, told("one", "ended")) == ["2"]
        assert order(structure, told("one", "ended", LONG_AGO)) == ["2", "1"]
    assert order(PAIR, told("two", "running")) == ["2", "1"]
    assert order(CHAIN, told("two", "running")) == ["2"]
    assert order(CHAIN, told("two", "running", LONG_AGO)) == ["2", "1"]


STATES = st.sampled_from(["added", "running", "ended"])


@given(
    st.dictionaries(st.sampled_from(["each", "each[0]", "each[1]", "each[2]", "each[9]", "last"]), STATES, max_size=6)
)
def test_plan_when_strangers_say_anything_at_all_then_every_file_is_fetched_in_the_end(said: dict[str, str]) -> None:
    files = elements(3)
    hinted = [told(key, state, LONG_AGO) for key, state in said.items()]
    steps = tuple(needed(FAN, *files, told=hinted).values())
    wanted = tuple(WantedFile(one.key, "link", 10_000_000) for one in files)
    order = plan(Situation(wanted, steps, (LinkState("link", bytes_per_second=1e6),))).order
    assert {fetch.key for fetch in order} == {one.key for one in files}


def test_needs_when_ten_thousand_elements_are_told_of_then_it_takes_linear_time() -> None:
    hinted = [told(f"each[{number}]", "ended", LONG_AGO) for number in range(0, 10_000, 2)]
    needs = needed(FAN, *elements(10_000), told=hinted)
    assert len(needs) == 10_002
    assert needs["each[9998]"].after == (OTHERS,)
