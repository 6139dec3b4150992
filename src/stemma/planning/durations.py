"""How long a step will take, learned from what it took before."""

from collections.abc import Sequence
from statistics import fmean, median

LATEST = 20
"""Older executions than this many say little: data and machines have changed."""


def expected_seconds(earlier: Sequence[float], alike: Sequence[float] = ()) -> float | None:
    """How long a step execution takes, expected: the median, since a few of them hang or end at once. None where
    nothing is known.

    Args:
        earlier: seconds of the same step before, newest first: other scatter elements, earlier runs.
        alike: seconds of what comes closest where there is none: other versions, other steps of this run.
    """
    known = _usable(earlier) or _usable(alike)
    return median(known) if known else None


def remaining_seconds(earlier: Sequence[float], elapsed: float, alike: Sequence[float] = ()) -> float | None:
    """How much longer a step takes that has been running for ``elapsed`` seconds; None where nothing is known.

    The mean of what those took more that took longer; one that outlasts them all takes a tenth of its time again.
    """
    elapsed = max(elapsed, 0.0)
    known = _usable(earlier) or _usable(alike)
    if not known:
        return None
    longer = [seconds - elapsed for seconds in known if seconds > elapsed]
    return fmean(longer) if longer else elapsed / 10


def _usable(seconds: Sequence[float]) -> list[float]:
    return [one for one in seconds[:LATEST] if 0 <= one < float("inf")]
