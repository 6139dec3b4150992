"""The mover: brings files from elsewhere into the store, the most urgent first, over several streams a link.

Each free stream takes the next part of the first file in the order that has one. Threads are started where there is
work and end where there is none. Nothing is asked again and again: who waits is woken.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from stemma import clock
from stemma.errors import SourceChanged, SourceUnavailable, SourceUnusable, StemmaError, StorageFull, Unavailable
from stemma.lifecycle.moving.links import Link
from stemma.lifecycle.moving.orders import Limits, LinkRates, Moved, Order
from stemma.lifecycle.moving.publishing import Publisher
from stemma.lifecycle.moving.segments import Claim
from stemma.lifecycle.moving.streams import Stream
from stemma.lifecycle.moving.transfer import Phase, Transfer, Unprepared
from stemma.store.content import ContentStore
from stemma.store.partial import PartClosed, StoreUnwritable

logger = logging.getLogger(__name__)

_OURS: Final = (StorageFull, StoreUnwritable)
"""What is no fault of a source, so that to ask it again is no help."""


class Mover:
    """Brings files into ``store``; tells of each exactly once, unless it is dropped or the mover closed."""

    def __init__(
        self,
        store: ContentStore,
        *,
        on_done: Callable[[str, Moved], None],
        on_failed: Callable[[str, StemmaError], None],
        limits: Limits | None = None,
    ) -> None:
        self._store, self._on_done, self._on_failed = store, on_done, on_failed
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._links: dict[str, Link] = {}
        self._transfers: dict[str, Transfer] = {}
        self._settled: set[str] = set()
        """What was told done or failed, and may still be in an order that was written before."""
        self._ended = threading.Event()
        self._is_watched = False
        self._is_closed = False
        self._publisher = Publisher(self._publish)

    def arrange(self, orders_by_urgency: Sequence[Order], streams: Mapping[str, int]) -> None:
        """Bring these, the first first, over so many ``streams`` a link (one where nothing is said).

        What is not among them any more is forgotten, or finished after all others where it has begun. What was told
        done or failed is not moved again before an order without it.
        """
        with self._lock:
            if self._is_closed:
                return
            orders: dict[str, Order] = {}
            for order in orders_by_urgency:
                orders.setdefault(order.key, order)
            self._settled &= orders.keys()
            queues: dict[str, list[Transfer]] = {name: [] for name in self._links}
            for order in orders.values():
                if order.key not in self._settled:
                    queues.setdefault(order.link, []).append(self._transfer_for(order))
            for transfer in list(self._transfers.values()):
                if transfer.order.key in orders:
                    continue
                if transfer.has_begun:
                    queues[transfer.order.link].append(transfer)
                else:
                    del self._transfers[transfer.order.key]
            for name, queue in queues.items():
                link = self._link(name)
                link.wanted_streams = max(0, streams.get(name, 1))
                link.arrange(queue)
                self._start(link)
            self._changed.notify_all()

    def widen(self, streams: Mapping[str, int]) -> None:
        """Bring what was arranged over so many streams a link from now on."""
        with self._lock:
            for name, count in streams.items():
                link = self._link(name)
                link.wanted_streams = max(0, count)
                self._start(link)
            self._changed.notify_all()

    def limit(self, link: str, *, bytes_per_second: float | None = None, connections: int | None = None) -> None:
        """What ``link`` bears: no more than so many bytes a second, over no more than so many streams."""
        with self._lock:
            limited = self._link(link)
            limited.bucket.bytes_per_second = bytes_per_second
            limited.connections = self._limits.connections if connections is None else connections
            self._start(limited)

    def progress(self) -> dict[str, int]:
        """How many bytes are here of each file that was begun."""
        with self._lock:
            begun = [transfer for transfer in self._transfers.values() if transfer.has_begun]
        return {transfer.order.key: transfer.arrived_bytes for transfer in begun}

    def rates(self) -> dict[str, LinkRates]:
        """What was seen of each link."""
        with self._lock:
            links = list(self._links.values())
        return {link.name: link.meter.seen() for link in links}

    def drop(self, key: str, *, keep_part: bool = False) -> None:
        """End it now, without a word: ``keep_part``: what is here stays, for who goes on with it."""
        with self._lock:
            self._settled.discard(key)
            transfer = self._forget(key)
        if transfer is not None:
            transfer.end(keep_part=keep_part)

    def close(self) -> None:
        """End all that goes on, soon. What can be resumed stays; nothing is told afterwards."""
        deadline = time.monotonic() + self._limits.close_seconds
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._ended.set()
            self._changed.notify_all()
            transfers = list(self._transfers.values())
        for transfer in transfers:
            transfer.stop()
        with self._lock:  # a stream that hangs in a call is left to itself: it finds its file closed
            self._changed.wait_for(self._is_quiet, max(0.0, deadline - time.monotonic()))
        self._publisher.close(deadline)
        with self._lock:
            left = list(self._transfers.values())
            self._transfers.clear()
        for transfer in left:
            transfer.end(keep_part=True)

    def _is_quiet(self) -> bool:
        return not any(link.streams for link in self._links.values())

    def _link(self, name: str) -> Link:
        return self._links.setdefault(name, Link(name, self._limits.connections))

    def _transfer_for(self, order: Order) -> Transfer:
        known = self._transfers.get(order.key)
        if known is not None and known.has_begun:
            before = known.order
            if (before.address, before.version, before.link) == (order.address, order.version, order.link):
                known.order = order  # its storage may have been opened anew
                return known
            known.end(keep_part=False)
        made = self._transfers[order.key] = Transfer(order, self._store, self._limits)
        return made

    def _forget(self, key: str) -> Transfer | None:
        transfer = self._transfers.pop(key, None)
        if transfer is not None and (link := self._links.get(transfer.order.link)) is not None:
            link.forget(transfer)
        return transfer

    def _start(self, link: Link) -> None:
        """One more stream, where there is work for it; it starts the next."""
        now = time.monotonic()
        if self._is_closed or len(link.streams) >= link.allowed:
            return
        if not link.has_work(now) and (link.streams or link.wakes_at(now) is None):
            return
        stream = Stream(link, self._ended)
        link.streams.add(stream)
        threading.Thread(target=self._run, args=(stream,), name=f"move {link.name}", daemon=True).start()
        if not self._is_watched:
            self._is_watched = True
            threading.Thread(target=self._watch, name="watch moving", daemon=True).start()

    def _run(self, stream: Stream) -> None:
        stream.link.meter.begin()
        while (work := self._next(stream)) is not None:
            self._attend(stream, *work)
        if not stream.is_abandoned:
            stream.link.meter.end()

    def _next(self, stream: Stream) -> tuple[Transfer, Claim | Unprepared] | None:
        link = stream.link
        with self._lock:
            stream.transfer = stream.claim = None
            while not stream.is_abandoned:
                now = time.monotonic()
                if self._is_closed or len(link.streams) > link.allowed:
                    break
                work = link.next_work(now)
                if work is not None:
                    transfer, part = work
                    stream.transfer, stream.claim = transfer, part if isinstance(part, Claim) else None
                    self._start(link)
                    return work
                wakes_at = link.wakes_at(now)
                if wakes_at is None:
                    break
                link.meter.end()
                self._changed.wait(wakes_at - now)
                link.meter.begin()
            link.streams.discard(stream)
            self._changed.notify_all()
            return None

    def _attend(self, stream: Stream, transfer: Transfer, part: Claim | Unprepared) -> None:
        """Do one piece of work. Whatever goes wrong with it, the stream goes on."""
        claim = part if isinstance(part, Claim) else None
        try:
            if claim is None:
                transfer.prepare()
            else:
                stream.bring(transfer, claim, self._should_yield)
            self._look_after(stream.link, transfer)
        except PartClosed:
            return
        except Exception as error:  # noqa: BLE001 - logged in _told
            if stream.is_abandoned or (claim is not None and claim.is_void):
                logger.debug("a stream that is not needed any more ends: %s", error)
                return
            self._trouble(stream.link, transfer, claim, error)

    def _look_after(self, link: Link, transfer: Transfer) -> None:
        """It may be whole now, or have parts again that others can bring."""
        if transfer.is_whole():
            with self._lock:
                link.forget(transfer)
            self._publisher.put(transfer)
            return
        with self._lock:
            link.look_again(transfer, time.monotonic())
            self._start(link)
            self._changed.notify_all()

    def _should_yield(self, transfer: Transfer) -> bool:
        link = self._links[transfer.order.link]
        with self._lock:
            return self._is_closed or len(link.streams) > link.allowed or link.has_better(transfer, time.monotonic())

    def _trouble(self, link: Link, transfer: Transfer, claim: Claim | None, error: Exception) -> None:
        try:
            if isinstance(error, SourceChanged) and claim is not None:
                if not transfer.change(claim):
                    self._fail(transfer, error)
                    return
            elif not _is_worth_a_retry(error):
                # Nothing is given back before: another stream would begin with it anew, and leave a part for a moment.
                self._fail(transfer, _told(error, transfer))
                return
            else:
                if claim is not None:
                    transfer.release(claim)
                if not transfer.put_off():
                    self._fail(transfer, _told(error, transfer))
                    return
            self._look_after(link, transfer)
        except PartClosed:
            return
        except Exception as worse:  # noqa: BLE001 - logged in _told
            self._fail(transfer, _told(worse, transfer))

    def _fail(self, transfer: Transfer, error: StemmaError) -> None:
        if self._settle(transfer):
            transfer.end(keep_part=isinstance(error, Unavailable) and not isinstance(error, StorageFull))
            self._tell(transfer, lambda: self._on_failed(transfer.order.key, error))

    def _publish(self, transfer: Transfer) -> None:
        try:
            moved = transfer.publish()
        except PartClosed:
            return
        except Exception as error:  # noqa: BLE001 - logged in _told
            self._fail(transfer, _told(error, transfer))
            return
        if self._settle(transfer):
            transfer.phase = Phase.OVER
            self._tell(transfer, lambda: self._on_done(transfer.order.key, moved))

    def _settle(self, transfer: Transfer) -> bool:
        """Whether it is this thread's to tell what became of it."""
        with self._lock:
            key = transfer.order.key
            if self._transfers.get(key) is not transfer:
                return False
            self._forget(key)
            self._settled.add(key)
            return True

    @staticmethod
    def _tell(transfer: Transfer, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            incident = clock.new_uuid().hex[-12:]
            logger.exception("what became of %s could not be taken down (incident %s)", transfer.order.shown, incident)

    def _watch(self) -> None:
        """Give up streams that hang, for as long as there are streams."""
        silence = self._limits.silence_seconds
        while not self._ended.wait(silence / 4):
            with self._lock:
                streams = [stream for link in self._links.values() for stream in link.streams]
                if not streams:
                    self._is_watched = False
                    return
            for stream in streams:
                if stream.is_stuck(time.monotonic(), silence):
                    self._abandon(stream)

    def _abandon(self, stream: Stream) -> None:
        with self._lock:
            transfer, claim = stream.transfer, stream.claim
            if transfer is None or claim is None or stream not in stream.link.streams:
                return
            if not stream.is_stuck(time.monotonic(), self._limits.silence_seconds):
                return  # it was just quick enough
            stream.is_abandoned = True
            stream.link.streams.discard(stream)
            stream.link.meter.end()
        silence = f"less than a byte a second comes, for {self._limits.silence_seconds:g} seconds"
        self._trouble(stream.link, transfer, claim, SourceUnavailable(transfer.order.shown, silence))


def _is_worth_a_retry(error: Exception) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, _OURS)


def _told(error: Exception, transfer: Transfer) -> StemmaError:
    """``error`` as it may be told: what nobody foresaw stands in the log alone."""
    if isinstance(error, StemmaError):
        return error
    incident = clock.new_uuid().hex[-12:]
    logger.error("%s cannot be moved (incident %s)", transfer.order.shown, incident, exc_info=error)
    return SourceUnusable(
        transfer.order.shown, f"an error inside Stemma; the service's log has it as incident {incident}"
    )
