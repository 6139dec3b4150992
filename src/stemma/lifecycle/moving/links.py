"""The way to one remote: which files wait for it, who is at work on it, how fast it may be. The mover locks."""

from typing import TYPE_CHECKING

from stemma.lifecycle.moving.pacing import Bucket, Meter
from stemma.lifecycle.moving.segments import SMALLEST, Claim, segment_bytes
from stemma.lifecycle.moving.transfer import Phase, Transfer, Unprepared

if TYPE_CHECKING:
    from stemma.lifecycle.moving.streams import Stream


class Link:
    """Files by urgency, and the streams that bring them."""

    def __init__(self, name: str, connections: int) -> None:
        self.name = name
        self.connections = connections
        self.wanted_streams = 0
        self.streams: set[Stream] = set()
        self.bucket = Bucket()
        self.meter = Meter()
        self._queue: list[Transfer] = []
        self._next = 0
        """Nobody before it in the queue has a free part."""
        self._moving: dict[str, Transfer] = {}
        """Those of the queue that were begun and are not whole."""

    @property
    def allowed(self) -> int:
        """How many streams may be at work."""
        return min(self.wanted_streams, self.connections)

    @property
    def segment(self) -> int:
        """How much one stream brings at a time."""
        return segment_bytes(self.meter.rates)

    def arrange(self, queue: list[Transfer]) -> None:
        """The files in their newest order."""
        self._queue, self._next = queue, 0
        for index, transfer in enumerate(queue):
            transfer.index = index
        self._moving = {
            transfer.order.key: transfer
            for transfer in queue
            if transfer.has_begun and transfer.phase not in {Phase.WHOLE, Phase.OVER}
        }

    def next_work(self, now: float) -> tuple[Transfer, Claim | Unprepared] | None:
        """The most urgent part that nobody brings, or file that is to be prepared; None where there is no work now."""
        for transfer in self._by_urgency():
            self.look_again(transfer, now)
        segment = self.segment
        while True:
            waiting = self._first_waiting(now)
            shared = self._shared(len(self._queue) if waiting is None else waiting.index)
            if shared is not None or waiting is None or self._opens_before(waiting, now):
                return shared
            part = waiting.take(self.allowed, segment)
            self._moving[waiting.order.key] = waiting
            if part is not None:
                return waiting, part

    def has_work(self, now: float) -> bool:
        """Whether there is any that nobody brings."""
        return self._first_waiting(now) is not None or any(
            transfer.can_be_split(self._worth_sharing) for transfer in self._moving.values()
        )

    def has_better(self, transfer: Transfer, now: float) -> bool:
        """Whether a part of a more urgent file waits."""
        waiting = self._first_waiting(now)
        return waiting is not None and waiting.index < transfer.index

    def wakes_at(self, now: float) -> float | None:
        """When the next file that rests may go on, or is not waited for any more; None where there is none."""
        until = (max(transfer.rests_until, transfer.opens_until) for transfer in self._moving.values())
        return min((one for one in until if one > now), default=None)

    def look_again(self, transfer: Transfer, now: float) -> None:
        """It may have a free part again."""
        if transfer.index < self._next and transfer.has_work(now):
            self._next = transfer.index

    def forget(self, transfer: Transfer) -> None:
        """Nothing is to be brought of it any more."""
        self._moving.pop(transfer.order.key, None)

    def _by_urgency(self) -> list[Transfer]:
        return sorted(self._moving.values(), key=lambda transfer: transfer.index)

    def _first_waiting(self, now: float) -> Transfer | None:
        while self._next < len(self._queue):
            if self._queue[self._next].has_work(now):
                return self._queue[self._next]
            self._next += 1
        return None

    def _opens_before(self, waiting: Transfer, now: float) -> bool:
        """Whether a more urgent file is about to have parts for several."""
        return any(one.opens_until > now and one.index < waiting.index for one in self._moving.values())

    @property
    def _worth_sharing(self) -> int:
        """How much each half of a part must have that is divided between two streams."""
        return max(SMALLEST, self.segment // 4)

    def _shared(self, before: int) -> tuple[Transfer, Claim] | None:
        """Half of a long part of a file that comes earlier in the queue."""
        for transfer in self._by_urgency():
            if transfer.index >= before:
                return None
            claim = transfer.split(self._worth_sharing)
            if claim is not None:
                return transfer, claim
        return None
