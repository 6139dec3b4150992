"""The decision: what to fetch next, over how many streams, what may go, which ready step starts first."""

from collections import defaultdict
from operator import attrgetter

from stemma.planning.admission import Admission, admit, age, put_first
from stemma.planning.estimates import Estimates, estimates_of
from stemma.planning.forecast import Forecast
from stemma.planning.known import Known, known_of
from stemma.planning.ranking import Rule
from stemma.planning.situation import Fetch, Plan, Situation
from stemma.planning.streams import stream_count

STARTING_SECONDS = 2.0
"""So soon after something happened in a run a step of it that has its files may be about to start."""
HEAD_FILES = 64
"""So many of the files that are next say how many streams a link wants."""
RULES = (
    Rule(tail=1, transfer=1),
    Rule(tail=1, transfer=0, looks_ahead=False),
    Rule(tail=0, transfer=1),
    Rule(tail=1, transfer=1, looks_ahead=False),
    Rule(tail=1, transfer=0),
    Rule(tail=0, transfer=1, looks_ahead=False),
    Rule(tail=1, transfer=2),
    Rule(tail=1, transfer=4),
    Rule(tail=2, transfer=1),
    Rule(tail=1, transfer=2, looks_ahead=False),
    Rule(tail=1, transfer=4, looks_ahead=False),
    Rule(tail=2, transfer=1, looks_ahead=False),
)
"""Each is the best for some graph, link and store: they are played, and the best is followed. The first is the best
where only one can be played."""
PLAYED = 2000
"""So many uses of files and steps may be played in one decision, all rules together."""


def plan(situation: Situation) -> Plan:
    """Decide.

    The same situation gives the same plan, in whatever order its parts are told. Steps that can never fit in the
    store (``fitting.unfit_steps``), whose files cannot be had, or that come after such steps, are left aside.
    """
    known = known_of(situation)
    estimates = estimates_of(known)
    steps = _best_order(known, estimates)
    admission = admit(known, steps)
    if not admission.order and (stuck := _stuck(known)) is not None:
        admission = admit(known, put_first(stuck, steps))
    starts = sorted(range(len(steps)), key=lambda place: (_is_incomplete(known, steps[place]), place))
    return Plan(
        order=tuple(_fetch(known, estimates, admission, file) for file in admission.order),
        evict=tuple(known.keys[file] for file in admission.evict),
        streams=_streams(situation, known, admission),
        steps=tuple((known.steps[steps[place]].run, known.steps[steps[place]].key) for place in starts),
    )


def _best_order(known: Known, estimates: Estimates) -> list[int]:
    size = len(known.steps) + sum(len(files) for files in known.files_of)
    rules = RULES[: max(1, PLAYED // max(size, 1))]
    outcomes = [Forecast(known, estimates, rule).play() for rule in rules]
    order = min(outcomes, key=lambda outcome: outcome.cost).order
    return sorted(order, key=lambda step: not known.runs[known.steps[step].run].has_begun)


def _stuck(known: Known) -> int | None:
    """A step that waits for its files, of a run that does nothing else, where nothing is to come.

    What has all its files and its room may never start: it may come after something that failed, say. The oldest run
    whose own engine says that it waits goes before that. Between two steps every run does nothing for a moment: whose
    next step is ready then would lose its files.
    """
    busy = {step.run for step in known.steps if step.is_running}
    busy |= {key for key, run in known.runs.items() if run.idle_seconds < STARTING_SECONDS}
    waiting = (
        number
        for number, step in enumerate(known.steps)
        if step.is_waiting and step.run not in busy and not known.after[number] and _is_incomplete(known, number)
    )
    return min(waiting, key=lambda number: age(known, number), default=None)


def _is_incomplete(known: Known, step: int) -> bool:
    return any(known.missing[file] for file in known.files_of[step])


def _fetch(known: Known, estimates: Estimates, admission: Admission, file: int) -> Fetch:
    step = admission.needed_by.get(file)
    urgency = float("inf") if step is None else estimates.needs[step]
    return Fetch(known.keys[file], known.remotes[file], urgency)


def _streams(situation: Situation, known: Known, admission: Admission) -> dict[str, int]:
    sizes: dict[str, list[int]] = defaultdict(list)
    for file in admission.order:
        next_ones = sizes[known.remotes[file]]
        if len(next_ones) < HEAD_FILES:
            next_ones.append(known.missing[file])
    links = sorted(situation.links, key=attrgetter("name"))
    return {link.name: stream_count(link, sizes[link.name]) for link in links}
