"""cwltool's and schema-salad's refusals as findings, one sentence each.

They come as trees of exceptions, as prose with places in it, or as bare sentences. Imports schema-salad; for the
checking process alone.
"""

import ast
import re
from collections.abc import Callable, Iterator
from typing import Final

from schema_salad.exceptions import ClassValidationException, SchemaSaladException

from stemma.cwl.documents import Documents, entries, suggestion
from stemma.cwl.fetching import without_root
from stemma.cwl.nodes import Node
from stemma.cwl.requirements import REQUIREMENTS
from stemma.cwl.types import PRIMITIVES, short
from stemma.errors import Finding


class Refused(SchemaSaladException):
    """A document is refused for findings that were made already."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings = findings


_PLACED: Final = re.compile(r"^(?P<file>[^\s:]+):(?P<line>\d+):(?P<column>\d+):\s+(?P<text>.*)$")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/?")
_OBJECT_ADDRESS: Final = re.compile(r"^\(\d+\) \([^)]*\) ")
_QUOTED_NAMES: Final = re.compile(r"'([^']*)'")
_ALTERNATIVE: Final = "tried "
_MAX_MESSAGE_CHARACTERS: Final = 2000


class Translator:
    """Translates what is said about one set of documents."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def findings(self, error: BaseException, place: Finding | None = None) -> list[Finding]:
        """What ``error`` says. ``place`` is where to point when it names no place."""
        if isinstance(error, Refused):
            return error.findings
        if not isinstance(error, SchemaSaladException):
            cause = error.__cause__
            if isinstance(cause, SchemaSaladException):
                return self.findings(cause, place)
            return list(self._prose(str(error), place))
        found: list[Finding] = []
        for leaf, parents in _leaves(error, ()):
            if leaf.children or leaf.file:
                found.append(self._leaf(leaf, parents, place))
            else:
                found += self._prose(leaf.message, place)
        return list(dict.fromkeys(found))

    def _leaf(
        self, leaf: SchemaSaladException, parents: tuple[SchemaSaladException, ...], place: Finding | None
    ) -> Finding:
        line, column = leaf.start or (None, None)
        file = without_root(leaf.file) if leaf.file else None
        where = Finding("", "", file, line, column) if file in self._documents.trees else place
        field = next((name for parent in reversed(parents) if (name := _field_of(parent.message))), None)
        return self._said(leaf.message, where, field)

    def _prose(self, text: str, place: Finding | None) -> Iterator[Finding]:
        """Findings of a text of which each line may begin with its place; lines without one go on."""
        parts: list[tuple[Finding | None, str]] = []
        for line in text.splitlines():
            match = _PLACED.match(line)
            if match is None:
                if parts:
                    parts[-1] = (parts[-1][0], f"{parts[-1][1]} {line.strip()}")
                elif line.strip():
                    parts.append((place, line.strip()))
                continue
            here = Finding("", "", without_root(match["file"]), int(match["line"]), int(match["column"]))
            continues = match["text"].startswith((" ", "tool output")) and parts
            if continues:
                parts[-1] = (parts[-1][0], f"{parts[-1][1]} {match['text'].strip()}")
            else:
                parts.append((here, match["text"].strip()))
        for where, said in parts:
            yield self._said(said, where, None)

    def _said(self, text: str, where: Finding | None, field: str | None) -> Finding:
        """The finding for one statement of the libraries."""
        plain = _tidy(text)
        for pattern, translate in _STATEMENTS:
            match = pattern.search(plain)
            if match is not None:
                return translate(self, match, where, field)
        return _place(f"{plain[:1].lower()}{plain[1:]}", "cwl/invalid", where)

    def _unknown_field(self, match: re.Match[str], where: Finding | None, _: str | None) -> Finding:
        known = _QUOTED_NAMES.findall(match["known"])
        node = self._key(where, match["name"])
        advice = suggestion(match["name"], known).replace("known are", "allowed here are")
        return _place(f"unknown field {match['name']!r}; {advice}", "cwl/unknown-field", where, node)

    def _missing_field(self, match: re.Match[str], where: Finding | None, _: str | None) -> Finding:
        message = f"the field {match['name']!r} is missing here; add it"
        return _place(message, "cwl/missing-field", where)

    def _wrong_type(self, match: re.Match[str], where: Finding | None, field: str | None) -> Finding:
        found = {"CommentedMap": "a mapping", "CommentedSeq": "a list", "NoneType": "empty"}.get(
            match["found"], f"{match['found']}"
        )
        subject = repr(field) if field else "the value"
        wanted = match["wanted"].replace("<", "").replace(">", "")
        return _place(f"{subject} is {found}; it must be {wanted}", "cwl/wrong-type", where)

    def _unknown_identifier(self, match: re.Match[str], where: Finding | None, _: str | None) -> Finding:
        field, name = match["field"], match["name"]
        node = self._value(where, name)
        if field == "type":
            advice = suggestion(name, _TYPES)
            return _place(f"unknown type {name!r}; {advice}", "cwl/unknown-type", where, node)
        if field == "scatter":
            known = self._step_inputs(where)
            message = f"scatter names {name!r}, which is no input of the step; {suggestion(name, known)}"
            return _place(message, "cwl/unknown-scatter", where, node)
        message = f"the source {name!r} does not exist; {suggestion(name, self._sources(where))}"
        return _place(message, "cwl/unknown-source", where, node)

    def _undefined_reference(self, match: re.Match[str], where: Finding | None, _: str | None) -> Finding:
        field, name = match["field"], match["name"]
        if field == "class":
            node = self._key(where, name) or self._value(where, name)
            message = f"unknown class or requirement {name!r}; {suggestion(name, REQUIREMENTS)}"
            return _place(message, "cwl/unknown-requirement", where, node)
        rule = "cwl/undefined-run" if field == "run" else "cwl/undefined-reference"
        node = self._value(where, name) or self._value(where, "#" + name.rpartition("#")[2])
        return _place(f"{field!r} names {name!r}, which does not exist; correct the name", rule, where, node)

    def _undefined_part(self, match: re.Match[str], _: Finding | None, __: str | None) -> Finding:
        file, fragment = match["file"], match["fragment"]
        for path, tree in self._documents.trees.items():
            for node in tree.walk():
                if node.text is not None and node.text.endswith("#" + fragment) and fragment:
                    return Finding(
                        f"there is no {fragment!r} in {file}; correct the name",
                        "cwl/undefined-run",
                        path,
                        node.line,
                        node.column,
                    )
        return self._no_main(match, None, None)

    def _no_main(self, _: re.Match[str], __: Finding | None, ___: str | None) -> Finding:
        graph = self._documents.trees[self._documents.main_file].get("$graph")
        known = ", ".join(f"#{name}" for name, _node in entries(graph))
        wanted = f"#{self._documents.fragment or 'main'}"
        message = f"the document has no {wanted}; name the process to run with 'main' (there are {known or 'none'})"
        place = graph or self._documents.trees[self._documents.main_file]
        return Finding(message, "cwl/no-main", self._documents.main_file, place.line, place.column)

    def _circular(self, match: re.Match[str], where: Finding | None, _: str | None) -> Finding:
        start = self._start()
        names = [short(name) for name in _literal_list(match["steps"])]
        keys = {name: key for name in names if (key := self._key(start, name)) is not None}
        ordered = sorted(keys, key=lambda name: (keys[name].line, keys[name].column))
        message = f"the steps {', '.join(ordered or names)} wait for each other; break the circle"
        return _place(message, "cwl/circular-steps", where or start, keys[ordered[0]] if ordered else None)

    def _start(self) -> Finding:
        return Finding("", "", self._documents.main_file, 1, 1)

    def _key(self, where: Finding | None, name: str) -> Node | None:
        """The key ``name`` at a place or after it, for its own place."""
        if where is None or where.line is None:
            return None
        tree = self._documents.trees.get(where.file or "")
        for node in tree.walk() if tree is not None else ():
            key = node.key(name)
            if key is not None and (key.line, key.column) >= (where.line, where.column or 1):
                return key
        return None

    def _value(self, where: Finding | None, name: str) -> Node | None:
        return self._documents.locate(where.file, where.line, where.column, name) if where is not None else None

    def _sources(self, where: Finding | None) -> list[str]:
        """What may be a source in the workflow around a place."""
        if where is None or where.line is None:
            return []
        workflow = self._documents.enclosing(where.file, where.line, where.column or 1, "steps")
        if workflow is None:
            return []
        known = [name for name, _ in entries(workflow.get("inputs"))]
        for step, node in entries(workflow.get("steps")):
            known += [f"{step}/{port}" for port, _ in entries(node.get("out"))]
        return known

    def _step_inputs(self, where: Finding | None) -> list[str]:
        if where is None or where.line is None:
            return []
        step = self._documents.enclosing(where.file, where.line, where.column or 1, "run")
        return [name for name, _ in entries(step.get("in"))] if step is not None else []


_Statement = Callable[[Translator, re.Match[str], Finding | None, str | None], Finding]


def _simple(message: str, rule: str) -> _Statement:
    def translate(_: Translator, match: re.Match[str], where: Finding | None, __: str | None) -> Finding:
        return _place(match.expand(message), rule, where)

    return translate


_STATEMENTS: Final[tuple[tuple[re.Pattern[str], _Statement], ...]] = tuple(
    (re.compile(pattern), translate)
    for pattern, translate in (
        (r"invalid field '(?P<name>[^']*)', expected one of: (?P<known>.*)", Translator._unknown_field),  # noqa: SLF001 - its own table
        (r"missing required field '(?P<name>[^']*)'", Translator._missing_field),  # noqa: SLF001 - its own table
        (r"value is an? (?P<found>\w+)(?: [^,]*)?, expected (?P<wanted>.*)", Translator._wrong_type),  # noqa: SLF001 - its own table
        (r"Field '(?P<field>\w+)' references unknown identifier '(?P<name>[^']*)'", Translator._unknown_identifier),  # noqa: SLF001 - its own table
        (r"Field '(?P<field>\w+)' contains undefined reference to '(?P<name>[^']*)'", Translator._undefined_reference),  # noqa: SLF001 - its own table
        (r"Reference '#(?P<fragment>[^']*)' not found in file '?(?P<file>[^']*?)'?\.?$", Translator._undefined_part),  # noqa: SLF001 - its own table
        (r"Tool file contains graph of multiple objects", Translator._no_main),  # noqa: SLF001 - its own table
        (r"have circular dependency: ?(?P<steps>\[.*\])", Translator._circular),  # noqa: SLF001 - its own table
        (r"Missing 'class' field", _simple("the field 'class' is missing here; add it", "cwl/missing-field")),
        (
            r"Step is missing required parameters? (.*)",
            _simple(
                r"the step gives no value to \1, which what it runs requires; add it to 'in'", "cwl/missing-source"
            ),
        ),
        (
            r"Workflow step output '([^']*)' does not correspond to tool output \(expected (.*)\)",
            _simple(r"what the step runs has no output '\1'; it has \2", "cwl/unknown-output"),
        ),
        (
            r"embedded workflow but SubworkflowFeatureRequirement",
            _simple(
                "the step runs a workflow; add SubworkflowFeatureRequirement to the requirements",
                "cwl/missing-requirement",
            ),
        ),
        (
            r"contains scatter but ScatterFeatureRequirement",
            _simple("the step scatters; add ScatterFeatureRequirement to the requirements", "cwl/missing-requirement"),
        ),
        (
            r"Must specify scatterMethod",
            _simple(
                "the step scatters over several inputs; add scatterMethod "
                "(dotproduct, nested_crossproduct or flat_crossproduct)",
                "cwl/scatter-method",
            ),
        ),
    )
)

_TYPES: Final = (*sorted(PRIMITIVES), "array", "record", "enum")


def _place(message: str, rule: str, where: Finding | None, node: Node | None = None) -> Finding:
    file = where.file if where is not None else None
    if node is not None:
        return Finding(message, rule, file, node.line, node.column)
    return Finding(message, rule, file, where.line if where else None, where.column if where else None)


def _leaves(
    error: SchemaSaladException, parents: tuple[SchemaSaladException, ...]
) -> Iterator[tuple[SchemaSaladException, tuple[SchemaSaladException, ...]]]:
    """The statements at the tips, of alternatives only those of the one that was meant."""
    if not error.children:
        if error.message:
            yield error, parents
        return
    for child in _meant(error.children):
        yield from _leaves(child, (*parents, error))


def _meant(children: list[SchemaSaladException]) -> list[SchemaSaladException]:
    """Of alternatives that were tried, the one whose class fits, else the one that got furthest."""
    tried = [child for child in children if child.message.startswith(_ALTERNATIVE)]
    if len(tried) < len(children) or len(tried) < 2:  # noqa: PLR2004 - one is no alternative
        return children
    fitting = [child for child in tried if isinstance(child, ClassValidationException)]
    return [max(fitting or tried, key=_reach)]


def _reach(error: SchemaSaladException) -> tuple[tuple[int, int], int]:
    leaves = error.leaves()
    return max((leaf.start or (0, 0) for leaf in leaves), default=(0, 0)), -len(leaves)


def _field_of(message: str) -> str | None:
    match = re.match(r"the '([^']+)' field is not valid because", message)
    return match[1] if match else None


def _tidy(text: str) -> str:
    """``text`` in one line, without the made-up root, addresses of objects and ids that nobody wrote."""
    one_line = " ".join(without_root(_OBJECT_ADDRESS.sub("", text)).split())
    return _UUID.sub("", one_line)[:_MAX_MESSAGE_CHARACTERS]


def _literal_list(text: str) -> list[str]:
    try:
        return [str(name) for name in ast.literal_eval(text)]
    except (ValueError, SyntaxError):
        return []
