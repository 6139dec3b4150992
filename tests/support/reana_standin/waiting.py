"""Waiting for what nobody announces: the switches are plain values."""

import asyncio
import time
from collections.abc import Callable

_LOOK_AGAIN_SECONDS = 0.02


async def until(holds: Callable[[], object]) -> None:
    """Wait until ``holds()``."""
    while not holds():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


async def passed(seconds: Callable[[], float]) -> None:
    """Wait so long; how long that is may change meanwhile."""
    began = time.monotonic()
    await until(lambda: time.monotonic() - began >= seconds())
