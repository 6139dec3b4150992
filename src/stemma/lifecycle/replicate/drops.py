"""Drops copies from the store, unless a step reads them, or the archive does not have what came from it."""

import logging
import time
from typing import Any, Final

from stemma.database.queries import deliveries, eviction, replicas
from stemma.database.queries.replicas import NeedState, Replica, ReplicaState
from stemma.errors import EngineUnreachable
from stemma.lifecycle.archive.upkeep import unused_since
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.guard import dropping
from stemma.lifecycle.replicate.kept import Kept, is_kept, leans_on_archive
from stemma.lifecycle.replicate.outlook import Reader

logger = logging.getLogger(__name__)

_LONG_SECONDS: Final = 5.0
"""How long a round may drop: what is being moved is looked after in between."""


class Drops:
    """What the rounds of one process drop. For one thread."""

    def __init__(self, installation: Installation, reader: Reader, kept: Kept) -> None:
        self._installation, self._reader, self._kept = installation, reader, kept
        self._until: float | None = None

    def begin(self) -> None:
        """A round begins."""
        self._until = None

    def may_go_on(self) -> bool:
        """Whether more may be dropped in this round; the rest is for the next one."""
        if self._until is None:
            self._until = time.monotonic() + _LONG_SECONDS
        return time.monotonic() < self._until

    def drop(self, replica_id: int) -> bool:
        """Drop one copy, unless a step reads it; whether it was dropped."""
        database, home = self._installation.database, self._installation.home_id
        with database.reading() as session:
            replica = replicas.get(session, replica_id)
            leans = leans_on_archive(self._installation, session, replica)
            digests = [] if replica.sha256 is None else [replica.sha256]
            came = eviction.latest_arrivals(session, home, digests)
        before = unused_since(max(came.values(), default=None))
        if leans and not self._lies_there(replica, before):
            return False
        with dropping(self._installation.settings.home):
            database.write(lambda session: deliveries.untell_copy(session, replica_id))
            with database.reading() as session:
                replica = replicas.get(session, replica_id)
                needs = replicas.needs(session, [replica_id])
                runs = self._reader.runs(session, needs)
                is_needed = is_kept(self._installation, session, replica, is_archived=leans)
            if replica.state is not ReplicaState.HERE or not all(self._is_given_back(runs, need) for need in needs):
                return False
            # The file first: a row without one heals itself, a file without a row would be lost space.
            if not is_needed and not self._remove(replica, before, leans=leans):
                return False
            kept = [need.occurrence for need in needs if self._has_its_own(runs, need)]
            dropped = database.write(lambda session: eviction.evict(session, home, replica_id, kept))
        logger.debug("dropped copy %s (%s bytes)", replica_id, replica.size_bytes)
        return dropped

    def _lies_there(self, replica: Replica, before: float) -> bool:
        """Whether the bytes of a copy that came from the archive lie there still, and nobody asked for them since."""
        store, sha256 = self._installation.store, replica.sha256 or ""
        try:
            is_in_use = store.path(sha256).stat().st_ctime >= before
        except FileNotFoundError:
            is_in_use = False
        return not is_in_use and self._kept.lies_there(sha256)

    def _remove(self, replica: Replica, before: float, *, leans: bool) -> bool:
        """Remove the bytes, unless somebody kept them since ``before`` and is about to write down what else they are,
        or asked for what leans on the archive; whether they are gone."""
        store = self._installation.store
        if replica.sha256 is None:
            return True
        # Links of steps that have ended must not keep a copy: space is short.
        remove = store.remove_unused if leans else store.remove_unkept
        return remove(replica.sha256, before) is not None

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
