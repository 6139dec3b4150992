"""How inputs from elsewhere came here: each replication is an activity that used a source and generated the input.

Of an input that the engine's server read where it lies nothing came here. That it was handed over is on record, with
the version that its source told before; which bytes were read nobody here knows.
"""

from datetime import datetime

from stemma.provenance import names
from stemma.provenance.activities import within
from stemma.provenance.facts import RunFacts
from stemma.provenance.graph import Activity, ProvGraph, pairs, types
from stemma.provenance.sources import source_name
from stemma.provenance.vocabulary import LABEL, LOCATION, QName, RelationKind, term
from stemma.records import ReplicationRecord


def declare_replications(graph: ProvGraph, facts: RunFacts) -> None:
    """Declare each replication, the source that it read and the input that came of it."""
    for replication in facts.run.replications:
        occurrence = facts.occurrences.get(replication.occurrence)
        if occurrence is None:
            continue
        name = names.minted(replication.uuid)
        if replication.is_handed:
            _declare_handing_over(graph, facts, replication, name, occurrence.basename)
            continue
        started_at, ended_at = _times(replication)
        graph.activities[name] = Activity(
            started_at,
            ended_at,
            pairs(
                *types(term("Replication")),
                (LABEL, f"replication of {occurrence.basename}"),
                (term("requestedAt"), replication.requested_at),
                (term("sourceVersion"), replication.source.get("version") or None),
                (term("fromStore"), replication.was_here),
                (term("movedBytes"), replication.moved_bytes),
                (term("transfers"), replication.times),
                (term("sha256"), replication.sha256),
                (term("verified"), replication.verified),
                (term("error"), replication.error),
            ),
        )
        _use_source(graph, facts, replication, name)
        if replication.arrived_at is not None and replication.error is None:
            at = replication.arrived_at if within(replication.arrived_at, started_at, ended_at) else None
            graph.relate(RelationKind.GENERATION, names.minted(occurrence.uuid), name, time=at)


def _declare_handing_over(
    graph: ProvGraph, facts: RunFacts, replication: ReplicationRecord, name: QName, basename: str
) -> None:
    graph.activities[name] = Activity(
        None,
        None,
        pairs(
            *types(term("HandingOver")),
            (LABEL, f"handing over of {basename}"),
            (term("requestedAt"), replication.requested_at),
            (term("sourceVersion"), replication.source.get("version") or None),
            (term("readHere"), False),
        ),
    )
    _use_source(graph, facts, replication, name)


def _use_source(graph: ProvGraph, facts: RunFacts, replication: ReplicationRecord, name: QName) -> None:
    source = source_name(facts, replication.source)
    if source not in graph.entities:
        graph.add_entity(source, pairs(*types(term("Source")), (LOCATION, replication.source.get("url"))))
    graph.relate(RelationKind.USAGE, name, source)


def _times(replication: ReplicationRecord) -> tuple[datetime | None, datetime | None]:
    """From the beginning of the transfer; for what was here already, the moment at which it was found."""
    started_at = replication.started_at or (replication.requested_at if replication.was_here else None)
    ended_at = replication.arrived_at
    if started_at is not None and ended_at is not None and ended_at < started_at:  # a clock that went back
        return started_at, None
    return started_at, ended_at
