"""YAML and JSON as a tree in which every value knows its place in the text.

What cwltool reads it reads again for itself; this tree is for what has to be found before (references,
placeholders, traps of YAML) and for saying where something is wrong. Reading is bounded: the number of values,
their depth, and what aliases unfold to are limited while reading, before anything has grown.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from stemma.errors import Finding
from stemma.records import Json

MAX_NODES: Final = 200_000
MAX_DEPTH: Final = 100

_TAG: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq"))
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PAIR: Final = re.compile(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})")
"""The escapes of a character beyond the first 65536 in JSON, whose backslash is not itself escaped."""
_WORDS: Final[dict[str, Json]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MAX_INTEGER_CHARACTERS: Final = 40
_MERGE: Final = "<<"

_Event: TypeAlias = Any
"""An event of ruamel, whose marks are not typed."""


class Unreadable(Exception):
    """The text is not YAML, or is YAML that nobody should write."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


class Kind(Enum):
    """What a value is."""

    SCALAR = "scalar"
    SEQUENCE = "list"
    MAPPING = "mapping"


@dataclass(slots=True)
class Node:
    """One value of a document, and where it stands in the text."""

    kind: Kind
    line: int
    """From 1."""
    column: int
    """From 1."""
    start: int
    """Characters from the beginning of the text."""
    end: int
    scalar: Json = None
    items: list["Node"] = field(default_factory=list)
    entries: list[tuple["Node", "Node"]] = field(default_factory=list)
    is_flow: bool = False
    """Whether it is written with brackets."""
    weight: int = 1
    """How many values it is when every alias is unfolded."""
    depth: int = 1

    @property
    def text(self) -> str | None:
        """The value where it is text, else None."""
        return self.scalar if isinstance(self.scalar, str) else None

    def pairs(self) -> Iterator[tuple[str, "Node"]]:
        """The entries of a mapping, merged ones (``<<``) after its own."""
        merged: list[Node] = []
        for key, value in self.entries:
            if key.scalar == _MERGE:
                merged += value.items if value.kind is Kind.SEQUENCE else [value]
            else:
                yield key.scalar, value
        for other in merged:
            yield from other.pairs()

    def get(self, name: str) -> "Node | None":
        """The value under ``name``; None where there is none, or where this is no mapping."""
        return next((value for key, value in self.pairs() if key == name), None)

    def key(self, name: str) -> "Node | None":
        """The key ``name`` itself, for its place."""
        return next((key for key, _ in self.entries if key.scalar == name), None)

    def walk(self) -> Iterator["Node"]:
        """This value and everything below it, in the order of the text; keys are not values."""
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            pending += reversed([*node.items, *(value for _, value in node.entries)])

    def to_json(self) -> Json:
        """The value without places."""
        if self.kind is Kind.SEQUENCE:
            return [item.to_json() for item in self.items]
        if self.kind is Kind.MAPPING:
            merged: dict[str, Json] = {}
            for name, value in self.pairs():
                if name not in merged:
                    merged[name] = value.to_json()
            return merged
        return self.scalar


def read(text: str, file: str | None) -> Node:
    """The tree of ``text``; ``file`` is what findings call it.

    Raises:
        Unreadable: it is not YAML or JSON, or holds what is refused: several documents, duplicate keys, keys
            that are no text, tags, too much.
    """
    reader = _Reader(file)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            reader.take(event)
    except MarkedYAMLError as error:
        raise Unreadable(_syntax_finding(error, file)) from error
    except ReaderError as error:
        raise Unreadable(_character_finding(text, error.position, file)) from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, AssertionError, OverflowError) as error:
        # ruamel's scanner lets these out for some texts that are no YAML ("%YAML 1", "\UFFFFFFFF")
        raise Unreadable(Finding("this is not YAML", "yaml/syntax", file, 1, 1)) from error
    if reader.root is None:
        raise Unreadable(Finding("the document is empty", "yaml/empty", file, 1, 1))
    return reader.root


def decode(content: bytes, file: str | None) -> str:
    """``content`` as text, without a byte order mark.

    Raises:
        Unreadable: it is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        message = "the text is not UTF-8; save the file with that encoding"
        raise Unreadable(Finding(message, "yaml/encoding", file, line, column)) from error


class _Reader:
    """Makes the tree from ruamel's events, without recursion."""

    def __init__(self, file: str | None) -> None:
        self.root: Node | None = None
        self._file = file
        self._open: list[tuple[Node, str | None, Node | None, set[str]]] = []
        """Containers being read: the node, its anchor, the pending key, the keys seen."""
        self._anchors: dict[str, Node | None] = {}
        self._count = 0
        self._documents = 0

    def take(self, event: _Event) -> None:
        """Take the next event."""
        if isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._problem(event, "the file holds several documents; keep one", "yaml/several-documents")
        elif isinstance(event, ScalarEvent):
            self._attach(self._anchored(event, self._scalar(event)))
        elif isinstance(event, AliasEvent):
            self._attach(self._target(event))
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._begin(event)
        elif isinstance(event, CollectionEndEvent):
            self._finish(event)

    def _node(self, event: _Event, kind: Kind) -> Node:
        self._count += 1
        if self._count > MAX_NODES:
            raise self._problem(event, f"the document has more than {MAX_NODES} values", "yaml/too-many-values")
        tag = event.tag
        if tag is not None and str(tag) not in {*_PLAIN_TAGS, "!"}:
            shown = str(tag).replace(_TAG, "!!")[:80]
            raise self._problem(event, f"the tag {shown!r} is not allowed; remove it", "yaml/tag")
        start = event.start_mark
        return Node(
            kind,
            start.line + 1,
            start.column + 1,
            start.index,
            event.end_mark.index,
            is_flow=bool(getattr(event, "flow_style", False)),
        )

    def _begin(self, event: _Event) -> None:
        kind = Kind.MAPPING if isinstance(event, MappingStartEvent) else Kind.SEQUENCE
        node = self._node(event, kind)
        if len(self._open) >= MAX_DEPTH:
            raise self._problem(event, f"values are nested deeper than {MAX_DEPTH}", "yaml/too-deep")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append((node, event.anchor, None, set()))

    def _finish(self, event: _Event) -> None:
        node, anchor, _, _ = self._open.pop()
        node.end = event.end_mark.index
        if anchor is not None:
            self._anchors[anchor] = node
        self._attach(node)

    def _anchored(self, event: _Event, node: Node) -> Node:
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _target(self, event: _Event) -> Node:
        self._count += 1
        name = event.anchor
        if name not in self._anchors:
            raise self._problem(event, f"the alias *{name} has no anchor &{name} before it", "yaml/alias")
        target = self._anchors[name]
        if target is None:
            raise self._problem(event, f"the alias *{name} refers to what it is part of", "yaml/alias")
        return target

    def _attach(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent, anchor, key, seen = self._open[-1]
        if parent.kind is Kind.MAPPING and key is None:
            self._open[-1] = (parent, anchor, self._checked_key(node, seen), seen)
            return
        if key is None:
            parent.items.append(node)
        else:
            parent.entries.append((key, node))
            self._open[-1] = (parent, anchor, None, seen)
            self._check_merge(key, node)
        parent.weight += node.weight
        parent.depth = max(parent.depth, node.depth + 1)
        if parent.weight > MAX_NODES or parent.depth > MAX_DEPTH:
            message = "aliases unfold to too much; write the values out"
            raise Unreadable(Finding(message, "yaml/alias-bomb", self._file, node.line, node.column))

    def _checked_key(self, key: Node, seen: set[str]) -> Node:
        if key.kind is not Kind.SCALAR:
            message = 'a key must be text; a placeholder must stand in quotes: "{{…}}"'
            raise Unreadable(Finding(message, "yaml/key", self._file, key.line, key.column))
        if key.text is None:
            message = (
                f'a key must be text; put {key.scalar!s} in quotes (a whole placeholder: "{{{{{key.scalar!s}}}}}")'
            )
            raise Unreadable(Finding(message, "yaml/key", self._file, key.line, key.column))
        if key.text in seen:
            message = f"the key {key.text!r} occurs twice; keep one of them"
            raise Unreadable(Finding(message, "yaml/duplicate-key", self._file, key.line, key.column))
        seen.add(key.text)
        return key

    def _check_merge(self, key: Node, value: Node) -> None:
        merged = value.items if value.kind is Kind.SEQUENCE else [value]
        if key.scalar == _MERGE and any(one.kind is not Kind.MAPPING for one in merged):
            message = "'<<' takes a mapping, or a list of mappings"
            raise Unreadable(Finding(message, "yaml/merge", self._file, value.line, value.column))

    def _scalar(self, event: _Event) -> Node:
        node = self._node(event, Kind.SCALAR)
        written = _joined_pairs(event.value)
        if written is None or "\0" in written:
            raise self._problem(event, "the text holds a character that is none (NUL or half of a pair)", "yaml/nul")
        is_plain = event.style is None and event.tag is None
        node.scalar = self._plain(event, written) if is_plain else self._tagged(event, written)
        return node

    def _plain(self, event: _Event, written: str) -> Json:
        if written in _WORDS:
            return _WORDS[written]
        if _INTEGER.fullmatch(written) or _FLOAT.fullmatch(written):
            number = _number(written)
            if isinstance(number, float) and math.isinf(number):
                raise self._problem(event, "the number is too large; put text in quotes", "yaml/number")
            return number
        if _NO_NUMBER.fullmatch(written):
            raise self._problem(event, f"{written} is no number that JSON knows; put text in quotes", "yaml/number")
        return written

    def _tagged(self, event: _Event, written: str) -> Json:
        tag = None if event.tag is None else str(event.tag)
        if tag in {None, "!", _TAG + "str"}:
            return written
        value = self._plain(event, written)
        kinds: dict[str, tuple[type, ...]] = {
            "int": (int,),
            "float": (int, float),
            "bool": (bool,),
            "null": (type(None),),
        }
        wanted = kinds.get((tag or "").removeprefix(_TAG), ())
        if not isinstance(value, wanted):
            raise self._problem(event, "the value is not what its tag says; remove the tag", "yaml/tag")
        return value

    def _problem(self, event: _Event, message: str, rule: str) -> Unreadable:
        mark = event.start_mark
        return Unreadable(Finding(message, rule, self._file, mark.line + 1, mark.column + 1))


def _number(written: str) -> int | float:
    """What a number means; one that does not fit in 64 bits is a float, as JSON's readers have it."""
    if not _INTEGER.fullmatch(written):
        return float(written)
    is_prefixed = written[:2] in {"0o", "0x"}
    if len(written) > _MAX_INTEGER_CHARACTERS:
        return math.inf if is_prefixed else float(written)
    number = int(written, 0) if is_prefixed else int(written)
    return number if -(2**63) <= number < 2**64 else float(number)


def _joined_pairs(written: str) -> str | None:
    """``written`` with JSON's pairs of surrogates joined to the characters they mean; None with half of a pair."""
    try:
        return written.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None


def with_pairs_joined(text: str) -> str:
    r"""``text`` of a JSON document with its pairs of escapes (``\ud83d\ude00``) as the characters that they mean.

    YAML's readers, which read JSON for cwltool, take each half for a character. Other text is given back as it is.
    """
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return text
    return _PAIR.sub(lambda pair: pair[1] + str(json.loads(f'"{pair[2]}"')), text)


def _syntax_finding(error: MarkedYAMLError, file: str | None) -> Finding:
    mark = error.problem_mark or error.context_mark
    problem = str(error.problem or error.context or "it cannot be read").splitlines()[0]
    if "'\\t'" in problem:
        return _at(mark, "a tab cannot indent YAML; use spaces", "yaml/tab", file)
    within = f" {error.context}" if error.context and error.problem else ""
    return _at(mark, f"this is not YAML: {problem}{within}", "yaml/syntax", file)


def _at(mark: Any, message: str, rule: str, file: str | None) -> Finding:
    if mark is None:
        return Finding(message, rule, file, 1, 1)
    return Finding(message, rule, file, mark.line + 1, mark.column + 1)


def _character_finding(text: str, position: int, file: str | None) -> Finding:
    before = text[:position]
    line, column = before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1
    shown = f"U+{ord(text[position]):04X}" if position < len(text) else "a character"
    return Finding(f"{shown} is not allowed in YAML; remove it", "yaml/character", file, line, column)
