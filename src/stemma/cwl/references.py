"""What a CWL document refers to: read from its tree, nothing is fetched.

References are ``run`` of steps, ``$import``, ``$include``, ``$mixin``, ``$schemas`` (CWL v1.2 Workflow §1.3;
Schema Salad §2), and the ``location`` or ``path`` of Files and Directories that the document itself brings.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote

from stemma.cwl.nodes import Kind, Node
from stemma.errors import Finding


class ReferenceKind(Enum):
    """What is referred to."""

    PROCESS = "run"
    DOCUMENT = "$import"
    TEXT = "$include"
    SCHEMA = "$schemas"
    FILE = "File"
    DIRECTORY = "Directory"

    @property
    def is_document(self) -> bool:
        """Whether what it names is CWL that may refer to more."""
        return self in {ReferenceKind.PROCESS, ReferenceKind.DOCUMENT}


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference, as it is written."""

    kind: ReferenceKind
    text: str
    node: Node
    is_encoded: bool = True
    """Whether it is an IRI reference, in which ``%20`` is a space; a ``path`` is not."""


_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DIRECTIVES: Final = {
    "$import": ReferenceKind.DOCUMENT,
    "$mixin": ReferenceKind.DOCUMENT,
    "$include": ReferenceKind.TEXT,
}


def references(root: Node) -> Iterator[Reference]:
    """Every reference of a document to something outside of it; those to its own parts are left out."""
    schemas = root.get("$schemas")
    if schemas is not None:
        for node in schemas.items or [schemas]:
            yield from _reference(ReferenceKind.SCHEMA, node)
    for node in root.walk():
        if node.kind is Kind.MAPPING:
            yield from _of_mapping(node)


def _of_mapping(node: Node) -> Iterator[Reference]:
    for name, value in node.pairs():
        if name in _DIRECTIVES:
            yield from _reference(_DIRECTIVES[name], value)
        elif name == "steps":
            yield from _of_steps(value)
    yield from _of_file(node)


def _of_steps(steps: Node) -> Iterator[Reference]:
    for step in [*steps.items, *(value for _, value in steps.entries)]:
        run = step.get("run")
        if run is not None:
            yield from _reference(ReferenceKind.PROCESS, run)


def _of_file(node: Node) -> Iterator[Reference]:
    named = node.get("class")
    if named is None or named.text not in {"File", "Directory"}:
        return
    kind = ReferenceKind.FILE if named.text == "File" else ReferenceKind.DIRECTORY
    for name in ("location", "path"):
        value = node.get(name)
        if value is not None and value.text is not None and "$(" not in value.text and "${" not in value.text:
            yield from _reference(kind, value, is_encoded=name == "location")


def _reference(kind: ReferenceKind, node: Node, *, is_encoded: bool = True) -> Iterator[Reference]:
    text = node.text
    if text is not None and not text.startswith(("#", "_:")):
        yield Reference(kind, text, node, is_encoded)


class NotLocal(Exception):
    """A reference names something that is no neighbour of its document."""

    def __init__(self, reason: str, rule: str) -> None:
        super().__init__(reason)
        self.reason, self.rule = reason, rule


def relative_path(reference: Reference) -> str:
    """The path that a reference names, relative to its document's folder; without a fragment.

    Raises:
        NotLocal: it is a URL, an absolute path, or holds what no path may.
    """
    text = reference.text
    if _SCHEME.match(text) and (reference.is_encoded or "://" in text):
        raise NotLocal(f"{_shown(text)} is remote or absolute; put the file into the bundle", "cwl/remote-reference")
    if reference.is_encoded:
        text = unquote(text.partition("#")[0].partition("?")[0])
    if text.startswith("/"):
        raise NotLocal(
            f"{_shown(text)} is an absolute path; refer to a file of the bundle by a relative one",
            "cwl/absolute-reference",
        )
    if not text or "\\" in text or any(ord(character) < ord(" ") for character in text):
        raise NotLocal(f"{_shown(reference.text)} is not a relative path", "cwl/invalid-reference")
    return text


def bundle_path(reference: Reference, document: str) -> str:
    """The path inside the bundle that a reference in ``document`` names (``.`` for its top).

    Raises:
        NotLocal: it leads out of the bundle, or is not relative at all.
    """
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(document), relative_path(reference)))
    if joined == ".." or joined.startswith("../"):
        raise NotLocal(f"{_shown(reference.text)} leads out of the bundle", "cwl/outside-bundle")
    return joined


def finding_at(node: Node, file: str | None, message: str, rule: str) -> Finding:
    """A finding at the place of ``node``."""
    return Finding(message, rule, file, node.line, node.column)


def _shown(text: str) -> str:
    limit = 120
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
