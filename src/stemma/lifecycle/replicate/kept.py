"""What lies in a bounded store beside copies: it stays, but for what lies in the archive too."""

import logging
import time
from collections.abc import Collection
from typing import Final

from sqlmodel import Session

from stemma.database.queries import archive, eviction
from stemma.database.queries.replicas import Replica
from stemma.database.queries.storekeeping import ARCHIVED_ADDRESS
from stemma.errors import Unavailable
from stemma.lifecycle.archive.upkeep import Lying, droppable, let_go, lies_there, route_of
from stemma.lifecycle.installation import Installation
from stemma.planning.situation import HeldFile

logger = logging.getLogger(__name__)

_COUNT_SECONDS: Final = 60.0
"""How often what lies in a bounded store is counted."""
_SHARE: Final = 20
"""That takes at most one part in so many of the time."""
_TIGHT: Final = 0.9
"""What may be dropped is looked for where more than this share of the store is used, with what comes."""
_REST_SECONDS: Final = 60.0
_LONGEST_REST_SECONDS: Final = 900.0
_OFFERED: Final = 2000
"""So many archived contents are offered to the planner at a time, those first that were used longest ago."""
_ARCHIVED: Final = "archived "


class Kept:
    """Outputs, uploads and documents in the store. For one thread."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._counted_at = self._pause = 0.0
        self._bytes = 0
        self._archived: dict[str, Lying] = {}
        self._is_offering = False
        self._failures = 0
        self._is_resting = False
        self._rest_until = 0.0
        """The archive did not answer, and is not asked before that time: others wait for this thread."""

    def count(self, copies: Collection[Replica], coming_bytes: int) -> None:
        """Count what is there beside ``copies``, where that was not done lately; what may be dropped of it where what
        comes needs room."""
        limit = self._installation.settings.store_bytes
        if limit is None:
            return
        self._is_resting = time.monotonic() < self._rest_until
        beside = coming_bytes + sum(one.size_bytes or 0 for one in copies)
        is_recent = self._counted_at and time.monotonic() - self._counted_at <= self._pause
        is_tight = self.total_bytes + beside > limit * _TIGHT
        if is_recent and (self._is_offering or not is_tight):
            return
        began = time.monotonic()
        digests = {one.sha256 for one in copies}
        kept = sum(one.size_bytes for one in self._installation.store.contents() if one.sha256 not in digests)
        self._is_offering = kept + beside > limit * _TIGHT
        lying = droppable(self._installation) if self._is_offering else []
        offered = [one for one in lying if one.sha256 not in digests][:_OFFERED]
        self._archived = {f"{_ARCHIVED}{one.sha256}": one for one in offered}
        self._bytes = kept - sum(one.size_bytes for one in offered)
        self._counted_at = time.monotonic()
        self._pause = max(_COUNT_SECONDS, _SHARE * (self._counted_at - began))

    @property
    def size_bytes(self) -> int:
        """Of what is not dropped."""
        return self.total_bytes if self._is_resting else self._bytes

    @property
    def total_bytes(self) -> int:
        """Of all that is no copy."""
        return self._bytes + sum(one.size_bytes for one in self._archived.values())

    @property
    def files(self) -> tuple[HeldFile, ...]:
        """What may be dropped, as the planner is told of it; nothing while the archive is not asked."""
        if self._is_resting:
            return ()
        return tuple(
            HeldFile(key, one.size_bytes, _ARCHIVED.strip(), one.used_at) for key, one in self._archived.items()
        )

    def has(self, key: str) -> bool:
        """Whether one of :attr:`files` is meant."""
        return key.startswith(_ARCHIVED)

    def drop(self, key: str) -> bool:
        """Drop one of :attr:`files`; whether it is gone."""
        one = self._archived.get(key)
        if one is None or self._is_resting:
            return False
        try:
            gone = bool(let_go(self._installation, [one.sha256]))
        except Unavailable as error:
            self._rest(error)
            return False
        self._failures = 0
        del self._archived[key]
        if not gone:  # it is not asked about again until all is counted anew
            self._bytes += one.size_bytes
        return gone

    def lies_there(self, sha256: str) -> bool:
        """Whether the archive, which is asked, has all of a content."""
        archive = self._installation.archive
        if archive is None or self._is_resting:
            return False
        try:
            found = lies_there(self._installation, archive, sha256)
        except Unavailable as error:
            self._rest(error)
            return False
        self._failures = 0
        return found

    def _rest(self, error: Unavailable) -> None:
        seconds = min(_REST_SECONDS * 2.0 ** min(self._failures, 10), _LONGEST_REST_SECONDS)
        self._failures += 1
        self._is_resting = True
        self._rest_until = time.monotonic() + seconds
        logger.warning(
            "nothing that lies in the archive is dropped for %.0f s: %s", seconds, getattr(error, "reason", error)
        )


def is_kept(installation: Installation, session: Session, replica: Replica, *, is_archived: bool) -> bool:
    """Whether the bytes of a copy have to stay in the store for something else: unless they came from the archive, and
    it was asked whether they lie there still."""
    if not _is_something_else(installation, session, replica):
        return False
    return not is_archived or not _may_go(installation, session, replica)


def leans_on_archive(installation: Installation, session: Session, replica: Replica) -> bool:
    """Whether the bytes of a copy are something else too, and may go for the one reason that the archive has them."""
    return _may_go(installation, session, replica) and _is_something_else(installation, session, replica)


def _is_something_else(installation: Installation, session: Session, replica: Replica) -> bool:
    sha256 = replica.sha256
    return sha256 is not None and eviction.is_kept(session, installation.home_id, sha256, replica.id)


def _may_go(installation: Installation, session: Session, replica: Replica) -> bool:
    """Whether the bytes of a copy came from the archive, and are nothing that has to stay though they lie there."""
    sha256 = replica.sha256
    if installation.archive is None or sha256 is None or not replica.address.startswith(ARCHIVED_ADDRESS):
        return False
    route = route_of(installation, installation.archive)
    return bool(archive.droppable(session, route, [sha256], but=(replica.id,)))
