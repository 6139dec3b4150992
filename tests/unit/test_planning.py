"""The planner: promises that hold for every situation."""

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stemma.planning.admission import MOST_TIMES, admit
from stemma.planning.estimates import estimates_of
from stemma.planning.fitting import fits, unfit_steps
from stemma.planning.known import known_of
from stemma.planning.planner import plan
from stemma.planning.situation import HeldFile, LinkState, RunShare, Situation, StepNeed, StoreState, WantedFile
from support.situations import LINKS, World, situations, step_needs

SIZES = {f"f{number:02}": 10 + 7 * number % 30 for number in range(12)}


@settings(deadline=None)
@given(situations())
def test_plan_followed_file_by_file_never_fills_the_store_over_its_limit(situation: Situation) -> None:
    decision = plan(situation)
    known = known_of(situation)
    size = dict(zip(known.keys, known.sizes, strict=True))
    moving = {file.key for file in situation.files if file.is_moving}
    filled = sum(size[file.key] for file in situation.store.files) + sum(size[key] for key in moving)
    evict = list(decision.evict)
    for fetch in decision.order:
        if fetch.key in moving:
            continue
        while filled + size[fetch.key] > known.room:
            filled -= size[evict.pop(0)]
        filled += size[fetch.key]


@settings(deadline=None)
@given(situations())
def test_plan_never_drops_what_is_pinned_read_moving_or_absent(situation: Situation) -> None:
    evict = plan(situation).evict
    read = {key for step in situation.steps if step.is_running for key in step.files}
    here = {file.key for file in situation.store.files}
    assert here.issuperset(evict)
    assert not (situation.store.pinned | read).intersection(evict)
    assert len(set(evict)) == len(evict)


@settings(deadline=None)
@given(situations(), st.data())
def test_what_is_dropped_is_needed_later_than_what_comes(situation: Situation, data: st.DataObject) -> None:
    known = known_of(situation)
    steps = data.draw(st.permutations([n for n, step in enumerate(known.steps) if not step.is_running]))
    admission = admit(known, steps)
    place: dict[int, int] = {}
    for number, step in enumerate(steps):
        for file in known.files_of[step]:
            place.setdefault(file, number)
    new = [place[file] for file in admission.order if not known.is_moving[file]]
    assert all(place.get(file, len(steps)) > last for file in admission.evict for last in new)


@settings(deadline=None)
@given(situations())
def test_order_has_wanted_files_once_and_every_moving_one(situation: Situation) -> None:
    order = [fetch.key for fetch in plan(situation).order]
    assert len(set(order)) == len(order)
    here = {file.key for file in situation.store.files}
    assert {file.key for file in situation.files} - here >= set(order)
    assert {file.key for file in situation.files if file.is_moving} <= set(order)


@settings(deadline=None)
@given(situations(), st.randoms(use_true_random=False))
def test_plan_does_not_depend_on_the_order_in_which_it_is_told(situation: Situation, chance: random.Random) -> None:
    def mixed(parts: tuple) -> tuple:
        return tuple(chance.sample(parts, len(parts)))

    told = Situation(
        mixed(situation.files),
        tuple(replace(step, files=mixed(step.files), after=mixed(step.after)) for step in mixed(situation.steps)),
        mixed(situation.links),
        replace(situation.store, files=mixed(situation.store.files)),
        mixed(situation.runs),
    )
    assert plan(told) == plan(situation)


@settings(deadline=None, max_examples=40)
@example(
    (
        StepNeed("s0", "r2", (), (), 0.05),
        StepNeed("s1", "r3", ("f00",), (), 0.0),
        StepNeed("s2", "r2", (), ("s0",), 13.0),
        StepNeed("s3", "r2", (), (), 0.0),
        StepNeed("s4", "r3", ("f00", "f10", "f11"), ("s1",), 4.2),
        StepNeed("s10", "r2", ("f00", "f07"), ("s0", "s3"), 15.8),
    ),
    1,
)
@given(step_needs(list(SIZES)), st.integers(0, 40))
def test_steps_that_each_fit_all_end_however_small_the_store(steps: tuple[StepNeed, ...], more: int) -> None:
    largest = max(sum(SIZES[key] for key in set(step.files)) for step in steps)
    world = World(SIZES, steps, largest + more)
    assert fits(world.situation())
    world.go()
    assert len(world.ended) == len(steps)


@settings(deadline=None, max_examples=40)
@given(step_needs(list(SIZES)))
def test_store_that_takes_everything_is_given_each_file_once(steps: tuple[StepNeed, ...]) -> None:
    world = World(SIZES, steps, sum(SIZES.values()))
    world.go()
    assert world.moved == sum(SIZES[key] for key in {key for step in steps for key in step.files})


@settings(deadline=None, max_examples=40)
@given(step_needs(list(SIZES)), st.integers(0, 100))
def test_step_that_does_not_fit_is_named_and_the_others_end(steps: tuple[StepNeed, ...], limit: int) -> None:
    world = World(SIZES, tuple(replace(step, after=()) for step in steps), limit)
    unfit = {(one.run, one.step) for one in unfit_steps(world.situation())}
    world.go()
    assert world.ended == {(step.run, step.key) for step in steps} - unfit


def test_files_of_two_runs_that_pushed_each_other_out_again_and_again_stay_while_a_step_runs() -> None:
    def dropped(times: int) -> tuple[str, ...]:
        steps = (
            StepNeed("busy", "x", (), (), 9.0, is_running=True),
            StepNeed("next", "x", ("one", "two"), ("busy",), 9.0),
            StepNeed("busy", "y", (), (), 9.0, is_running=True),
            StepNeed("next", "y", ("three",), ("busy",), 9.0),
        )
        store = StoreState(58, (HeldFile("one", 30, "a", times=times),))
        runs = (RunShare("x", served_bytes=1e6), RunShare("y"))
        files = (WantedFile("two", "a", 28), WantedFile("three", "a", 29))
        return plan(Situation(files, steps, LINKS, store, runs)).evict

    assert dropped(MOST_TIMES - 1) == ("one",)
    assert dropped(MOST_TIMES) == ()


def test_oldest_step_gets_room_from_what_was_brought_again_and_again() -> None:
    steps = (StepNeed("s", "old", ("large",)), StepNeed("s", "young", ("small",)))
    store = StoreState(58, (HeldFile("small", 30, "a", times=MOST_TIMES),))
    runs = (RunShare("old", 1e6, came=1), RunShare("young", came=2))
    decision = plan(Situation((WantedFile("large", "a", 50),), steps, LINKS, store, runs))
    assert ([fetch.key for fetch in decision.order], decision.evict) == (["large"], ("small",))


def test_step_of_which_nothing_is_known_is_taken_to_last_as_long_as_its_files_take_to_come() -> None:
    sizes = {"small": 100, "large": 400}  # over a link of 100 bytes a second
    files = tuple(WantedFile(key, "a", size) for key, size in sizes.items())
    steps = (
        *(StepNeed(key, "r", (key,), (), None) for key in sizes),
        StepNeed("last", "r", (), ("small", "large"), None),
        StepNeed("on its way", "r", ("large",), (), None, elapsed_seconds=3.0, is_running=True),
    )
    known = known_of(Situation(files, steps, LINKS))
    seconds = dict(zip((step.key for step in known.steps), estimates_of(known).seconds, strict=True))
    assert seconds == {"small": 1.0, "large": 4.0, "last": 4.0, "on its way": 1.0}


def test_run_that_is_queued_gets_no_room_before_those_that_have_begun() -> None:
    steps = (StepNeed("s", "begun", ("one",), is_waiting=True), StepNeed("s", "queued", ("two",)))
    runs = (RunShare("begun", 1e6, came=2), RunShare("queued", came=1, has_begun=False))
    files = (WantedFile("one", "a", 50), WantedFile("two", "a", 50))
    decision = plan(Situation(files, steps, LINKS, StoreState(58), runs))
    assert [fetch.key for fetch in decision.order] == ["one"]


def test_step_that_waits_gets_room_where_nothing_is_to_come_and_its_run_does_nothing_else() -> None:
    steps = (StepNeed("s", "never starts", ("here",)), StepNeed("s", "waits", ("far",), is_waiting=True))
    store = StoreState(58, (HeldFile("here", 50, "a"),))
    runs = (RunShare("waits", 1e6), RunShare("never starts"))
    decision = plan(Situation((WantedFile("far", "a", 50),), steps, LINKS, store, runs))
    assert ([fetch.key for fetch in decision.order], decision.evict) == (["far"], ("here",))


def test_step_that_waits_when_its_run_is_between_two_steps_then_what_is_ready_keeps_its_files() -> None:
    steps = (StepNeed("ready", "r", ("here",), (), None), StepNeed("waits", "r", ("far",), (), None, is_waiting=True))
    store = StoreState(58, (HeldFile("here", 50, "a"),))
    situation = Situation((WantedFile("far", "a", 50),), steps, LINKS, store, (RunShare("r", idle_seconds=0.1),))
    assert plan(situation).evict == ()
    long_idle = replace(situation, runs=(RunShare("r", idle_seconds=60.0),))
    assert plan(long_idle).evict == ("here",)


def test_unfit_step_tells_its_size_and_the_room() -> None:
    store = StoreState(100, (HeldFile("here", 30),), kept_bytes=20)
    files = (WantedFile("far", "a", 60),)
    small, large = StepNeed("small", "r", ("far",)), StepNeed("large", "r", ("here", "far", "here"))
    [unfit] = unfit_steps(Situation(files, (small, large), LINKS, store))
    assert (unfit.step, unfit.needed_bytes, unfit.room_bytes) == ("large", 90, 80)


def test_chain_is_served_in_the_order_of_need() -> None:
    steps = tuple(StepNeed(f"s{n}", "r", (f"f{n}",), (f"s{n - 1}",) if n else (), 5.0) for n in range(6))
    files = tuple(WantedFile(f"f{n}", "a", 100) for n in reversed(range(6)))
    order = plan(Situation(files, steps, LINKS)).order
    assert [fetch.key for fetch in order] == [f"f{n}" for n in range(6)]
    assert [fetch.urgency for fetch in order] == [0, 5, 10, 15, 20, 25]


def test_branch_on_which_most_hangs_comes_first() -> None:
    long = [StepNeed(f"long{n}", "r", (f"l{n}",), (f"long{n - 1}",) if n else (), 9.0) for n in range(3)]
    short = StepNeed("a-short", "r", ("a",), (), 1.0)
    files = tuple(WantedFile(key, "a", 500) for key in ("a", "l0", "l1", "l2"))
    order = [fetch.key for fetch in plan(Situation(files, (short, *long), LINKS)).order]
    assert order.index("l0") < order.index("a")


def test_ready_step_whose_files_are_here_starts_before_the_others() -> None:
    busy = StepNeed("busy", "r", (), (), 30.0, is_running=True)
    steps = (busy, StepNeed("a", "r", ("far",), (), 50.0), StepNeed("b", "r", ("here",), (), 1.0))
    store = StoreState(1000, (HeldFile("here", 10, "a"),))
    decision = plan(Situation((WantedFile("far", "a", 10),), steps, LINKS, store, (RunShare("r", slots=1),)))
    assert decision.steps == (("r", "b"), ("r", "a"))


def test_file_that_two_runs_read_takes_its_room_once() -> None:
    steps = tuple(StepNeed("s", run, ("shared", f"own{run}")) for run in "xy")
    files = tuple(WantedFile(key, "a", 40) for key in ("shared", "ownx", "owny"))
    decision = plan(Situation(files, steps, LINKS, StoreState(120)))
    assert {fetch.key for fetch in decision.order} == {"shared", "ownx", "owny"}


def test_nothing_is_fetched_into_a_store_that_is_full_of_what_is_read() -> None:
    steps = (StepNeed("s1", "r", ("read",), is_running=True), StepNeed("s2", "r", ("far",)))
    store = StoreState(30, (HeldFile("read", 25, "a"),))
    decision = plan(Situation((WantedFile("far", "a", 6),), steps, LINKS, store))
    assert (decision.order, decision.evict) == ((), ())


def test_copy_that_nobody_needs_goes_before_one_that_is_needed_and_the_oldest_of_them_first() -> None:
    held = tuple(HeldFile(key, 10, "a", used) for key, used in (("needed", 1.0), ("new", 9.0), ("old", 2.0)))
    steps = (StepNeed("s1", "r", ("far1", "far2", "far3")), StepNeed("s2", "r", ("needed",), ("s1",)))
    files = tuple(WantedFile(f"far{number}", "a", 10) for number in (1, 2, 3))
    assert plan(Situation(files, steps, LINKS, StoreState(30, held))).evict == ("old", "new", "needed")


def test_run_that_got_least_comes_first_whatever_hangs_on_the_others() -> None:
    steps = (StepNeed("s", "greedy", ("g",), (), 100.0), StepNeed("s", "poor", ("p",), (), 1.0))
    files = (WantedFile("g", "a", 10), WantedFile("p", "a", 10))
    runs = (RunShare("greedy", 5000.0), RunShare("poor", 100.0))
    assert plan(Situation(files, steps, LINKS, runs=runs)).order[0].key == "p"


def test_run_of_twice_the_weight_gets_twice_the_bytes() -> None:
    steps = tuple(StepNeed(f"s{n:02}", run, (f"{run}{n:02}",)) for run in "xy" for n in range(30))
    files = tuple(WantedFile(f"{run}{n:02}", "a", 10) for run in "xy" for n in range(30))
    runs = (RunShare("x", weight=2.0), RunShare("y", weight=1.0))
    first = [fetch.key[0] for fetch in plan(Situation(files, steps, LINKS, runs=runs)).order[:30]]
    assert first.count("x") == 20


def test_old_run_is_served_though_new_ones_keep_coming() -> None:
    old = StepNeed("s", "z-old", ("old",))
    for turn in range(50):
        new = tuple(StepNeed("s", f"new{turn}.{n}", (f"new{turn}.{n}",), (), 99.0) for n in range(3))
        files = (WantedFile("old", "a", 1000), *(WantedFile(step.files[0], "a", 1) for step in new))
        runs = (RunShare("z-old", came=0.0), *(RunShare(step.run, came=turn + 1.0) for step in new))
        if plan(Situation(files, (old, *new), LINKS, runs=runs)).order[0].key == "old":
            return
    raise AssertionError("the old run is never served")


def test_step_whose_file_cannot_be_had_is_left_aside_with_what_follows() -> None:
    steps = (
        StepNeed("lost", "r", ("gone", "f1")),
        StepNeed("after", "r", ("f2",), ("lost",)),
        StepNeed("other", "r", ("f3",)),
    )
    decision = plan(Situation(tuple(WantedFile(key, "a", 1) for key in ("f1", "f2", "f3")), steps, LINKS))
    assert [fetch.key for fetch in decision.order] == ["f3"]
    assert decision.steps == (("r", "other"),)


def test_each_link_has_its_streams() -> None:
    capped = LinkState("capped", most_streams=2)
    decision = plan(Situation((WantedFile("f", "capped", 10),), (StepNeed("s", "r", ("f",)),), (capped, LINKS[0])))
    assert decision.streams == {"a": 1, "capped": 2}


def work_of(steps: int) -> int:
    """How many instructions a decision takes over ten files for each of so many steps."""
    needs = tuple(
        StepNeed(f"s{n}", f"r{n % 7}", tuple(f"f{n}.{m}" for m in range(10)), (f"s{n - 7}",) if n >= 70 else ())
        for n in range(steps)
    )
    files = tuple(WantedFile(key, "a", 10) for step in needs for key in step.files)
    runs = tuple(RunShare(f"r{n}", slots=4) for n in range(7))
    situation = Situation(files, needs, LINKS, StoreState(30 * steps), runs)
    count = 0

    def note(frame: FrameType, event: str, _argument: object) -> Callable[..., object]:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        plan(situation)
    finally:
        sys.settrace(before)
    return count


def test_decision_over_twice_as_much_takes_hardly_more_than_twice_the_work() -> None:
    assert work_of(800) < 2.5 * work_of(400)
