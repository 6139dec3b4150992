"""PROV-JSON, straight from the graph (W3C Member Submission, 24 April 2013).

Every number is a typed value, with the type that its size asks for, as ``prov`` reads and writes it.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import orjson

from stemma import clock
from stemma.provenance.graph import Attributes, JsonText, ProvGraph, Relation, Value, collector_paused
from stemma.provenance.vocabulary import FORMAL, QName, RelationKind

_KEYS_MAY_BE_NAMES = orjson.OPT_NON_STR_KEYS
_PART = 5000
_INT, _LONG = 2**31, 2**63


def to_prov_json(graph: ProvGraph) -> bytes:
    """``graph`` as PROV-JSON in UTF-8; the same graph gives the same bytes."""
    with collector_paused():
        return b"".join(iterate_prov_json(graph))


def iterate_prov_json(graph: ProvGraph) -> Iterator[bytes]:
    """The parts of the document one after another, so that it need not be held whole."""
    yield b'{"prefix":' + orjson.dumps(graph.namespaces)
    yield from _section("entity", ((name, _attributes(found)) for name, found in graph.entities.items()))
    yield from _section("activity", ((name, _activity(*found)) for name, found in graph.activities.items()))
    yield from _section("agent", ((name, _attributes(found)) for name, found in graph.agents.items()))
    by_kind: defaultdict[RelationKind, list[Relation]] = defaultdict(list)
    for relation in graph.relations:
        by_kind[relation.kind].append(relation)
    for kind in RelationKind:
        numbered = enumerate(by_kind[kind], 1)
        yield from _section(kind.value, ((f"_:{kind.value}{n}", _relation(one)) for n, one in numbered))
    yield b"}"


def lexical(value: float) -> tuple[str, str]:
    """A number as XML Schema writes it, and its type: the narrowest of int, long and integer, or double."""
    if isinstance(value, int):
        width = "int" if -_INT <= value < _INT else "long" if -_LONG <= value < _LONG else "integer"
        return str(value), f"xsd:{width}"
    if math.isnan(value):
        return "NaN", "xsd:double"
    if math.isinf(value):
        return "INF" if value > 0 else "-INF", "xsd:double"
    return repr(value), "xsd:double"


def _section(name: str, members: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[bytes]:
    """One object of the document in parts, so that never more than some thousand members are held as objects."""
    opening = f',"{name}":{{'.encode()
    while True:
        with collector_paused():
            part = dict(islice(members, _PART))
            written = orjson.dumps(part, option=_KEYS_MAY_BE_NAMES)[1:-1]
        if not part:
            break
        yield opening + written
        opening = b","
    if opening == b",":
        yield b"}"


def _activity(started_at: datetime | None, ended_at: datetime | None, attributes: Attributes) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if started_at is not None:
        written["prov:startTime"] = clock.isoformat(started_at)
    if ended_at is not None:
        written["prov:endTime"] = clock.isoformat(ended_at)
    written.update(_attributes(attributes))
    return written


def _relation(relation: Relation) -> dict[str, Any]:
    written: dict[str, Any] = {
        attribute: end
        for (attribute, _), end in zip(FORMAL[relation.kind], relation.ends, strict=True)
        if end is not None
    }
    if relation.time is not None:
        written["prov:time"] = clock.isoformat(relation.time)
    if relation.attributes:
        written.update(_attributes(relation.attributes))
    return written


def _attributes(attributes: Attributes) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for name, value in attributes:
        found = _value(value)
        if name not in written:
            written[name] = found
        elif isinstance(written[name], list):
            written[name].append(found)
        else:
            written[name] = [written[name], found]
    return written


def _value(value: Value) -> Any:
    if isinstance(value, QName):
        return {"$": value, "type": "xsd:QName"}
    if isinstance(value, JsonText):
        return {"$": value, "type": "rdf:JSON"}
    if isinstance(value, str | bool):
        return value
    if isinstance(value, datetime):
        return {"$": clock.isoformat(value), "type": "xsd:dateTime"}
    text, datatype = lexical(value)
    return {"$": text, "type": datatype}
