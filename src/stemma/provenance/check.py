"""What would make a document invalid, looked for in the graph itself.

Most validators let null values, dangling references and times without a zone pass; these checks do
not. They cover what of PROV-CONSTRAINTS a graph of ours could break.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from stemma.provenance.graph import ProvGraph, Relation
from stemma.provenance.vocabulary import (
    EMPTY_COLLECTION,
    FORMAL,
    OPTIONAL_ENDS,
    TIMED,
    TYPE,
    Kind,
    QName,
    RelationKind,
)


def problems(graph: ProvGraph) -> list[str]:
    """What is wrong with ``graph``, as sentences; empty when nothing is."""
    return [
        *_shared_names(graph),
        *_names(graph),
        *_values(graph),
        *_activity_times(graph),
        *_ends(graph),
        *_relation_times(graph),
        *_generations(graph),
        *_empty_collections(graph),
        *_circles(graph, RelationKind.DERIVATION),
        *_circles(graph, RelationKind.SPECIALIZATION),
    ]


def _shared_names(graph: ProvGraph) -> Iterator[str]:
    """Entities and activities are disjoint (PROV-CONSTRAINTS §6.3, constraint 55); our agents are neither."""
    counts = Counter(name for kind in Kind for name in graph.declared(kind))
    return (f"{name} is {count} kinds of thing" for name, count in counts.items() if count > 1)


def _names(graph: ProvGraph) -> Iterator[str]:
    for kind in Kind:
        for name in graph.declared(kind):
            if name.prefix not in graph.namespaces or not name.local:
                yield f"the {kind} {name} has no namespace or no local name"


def _values(graph: ProvGraph) -> Iterator[str]:
    for owner, attributes in graph.all_attributes():
        for name, value in attributes:
            if value is None:
                yield f"{owner} has no value for {name}"
            elif isinstance(value, datetime) and value.tzinfo is None:
                yield f"{owner} has a time without a zone for {name}"
            for found in (name, value):
                if isinstance(found, QName) and found.prefix not in graph.namespaces:
                    yield f"{owner} uses {found}, whose prefix is not declared"


def _activity_times(graph: ProvGraph) -> Iterator[str]:
    for name, activity in graph.activities.items():
        times = [moment for moment in (activity.started_at, activity.ended_at) if moment is not None]
        if any(moment.tzinfo is None for moment in times):
            yield f"the activity {name} has a time without a zone"
        elif times != sorted(times):
            yield f"the activity {name} ends before it starts"


def _ends(graph: ProvGraph) -> Iterator[str]:
    for relation in graph.relations:
        for number, ((attribute, kind), end) in enumerate(zip(FORMAL[relation.kind], relation.ends, strict=True)):
            if end is None:
                if number == 0 or attribute not in OPTIONAL_ENDS:
                    yield f"a {relation.kind} has no {attribute}"
            elif end not in graph.declared(kind):
                yield f"a {relation.kind} refers to the {kind} {end}, which is not declared"


def _relation_times(graph: ProvGraph) -> Iterator[str]:
    started: set[QName | None] = set()
    for relation in graph.relations:
        if relation.kind is RelationKind.START:
            if relation.ends[0] in started:
                yield f"{relation.ends[0]} is started twice"
            started.add(relation.ends[0])
        if relation.time is None:
            continue
        if relation.kind not in TIMED:
            yield f"a {relation.kind} has a time"
        elif relation.time.tzinfo is None:
            yield f"a {relation.kind} of {relation.ends[0]} has a time without a zone"
        elif not _fits(graph, relation, relation.time):
            yield f"a {relation.kind} of {relation.ends[0]} is not within its activity's time"


def _fits(graph: ProvGraph, relation: Relation, time: datetime) -> bool:
    """Starts take place when the activity does, uses and generations while it goes on (constraints 30 to 34)."""
    place = 1 if relation.kind is RelationKind.GENERATION else 0
    name = relation.ends[place]
    activity = graph.activities.get(name) if name else None
    if activity is None:
        return True
    bounds = [moment for moment in (activity.started_at, activity.ended_at) if moment is not None]
    if any(moment.tzinfo is None for moment in bounds):
        return True  # said already
    if relation.kind is RelationKind.START:
        return activity.started_at in (None, time)
    after = activity.started_at is None or time >= activity.started_at
    return after and (activity.ended_at is None or time <= activity.ended_at)


def _generations(graph: ProvGraph) -> Iterator[str]:
    """An entity is generated once (PROV-CONSTRAINTS §6.1, constraint 24, and stricter: by one activity)."""
    seen: set[QName | None] = set()
    for relation in graph.relations:
        if relation.kind is RelationKind.GENERATION:
            if relation.ends[0] in seen:
                yield f"{relation.ends[0]} is generated twice"
            seen.add(relation.ends[0])


def _empty_collections(graph: ProvGraph) -> Iterator[str]:
    """An empty collection has no member (constraint 56)."""
    filled = {relation.ends[0] for relation in graph.relations if relation.kind is RelationKind.MEMBERSHIP}
    for name, attributes in graph.entities.items():
        if (TYPE, EMPTY_COLLECTION) in attributes and name in filled:
            yield f"the empty collection {name} has members"


def _circles(graph: ProvGraph, kind: RelationKind) -> Iterator[str]:
    """Nothing is derived from, or a specialization of, itself (constraints 41 and 42, 52)."""
    origins: dict[QName, list[QName]] = {}
    for relation in graph.relations:
        later, earlier = relation.ends[0], relation.ends[1] if len(relation.ends) > 1 else None
        if relation.kind is kind and later and earlier:
            origins.setdefault(later, []).append(earlier)
    done: set[QName] = set()
    for name in origins:
        if _comes_back(name, origins, done):
            yield f"{name} is in a circle of {kind}"


def _comes_back(start: QName, origins: dict[QName, list[QName]], done: set[QName]) -> bool:
    """Whether a way from ``start`` meets itself; walks without recursion, since chains can be long."""
    open_names: set[QName] = set()
    stack: list[tuple[QName, bool]] = [(start, False)]
    while stack:
        name, leaving = stack.pop()
        if leaving:
            open_names.discard(name)
            done.add(name)
        elif name in open_names:
            return True
        elif name not in done:
            open_names.add(name)
            stack.append((name, True))
            stack.extend((origin, False) for origin in origins.get(name, ()))
    return False
