"""``valueFromPlatform`` and ``valueFromEntity``: what a workflow says about where its inputs come from.

Neither keyword is CWL, so the document that is checked and run has blanks in their place: every line and column of
the rest is where it was. The document as registered stays as it is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stemma.cwl.bundle import Bundle
from stemma.cwl.nodes import Kind, Node, Unreadable, decode, read
from stemma.cwl.references import finding_at
from stemma.errors import Finding, InvalidDocument


class PlaceholderKind(StrEnum):
    """What a placeholder names."""

    PLATFORM = "valueFromPlatform"
    """A URL: of a file of this service, of an entry of a dataset catalogue, or of the file itself."""
    ENTITY = "valueFromEntity"
    """The number of a file entity of this service."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Where the value of one input of the workflow comes from."""

    port: str
    kind: PlaceholderKind
    value: str
    """The URL, or the number of the entity."""
    file: str
    line: int
    column: int


_WRITTEN: Final = re.compile(r"\s*\{\{\s*(\S+)\s*\}\}\s*")
_URL: Final = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)
_ENTITY: Final = re.compile(r"[1-9][0-9]{0,17}")
_KEYWORDS: Final = tuple(kind.value.encode() for kind in PlaceholderKind)
_MAX_VALUE_CHARACTERS: Final = 4096


def extract(bundle: Bundle) -> tuple[Bundle, tuple[Placeholder, ...]]:
    """The bundle to check and run, and the placeholders that were taken out of its main document.

    Raises:
        InvalidDocument: a placeholder is malformed, or the document that holds one is not YAML.
    """
    path = bundle.main_file
    content = bundle.read(path)
    if not any(keyword in content for keyword in _KEYWORDS):
        return bundle, ()
    try:
        text = decode(content, path)
        tree = read(text, path)
    except Unreadable as error:
        raise InvalidDocument([error.finding]) from error
    blanked, placeholders, findings = _take_out(text, tree, bundle.main_path)
    if findings:
        raise InvalidDocument(findings)
    return Bundle({**bundle.files, path: blanked.encode()}, bundle.main_path), tuple(placeholders)


def parse(kind: PlaceholderKind, written: str | None) -> str:
    """The URL or the entity's number that a placeholder names.

    Raises:
        ValueError: it is not written as one; the message says how it should be.
    """
    match = _WRITTEN.fullmatch(written[:_MAX_VALUE_CHARACTERS]) if written is not None else None
    value = match[1] if match else ""
    if kind is PlaceholderKind.ENTITY and not _ENTITY.fullmatch(value):
        raise ValueError('valueFromEntity takes the number of a file, written as "{{5}}"')
    if kind is PlaceholderKind.PLATFORM and not _URL.fullmatch(value):
        raise ValueError('valueFromPlatform takes an http or https URL, written as "{{https://…}}"')
    return value


def _take_out(text: str, tree: Node, main_path: str) -> tuple[str, list[Placeholder], list[Finding]]:
    characters = list(text)
    placeholders: list[Placeholder] = []
    findings: list[Finding] = []
    path, _, fragment = main_path.partition("#")
    for process, is_main in _processes(tree, fragment):
        for port, parameter in _parameters(process):
            keys = [(key, value) for key, value in parameter.entries if key.scalar in set(PlaceholderKind)]
            for key, value in keys:
                _blank(characters, key, value, is_flow=parameter.is_flow)
            findings += _problems(keys, path, is_main=is_main)
            if is_main and len(keys) == 1:
                placeholders += _placeholder(port, *keys[0], path, findings)
    return "".join(characters), placeholders, findings


def _processes(tree: Node, fragment: str) -> Iterator[tuple[Node, bool]]:
    """Every process of the file, and whether it is the one to run."""
    graph = tree.get("$graph")
    if graph is None:
        yield tree, True
        return
    wanted = fragment or "main"
    for process in graph.items:
        named = process.get("id")
        yield process, len(graph.items) == 1 or (named is not None and _bare(named) == wanted)


def _parameters(process: Node) -> Iterator[tuple[str, Node]]:
    inputs = process.get("inputs")
    if inputs is None:
        return
    if inputs.kind is Kind.MAPPING:
        yield from ((name, value) for name, value in inputs.pairs() if value.kind is Kind.MAPPING)
    for value in inputs.items:
        named = value.get("id")
        if named is not None:
            yield _bare(named), value


def _bare(identifier: Node) -> str:
    return str(identifier.scalar).rpartition("#")[2].rpartition("/")[2]


def _problems(keys: list[tuple[Node, Node]], path: str, *, is_main: bool) -> Iterator[Finding]:
    if len(keys) > 1:
        message = "an input takes valueFromPlatform or valueFromEntity, not both; remove one"
        yield finding_at(keys[1][0], path, message, "cwl/placeholder")
    if keys and not is_main:
        message = f"{keys[0][0].scalar} belongs to an input of the workflow that is run, not of a part of it"
        yield finding_at(keys[0][0], path, message, "cwl/placeholder")


def _placeholder(port: str, key: Node, value: Node, path: str, findings: list[Finding]) -> Iterator[Placeholder]:
    kind = PlaceholderKind(key.scalar)
    if value.start < key.start:
        findings.append(finding_at(key, path, f"{kind} takes no alias; write the value out", "cwl/placeholder"))
        return
    try:
        yield Placeholder(port, kind, parse(kind, value.text), path, value.line, value.column)
    except ValueError as error:
        findings.append(finding_at(value, path, str(error), "cwl/placeholder"))


def _blank(characters: list[str], key: Node, value: Node, *, is_flow: bool) -> None:
    """Put spaces in the place of one entry of a mapping, and of the comma that belonged to it."""
    for index in range(key.start, max(value.end, key.end)):
        if characters[index] not in "\r\n":
            characters[index] = " "
    if is_flow:
        comma = _comma(characters, value.end, 1)
        if comma is None:
            comma = _comma(characters, key.start - 1, -1)
        if comma is not None:
            characters[comma] = " "


def _comma(characters: list[str], index: int, direction: int) -> int | None:
    """Where the next comma is, when only white space (and, going on, a comment) lies between."""
    while 0 <= index < len(characters):
        character = characters[index]
        if character == ",":
            return index
        if direction > 0 and character == "#":
            while index < len(characters) and characters[index] != "\n":
                index += 1
        elif not character.isspace():
            return None
        index += direction
    return None
