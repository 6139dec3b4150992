"""Where inputs were fetched from: the addresses elsewhere, and which version was found there."""

from collections.abc import Iterator
from uuid import UUID

from stemma import clock
from stemma.file_fields import OCCURRENCE
from stemma.provenance import names
from stemma.provenance.facts import RunFacts
from stemma.provenance.graph import ProvGraph, pairs, types
from stemma.provenance.vocabulary import LOCATION, QName, RelationKind, term
from stemma.records import Json


def declare_sources(graph: ProvGraph, facts: RunFacts) -> None:
    """Declare each address that inputs came from, once in a run, and derive those inputs from it."""
    for value in _fetched_in(facts.run.inputs):
        occurrence, source = UUID(value[OCCURRENCE]), value["source"]
        if occurrence not in facts.occurrences:
            continue
        name = source_name(facts, source)
        attributes = pairs(
            *types(term("Source")),
            (LOCATION, source["url"]),
            (term("catalogueEntry"), source.get("catalogue")),
            (term("servedFrom"), source.get("served_from")),
            (term("etag"), source.get("etag")),
            (term("lastModified"), source.get("last_modified")),
            (term("fetchedAt"), clock.parse(source["fetched_at"]) if "fetched_at" in source else None),
        )
        graph.add_entity(name, attributes)
        graph.relate(RelationKind.DERIVATION, names.minted(occurrence), name, None)


def source_name(facts: RunFacts, source: dict[str, Json]) -> QName:
    """The entity of an address that inputs of the run came from."""
    return names.part_of(facts.run.uuid, f"source:{source.get('catalogue') or source['url']}")


def _fetched_in(value: Json) -> Iterator[dict[str, Json]]:
    """The Files in an input object that were fetched, those that belong to others too."""
    if isinstance(value, list):
        for element in value:
            yield from _fetched_in(element)
    elif isinstance(value, dict):
        if value.get("class") == "File" and "source" in value and OCCURRENCE in value:
            yield value
        for element in value.values():
            yield from _fetched_in(element)
