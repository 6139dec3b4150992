"""One stream: a thread that brings part after part over a link, for as long as there is work."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from stemma.lifecycle.moving.links import Link
from stemma.lifecycle.moving.segments import Claim
from stemma.lifecycle.moving.transfer import Transfer

LEAST_BYTES_PER_SECOND: Final = 1.0
_QUICK_SECONDS: Final = 0.0005


class Stream:
    """What one thread is doing. Its fields are written by that thread alone, but for ``is_abandoned``."""

    def __init__(self, link: Link, ended: threading.Event) -> None:
        self.link = link
        self.transfer: Transfer | None = None
        self.claim: Claim | None = None
        self.is_abandoned = False
        """It hangs in a call that does not end. Others do its work; when it comes back, it ends."""
        self._ended = ended
        self._is_listening = False
        self._marked_at = 0.0
        self._heard_bytes = self._marked_bytes = 0

    def bring(self, transfer: Transfer, claim: Claim, should_yield: Callable[[Transfer], bool]) -> None:
        """Bring ``claim``, or as much of it as this stream is to bring.

        Raises:
            StemmaError: whatever speaks against it; see ``Transfer.accept`` and ``Storage.read``.
        """
        asked_end = claim.end
        is_to_the_end = asked_end is None or asked_end == transfer.size_bytes
        length = None if is_to_the_end or asked_end is None else asked_end - claim.position
        segment, is_at_end = self.link.segment, True
        yield_at = claim.position + segment
        with self._reading(transfer, claim.position, length) as chunks:
            for chunk in chunks:
                if not transfer.accept(claim, chunk, asked_end):
                    is_at_end = False
                elif claim.end != asked_end and claim.left == 0:
                    is_at_end = False  # others bring the rest
                elif claim.position >= yield_at and claim.left != 0:
                    yield_at = claim.position + segment
                    is_at_end = not should_yield(transfer)
                if not is_at_end:
                    break
        if is_at_end:
            transfer.end_of_source(claim)
        transfer.release(claim)

    def is_stuck(self, now: float, silence_seconds: float) -> bool:
        """Whether its source has brought less than a byte a second for so long."""
        if not self._is_listening or now - self._marked_at < silence_seconds:
            return False
        if self._heard_bytes - self._marked_bytes < LEAST_BYTES_PER_SECOND * (now - self._marked_at):
            return True
        self._mark(now)
        return False

    @contextmanager
    def _reading(self, transfer: Transfer, offset: int, length: int | None) -> Iterator[Iterator[bytes]]:
        order = transfer.order
        began = time.monotonic()
        self._mark(began)
        self._is_listening = True
        try:
            with order.storage.read(order.address, version=transfer.version, offset=offset, length=length) as chunks:
                yield self._heard(chunks, began, time.monotonic() - began)
        finally:
            self._is_listening = False

    def _heard(self, chunks: Iterator[bytes], began: float, opened_seconds: float) -> Iterator[bytes]:
        """``chunks``, watched, counted and slowed down."""
        link, is_first = self.link, True
        for chunk in chunks:
            self._heard_bytes += len(chunk)
            self._is_listening = False
            link.meter.count(len(chunk))
            if is_first:
                is_first = False
                # Some storages ask when they are opened, some when the first bytes are wanted.
                link.meter.answered(opened_seconds if opened_seconds > _QUICK_SECONDS else time.monotonic() - began)
            yield chunk
            debt = link.bucket.debt(len(chunk))
            if debt > 0:
                self._ended.wait(debt)
                self._mark(time.monotonic())
            self._is_listening = True

    def _mark(self, now: float) -> None:
        self._marked_at, self._marked_bytes = now, self._heard_bytes
