"""Reading everything in the store again: what is damaged, what is missing, and what can be done for it.

What is damaged is never left under its digest: whoever reads it would take it for what it is not, and the same bytes,
sent or made anew, would be thrown away because they seem to be there. A damaged copy is removed, and fetched again from
its source by the next run that needs it. Anything else cannot be had again from here, so what is left of it is moved to
``damaged`` beside the contents and kept: an operator may still save some of it.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from stemma.database.queries import deliveries, eviction, replicas, storekeeping
from stemma.database.queries.replicas import NeedState, ReplicaState
from stemma.database.queries.storekeeping import Owner
from stemma.errors import StemmaError
from stemma.lifecycle.archive.healing import held_there
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.guard import dropping
from stemma.lifecycle.replicate.outlook import Reader
from stemma.lifecycle.replicate.replicator import Replicator
from stemma.records import Content
from stemma.store.content import Verdict

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 15.0
"""How long to wait while nothing moves."""
_LOOK_SECONDS: Final = 0.5
_LOOKS: Final = 3
"""How often something that is being replaced is read."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A content that is not as it should be."""

    sha256: str
    verdict: Verdict
    owners: tuple[Owner, ...]
    copies: tuple[int, ...] = ()
    """That were taken out, to be fetched again."""
    aside: Path | None = None
    """Where what is left of it lies."""
    is_archived: bool = False
    """The archive has it: whoever wants it is given that one."""

    @property
    def is_lost(self) -> bool:
        """Whether somebody may miss it: it is used, and nobody fetches it again by itself."""
        return bool(self.owners) and not self.copies and not self.is_archived


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found."""

    files: int
    size_bytes: int
    faults: tuple[Fault, ...]
    archive_error: str | None = None
    """Why it is not known whether the archive has what it should."""


def verify(
    installation: Installation, contents: Iterable[Content], *, on_read: Callable[[int], None] = lambda _: None
) -> Verified:
    """Read all ``contents`` again, take out what is damaged, and find out what is missing. The archive is asked for
    what was let go because it lies there."""
    files = size = 0
    faults: list[Fault] = []
    for content in contents:
        fault = _read_again(installation, content.sha256)
        files, size = files + 1, size + content.size_bytes
        if fault is not None:
            faults.append(fault)
        on_read(content.size_bytes)
    known = {fault.sha256 for fault in faults}
    with installation.database.reading() as session:
        lacking = {
            digest
            for digest in storekeeping.expected(session, installation.home_id)
            if digest not in known and not installation.store.has(digest)
        }
    there, error = held_there(installation, sorted(lacking | known))
    faults = [replace(fault, is_archived=fault.sha256 in there) for fault in faults]
    missing = [_missing(installation, digest) for digest in sorted(lacking - there)]
    return Verified(files, size, (*faults, *(fault for fault in missing if fault is not None)), error)


def _read_again(installation: Installation, sha256: str) -> Fault | None:
    """The fault of a content that is damaged; it is taken out."""
    store = installation.store
    for _ in range(_LOOKS):
        seen = _identity(store.path(sha256))
        if seen is None or store.verify(sha256) != "damaged":  # others may have removed it meanwhile
            return None
        with dropping(installation.settings.home):
            if _identity(store.path(sha256)) == seen:
                return _taken_out(installation, sha256)
    return None


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Tells the file at ``path`` from one that replaced it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _taken_out(installation: Installation, sha256: str) -> Fault:
    with installation.database.reading() as session:
        owners = tuple(storekeeping.owners(session, installation.home_id, sha256))
        copies = storekeeping.copies_of(session, installation.home_id, sha256)
        others = storekeeping.kinds(session, installation.home_id, [sha256], but=copies)
    aside = None
    _recall(installation, copies)
    if copies and not others:
        installation.store.remove(sha256)
    else:
        aside = installation.store.set_aside(sha256)
    _evict(installation, copies)
    return Fault(sha256, "damaged", owners, tuple(copies), aside)


def _missing(installation: Installation, sha256: str) -> Fault | None:
    """The fault of a content that should be here; None where it came, or was let go of, in between."""
    home = installation.home_id
    with dropping(installation.settings.home):
        with installation.database.reading() as session:
            is_due = bool(storekeeping.kinds(session, home, [sha256])) and not installation.store.has(sha256)
            owners = tuple(storekeeping.owners(session, home, sha256)) if is_due else ()
            copies = storekeeping.copies_of(session, home, sha256) if is_due else []
        if not is_due:
            return None
        _recall(installation, copies)
        _evict(installation, copies)
    return Fault(sha256, "missing", owners, tuple(copies))


def _recall(installation: Installation, copies: Collection[int]) -> None:
    """Tell the engines that have these copies that they do not. A step that reads one at the moment has read wrong
    bytes, or will fail; nothing can be done for it."""
    database = installation.database
    for replica_id in copies:
        database.write(lambda session, each=replica_id: deliveries.untell_copy(session, each))  # type: ignore[misc]
        with database.reading() as session:
            needs = [need for need in replicas.needs(session, [replica_id]) if need.state is NeedState.HERE]
            runs = Reader.runs(session, needs)
        for need in needs:
            run = runs.get(need.run_id)
            engine = installation.engines.working().get(run.engine) if run is not None else None
            recall = getattr(engine, "recall", None)
            if run is None or run.reference is None or recall is None:
                continue
            try:
                recall(run.reference, need.occurrence)
            except StemmaError as error:
                logger.warning("run %s was not told that a file is gone: %s", need.run_id, error)


def _evict(installation: Installation, copies: Collection[int]) -> None:
    """They are not here any more. Where runs that go on need them, they are wanted from now on."""
    home = installation.home_id
    if copies:
        installation.database.write(lambda session: [eviction.evict(session, home, each) for each in copies])


def heal(
    installation: Installation,
    copies: Collection[int],
    replicator: Replicator,
    *,
    on_look: Callable[[int], None] = lambda _: None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> tuple[int, int]:
    """Wait until those of ``copies`` that runs need right now are here again, or cannot be had; how many ended so, and
    how many are still to come: no step needs them at the moment, or their source is asked again later.

    ``replicator`` fetches them where no worker does.
    """
    wanted = _open(installation, copies).keys()
    left = _open(installation, wanted)
    if not left:
        return 0, 0
    replicator.start()
    patient_until = time.monotonic() + patience_seconds
    try:
        while left and time.monotonic() < patient_until:
            on_look(len(wanted) - len(left))
            time.sleep(_LOOK_SECONDS)
            before, left = left, _open(installation, wanted)
            if left != before or ReplicaState.MOVING in left.values():
                patient_until = time.monotonic() + patience_seconds
    finally:
        replicator.close()
    return len(wanted) - len(left), len(left)


def _open(installation: Installation, copies: Collection[int]) -> dict[int, ReplicaState]:
    with installation.database.reading() as session:
        found = replicas.open_replicas(session, installation.home_id)
    return {one.id: one.state for one in found if one.id in copies}
