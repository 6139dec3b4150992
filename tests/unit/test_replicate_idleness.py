"""How long ago something happened in a run."""

from dataclasses import replace

from stemma.lifecycle.replicate.idleness import Idleness
from stemma.planning.situation import StepNeed


def test_idleness_when_a_step_begins_or_begins_to_wait_then_its_run_alone_counts_anew() -> None:
    idleness = Idleness()
    one, two, other = StepNeed("one", "r", ()), StepNeed("two", "r", ()), StepNeed("one", "other", ())
    assert idleness.look([one, two, other], 10.0) == {"r": 0.0, "other": 0.0}
    assert idleness.look([two, one, other], 12.0) == {"r": 2.0, "other": 2.0}
    begun = replace(one, is_running=True)
    assert idleness.look([begun, two, other], 13.0) == {"r": 0.0, "other": 3.0}
    assert idleness.look([begun, replace(two, is_waiting=True), other], 15.0) == {"r": 0.0, "other": 5.0}


def test_idleness_when_a_step_ends_then_its_run_counts_anew_and_time_spent_running_does_not() -> None:
    idleness = Idleness()
    running, next_one = StepNeed("one", "r", (), is_running=True), StepNeed("two", "r", ())
    idleness.look([running, next_one], 0.0)
    assert idleness.look([replace(running, elapsed_seconds=5.0), next_one], 5.0) == {"r": 5.0}
    assert idleness.look([next_one], 6.0) == {"r": 0.0}
