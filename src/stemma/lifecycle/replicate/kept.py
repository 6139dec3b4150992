"""What lies in a bounded store beside copies: it stays, but for what lies in the archive too."""

import logging
import time
from collections.abc import Iterable
from typing import Final

from sqlmodel import Session

from stemma.database.queries import archive, eviction
from stemma.database.queries.replicas import Replica
from stemma.database.queries.storekeeping import ARCHIVED_ADDRESS
from stemma.errors import Unavailable
from stemma.lifecycle.archive.upkeep import Lying, droppable, let_go, route_of
from stemma.lifecycle.installation import Installation
from stemma.planning.situation import HeldFile

logger = logging.getLogger(__name__)

_COUNT_SECONDS: Final = 60.0
"""How often what lies in a bounded store is counted."""
_OFFERED: Final = 2000
"""So many archived contents are offered to the planner at a time, those first that were used longest ago."""
_ARCHIVED: Final = "archived "


class Kept:
    """Outputs, uploads and documents in the store. For one thread."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._counted_at = 0.0
        self._bytes = 0
        self._archived: dict[str, Lying] = {}

    def count(self, copies: Iterable[Replica]) -> None:
        """Count what is there beside ``copies``, where that was not done lately."""
        if self._installation.settings.store_bytes is None:
            return
        if self._counted_at and time.monotonic() - self._counted_at <= _COUNT_SECONDS:
            return
        digests = {one.sha256 for one in copies}
        kept = sum(one.size_bytes for one in self._installation.store.contents() if one.sha256 not in digests)
        offered = [one for one in droppable(self._installation) if one.sha256 not in digests][:_OFFERED]
        self._archived = {f"{_ARCHIVED}{one.sha256}": one for one in offered}
        self._bytes = kept - sum(one.size_bytes for one in offered)
        self._counted_at = time.monotonic()

    @property
    def size_bytes(self) -> int:
        """Of what is not dropped."""
        return self._bytes

    @property
    def total_bytes(self) -> int:
        """Of all that is no copy."""
        return self._bytes + sum(one.size_bytes for one in self._archived.values())

    @property
    def files(self) -> tuple[HeldFile, ...]:
        """What may be dropped, as the planner is told of it."""
        return tuple(
            HeldFile(key, one.size_bytes, _ARCHIVED.strip(), one.used_at) for key, one in self._archived.items()
        )

    def has(self, key: str) -> bool:
        """Whether one of :attr:`files` is meant."""
        return key.startswith(_ARCHIVED)

    def drop(self, key: str) -> bool:
        """Drop one of :attr:`files`; whether it is gone."""
        one = self._archived.pop(key, None)
        if one is None:
            return False
        try:
            gone = bool(let_go(self._installation, [one.sha256]))
        except Unavailable as error:
            logger.warning("an archived file is not dropped: %s", getattr(error, "reason", error))
            gone = False
        if not gone:  # it is not asked about again until all is counted anew
            self._bytes += one.size_bytes
        return gone


def is_kept(installation: Installation, session: Session, replica: Replica) -> bool:
    """Whether the bytes of a copy have to stay in the store for something else: unless they came from the archive."""
    sha256 = replica.sha256
    if sha256 is None or not eviction.is_kept(session, installation.home_id, sha256, replica.id):
        return False
    if installation.archive is None or not replica.address.startswith(ARCHIVED_ADDRESS):
        return True
    route = route_of(installation, installation.archive)
    return not archive.droppable(session, route, [sha256], but=(replica.id,))
