"""Which step needs which file from elsewhere."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from stemma.lifecycle.replicate.needs import InputFile, RunSituation, StepSeen, StepWaiting, step_needs
from stemma.planning.situation import StepNeed
from stemma.records import Port, StepKind, WorkflowStructure
from support.structures import file, step, workflow

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def needed(structure: WorkflowStructure, *files: InputFile, **more: object) -> dict[str, StepNeed]:
    found = step_needs(RunSituation("7", structure, files, **more), NOW)  # type: ignore[arg-type]
    assert len({need.key for need in found}) == len(found)
    return {need.key: need for need in found}


def test_needs_when_steps_follow_each_other_then_each_has_its_own_files_and_those_before_it() -> None:
    chain = workflow(("a", "b"), step("one", ("x", ("a",))), step("two", ("x", ("one/out",)), ("y", ("b",))))
    needs = needed(chain, file("1", "a"), file("2", "b", ".secondaryFiles[0]"))
    assert (needs["one"].files, needs["one"].after) == (("1",), ())
    assert (needs["two"].files, needs["two"].after) == (("2",), ("one",))


def test_needs_when_a_step_has_failed_then_what_comes_after_it_needs_nothing() -> None:
    chain = workflow(
        ("a", "b", "c"),
        step("one", ("x", ("a",))),
        step("two", ("x", ("one/out",)), ("y", ("b",))),
        step("three", ("x", ("two/out",)), ("y", ("b",))),
        step("other", ("x", ("c",))),
    )
    failed = StepSeen("one", "one", NOW - timedelta(seconds=9), NOW - timedelta(seconds=2), has_failed=True)
    files = [file(key, key) for key in "abc"]
    assert set(needed(chain, *files, seen=[failed])) == {"other"}


def test_needs_when_a_step_is_scattered_then_each_element_has_its_own_file_and_all_have_the_shared_ones() -> None:
    fan = workflow(("many", "shared"), step("each", ("x", ("many",)), ("y", ("shared",)), scatter=("x",)))
    files = [file("m0", "many", "[0]"), file("m1", "many", "[1].listing[0]"), file("s0", "shared", "[0]")]
    needs = needed(fan, *files)
    assert {key: need.files for key, need in needs.items()} == {"each[0]": ("m0", "s0"), "each[1]": ("m1", "s0")}


def test_needs_when_a_sub_workflow_is_scattered_then_its_steps_are_told_apart_by_element() -> None:
    inner = (step("by/first", ("x", ("p",))), step("by/second", ("x", ("first/out",)), ("y", ("q",))))
    outer = step("by", ("p", ("many",)), ("q", ("one",)), scatter=("p",), kind=StepKind.WORKFLOW, steps=inner)
    last = step("last", ("x", ("by/out",)))
    needs = needed(
        workflow(("many", "one"), outer, last), *(file(f"m{n}", "many", f"[{n}]") for n in range(2)), file("o", "one")
    )
    assert needs["by[1]/first"].files == ("m1",)
    assert (needs["by[1]/second"].files, needs["by[1]/second"].after) == (("o",), ("by[1]/first",))
    assert set(needs["last"].after) == {"by[0]/first", "by[0]/second", "by[1]/first", "by[1]/second"}


def test_needs_when_the_document_is_one_tool_then_it_needs_all_files() -> None:
    tool = WorkflowStructure("v1.2", "CommandLineTool", (Port("a", "File"),), (), (step("tool"),))
    assert needed(tool, file("1", "a"))["tool"].files == ("1",)


def test_needs_when_a_step_has_ended_then_it_is_left_out_and_nothing_comes_after_it() -> None:
    chain = workflow(("a",), step("one", ("x", ("a",))), step("two", ("x", ("one/out",))))
    ended = StepSeen("one", "one", NOW - timedelta(seconds=9), NOW - timedelta(seconds=2))
    needs = needed(chain, file("1", "a"), seen=[ended])
    assert list(needs) == ["two"]
    assert needs["two"].after == ()


def test_needs_when_other_steps_of_the_run_have_ended_then_those_say_how_long_one_takes() -> None:
    two = workflow(("a", "b"), step("one", ("x", ("a",))), step("two", ("x", ("b",))))
    files = file("1", "a"), file("2", "b")
    assert needed(two, *files)["two"].seconds is None
    ended = StepSeen("one", "one", NOW - timedelta(seconds=9), NOW - timedelta(seconds=2))
    assert needed(two, *files, seen=[ended])["two"].seconds == 7
    assert needed(two, *files, seen=[ended], earlier={"two": [3.0]})["two"].seconds == 3
    running = StepSeen("two", "two", NOW - timedelta(seconds=4), None)
    assert needed(two, *files, seen=[ended, running])["two"].seconds == 3


def test_needs_when_a_step_says_what_it_waits_for_then_that_is_what_it_needs() -> None:
    late = file("1", "a")
    chain = workflow(("a",), step("one", ("x", ())))
    waiting = [
        StepWaiting("one", "one", (late.occurrence,)),
        StepWaiting("made[3]", "made", (late.occurrence, UUID(int=1))),
    ]
    needs = needed(chain, late, waiting=waiting)
    assert (needs["one"].files, needs["one"].is_waiting) == (("1",), True)
    assert (needs["made[3]"].files, needs["made[3]"].is_waiting) == (("1",), True)


def test_needs_when_steps_took_long_before_then_they_are_expected_to_again() -> None:
    chain = workflow(("a",), step("one", ("x", ("a",))), step("two", ("x", ("a",))))
    running = StepSeen("two", "two", NOW - timedelta(seconds=30), None)
    needs = needed(chain, file("1", "a"), seen=[running], earlier={"one": [40.0, 44.0, 42.0], "two": [50.0]})
    assert needs["one"].seconds == 42.0
    assert (needs["two"].seconds, needs["two"].is_running) == (20.0, True)


def test_needs_when_a_scatter_has_ten_thousand_elements_then_they_are_found_in_linear_time() -> None:
    fan = workflow(("many",), step("each", ("x", ("many",)), scatter=("x",)))
    needs = needed(fan, *(file(str(number), "many", f"[{number}]") for number in range(10_000)))
    assert len(needs) == 10_000
    assert needs["each[9999]"].files == ("9999",)
