"""A mover that tells a test what became of its files."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stemma.errors import StemmaError
from stemma.lifecycle.moving.mover import Mover
from stemma.lifecycle.moving.orders import Limits, Moved, Order
from stemma.store.content import ContentStore
from support.scripted_storage import ScriptedStorage

MEBIBYTE = 1024**2


@dataclass
class Outcomes:
    """What was told, by key."""

    done: dict[str, Moved] = field(default_factory=dict)
    failed: dict[str, StemmaError] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def on_done(self, key: str, moved: Moved) -> None:
        with self._changed:
            assert key not in self.order, f"{key} was told twice"
            self.done[key] = moved
            self.order.append(key)
            self._changed.notify_all()

    def on_failed(self, key: str, error: StemmaError) -> None:
        with self._changed:
            assert key not in self.order, f"{key} was told twice"
            self.failed[key] = error
            self.order.append(key)
            self._changed.notify_all()

    def wait(self, *keys: str, seconds: float = 30) -> None:
        """Until all of ``keys`` were told."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: set(keys) <= set(self.order), seconds)
        assert arrived, f"only {self.order} were told of {keys}"


@contextmanager
def moving(store: ContentStore, **limits: Any) -> Iterator[tuple[Mover, Outcomes]]:
    """A mover on ``store`` that loses no time over sources that fail."""
    outcomes = Outcomes()
    settled = Limits(**{"pause_seconds": 0.01, "close_seconds": 1.5, **limits})
    mover = Mover(store, on_done=outcomes.on_done, on_failed=outcomes.on_failed, limits=settled)
    try:
        yield mover, outcomes
    finally:
        mover.close()


def order_of(storage: ScriptedStorage, address: str, key: str = "", **values: Any) -> Order:
    """For the file at ``address`` as it is now."""
    info = storage.info(address)
    given = {
        "version": info.version, "size_bytes": info.size_bytes, "takes_ranges": info.takes_ranges,
        "expected_md5": info.md5, "link": "lab", **values,
    }  # fmt: skip
    return Order(key or address, storage, address, **given)


def some_bytes(count: int, seed: int = 1) -> bytes:
    """Bytes of which no two blocks are alike, the same each time."""
    return random.Random(seed).randbytes(count)
