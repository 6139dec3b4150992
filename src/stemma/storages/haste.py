"""Until when all that a thread asks of servers elsewhere has to be over, however little of it comes at a time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_END: Final[ContextVar[float | None]] = ContextVar("end", default=None)


def end() -> float | None:
    """When it has to be over, by :func:`time.monotonic`; None where nobody said."""
    return _END.get()


@contextmanager
def over_by(end: float | None) -> Iterator[None]:
    """Within this, servers of the web are waited for until ``end`` at most; threads that it starts do not know it."""
    before = _END.set(end)
    try:
        yield
    finally:
        _END.reset(before)


def within(most_seconds: float) -> float:
    """How long is still to be waited, and no longer than so; not above 0 where it has to be over."""
    left = seconds_left()
    return most_seconds if left is None else min(left, most_seconds)


def seconds_left() -> float | None:
    """How long is still to be waited; not above 0 where it has to be over."""
    end = _END.get()
    return None if end is None else end - time.monotonic()
