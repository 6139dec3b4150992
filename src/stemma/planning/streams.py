"""How many streams a link wants: as few as bring the best rate seen, found by doubling and halving."""

import math
from collections.abc import Sequence
from statistics import fmean

from stemma.planning.situation import LinkState, StreamRate

FIRST_STREAMS = 4
"""Where the search begins: a link whose connections are capped gets much of its speed at once, another loses little."""
GAIN = 1.1
"""More streams must bring this much more, or they are not worth it."""
SAME = 1.3
"""Numbers of streams at work that differ by less are one."""
ENOUGH_SECONDS = 0.3
"""Less watching than this says nothing yet."""
MEMORY_SECONDS = 20.0
"""What was seen counts half after this much more watching with as many streams, so that a change is found out."""
UNSEEN_BYTES_PER_SECOND = 12.5e6
"""What a link is taken to bring before anything came over it: 100 Mbit/s."""


def observed(
    rates: tuple[StreamRate, ...], streams: int, moved_bytes: float, seconds: float, requests: float = 0.0
) -> tuple[StreamRate, ...]:
    """``rates`` and what was seen since, for :attr:`LinkState.rates`.

    Only count time in which all ``streams`` were busy.
    """
    if streams < 1 or seconds <= 0:
        return rates
    fade = 0.5 ** (seconds / MEMORY_SECONDS)
    known = {rate.streams: rate for rate in rates}
    before = known.get(streams, StreamRate(streams, 0.0, 0.0))
    known[streams] = StreamRate(
        streams,
        before.moved_bytes * fade + moved_bytes,
        before.seconds * fade + seconds,
        before.requests * fade + requests,
    )
    return tuple(known[count] for count in sorted(known))


def link_speed(link: LinkState) -> float:
    """Bytes a second that the link brings, all streams together, as far as it is known."""
    if link.bytes_per_second is not None and link.bytes_per_second > 0:
        return link.bytes_per_second
    return max((rate for _, rate in _seen(link)), default=UNSEEN_BYTES_PER_SECOND)


def stream_count(link: LinkState, sizes: Sequence[int]) -> int:
    """How many streams to open at once on ``link``.

    So many as are wanted at work, and as many more as wait for their first bytes meanwhile.

    Args:
        link: what was seen of it.
        sizes: bytes still to come of the files that are next.
    """
    if not sizes:
        return 1
    most = max(link.most_streams, 1)
    working = _climbed(_seen(link), most)
    # Of a link over which nothing came, nobody knows whether waiting for first bytes is what takes the time.
    is_known = link.bytes_per_second is not None or any(rate.moved_bytes > 0 for rate in link.rates)
    waiting = max(link.seconds_per_request, 0.0) * link_speed(link) / max(fmean(sizes), 1.0) if is_known else 0.0
    return max(1, min(most, math.ceil(min(working * (1 + waiting), most) - 0.05)))


def _climbed(seen: list[tuple[float, float]], most: int) -> float:
    """How many streams should work at once: those of the best rate, or a number to try."""
    if not seen:
        return min(FIRST_STREAMS, most)
    best = max(rate for _, rate in seen)
    chosen = min(working for working, rate in seen if rate * GAIN >= best)
    # Fewer first: where a few fill the link, more of them would only delay the file that is needed first.
    if chosen > SAME and not any(working * SAME < chosen for working, _ in seen):
        return chosen / 2
    if chosen * SAME < most and not any(working > chosen * SAME for working, _ in seen):
        return min(chosen * 2, most)
    return chosen


def _seen(link: LinkState) -> list[tuple[float, float]]:
    """How many streams were at work on average, not waiting for a first byte, and the bytes a second they brought."""
    seen = []
    for rate in link.rates:
        if rate.seconds >= ENOUGH_SECONDS and rate.moved_bytes > 0:
            waited = rate.requests * max(link.seconds_per_request, 0.0) / max(rate.streams, 1)
            # One at least: where files are so small that all of it is waiting, more streams are what helps.
            working = max(rate.streams * (1 - waited / rate.seconds), 1.0)
            seen.append((working, rate.moved_bytes / rate.seconds))
    return seen
