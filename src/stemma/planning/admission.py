"""What of the steps' files there is room for now, and what may go for it."""

from dataclasses import dataclass, field

from stemma.planning.known import Known

MOST_FILES = 4096
"""Longer than this no order is: the next decision will see."""
MOST_TIMES = 2
"""A file that was brought so often, and that a step still needs, makes room for one step only (:func:`_settled`)."""


@dataclass(slots=True)
class Admission:
    """Files by number."""

    order: list[int] = field(default_factory=list)
    """To be brought, the first first."""
    evict: list[int] = field(default_factory=list)
    """What may go for them, the one needed last first."""
    needed_by: dict[int, int] = field(default_factory=dict)
    """For each file the first step that needs it."""


def admit(known: Known, steps: list[int]) -> Admission:
    """Walk ``steps`` in order and give each the room that its files need, until there is none.

    What is pinned and what is moving has its room. The first step that does not fit gets what there is, so that it
    starts as soon as others end, and nobody behind it gets any: whoever is first gets on, however large.

    The order changes from one decision to the next, since what runs were given counts. Files that were fetched ahead
    for two runs could push each other out for ever, while no step ends. So, where files were brought again and again,
    one step comes first until it runs, and beside it these files stay.
    """
    admission = Admission()
    kept = {file for file, is_moving in enumerate(known.is_moving) if is_moving} | known.pinned
    filled = sum(known.sizes[file] for file in kept)
    steps, stays = _settled(known, steps, kept)
    kept |= stays
    filled += sum(known.sizes[file] for file in stays)
    ordered: set[int] = set()
    is_full = False
    place: dict[int, int] = {}
    for number, step in enumerate(steps):
        for file in known.files_of[step]:
            if place.setdefault(file, number) == number:
                admission.needed_by[file] = step
        if is_full or len(admission.order) >= MOST_FILES:
            continue
        for file in sorted(known.files_of[step], key=known.missing.__getitem__):
            if file not in kept:
                if filled + known.sizes[file] > known.room:
                    is_full = True
                    continue
                filled += known.sizes[file]
                kept.add(file)
            if not known.is_here[file] and file not in ordered:
                ordered.add(file)
                admission.order.append(file)
    admission.order += [file for file, is_moving in enumerate(known.is_moving) if is_moving and file not in ordered]
    admission.evict = _droppable(known, kept, place, _excess(known, admission.order))
    return admission


def _settled(known: Known, steps: list[int], kept: set[int]) -> tuple[list[int], set[int]]:
    """The order in which steps are given room, and what stays here beside what is ``kept`` anyway.

    Both are as told where nothing was brought again and again.
    """
    often = [number for number, times in enumerate(known.times) if times >= MOST_TIMES and known.using[number]]
    if not often:
        return steps, set()
    # Nothing that is moved changes which one this is; where none could start now, one runs, which will end.
    ready = (number for number, step in enumerate(known.steps) if not step.is_running and not known.after[number])
    anchor = min(ready, key=lambda number: age(known, number), default=None)
    needed = set() if anchor is None else set(known.files_of[anchor])
    filled = sum(known.sizes[file] for file in kept | needed)
    stays = set()
    for file in often:
        if file not in kept and file not in needed and filled + known.sizes[file] <= known.room:
            filled += known.sizes[file]
            stays.add(file)
    return steps if anchor is None else put_first(anchor, steps), stays


def put_first(first: int, steps: list[int]) -> list[int]:
    """The same order but for one step."""
    return [first, *(step for step in steps if step != first)]


def age(known: Known, number: int) -> tuple[bool, float, int]:
    """The steps of runs that have begun come first, those of the oldest."""
    run = known.runs[known.steps[number].run]
    return not run.has_begun, run.came, number


def _excess(known: Known, coming: list[int]) -> float:
    """How much more there would be than room, if all that comes came and nothing went."""
    here = sum(size for size, is_here in zip(known.sizes, known.is_here, strict=True) if is_here)
    return here + sum(known.sizes[file] for file in coming) - known.room


def _droppable(known: Known, kept: set[int], place: dict[int, int], excess: float) -> list[int]:
    if excess <= 0:
        return []
    files = [file for file, is_here in enumerate(known.is_here) if is_here and file not in kept]
    never = len(known.steps)
    files.sort(key=lambda file: (-place.get(file, never), known.last_used[file], file))
    dropped = []
    for file in files:
        if excess <= 0:
            break
        dropped.append(file)
        excess -= known.sizes[file]
    return dropped
