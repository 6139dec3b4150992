"""What has arrived for a run, handed to its engine; what cannot be had, said to it."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlmodel import Session

from stemma.database.queries import deliveries, eviction, replicas
from stemma.database.queries.replicas import Need, NeedState
from stemma.database.tables import RunRow
from stemma.engines.protocol import Engine
from stemma.errors import SourceUnusable
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.guard import giving_out
from stemma.lifecycle.replicate.handing import take_back, url_kinds
from stemma.records import Claim, Content, Json, RevisionRecord

_ARRIVED = frozenset({NeedState.HERE, NeedState.DELIVERED, NeedState.GIVEN})
_IN_VAIN = frozenset({NeedState.FAILED, NeedState.REFUSED})


def takes_late(engine: Engine) -> bool:
    """Whether jobs on ``engine`` may begin before all of their inputs are here."""
    return bool(getattr(engine, "takes_late", False))


def deliver(installation: Installation, engine: Engine, claim: Claim, row: RunRow) -> bool:
    """Tell the engine of a run what has arrived for it; whether anything had. Done twice, nothing is told twice.

    Raises:
        EngineUnreachable: it does not answer.
    """
    if not takes_late(engine) or not _has_untold(installation, claim.run_id):
        return False
    with giving_out(installation.settings.home):
        with installation.database.reading() as session:
            untold = deliveries.untold(session, claim.run_id)
        told = _tell(installation, engine, row.reference or "", untold)
        gone = {need.replica_id for need in untold} - {need.replica_id for need in told}

        def write(session: Session) -> None:
            deliveries.told(session, claim.run_id, told)
            for replica_id in gone:  # somebody took it out of the store by hand
                eviction.evict(session, installation.home_id, replica_id)

        installation.database.write(write)
    return bool(told)


def must_have(engine: Engine, revision: RevisionRecord, inputs: dict[str, Json]) -> set[UUID]:
    """The files that have to be there before a job on ``engine`` begins, although it takes late ones."""
    ask = getattr(engine, "must_have", None)
    return set() if ask is None else ask(revision, inputs)


def here_for(
    installation: Installation, engine: Engine, claim: Claim, revision: RevisionRecord, inputs: dict[str, Json]
) -> Mapping[UUID, Content] | None:
    """The files of a run that its job can have from the beginning, by occurrence; None where it has to wait.

    Where all of them are here they are given from the beginning, and stay until the run has ended. Where some are not,
    an engine that takes late ones is given them one by one, so that they can be dropped again between two steps.

    Raises:
        SourceUnusable: one cannot be had, and the engine begins with all or not at all.
    """
    with installation.database.reading() as session:
        states = deliveries.states(session, claim.run_id)
    if NeedState.HANDED in states and not url_kinds(engine):  # the settings are others by now
        take_back(installation, claim.run_id)
        return None
    if not states - {NeedState.HANDED}:
        return {}
    if not takes_late(engine) and NeedState.WAITING in states and not states & _IN_VAIN:
        return None  # asked at each look: thousands of files need not be looked for each time
    with installation.database.reading() as session:
        found = [row for row in replicas.of_run(session, claim.run_id) if row.state != NeedState.HANDED]
    here = {row.occurrence: Content(row.sha256, row.replica_size_bytes) for row in found if _is_here(installation, row)}
    if len(here) == len(found):
        return here
    gone = {row.replica_id for row in found if row.state in _ARRIVED and row.occurrence not in here}
    if gone:  # somebody took them out of the store by hand
        home = installation.home_id
        installation.database.write(lambda session: [eviction.evict(session, home, each) for each in sorted(gone)])
    needed = {row.occurrence for row in found}
    if takes_late(engine):
        needed &= must_have(engine, revision, inputs)
    failed = next((row for row in found if row.occurrence in needed and row.state in _IN_VAIN), None)
    if failed is not None:
        raise SourceUnusable("an input", failed.error or "it cannot be had")
    return {uuid: here[uuid] for uuid in needed} if needed <= here.keys() else None


def given(session: Session, claim: Claim, here: Mapping[UUID, Content]) -> None:
    """Note that a run has got these from the beginning."""
    if here:
        needs = deliveries.untold(session, claim.run_id)
        deliveries.told(session, claim.run_id, [need for need in needs if need.occurrence in here], for_good=True)


def _has_untold(installation: Installation, run_id: int) -> bool:
    with installation.database.reading() as session:
        return deliveries.has_untold(session, run_id)


def _is_here(installation: Installation, row: Any) -> bool:
    return row.state in _ARRIVED and row.sha256 is not None and installation.store.has(row.sha256)


def _tell(installation: Installation, engine: Any, reference: str, untold: Sequence[Need]) -> list[Need]:
    """Tell the engine of these files; returns those that it knows of now. The others are not in the store any more."""
    told, arrived = [], {}
    for need in untold:
        if need.state is NeedState.FAILED:
            engine.refuse(reference, need.occurrence, need.error or "it cannot be had")
        elif need.content is not None and installation.store.has(need.content.sha256):
            arrived[need.occurrence] = need.content
        else:
            continue
        told.append(need)
    if hasattr(engine, "deliver_all"):
        engine.deliver_all(reference, arrived)
    else:
        for occurrence, content in arrived.items():
            engine.deliver(reference, occurrence, content)
    return told
