"""One file on its way: what of it is to be brought next, what came, and what became of it. Several streams bring it."""

import hashlib
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final

from stemma import clock
from stemma.errors import DigestMismatch, SourceUnavailable, SourceUnusable, TooLarge
from stemma.lifecycle.moving.body import Body
from stemma.lifecycle.moving.journal import source_of
from stemma.lifecycle.moving.orders import Limits, Moved, Order
from stemma.lifecycle.moving.patience import Patience
from stemma.lifecycle.moving.segments import SMALLEST, Claim, claim_bytes
from stemma.records import Content, Json
from stemma.store.content import ContentStore
from stemma.store.partial import PartClosed

SMALL_BYTES: Final = 64 * 1024
"""What is no longer than this is gathered in memory and written at once."""
WORTH_WAITING_BYTES: Final = 4 * SMALLEST
"""Other streams wait a moment for a file of that size to be opened, rather than begin with what is less urgent."""
_OPENING_SECONDS: Final = 0.1
"""No longer than this: what is there of it may have to be read first."""
_PATIENCE_SECONDS: Final = 0.3
"""How long the last note waits for threads that are feeding the digests."""


class Phase(Enum):
    """How far it is."""

    NEW = auto()
    PREPARING = auto()
    OPEN = auto()
    WHOLE = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class Unprepared:
    """What is had instead of a part of a file that has to be prepared (:meth:`Transfer.prepare`)."""


class Transfer:
    """One file on its way. All of its methods may be called by any thread; none calls the mover back."""

    def __init__(self, order: Order, store: ContentStore, limits: Limits) -> None:
        self.order = order
        self.index = 0
        """Its place in the order of its link."""
        self.phase = Phase.NEW
        self.version = order.version
        self.size_bytes = order.size_bytes
        self._sha256, self._md5, self._takes_ranges = order.expected_sha256, order.expected_md5, order.takes_ranges
        self._trusted_as = order.trusted_as
        self._told: dict[str, Json] = {}
        self._store, self._limits = store, limits
        self._lock = threading.Lock()
        self._body: Body | None = None
        self._opened_by = 0.0
        self._is_stale = False
        self._patience = Patience(limits)
        self._restarts = 0
        self._ended_short_at: int | None = None
        self._moved_bytes = 0
        self._started_at: datetime | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything was done for it."""
        return self._started_at is not None

    @property
    def arrived_bytes(self) -> int:
        """How much of it is here."""
        body = self._body
        return 0 if body is None else body.arrived_bytes

    @property
    def rests_until(self) -> float:
        """On the monotonic clock: when its source may be asked again."""
        return self._patience.until

    @property
    def opens_until(self) -> float:
        """On the monotonic clock: until when it is worth to wait for its parts, which somebody is opening."""
        return self._opened_by if self.phase is Phase.PREPARING else 0.0

    def _is_in(self, phase: Phase) -> bool:
        return self.phase is phase

    def has_work(self, now: float) -> bool:
        """Whether a stream could do something for it."""
        body = self._body
        is_open = self.phase is Phase.OPEN and body is not None and body.segments.has_free
        return (is_open or self.phase is Phase.NEW) and now >= self._patience.until

    def take(self, streams: int, segment: int) -> Claim | Unprepared | None:
        """A part to bring; where it has to be prepared first, that is the caller's to do now; None for neither."""
        with self._lock:
            self._started_at = self._started_at or clock.now()
            if self.phase is Phase.NEW and (self._is_stale or not self._open_if_small()):
                self.phase = Phase.PREPARING
                if self._can_be_resumed and (self.size_bytes or 0) >= WORTH_WAITING_BYTES:
                    self._opened_by = time.monotonic() + _OPENING_SECONDS
                return Unprepared()
            if self.phase is not Phase.OPEN or self._body is None:
                return None
            return self._body.take(claim_bytes(self._body.segments.free_bytes, streams, segment))

    def split(self, least_bytes: int) -> Claim | None:
        """Half of what another stream would still bring; None where that is too little."""
        with self._lock:
            return self._body.split(least_bytes) if self.phase is Phase.OPEN and self._body is not None else None

    def can_be_split(self, least_bytes: int) -> bool:
        """Whether :meth:`split` would give something."""
        with self._lock:
            return self.phase is Phase.OPEN and self._body is not None and self._body.can_be_split(least_bytes)

    def _open_if_small(self) -> bool:
        if self.size_bytes is None or self.size_bytes > SMALL_BYTES:
            return False
        self._body, self.phase = Body.small(self.size_bytes, also=self._also), Phase.OPEN
        return True

    @property
    def _also(self) -> str | None:
        """Which digest is to be compared beside SHA-256."""
        if self.order.expected_sha1 is not None:
            return "sha1"
        return "md5" if self._md5 is not None and self._sha256 is None else None

    @property
    def _can_be_resumed(self) -> bool:
        return self._takes_ranges and bool(self.version) and self.size_bytes is not None

    def prepare(self) -> None:
        """Look at the source again where it has changed, open the part file, and check what is in it.

        Raises:
            StemmaError: it cannot be had, or not be kept.
            PartClosed: it was dropped meanwhile.
        """
        if self._is_stale:
            self._look_again()
        if self.size_bytes is not None and self.size_bytes > self._limits.max_bytes:
            raise TooLarge(self.order.shown, self._limits.max_bytes)
        with self._lock:
            self._raise_if_over()
            if self._open_if_small():
                return
        name = hashlib.sha256(self.order.key.encode()).hexdigest()[:40] if self._can_be_resumed else None
        part = self._store.part(name)
        try:
            source = source_of(self.order.address, self.version)
            body = Body.opened(
                part,
                source,
                self.size_bytes,
                is_divisible=self._can_be_resumed,
                also=self._also,
                is_wanted=self._is_wanted,
            )
            with self._lock:
                self._raise_if_over()
                self._body, self.phase = body, Phase.OPEN
        except PartClosed:
            if part.can_be_resumed:
                part.leave()
            else:
                part.discard()
            raise
        except BaseException:
            part.discard()
            raise

    def _is_wanted(self) -> bool:
        return self.phase is not Phase.OVER

    def _raise_if_over(self) -> None:
        if self.phase is Phase.OVER:
            raise PartClosed

    def _look_again(self) -> None:
        info = self.order.storage.info(self.order.address)
        self.version, self.size_bytes, self._takes_ranges = info.version, info.size_bytes, info.takes_ranges
        self._md5, self._told = info.md5, info.told
        if self.order.trusted_as != "given":
            self._sha256, self._trusted_as = info.sha256, "source"  # what was known was of the version before
        self._is_stale = False

    def accept(self, claim: Claim, chunk: bytes, asked_end: int | None) -> bool:
        """Keep what came for ``claim``, and say whether more of it is wanted.

        Raises:
            SourceUnusable: that is more than its source had said.
            TooLarge: that is more than is taken, of a file whose size was not told.
            StorageFull, StoreUnwritable: it cannot be kept.
        """
        body = self._body
        if body is None:
            return False
        with body.lock:
            if claim.is_void:
                return False
            self._moved_bytes += len(chunk)
            room = (self._limits.max_bytes if claim.end is None else claim.end) - claim.position
            if len(chunk) > room:
                if claim.end is None:
                    raise TooLarge(self.order.shown, self._limits.max_bytes)
                if claim.end == asked_end:
                    raise SourceUnusable(self.order.shown, self._longer(claim.position + len(chunk)))
                chunk = chunk[:room]  # another stream brings the rest
            claim.promised = claim.position + len(chunk)
        body.write(claim, chunk)
        return True

    def _longer(self, seen_bytes: int) -> str:
        return f"its server told that it has {self.size_bytes} bytes, and gives at least {seen_bytes}"

    def end_of_source(self, claim: Claim) -> None:
        """Its source gave no more for ``claim``.

        Raises:
            SourceUnavailable: that is less than it should be; it may be asked for the rest.
            SourceUnusable: it was asked for the rest, and gave nothing.
        """
        body = self._body
        if body is None:
            return
        with body.lock:
            if claim.is_void or claim.left == 0:
                return
            if claim.end is None:
                body.segments.ended(claim)
                return
        reason = f"its server told that it has {self.size_bytes} bytes, and gives {claim.position}"
        if self._ended_short_at == claim.position:
            raise SourceUnusable(self.order.shown, reason)
        self._ended_short_at = claim.position
        raise SourceUnavailable(self.order.shown, reason)

    def release(self, claim: Claim) -> None:
        """The stream that brought ``claim`` ends here."""
        with self._lock:
            body = self._body
            if claim.is_void or body is None:
                return
            with body.lock:
                is_part = claim.left != 0
                body.segments.release(claim)
            if is_part and not body.segments.is_divisible:
                self._begin_anew()
        body.note_sometimes()

    def _begin_anew(self) -> None:
        """Nothing that is here counts. The caller locks."""
        if self._body is not None:
            self._body.void()
            self._body.discard()
        self._body, self.phase = None, Phase.NEW

    def put_off(self) -> bool:
        """Its source does not answer: wait before it is asked again. False where it was asked often enough."""
        arrived = self.arrived_bytes
        with self._lock:
            if self.phase is Phase.PREPARING:
                self._begin_anew()
            return self._patience.has_more(arrived)

    def change(self, claim: Claim) -> bool:
        """Its source is not what it was: look at it again, and begin anew. False where that was done often enough."""
        with self._lock:
            if claim.is_void or self.phase is Phase.OVER:
                return True  # another stream was told so before
            self._restarts += 1
            if self._restarts > self._limits.restarts:
                self.phase = Phase.OVER  # no other stream is to ask again meanwhile
                return False
            self._begin_anew()
            self._is_stale = True
            return True

    def is_whole(self) -> bool:
        """Whether all of it is here. True once: whoever is told publishes it.

        Raises:
            StoreUnwritable: the part file was changed by somebody else.
        """
        body = self._body
        if not self._is_in(Phase.OPEN) or body is None or not body.is_whole():
            return False
        with self._lock:
            was_open = self._is_in(Phase.OPEN) and self._body is body
            self.phase = Phase.WHOLE if was_open else self.phase
            return was_open

    def publish(self) -> Moved:
        """Compare its digest with what was expected, and put it into the store.

        Raises:
            DigestMismatch: it is another one; nothing is published.
            StorageFull, StoreUnwritable: it cannot be kept.
            PartClosed: it was dropped meanwhile.
        """
        body = self._body
        if body is None:
            raise PartClosed
        content = Content(body.digests.sha256, body.digests.position)
        verified = self._verified(content.sha256, body.digests.other)
        if body.part is None:
            self._publish_gathered(body.gathered, content)
        else:
            body.part.cut(content.size_bytes)
            self._store.publish(body.part, content)
        ended_at = clock.now()
        return Moved(
            content, self.version, self._told, self._moved_bytes, self._started_at or ended_at, ended_at, verified
        )

    def _publish_gathered(self, gathered: bytearray, content: Content) -> None:
        part = self._store.part()
        try:
            part.write(0, gathered)
            self._store.publish(part, content)
        finally:
            part.discard()

    def _verified(self, sha256: str, other: str | None) -> str:
        if self._sha256 is not None and self._sha256.lower() != sha256:
            raise DigestMismatch(self.order.shown, self._sha256, sha256)
        if self.order.expected_sha1 is not None:
            if self.order.expected_sha1 != other:
                raise DigestMismatch(self.order.shown, self.order.expected_sha1, other or "not known")
            return "given"
        if self._sha256 is not None:
            return self._trusted_as
        if self._md5 is None or other is None:
            return "first use"
        if self._md5.lower() != other:
            raise DigestMismatch(self.order.shown, self._md5, other)
        return "source"

    def stop(self) -> None:
        """Nothing more is to be written for it."""
        with self._lock:
            if self._body is not None:
                self._body.void()

    def end(self, *, keep_part: bool) -> None:
        """Let go of it, wherever it is: ``keep_part``: what is here stays for who goes on with it."""
        with self._lock:
            self.phase = Phase.OVER
            body = self._body
        if body is not None:
            body.void()
            if keep_part:
                body.leave(_PATIENCE_SECONDS)
            else:
                body.discard()
