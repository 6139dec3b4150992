"""When steps could start if no file were missing, and what hangs on each."""

import heapq
from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from stemma.planning.durations import remaining_seconds
from stemma.planning.known import Known


@dataclass(frozen=True, slots=True)
class Estimates:
    """By step number."""

    needs: list[float]
    """Seconds until it could start."""
    tails: list[float]
    """Seconds from its start until everything that hangs on it has ended, at best."""
    seconds: list[float]
    """How long it takes."""
    places: list[int]
    """Its place among all steps by need, the longest tail first where needs are equal: who uses a file next."""


def estimates_of(known: Known) -> Estimates:
    """Look at the steps alone."""
    seconds = _seconds(known)
    tails = _tails(known, seconds)
    needs = _needs(known, seconds, tails)
    order = sorted(range(len(needs)), key=lambda number: (needs[number], -tails[number], number))
    places = [0] * len(needs)
    for place, number in enumerate(order):
        places[number] = place
    return Estimates(needs, tails, seconds, places)


def _seconds(known: Known) -> list[float]:
    """What is not known is guessed by the files: such a guess grows and shrinks with what it is weighed against."""
    transfers = [sum(known.sizes[file] / known.speeds[file] for file in files) for files in known.files_of]
    usual = median([seconds for seconds in transfers if seconds] or [1.0])
    guesses = [
        remaining_seconds([transfer or usual], step.elapsed_seconds) or 0.0 if step.seconds is None else step.seconds
        for step, transfer in zip(known.steps, transfers, strict=True)
    ]
    return [max(seconds, 0.0) for seconds in guesses]


def _tails(known: Known, seconds: list[float]) -> list[float]:
    tails = list(seconds)
    longest = [0.0] * len(tails)
    for number in range(len(tails) - 1, -1, -1):
        tails[number] += longest[number]
        for before in known.after[number]:
            longest[before] = max(longest[before], tails[number])
    return tails


def _needs(known: Known, seconds: list[float], tails: list[float]) -> list[float]:
    """Ready steps take the slots of their run, the longest tail first."""
    needs = [0.0] * len(seconds)
    waits = [len(before) for before in known.after]
    by_run: dict[str, list[int]] = defaultdict(list)
    for number, step in enumerate(known.steps):
        by_run[step.run].append(number)
    for run, numbers in by_run.items():
        slots = known.runs[run].slots or len(numbers)
        ends = [(seconds[number], number) for number in numbers if known.steps[number].is_running]
        ready = [
            (-tails[number], number) for number in numbers if waits[number] == 0 and not known.steps[number].is_running
        ]
        heapq.heapify(ends)
        heapq.heapify(ready)
        now = 0.0
        while ready or ends:
            while ready and len(ends) < slots:
                number = heapq.heappop(ready)[1]
                needs[number] = now
                heapq.heappush(ends, (now + seconds[number], number))
            now, ended = heapq.heappop(ends)
            for follower in known.follows[ended]:
                waits[follower] -= 1
                if waits[follower] == 0:
                    heapq.heappush(ready, (-tails[follower], follower))
    return needs
