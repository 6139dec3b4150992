"""One round of replication: read, plan, make room, claim, and tell the mover."""

import logging
import time
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from stemma import clock
from stemma.database.queries import remotes, replicas
from stemma.database.queries.remotes import Remote
from stemma.database.queries.replicas import NeedState, Replica, ReplicaState
from stemma.engines.protocol import Owner
from stemma.errors import EngineUnreachable, RemoteNotFound, StemmaError, Unavailable
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.moving.mover import Mover
from stemma.lifecycle.moving.orders import LinkRates, Order
from stemma.lifecycle.remotes import storage_for
from stemma.lifecycle.replicate.guard import dropping
from stemma.lifecycle.replicate.outlook import Outlook, Reader
from stemma.lifecycle.sources import shown
from stemma.planning.planner import plan
from stemma.planning.situation import (
    HeldFile,
    LinkState,
    Plan,
    RunShare,
    Situation,
    StoreState,
    WantedFile,
)

logger = logging.getLogger(__name__)

AHEAD_FILES: Final = 1024
AHEAD_BYTES: Final = 32 * 1024 * 1024
AHEAD_SECONDS: Final = 2.0
"""How much is claimed of a link before it begins: so many files at most, and so many bytes, or what the link brings in
that time, beside two files for each stream. Small files then follow each other without a pause between two rounds."""
_IN_USE_SECONDS: Final = 2.0
"""How long a copy that could not be taken back is left alone."""
_SERVED_SECONDS: Final = 60.0
"""How long what a run was given counts, where several share a link."""
_COUNT_SECONDS: Final = 60.0
"""How often what lies in a bounded store is counted."""


class Rounds:
    """The rounds of one process."""

    def __init__(self, installation: Installation, name: str) -> None:
        self._installation = installation
        self._name = name
        self._reader = Reader(installation)
        self._orders: dict[int, Order] = {}
        self._in_use: dict[int, float] = {}
        """Copies that a step reads, until when they are believed to be."""
        self._counted: tuple[float, int] = (0.0, 0)
        """When the store was counted, and the bytes in it that are no copies."""
        self._remotes: dict[int, Remote | None] = {}
        self._needed_by: dict[int, tuple[int, ...]] = {}
        """The runs that need a copy, as they were read last."""
        self._served: deque[tuple[float, int, int]] = deque()
        """What was brought lately: when, for which run, how many bytes."""

    def ended(self, replica_id: int, moved_bytes: int) -> None:
        """A transfer has ended."""
        self._orders.pop(replica_id, None)
        for run_id in self._needed_by.get(replica_id, ()):
            self._served.append((time.monotonic(), run_id, moved_bytes))

    def go(self, mover: Mover, claimed: dict[int, tuple[Replica, int]]) -> None:
        """Do one round. ``claimed`` is what is being moved, with its fences; what is claimed here is added to it."""
        outlook = self._reader.read(clock.now())
        self._remotes.clear()
        for replica_id in claimed.keys() - {one.id for one in outlook.wanted}:  # nobody needs it any more
            mover.drop(str(replica_id), keep_part=True)
            self._give_back(replica_id, claimed)
        if not outlook.wanted:
            self._installation.database.write(lambda session: replicas.abandon(session, self._installation.home_id))
        wanted = {str(one.id): one for one in outlook.wanted}
        situation = self._situation(outlook, mover, claimed)
        decided = plan(situation)
        self._claim(decided, situation, wanted, claimed)
        orders = [order for fetch in decided.order if (order := self._order(int(fetch.key), claimed)) is not None]
        for link in {order.link for order in orders}:
            settings = self._installation.settings
            mover.limit(
                link,
                bytes_per_second=settings.replication_bytes_per_second,
                connections=settings.replication_streams,
            )
        mover.arrange(orders, decided.streams)

    def _situation(self, outlook: Outlook, mover: Mover, claimed: dict[int, tuple[Replica, int]]) -> Situation:
        arrived, rates = mover.progress(), mover.rates()
        files = tuple(
            WantedFile(
                key=str(one.id),
                remote=link_of(one),
                size_bytes=one.size_bytes,
                arrived_bytes=arrived.get(str(one.id), 0),
                is_moving=one.id in claimed,
            )
            for one in outlook.wanted
        )
        now = time.monotonic()
        self._in_use = {replica_id: until for replica_id, until in self._in_use.items() if until > now}
        held = {one.id: one for one in outlook.held}
        times: dict[int, int] = {}
        for need in outlook.needs:
            times[need.replica_id] = max(need.times, times.get(need.replica_id, 0))
        store = StoreState(
            limit_bytes=self._installation.settings.store_bytes,
            files=tuple(
                HeldFile(
                    str(one.id),
                    one.size_bytes or 0,
                    link_of(one),
                    one.used_at.timestamp() if one.used_at else 0.0,
                    times.get(one.id, 0),
                )
                for one in held.values()
            ),
            pinned=frozenset(
                str(replica_id)
                for replica_id in self._in_use.keys()
                | {need.replica_id for need in outlook.needs if need.state is NeedState.GIVEN}
            ),
            kept_bytes=self._kept_bytes(held.values()),
        )
        most = self._installation.settings.replication_streams
        links = tuple(_link(name, rates.get(name), most) for name in sorted({file.remote for file in files}))
        shares = tuple(self._shares(outlook))
        return Situation(files, tuple(outlook.steps), links, store, shares)

    def _shares(self, outlook: Outlook) -> Iterator[RunShare]:
        """What each run has had of the link lately, so that none waits for ever behind the others."""
        needed_by: dict[int, list[int]] = {}
        for need in outlook.needs:
            needed_by.setdefault(need.replica_id, []).append(need.run_id)
        self._needed_by = {replica_id: tuple(runs) for replica_id, runs in needed_by.items()}
        while self._served and self._served[0][0] < time.monotonic() - _SERVED_SECONDS:
            self._served.popleft()
        served: dict[int, int] = {}
        for _, run_id, count in self._served:
            served[run_id] = served.get(run_id, 0) + count
        for run_id in outlook.runs:
            slots = self._installation.settings.cores
            yield RunShare(str(run_id), served_bytes=served.get(run_id, 0), slots=slots, came=run_id)

    def _claim(
        self, decided: Plan, situation: Situation, wanted: dict[str, Replica], claimed: dict[int, tuple[Replica, int]]
    ) -> None:
        """Claim what comes first, as far as there is room for it."""
        ahead = {link.name: _Ahead(link, decided.streams.get(link.name, 1)) for link in situation.links}
        for file in situation.files:
            if file.is_moving:
                ahead[file.remote].take((file.size_bytes or 0) - file.arrived_bytes)
        room = _Room(situation, decided)
        now = clock.now()
        chosen: list[Replica] = []
        for fetch in decided.order:
            replica = wanted[fetch.key]
            if replica.id in claimed or replica.not_before > now or not ahead[fetch.remote].is_open:
                continue
            if not self._make_room(room, replica):
                break
            ahead[fetch.remote].take(replica.size_bytes or 0)
            chosen.append(replica)
        if not chosen:
            return
        until = now + timedelta(seconds=self._installation.settings.lease_seconds)
        ids = [one.id for one in chosen]
        fences = self._installation.database.write(
            lambda session: replicas.claim(session, self._installation.home_id, ids, self._name, until)
        )
        for replica in chosen:
            if replica.id in fences:
                claimed[replica.id] = replica, fences[replica.id]

    def _make_room(self, room: "_Room", replica: Replica) -> bool:
        """Drop copies until there is room for another; whether there is."""
        needed = replica.size_bytes or 0
        while not room.has(needed):
            candidate = room.next_to_drop()
            if candidate is None:
                return False
            if self._drop(int(candidate)):
                room.dropped(candidate)
            else:
                self._in_use[int(candidate)] = time.monotonic() + _IN_USE_SECONDS
        room.take(needed)
        return True

    def _drop(self, replica_id: int) -> bool:
        """Drop one copy, unless a step reads it; whether it was dropped."""
        database, home = self._installation.database, self._installation.home_id
        with dropping(self._installation.settings.home):
            database.write(lambda session: replicas.untell_copy(session, replica_id))
            with database.reading() as session:
                replica = replicas.get(session, replica_id)
                needs = replicas.needs(session, [replica_id])
                runs = self._reader.runs(session, needs)
                is_kept = replica.sha256 is not None and replicas.is_kept(session, home, replica.sha256, replica_id)
            if replica.state is not ReplicaState.HERE or not all(self._is_given_back(runs, need) for need in needs):
                return False
            # The file first: a row without one heals itself, a file without a row would be lost space.
            if replica.sha256 is not None and not is_kept:
                self._installation.store.remove(replica.sha256)
            kept = [need.occurrence for need in needs if self._has_its_own(runs, need)]
            dropped = database.write(lambda session: replicas.evict(session, home, replica_id, kept))
        logger.debug("dropped copy %s (%s bytes)", replica_id, replica.size_bytes)
        return dropped

    def _is_given_back(self, runs: dict[int, Any], need: replicas.Need) -> bool:
        """Whether a run lets go of a copy."""
        if need.state is NeedState.GIVEN:
            return False
        if need.state is not NeedState.HERE:
            return True
        run = runs.get(need.run_id)
        engine = self._installation.engines.working().get(run.engine) if run is not None else None
        recall = getattr(engine, "recall", None)
        if run is None:
            return False
        if run.reference is None:  # its job has nothing yet: what it would have from the beginning is GIVEN
            return True
        try:
            return recall is not None and bool(recall(run.reference, need.occurrence))
        except EngineUnreachable as error:
            logger.warning("run %s cannot be asked for a copy: %s", need.run_id, error)
            return False

    def _has_its_own(self, runs: dict[int, Any], need: replicas.Need) -> bool:
        """Whether the engine of a run has a whole copy of its own by now."""
        run = runs.get(need.run_id)
        engine = self._installation.engines.working().get(run.engine) if run is not None else None
        keeps = getattr(engine, "keeps", None)
        return (
            run is not None
            and run.reference is not None
            and keeps is not None
            and bool(keeps(run.reference, need.occurrence))
        )

    def _kept_bytes(self, held: "Any") -> int:
        if self._installation.settings.store_bytes is None:
            return 0
        counted_at, kept = self._counted
        if not counted_at or time.monotonic() - counted_at > _COUNT_SECONDS:
            copies = {one.sha256 for one in held}
            kept = sum(one.size_bytes for one in self._installation.store.contents() if one.sha256 not in copies)
            self._counted = time.monotonic(), kept
        return kept

    def _order(self, replica_id: int, claimed: dict[int, tuple[Replica, int]]) -> Order | None:
        """What the mover is told of a copy; None where it is not ours to move."""
        if replica_id not in claimed:
            return None
        if replica_id not in self._orders:
            replica, fence = claimed[replica_id]
            try:
                self._orders[replica_id] = self._made_order(replica)
            except Unavailable as error:  # ours to try again: the database, rclone
                logger.warning("copy %s cannot be asked for now: %s", replica_id, error)
                return None
            except StemmaError as error:
                reason = str(error)
                self._installation.database.write(lambda session: replicas.fail(session, replica_id, fence, reason))
                del claimed[replica_id]
                return None
        return self._orders[replica_id]

    def _made_order(self, replica: Replica) -> Order:
        remote = None
        if replica.remote_id is not None:
            remote = self._remote(replica.remote_id)
            if remote is None or not replica.is_of(remote.uuid):
                raise RemoteNotFound(shown(replica.address))
        # Whoever wanted it could reach it through that place; which is somebody's own, or the group's.
        subject = remote.owner if remote is not None and remote.group is None else ""
        storage = storage_for(self._installation, remote, replica.address, Owner(subject, replica.group))
        told_sha256 = replica.told.get("sha256")
        expected = replica.expected or replica.sha256 or told_sha256
        by = "given" if replica.expected else "catalogue" if replica.sha256 else "source"
        return Order(
            key=str(replica.id),
            storage=storage,
            address=replica.address,
            version=replica.version,
            size_bytes=replica.size_bytes,
            link=link_of(replica),
            expected_sha256=expected,
            expected_md5=replica.told.get("md5"),
            takes_ranges=bool(replica.told.get("takes_ranges", True)),
            what=shown(replica.address),
            trusted_as=by,
        )

    def _remote(self, remote_id: int) -> Remote | None:
        """A registered place, as it was at the beginning of this round."""
        if remote_id not in self._remotes:
            with self._installation.database.reading() as session:
                self._remotes[remote_id] = remotes.get(session, remote_id)
        return self._remotes[remote_id]

    def _give_back(self, replica_id: int, claimed: dict[int, tuple[Replica, int]]) -> None:
        _, fence = claimed.pop(replica_id)
        self._orders.pop(replica_id, None)
        self._installation.database.write(lambda session: replicas.release(session, {replica_id: fence}))


class _Ahead:
    """What may still be claimed of one link."""

    def __init__(self, link: LinkState, streams: int) -> None:
        self._sure = 2 * streams
        self._files = AHEAD_FILES
        self._bytes = max(float(AHEAD_BYTES), (link.bytes_per_second or 0.0) * AHEAD_SECONDS)

    @property
    def is_open(self) -> bool:
        return self._sure > 0 or (self._files > 0 and self._bytes > 0)

    def take(self, size: int) -> None:
        self._sure -= 1
        self._files -= 1
        self._bytes -= size


class _Room:
    """The space of a bounded store, while a plan is carried out."""

    def __init__(self, situation: Situation, decided: Plan) -> None:
        store = situation.store
        self._sizes = {file.key: file.size_bytes for file in store.files}
        self._candidates: Iterator[str] = iter(decided.evict)
        moving = sum(file.size_bytes or 0 for file in situation.files if file.is_moving)
        used = store.kept_bytes + sum(self._sizes.values()) + moving
        self._free = None if store.limit_bytes is None else store.limit_bytes - used

    def has(self, needed: int) -> bool:
        return self._free is None or needed <= self._free

    def take(self, needed: int) -> None:
        if self._free is not None:
            self._free -= needed

    def next_to_drop(self) -> str | None:
        return next(self._candidates, None)

    def dropped(self, key: str) -> None:
        if self._free is not None:
            self._free += self._sizes.get(key, 0)


def link_of(replica: Replica) -> str:
    """The way that a copy comes over: copies of one place share it."""
    if replica.remote_id is not None:
        return f"remote {replica.remote_id}"
    parts = urlsplit(replica.address)
    return f"{parts.scheme}://{parts.hostname or ''}:{parts.port or ''}"


def _link(name: str, rates: LinkRates | None, most_streams: int) -> LinkState:
    if rates is None:
        return LinkState(name, most_streams=most_streams)
    return LinkState(name, rates.rates, rates.bytes_per_second, most_streams, rates.seconds_per_request)
