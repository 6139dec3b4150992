"""How long a step will take, learned from what it took before."""

from collections.abc import Sequence
from statistics import fmean, median

DEFAULT_SECONDS = 10.0
"""For a step of which nothing is known."""
LATEST = 20
"""Older executions than this many say little: data and machines have changed."""


def expected_seconds(earlier: Sequence[float], alike: Sequence[float] = (), default: float = DEFAULT_SECONDS) -> float:
    """How long a step execution takes, expected: the median, since a few of them hang or end at once.

    Args:
        earlier: seconds of the same step before, newest first: other scatter elements, earlier runs.
        alike: seconds of what comes closest where there is none: other versions, other steps of this run.
        default: where nothing is known.
    """
    known = _usable(earlier) or _usable(alike)
    return median(known) if known else max(default, 0.0)


def remaining_seconds(
    earlier: Sequence[float], elapsed: float, alike: Sequence[float] = (), default: float = DEFAULT_SECONDS
) -> float:
    """How much longer a step takes that has been running for ``elapsed`` seconds.

    The mean of what those took more that took longer; one that outlasts them all takes a tenth of its time again.
    """
    elapsed = max(elapsed, 0.0)
    known = _usable(earlier) or _usable(alike) or [max(default, 0.0)]
    longer = [seconds - elapsed for seconds in known if seconds > elapsed]
    return fmean(longer) if longer else elapsed / 10


def _usable(seconds: Sequence[float]) -> list[float]:
    return [one for one in seconds[:LATEST] if 0 <= one < float("inf")]
