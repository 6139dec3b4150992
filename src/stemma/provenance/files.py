"""What was used and made: files, directories, arrays, values and the bytes behind them (PROV-DM §5.1, §5.5, §5.6)."""

from collections.abc import Iterator
from uuid import UUID

from stemma.provenance import names
from stemma.provenance.activities import within
from stemma.provenance.facts import RunFacts
from stemma.provenance.graph import Attributes, ProvGraph, pairs, types
from stemma.provenance.vocabulary import (
    ARTIFACT,
    BASENAME,
    COLLECTION,
    EMPTY_COLLECTION,
    FILE,
    FOLDER,
    LABEL,
    ROLE,
    SECONDARY_FILE,
    TYPE,
    QName,
    RelationKind,
    term,
)
from stemma.records import Content, FileKind, Occurrence, StepRecord

_PORT, _POSITION = term("port"), term("position")


def declare_files(graph: ProvGraph, facts: RunFacts) -> None:
    """Declare every occurrence with its bytes, what it belongs to, what made it and what used it."""
    for occurrence in facts.run.occurrences:
        _declare_occurrence(graph, facts, occurrence)
    for usage in facts.run.usages:
        step = facts.step(usage.step)
        entity = known_file(graph, facts, usage.occurrence)
        graph.relate(RelationKind.USAGE, names.minted(step.uuid), entity, attributes=_place(usage.port, usage.position))
    for (step_uuid, port), members in _arrays(facts):
        _declare_array(graph, step_uuid, port, members)


def known_file(graph: ProvGraph, facts: RunFacts, uuid: UUID) -> QName:
    """The entity of an occurrence; one that the run's record does not hold is declared, and said to be so."""
    name = names.minted(uuid)
    if uuid not in facts.occurrences and name not in graph.entities:
        graph.entities[name] = pairs(*types(ARTIFACT), (term("ofAnotherRun"), True))
    return name


def declare_collection(graph: ProvGraph, name: QName, attributes: Attributes, members: list[QName]) -> None:
    """Declare a collection that was put together, and its members."""
    graph.entities[name] = (*pairs(*types(ARTIFACT, COLLECTION)), *attributes)
    for member in members:
        graph.relate(RelationKind.MEMBERSHIP, name, member)


def _place(port: str, position: str) -> Attributes:
    return pairs((ROLE, port), (_POSITION, position or None))


def _declare_occurrence(graph: ProvGraph, facts: RunFacts, occurrence: Occurrence) -> None:
    name = names.minted(occurrence.uuid)
    graph.add_entity(name, _occurrence_attributes(facts, occurrence))
    if occurrence.content is not None:
        graph.relate(RelationKind.SPECIALIZATION, name, _declare_content(graph, occurrence.content))
    if occurrence.step is not None:
        _relate_to_maker(graph, facts, occurrence, facts.step(occurrence.step))
    elif occurrence.at is not None:  # the engine does not tell which step: it was made in the run, and that is all
        graph.relate(RelationKind.GENERATION, name, facts.activity(occurrence.attempt), time=occurrence.at)
    if occurrence.parent is not None:
        _relate_to_parent(graph, facts, occurrence.parent, name)
    for origin in occurrence.derived_from:
        _relate_to_origin(graph, facts, occurrence, origin)


def _occurrence_attributes(facts: RunFacts, occurrence: Occurrence) -> Attributes:
    kinds: tuple[QName, ...]
    if occurrence.kind is FileKind.DIRECTORY:
        kinds = (FOLDER, COLLECTION if occurrence.uuid in facts.parents else EMPTY_COLLECTION)
    else:
        kinds = (FILE,)
    return pairs(
        *types(ARTIFACT, *kinds),
        (LABEL, occurrence.basename),
        (BASENAME, occurrence.basename),
        (_PORT, occurrence.port),
        (_POSITION, occurrence.position or None),
        (term("fileId"), occurrence.id),
        *((term("outputPort"), port) for port in facts.output_ports.get(occurrence.uuid, ())),
        (term("recordedAt"), occurrence.at if occurrence.at and not _is_timely(facts, occurrence) else None),
    )


def _is_timely(facts: RunFacts, occurrence: Occurrence) -> bool:
    """Whether the occurrence was made while its step ran, so that the time can be said of its generation."""
    if occurrence.step is None:
        return False
    step = facts.step(occurrence.step)
    return within(occurrence.at, step.started_at, step.ended_at)


def _declare_content(graph: ProvGraph, content: Content) -> QName:
    name = names.content(content.sha256)
    graph.add_entity(name, pairs((TYPE, term("Content")), (term("sizeBytes"), content.size_bytes)))
    return name


def _relate_to_maker(graph: ProvGraph, facts: RunFacts, occurrence: Occurrence, step: StepRecord) -> None:
    graph.relate(
        RelationKind.GENERATION,
        names.minted(occurrence.uuid),
        names.minted(step.uuid),
        time=occurrence.at if _is_timely(facts, occurrence) else None,
        attributes=_place(occurrence.port, occurrence.position),
    )


def _relate_to_parent(graph: ProvGraph, facts: RunFacts, parent_uuid: UUID, name: QName) -> None:
    """Make it a member of its directory, or derive it from its primary file (as CWLProv 0.6 does)."""
    parent = facts.occurrences.get(parent_uuid)
    if parent is None:
        raise ValueError(f"run {facts.run.id} refers to file {parent_uuid}, which its record does not hold")
    if parent.kind is FileKind.DIRECTORY:
        graph.relate(RelationKind.MEMBERSHIP, names.minted(parent_uuid), name)
    else:
        kind = pairs(*types(SECONDARY_FILE))
        graph.relate(RelationKind.DERIVATION, name, names.minted(parent_uuid), None, attributes=kind)


def _relate_to_origin(graph: ProvGraph, facts: RunFacts, occurrence: Occurrence, origin: UUID) -> None:
    name, old = names.minted(occurrence.uuid), known_file(graph, facts, origin)
    maker = names.minted(occurrence.step) if occurrence.step else None
    graph.relate(RelationKind.DERIVATION, name, old, maker)
    if occurrence.step and facts.step(occurrence.step).reused_from:
        graph.relate(RelationKind.ALTERNATE, name, old)


def _arrays(facts: RunFacts) -> Iterator[tuple[tuple[UUID, str], list[QName]]]:
    """The arrays that steps made: step and port, and the elements."""
    arrays: dict[tuple[UUID, str], list[QName]] = {}
    for occurrence in facts.run.occurrences:
        if occurrence.step and occurrence.parent is None and occurrence.position.startswith("["):
            place = (occurrence.step, occurrence.port)
            arrays.setdefault(place, []).append(names.minted(occurrence.uuid))
    return iter(arrays.items())


def _declare_array(graph: ProvGraph, step: UUID, port: str, members: list[QName]) -> None:
    name = names.part_of(step, f"array:{port}")
    declare_collection(graph, name, pairs((_PORT, port)), members)
    graph.relate(RelationKind.GENERATION, name, names.minted(step), attributes=_place(port, ""))
