"""One round of replication: read, plan, make room, claim, and tell the mover."""

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from stemma import clock
from stemma.cwl.filereferences import is_sha1
from stemma.database.queries import eviction, transfers
from stemma.database.queries.archive import digest_in
from stemma.database.queries.replicas import NeedState, Replica
from stemma.database.queries.storekeeping import ARCHIVED_ADDRESS
from stemma.errors import SourceUnusable, StemmaError, Unavailable
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.moving.mover import Mover
from stemma.lifecycle.moving.orders import Order
from stemma.lifecycle.replicate.ahead import Space
from stemma.lifecycle.replicate.budgets import Room, Supply, budgets, link_of, link_state
from stemma.lifecycle.replicate.drops import Drops
from stemma.lifecycle.replicate.idleness import Idleness
from stemma.lifecycle.replicate.kept import Kept
from stemma.lifecycle.replicate.outlook import Outlook, Reader
from stemma.lifecycle.replicate.places import Places
from stemma.lifecycle.replicate.widths import Widths
from stemma.lifecycle.sources import shown
from stemma.planning.planner import plan
from stemma.planning.situation import (
    HeldFile,
    Plan,
    RunShare,
    Situation,
    StoreState,
    WantedFile,
)
from stemma.states import RunState
from stemma.storages.archive import ArchiveStorage

logger = logging.getLogger(__name__)

_IN_USE_SECONDS: Final = 2.0
"""How long a copy that could not be taken back is left alone."""
AHEAD_LINKS: Final = 16
"""To how many places at a time what no run needs yet is fetched from: each has streams, which are threads."""
_SERVED_SECONDS: Final = 60.0
"""How long what a run was given counts, where several share a link."""


class Rounds:
    """The rounds of one process."""

    def __init__(self, installation: Installation, name: str) -> None:
        self._installation = installation
        self._name = name
        self._reader = Reader(installation)
        self._orders: dict[int, Order] = {}
        self._in_use: dict[int, float] = {}
        """Copies that a step reads, until when they are believed to be."""
        self._kept = Kept(installation)
        self._drops = Drops(installation, self._reader, self._kept)
        self._places = Places(installation)
        self._widths = Widths(installation.settings.replication_streams)
        self._idleness = Idleness()
        self._supply = Supply()
        self._needed_by: dict[int, tuple[int, ...]] = {}
        """The runs that need a copy, as they were read last."""
        self._served: deque[tuple[float, int, int]] = deque()
        """What was brought lately: when, for which run, how many bytes."""

    def ended(self, replica_id: int, moved_bytes: int) -> None:
        """A transfer has ended."""
        self._orders.pop(replica_id, None)
        self._supply.ended(replica_id)
        for run_id in self._needed_by.get(replica_id, ()):
            self._served.append((time.monotonic(), run_id, moved_bytes))

    @property
    def is_running_dry(self) -> bool:
        """Whether a link has moved half of what was claimed of it in the last round."""
        return self._supply.is_running_dry

    def go(self, mover: Mover, claimed: dict[int, tuple[Replica, int]]) -> None:
        """Do one round. ``claimed`` is what is being moved, with its fences; what is claimed here is added to it."""
        outlook = self._reader.read(clock.now())
        self._places.forget()  # they may have been changed since the last round
        self._drops.begin()
        wanted = {one.id for one in (*outlook.wanted, *outlook.ahead)}
        for replica_id in claimed.keys() - wanted:  # nobody needs it any more
            mover.drop(str(replica_id), keep_part=True)
            self._give_back(replica_id, claimed)
        if not wanted:
            self._installation.database.write(lambda session: eviction.abandon(session, self._installation.home_id))
        space = self._space(outlook, claimed)
        for replica in space.given_up() if space is not None else ():
            mover.drop(str(replica.id), keep_part=True)
            self._give_back(replica.id, claimed)
        situation = self._situation(outlook, mover, claimed)
        decided = plan(situation)
        needed = {one.id: one for one in outlook.wanted}
        self._claim(decided, situation, needed, claimed)
        space = self._space(outlook, claimed)  # runs have taken some of it by now
        self._claim_ahead(outlook.ahead, decided, situation, claimed, space)
        first = [number for fetch in decided.order if (number := int(fetch.key)) in needed]
        behind = [one.id for one in outlook.ahead if one.id in claimed]
        orders = [order for number in (*first, *behind) if (order := self._order(number, claimed)) is not None]
        for link in {order.link for order in orders}:
            settings = self._installation.settings
            mover.limit(
                link,
                bytes_per_second=settings.replication_bytes_per_second,
                connections=settings.replication_streams,
            )
        mover.arrange(orders, decided.streams)
        self._supply = Supply(replica for replica, _ in claimed.values())
        self._widths.planned(decided, situation)

    def widen(self, mover: Mover) -> None:
        """Say anew over how many streams what was planned is brought: between two rounds."""
        mover.widen(self._widths.by_now(mover.rates()))

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
            for one in (*outlook.wanted, *(one for one in outlook.ahead if one.id in claimed))
        )
        now = time.monotonic()
        self._in_use = {replica_id: until for replica_id, until in self._in_use.items() if until > now}
        held = {one.id: one for one in outlook.held}
        coming = sum(one.size_bytes or 0 for one in (*outlook.wanted, *outlook.ahead))
        self._kept.count(held.values(), coming)
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
            )
            + self._kept.files,
            pinned=frozenset(
                str(replica_id)
                for replica_id in self._in_use.keys()
                | {need.replica_id for need in outlook.needs if need.state is NeedState.GIVEN}
            ),
            kept_bytes=self._kept.size_bytes,
        )
        most = self._installation.settings.replication_streams
        names = {link_of(one) for one in (*outlook.wanted, *outlook.ahead)}
        links = tuple(link_state(name, rates.get(name), most) for name in sorted(names))
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
        idle = self._idleness.look(outlook.steps, time.monotonic())
        for run_id, row in outlook.runs.items():
            slots = self._installation.settings.cores
            yield RunShare(
                str(run_id),
                served_bytes=served.get(run_id, 0),
                slots=slots,
                has_begun=row.state != RunState.QUEUED,
                came=run_id,
                idle_seconds=idle.get(str(run_id), 0.0),
            )

    def _claim(
        self, decided: Plan, situation: Situation, needed: dict[int, Replica], claimed: dict[int, tuple[Replica, int]]
    ) -> None:
        """Claim what comes first, as far as there is room for it."""
        # What is fetched ahead takes nothing of what may be claimed for runs.
        ahead = budgets(decided, situation, [file for file in situation.files if int(file.key) in needed])
        room = Room(situation, decided)
        now = clock.now()
        chosen: list[Replica] = []
        for fetch in decided.order:
            replica = needed.get(int(fetch.key))
            if replica is None or replica.id in claimed or replica.not_before > now or not ahead[fetch.remote].is_open:
                continue
            if not self._make_room(room, replica):
                break
            ahead[fetch.remote].take(replica.size_bytes or 0)
            chosen.append(replica)
        self._take(chosen, claimed)

    def _claim_ahead(
        self,
        wished: Sequence[Replica],
        decided: Plan,
        situation: Situation,
        claimed: dict[int, tuple[Replica, int]],
        space: Space | None,
    ) -> None:
        """Claim what no run needs yet, where runs leave room for it."""
        ahead = budgets(decided, situation, situation.files)
        now = clock.now()
        chosen: list[Replica] = []
        links = {link_of(one) for one in wished if one.id in claimed}
        for replica in wished:
            link = ahead[link_of(replica)]
            if replica.id in claimed or replica.not_before > now or not link.is_open:
                continue
            if link_of(replica) not in links and len(links) >= AHEAD_LINKS:
                continue
            links.add(link_of(replica))
            if space is not None and not self._make_space(space, replica):
                break
            link.take(replica.size_bytes or 0)
            chosen.append(replica)
        self._take(chosen, claimed)

    def _make_space(self, space: Space, replica: Replica) -> bool:
        """Drop what nobody needs until there is room for one more to be fetched ahead; whether there is."""
        if not space.may_take(replica):
            return False
        while not space.has_room(replica):
            candidate = space.next_to_drop() if self._drops.may_go_on() else None
            if candidate is None:
                return False
            if self._drops.drop(candidate.id):
                space.dropped(candidate)
        space.take(replica)
        return True

    def _space(self, outlook: Outlook, claimed: dict[int, tuple[Replica, int]]) -> Space | None:
        limit = self._installation.settings.store_bytes
        if limit is None or not outlook.ahead:
            return None
        return Space(
            limit,
            kept_bytes=self._kept.total_bytes,
            held=outlook.held,
            needed=frozenset(need.replica_id for need in outlook.needs) | self._in_use.keys(),
            wished=outlook.wished,
            wanted=outlook.wanted,
            moving=frozenset(claimed),
            ahead=[one for one in outlook.ahead if one.id in claimed],
        )

    def _take(self, chosen: Sequence[Replica], claimed: dict[int, tuple[Replica, int]]) -> None:
        """Claim these."""
        if not chosen:
            return
        until = clock.now() + timedelta(seconds=self._installation.settings.lease_seconds)
        ids = [one.id for one in chosen]
        fences = self._installation.database.write(
            lambda session: transfers.claim(session, self._installation.home_id, ids, self._name, until)
        )
        for replica in chosen:
            if replica.id in fences:
                claimed[replica.id] = replica, fences[replica.id]

    def _make_room(self, room: Room, replica: Replica) -> bool:
        """Drop copies until there is room for another; whether there is."""
        needed = replica.size_bytes or 0
        while not room.has(needed):
            candidate = room.next_to_drop() if self._drops.may_go_on() else None
            if candidate is None:
                return False
            is_copy = not self._kept.has(candidate)
            if self._drops.drop(int(candidate)) if is_copy else self._kept.drop(candidate):
                room.dropped(candidate)
            elif is_copy:
                self._in_use[int(candidate)] = time.monotonic() + _IN_USE_SECONDS
        room.take(needed)
        return True

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
                self._installation.database.write(lambda session: transfers.fail(session, replica_id, fence, reason))
                del claimed[replica_id]
                return None
        return self._orders[replica_id]

    def _made_order(self, replica: Replica) -> Order:
        if replica.address.startswith(ARCHIVED_ADDRESS):
            return self._order_from_archive(replica)
        storage, address = self._places.reach(replica)
        told_sha256 = replica.told.get("sha256")
        given, sha1 = replica.expected, None
        if given is not None and is_sha1(given):
            given, sha1 = None, given
        expected = given or replica.sha256 or told_sha256
        by = "given" if given else "catalogue" if replica.sha256 else "source"
        return Order(
            key=str(replica.id),
            storage=storage,
            address=address,
            version=replica.version,
            size_bytes=replica.size_bytes,
            link=link_of(replica),
            expected_sha256=expected,
            expected_md5=replica.told.get("md5"),
            expected_sha1=sha1,
            takes_ranges=bool(replica.told.get("takes_ranges", True)),
            what=shown(address),
            trusted_as=by,
        )

    def _order_from_archive(self, replica: Replica) -> Order:
        if self._installation.archive is None:
            raise SourceUnusable("a file of this service", "it lies in the archive, and none is set up any more")
        return Order(
            key=str(replica.id),
            storage=ArchiveStorage(self._installation.archive, digest_in),
            address=replica.address,
            version=replica.version,
            size_bytes=replica.size_bytes,
            link=link_of(replica),
            expected_sha256=replica.expected,
            what="a file of this service that lies in the archive",
            trusted_as="catalogue",
        )

    def _give_back(self, replica_id: int, claimed: dict[int, tuple[Replica, int]]) -> None:
        _, fence = claimed.pop(replica_id)
        self._orders.pop(replica_id, None)
        self._installation.database.write(lambda session: transfers.release(session, {replica_id: fence}))
