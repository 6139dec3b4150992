"""PROV-N, straight from the graph (W3C Recommendation, 30 April 2013): one line a statement."""

import re
from collections.abc import Iterator
from datetime import datetime

from stemma import clock
from stemma.provenance.graph import Attributes, JsonText, ProvGraph, Relation, Value, collector_paused
from stemma.provenance.prov_json import lexical
from stemma.provenance.vocabulary import TIMED, QName

_BUILT_IN = frozenset({"prov", "xsd"})
"""Prefixes that every PROV-N document has (§3.7.1)."""

_LOCAL_ESCAPED = re.compile(r"[='(),:;\[\]]|^[-.]|\.$")
_STRING_ESCAPES = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
)


def to_prov_n(graph: ProvGraph) -> str:
    """``graph`` as PROV-N; the same graph gives the same text."""
    with collector_paused():
        return "\n".join(_lines(graph)) + "\n"


def _lines(graph: ProvGraph) -> Iterator[str]:
    yield "document"
    for prefix, namespace in graph.namespaces.items():
        if prefix not in _BUILT_IN:
            yield f"  prefix {prefix} <{namespace}>"
    yield ""
    for name, attributes in graph.entities.items():
        yield _statement("entity", [_name(name)], attributes)
    for name, activity in graph.activities.items():
        times = [_time(activity.started_at), _time(activity.ended_at)]
        yield _statement("activity", [_name(name), *times], activity.attributes)
    for name, attributes in graph.agents.items():
        yield _statement("agent", [_name(name)], attributes)
    for relation in graph.relations:
        yield _relation(relation)
    yield "endDocument"


def _statement(word: str, arguments: list[str], attributes: Attributes) -> str:
    if attributes:
        arguments.append("[" + ", ".join(f"{_name(name)}={_value(value)}" for name, value in attributes) + "]")
    return f"  {word}({', '.join(arguments)})"


def _relation(relation: Relation) -> str:
    arguments = [_name(end) if end else "-" for end in relation.ends]
    if relation.kind in TIMED:
        arguments.append(_time(relation.time))
    if relation.kind == "wasDerivedFrom":
        arguments += ["-", "-"]  # its generation and usage, which have no names here
    return _statement(relation.kind.value, arguments, relation.attributes)


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else clock.isoformat(moment)


def _name(name: QName) -> str:
    """``name`` with what PROV-N reserves escaped in its local part (§3.7.1, productions 53 to 55)."""
    prefix, _, local = name.partition(":")
    return f"{prefix}:{_LOCAL_ESCAPED.sub(lambda found: chr(92) + found[0], local)}"


def _string(text: str) -> str:
    return f'"{text.translate(_STRING_ESCAPES)}"'


def _value(value: Value) -> str:
    if isinstance(value, QName):
        return f"'{_name(value)}'"
    if isinstance(value, JsonText):
        return f"{_string(value)} %% rdf:JSON"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return f'"{str(value).lower()}" %% xsd:boolean'
    if isinstance(value, datetime):
        return f'"{clock.isoformat(value)}" %% xsd:dateTime'
    text, datatype = lexical(value)
    return f'"{text}" %% {datatype}'
