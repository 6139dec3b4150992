"""A provenance graph as light values: elements, relations, attributes.

It holds what a document says and nothing of how it is written. Attributes are pairs in order; a name
may come several times. Values are text, truth, numbers, aware times, qualified names and JSON.
"""

import gc
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

from stemma.provenance.vocabulary import FIXED_NAMESPACES, Kind, QName, RelationKind
from stemma.records import Json

_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}")
_IRI_FORBIDDEN = frozenset('<>"{}|^`\\')


class JsonText(str):
    """A list, an object or null as JSON, for an attribute of type ``rdf:JSON``."""

    __slots__ = ()


Value: TypeAlias = str | bool | int | float | datetime | QName | JsonText
Attributes: TypeAlias = tuple[tuple[QName, Value], ...]


class Activity(NamedTuple):
    """Something that happened; its times are aware and in UTC."""

    started_at: datetime | None
    ended_at: datetime | None
    attributes: Attributes


class Relation(NamedTuple):
    """One relation: its ends in the order of ``vocabulary.FORMAL``."""

    kind: RelationKind
    ends: tuple[QName | None, ...]
    time: datetime | None = None
    attributes: Attributes = ()


@dataclass(slots=True)
class ProvGraph:
    """What one document says."""

    namespaces: dict[str, str]
    entities: dict[QName, Attributes] = field(default_factory=dict)
    activities: dict[QName, Activity] = field(default_factory=dict)
    agents: dict[QName, Attributes] = field(default_factory=dict)
    relations: list[Relation] = field(default_factory=list)

    def relate(
        self,
        kind: RelationKind,
        *ends: QName | None,
        time: datetime | None = None,
        attributes: Attributes = (),
    ) -> None:
        """Add a relation."""
        self.relations.append(Relation(kind, ends, time, attributes))

    def add_entity(self, name: QName, attributes: Attributes) -> None:
        """Declare an entity, or say more of one that is declared."""
        known = self.entities.get(name)
        if known is None:
            self.entities[name] = attributes
        elif known != attributes:
            self.entities[name] = tuple(dict.fromkeys(known + attributes))

    def declared(self, kind: Kind) -> dict[QName, Attributes] | dict[QName, Activity]:
        """The elements of ``kind`` by name."""
        if kind is Kind.ENTITY:
            return self.entities
        return self.activities if kind is Kind.ACTIVITY else self.agents

    def all_attributes(self) -> Iterator[tuple[str, Attributes]]:
        """The attributes of everything, each with what they are of."""
        yield from self.entities.items()
        yield from ((name, activity.attributes) for name, activity in self.activities.items())
        yield from self.agents.items()
        yield from ((f"{relation.kind} of {relation.ends[0]}", relation.attributes) for relation in self.relations)


@contextmanager
def collector_paused() -> Iterator[None]:
    """No search for reference cycles within: nothing here makes any, and over a large graph the search takes
    three times as long as the work. Memory is freed all the same, but for cycles that other threads drop meanwhile.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def empty_graph(base_url: str) -> ProvGraph:
    """A graph without anything, whose ``registry`` names begin with ``base_url``.

    Raises:
        ValueError: ``base_url`` holds what no IRI may hold (RFC 3987 §2.2).
    """
    if any(character in _IRI_FORBIDDEN or character <= " " for character in base_url):
        raise ValueError(f"{base_url!r} cannot begin an identifier")
    return ProvGraph({"registry": f"{base_url.rstrip('/')}/", **FIXED_NAMESPACES})


def pairs(*candidates: tuple[QName, Value | None]) -> Attributes:
    """Those of ``candidates`` that have a value; documents never say null."""
    return tuple((name, _clean(value)) for name, value in candidates if value is not None)


def types(*names: QName) -> Iterable[tuple[QName, Value]]:
    """``prov:type`` for each of ``names``."""
    return ((QName("prov:type"), name) for name in names)


def json_value(value: Json) -> Value:
    """``value`` as an attribute: text, truth and numbers as themselves, anything else as JSON."""
    if isinstance(value, str | bool | int | float):
        return _clean(value)
    return JsonText(_clean(json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)))


def _clean(value: Value) -> Value:
    """``value``, with half characters, which no encoding can write, replaced."""
    if not isinstance(value, str) or value.isascii():
        return value
    return type(value)(value.translate(_SURROGATES))
