"""Some threads beside the streams that flush and publish what has arrived, so that no stream waits for the disk."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from stemma.lifecycle.moving.transfer import Transfer

THREADS: Final = 8
"""They wait for the disk most of the time, which flushes the files of several in one go."""
IDLE_SECONDS: Final = 0.5
"""How long a thread stays that has nothing to do."""
WAITING: Final = 64
"""More than these are not gathered: a stream that brings another waits."""


class Publisher:
    """Threads that are there while there is something to publish."""

    def __init__(self, publish: Callable[[Transfer], None]) -> None:
        self._publish = publish
        self._waiting: deque[Transfer] = deque()
        self._threads = self._idle = 0
        self._lock = threading.Lock()
        self._arrived, self._left = threading.Condition(self._lock), threading.Condition(self._lock)
        self._is_closed = False

    def put(self, transfer: Transfer) -> None:
        """Publish it soon."""
        with self._lock:
            self._left.wait_for(lambda: len(self._waiting) < WAITING or self._is_closed)
            if self._is_closed:
                return
            self._waiting.append(transfer)
            if self._idle >= len(self._waiting):
                self._arrived.notify()
            elif self._threads < THREADS:
                self._threads += 1
                threading.Thread(target=self._work, name="publish", daemon=True).start()

    def close(self, deadline: float) -> None:
        """Take nothing more; what is being published may come to its end until ``deadline``, on the monotonic clock."""
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            self._arrived.notify_all()
            self._left.notify_all()
            self._left.wait_for(lambda: not self._threads, max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (transfer := self._take()) is not None:
            self._publish(transfer)

    def _take(self) -> Transfer | None:
        with self._lock:
            if not self._waiting and not self._is_closed:
                self._idle += 1
                self._arrived.wait(IDLE_SECONDS)
                self._idle -= 1
            if self._waiting:
                transfer = self._waiting.popleft()
                self._left.notify()
                return transfer
            self._threads -= 1
            self._left.notify_all()
            return None
