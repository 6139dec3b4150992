"""Looks through libraries that have no end to their waiting: given up when their time is over."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stemma.storages import haste
from stemma.storages.pace import TooSlow

T = TypeVar("T")


def in_time(ask: Callable[[], Awaitable[T]], most_seconds: float) -> T:
    """What ``ask`` gives, within ``most_seconds`` and by when all has to be over (:mod:`stemma.storages.haste`).

    It is waited for in the event loop of this process: it is cancelled when nobody waits any more.

    Raises:
        TooSlow: it does not come in that time.
    """
    seconds = haste.within(most_seconds)
    if seconds <= 0:
        raise TooSlow

    async def asked() -> T:
        return await ask()

    coming = asyncio.run_coroutine_threadsafe(asked(), _LOOP.running())
    try:
        return coming.result(seconds)
    except TimeoutError as error:
        raise TooSlow from error
    finally:
        coming.cancel()


class _Loop:
    """An event loop in a thread of its own, from when it is first needed."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def running(self) -> asyncio.AbstractEventLoop:
        with self._guard:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="looks", daemon=True).start()
            return self._loop


def _forget() -> None:
    """A process that was forked has none of the threads."""
    global _LOOP  # noqa: PLW0603 - that of the process
    _LOOP = _Loop()


_LOOP = _Loop()
os.register_at_fork(after_in_child=_forget)
