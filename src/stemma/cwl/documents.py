"""What is checked before cwltool reads anything: the text of every document and what it refers to.

Finds the traps of YAML, references that lead out of the bundle or nowhere, versions and classes that are not run,
duplicate ids and workflows that run themselves.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from stemma.cwl.bundle import Bundle
from stemma.cwl.nodes import Kind, Node, Unreadable, decode, read
from stemma.cwl.references import NotLocal, Reference, ReferenceKind, bundle_path, finding_at, references
from stemma.errors import Finding

VERSIONS: Final = ("v1.0", "v1.1", "v1.2")
CLASSES: Final = ("Workflow", "CommandLineTool", "ExpressionTool")

_VERSION_PREFIX: Final = re.compile(r"^(?:cwl:|https://w3id\.org/cwl/cwl#)")
_LISTS_WITH_IDS: Final = ("inputs", "outputs", "steps")


@dataclass(slots=True)
class Documents:
    """The documents that are reachable from the main one, and what is wrong with them."""

    main_file: str
    fragment: str
    trees: dict[str, Node] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    runs: dict[str, list[tuple[str, Node]]] = field(default_factory=dict)
    """Which files a file's steps run, and where it says so."""

    @property
    def cwl_version(self) -> str:
        """The version that the main document says."""
        version = self.trees[self.main_file].get("cwlVersion")
        return _VERSION_PREFIX.sub("", str(version.scalar)) if version is not None else ""

    def locate(self, file: str | None, line: int | None, column: int | None, text: str) -> Node | None:
        """The first value ``text`` at or after a place."""
        tree = self.trees.get(file or "")
        if tree is None or line is None or column is None:
            return None
        for node in tree.walk():
            if node.text == text and (node.line, node.column) >= (line, column):
                return node
        return None

    def enclosing(self, file: str | None, line: int, column: int, name: str) -> Node | None:
        """The innermost mapping with an entry ``name`` that begins before a place."""
        best = None
        tree = self.trees.get(file or "")
        for node in tree.walk() if tree is not None else ():
            starts_before = (node.line, node.column) <= (line, column)
            if node.kind is Kind.MAPPING and starts_before and node.key(name) is not None:
                best = node
        return best


def examine(bundle: Bundle, document_bytes: int) -> Documents:
    """Read every document from the main one on."""
    path, _, fragment = bundle.main_path.partition("#")
    documents = Documents(path, fragment)
    pending = [(path, True)]
    while pending:
        file, is_process = pending.pop(0)
        if file in documents.trees:
            continue
        tree = _tree(bundle, file, document_bytes, documents.findings)
        if tree is None:
            continue
        documents.trees[file] = tree
        documents.findings += _document_findings(tree, file, is_process=is_process)
        pending += _follow(bundle, file, tree, documents)
    if not documents.findings:
        documents.findings += _circle(documents)
    return documents


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """``did you mean …`` for a near match, else the list of what is known."""
    names = sorted(set(known))
    near = difflib.get_close_matches(wrong, names, 1, 0.7)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(names)}" if names else "none is known"


def entries(node: Node | None) -> Iterator[tuple[str, Node]]:
    """The ids and values of ``inputs``, ``outputs``, ``steps``, ``in`` …, written as a mapping or as a list."""
    if node is None:
        return
    yield from node.pairs()
    for value in node.items:
        named = value if value.kind is Kind.SCALAR else value.get("id")
        if named is not None and named.text is not None:
            yield named.text.rpartition("#")[2].rpartition("/")[2], value


def _tree(bundle: Bundle, file: str, limit: int, findings: list[Finding]) -> Node | None:
    if bundle.size_bytes(file) > limit:
        message = f"a document may have {limit} bytes; this one is larger"
        findings.append(Finding(message, "cwl/too-large", file, 1, 1))
        return None
    try:
        return read(decode(bundle.read(file), file), file)
    except Unreadable as error:
        findings.append(error.finding)
        return None


def _follow(bundle: Bundle, file: str, tree: Node, documents: Documents) -> list[tuple[str, bool]]:
    found: list[tuple[str, bool]] = []
    for reference in references(tree):
        try:
            target = bundle_path(reference, file)
        except NotLocal as problem:
            documents.findings.append(finding_at(reference.node, file, problem.reason, problem.rule))
            continue
        problem_found = _missing(bundle, reference, target, file)
        if problem_found is not None:
            documents.findings.append(problem_found)
        elif reference.kind.is_document:
            is_process = reference.kind is ReferenceKind.PROCESS
            found.append((target, is_process))
            if is_process and "#" not in reference.text:
                documents.runs.setdefault(file, []).append((target, reference.node))
    return found


def _missing(bundle: Bundle, reference: Reference, target: str, file: str) -> Finding | None:
    is_folder = any(path.startswith(f"{target}/") for path in bundle.files) or target == "."
    if target in bundle.files and reference.kind is not ReferenceKind.DIRECTORY:
        return None
    if is_folder and reference.kind is ReferenceKind.DIRECTORY:
        return None
    rule = "cwl/undefined-run" if reference.kind is ReferenceKind.PROCESS else "cwl/missing-file"
    near = difflib.get_close_matches(target, list(bundle.files), 1, 0.7)
    advice = f"did you mean {near[0]!r}?" if near else "add it, or correct the name"
    return finding_at(reference.node, file, f"{target!r} is not in the bundle; {advice}", rule)


def _document_findings(tree: Node, file: str, *, is_process: bool) -> Iterator[Finding]:
    if tree.kind is not Kind.MAPPING:
        if is_process:
            yield finding_at(tree, file, "a CWL document is a mapping with cwlVersion and class", "cwl/not-cwl")
        return
    if is_process:
        yield from _version_findings(tree, file)
    graph = tree.get("$graph")
    for process in graph.items if graph is not None else [tree]:
        yield from _process_findings(process, file, is_process=is_process)
    yield from _duplicates(graph, file)


def _version_findings(tree: Node, file: str) -> Iterator[Finding]:
    version = tree.get("cwlVersion")
    choices = ", ".join(VERSIONS)
    if version is None:
        yield finding_at(tree, file, f"cwlVersion is missing; use one of {choices}", "cwl/version")
    elif _VERSION_PREFIX.sub("", str(version.scalar)) not in VERSIONS:
        message = f"unknown version {str(version.scalar)[:40]!r}; use one of {choices}"
        yield finding_at(version, file, message, "cwl/version")


def _process_findings(process: Node, file: str, *, is_process: bool) -> Iterator[Finding]:
    """What is wrong with a process and those that its steps hold inline."""
    named = process.get("class")
    if named is None:
        if is_process:
            yield finding_at(process, file, f"class is missing; use one of {', '.join(CLASSES)}", "cwl/class")
        return
    if named.text == "Operation":
        message = "an Operation only says what it would do and cannot be run; put a tool or a workflow in its place"
        yield finding_at(named, file, message, "cwl/operation")
    elif is_process and named.text not in CLASSES:
        advice = suggestion(str(named.scalar), CLASSES)
        yield finding_at(named, file, f"unknown class {named.scalar!r}; {advice}", "cwl/class")
    for name in _LISTS_WITH_IDS:
        yield from _duplicates(process.get(name), file)
    for _, step in entries(process.get("steps")):
        for name in ("in", "out"):
            yield from _duplicates(step.get(name), file)
        run = step.get("run")
        if run is not None and run.kind is Kind.MAPPING and run.get("$import") is None:
            yield from _process_findings(run, file, is_process=True)


def _duplicates(listed: Node | None, file: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for name, value in entries(listed):
        if name in seen:
            place = value.get("id") or value
            yield finding_at(place, file, f"the id {name!r} is used twice; choose another", "cwl/duplicate-id")
        seen.add(name)


def _circle(documents: Documents) -> list[Finding]:
    """A finding where a document runs itself, directly or through others."""
    done: set[str] = set()
    path = [documents.main_file]
    pending = [(documents.main_file, _runs(documents, documents.main_file))]
    while pending:
        file, targets = pending[-1]
        step = next(targets, None)
        if step is None:
            done.add(file)
            pending.pop()
            path.pop()
        elif step[0] in path:
            message = f"{step[0]} runs itself here, directly or through others; break the circle"
            return [finding_at(step[1], file, message, "cwl/recursion")]
        elif step[0] not in done:
            path.append(step[0])
            pending.append((step[0], _runs(documents, step[0])))
    return []


def _runs(documents: Documents, file: str) -> Iterator[tuple[str, Node]]:
    return iter(documents.runs.get(file, ()))
