"""Input objects: read from YAML or JSON, checked against a workflow's inputs, and searched for files.

Pure and light: knows no CWL library. Files named in inputs are never opened here.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

import orjson

from stemma.cwl.documents import suggestion
from stemma.cwl.filereferences import (
    FileReference,
    FileSource,
    SourceKind,
    file_references,
    problem_of,
)
from stemma.cwl.nodes import Kind, Unreadable, decode, read
from stemma.cwl.types import alternatives, field_types, is_nullable, shown
from stemma.errors import Finding, InvalidInputs, TooLarge
from stemma.file_fields import OCCURRENCE
from stemma.records import Json, WorkflowStructure

__all__ = ["FileReference", "FileSource", "InputObject", "SourceKind", "check_inputs", "file_references", "read_inputs"]

MAX_JSON_BYTES: Final = 5 * 1024 * 1024
MAX_YAML_BYTES: Final = 1024 * 1024
"""YAML is read at some 300 kB a second; what is larger can be JSON."""

MAX_FILES: Final = 10_000
"""How many files and folders one input object may name: each becomes a row."""

_PLACED_JSON_BYTES: Final = 128 * 1024
"""JSON up to this size is read with its lines, and duplicate keys are found."""
_MAX_DEPTH: Final = 100
_MAX_FINDINGS: Final = 100
_INT_BITS: Final = 31
_LONG_BITS: Final = 63


class InputObject(dict[str, Json]):
    """An input object that knows where its inputs stand in the file that it was read from."""

    def __init__(
        self,
        values: Mapping[str, Json] | None = None,
        *,
        file: str | None = None,
        places: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(values or {})
        self.file = file
        self.places: dict[str, tuple[int, int]] = dict(places or {})


def read_inputs(content: bytes, filename: str, *, max_bytes: int = MAX_JSON_BYTES) -> InputObject:
    """The input object of a YAML or JSON file.

    Raises:
        InvalidInputs: it cannot be read, or is no mapping.
        TooLarge: it is over ``max_bytes``, or over 1 MiB and not JSON.
    """
    if len(content) > max_bytes:
        raise TooLarge("the inputs file", max_bytes)
    if not content.strip():
        return InputObject(file=filename)
    if len(content) > _PLACED_JSON_BYTES and content.lstrip()[:1] == b"{":
        return _read_json(content, filename)
    if len(content) > MAX_YAML_BYTES:
        raise TooLarge("an inputs file in YAML (JSON may be larger)", MAX_YAML_BYTES)
    return _read_yaml(content, filename)


def check_inputs(structure: WorkflowStructure, inputs: Mapping[str, Json]) -> list[Finding]:
    """Why ``inputs`` do not fit the workflow: missing, unknown, of the wrong type, or files that cannot be taken.

    Raises:
        TooLarge: more than ``MAX_FILES`` files are named.
    """
    if _is_too_deep(inputs):
        return [Finding(f"values are nested deeper than {_MAX_DEPTH}", "inputs/too-deep", _file_of(inputs))]
    findings: list[Finding] = []
    ports = {port.id: port for port in structure.inputs}
    for name in inputs:
        if name not in ports:
            message = f"the workflow has no input {name!r}; {suggestion(name, ports)}"
            findings.append(_finding(inputs, name, message, "inputs/unknown"))
    for port in structure.inputs:
        value = inputs.get(port.id)
        if value is None and not port.required:
            continue
        if port.id not in inputs:
            message = f"the input {port.id!r} ({shown(port.type)}) is missing"
            findings.append(_finding(inputs, port.id, message, "inputs/missing"))
            continue
        for position, problem in _problems(value, port.type, ""):
            findings.append(_finding(inputs, port.id, f"{port.id}{position}: {problem}", "inputs/type"))
    findings += islice(_reserved_findings(inputs), _MAX_FINDINGS)
    findings += _file_findings(inputs)
    return findings[:_MAX_FINDINGS]


def _read_json(content: bytes, filename: str) -> InputObject:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        finding = Finding(f"this is not JSON: {error.msg}", "inputs/syntax", filename, error.lineno, error.colno)
        raise InvalidInputs([finding]) from error
    if not isinstance(value, dict):
        raise InvalidInputs([_no_mapping(filename)])
    return InputObject(value, file=filename)


def _read_yaml(content: bytes, filename: str) -> InputObject:
    try:
        root = read(decode(content, filename), filename)
    except Unreadable as error:
        raise InvalidInputs([error.finding]) from error
    if root.kind is Kind.SCALAR and root.scalar is None:
        return InputObject(file=filename)
    if root.kind is not Kind.MAPPING:
        raise InvalidInputs([_no_mapping(filename)])
    places = {name: (value.line, value.column) for name, value in root.pairs()}
    return InputObject(root.to_json(), file=filename, places=places)


def _no_mapping(filename: str) -> Finding:
    return Finding("inputs are a mapping from names to values", "inputs/not-a-mapping", filename, 1, 1)


def _is_too_deep(inputs: Mapping[str, Json]) -> bool:
    pending = [(value, 1) for value in inputs.values()]
    while pending:
        value, depth = pending.pop()
        if depth > _MAX_DEPTH:
            return True
        if isinstance(value, dict):
            pending += [(member, depth + 1) for member in value.values()]
        elif isinstance(value, list):
            pending += [(member, depth + 1) for member in value]
    return False


def _reserved_findings(inputs: Mapping[str, Json]) -> Iterator[Finding]:
    """Where the key is used that tells our records of files apart, were it in what a File does not have."""
    for port, given in inputs.items():
        pending: list[Json] = [given]
        is_used = port == OCCURRENCE
        while pending and not is_used:
            value = pending.pop()
            if isinstance(value, dict):
                is_used = OCCURRENCE in value
                pending += value.values()
            elif isinstance(value, list):
                pending += value
        if is_used:
            message = f"{port}: the key {OCCURRENCE!r} is reserved; leave it out"
            yield _finding(inputs, port, message, "inputs/reserved")


def _file_findings(inputs: Mapping[str, Json]) -> Iterator[Finding]:
    for number, reference in enumerate(file_references(inputs), start=1):
        if number > MAX_FILES:
            raise TooLarge("what the inputs name", MAX_FILES, "files")
        problem = problem_of(reference.value)
        if problem is not None:
            message = f"{reference.port}{reference.position}: {problem}"
            yield _finding(inputs, reference.port, message, "inputs/file")


def _problems(value: Json, kind: Json, position: str) -> Iterator[tuple[str, str]]:
    """Where ``value`` is not of type ``kind``, and how."""
    members = alternatives(kind)
    if any(_fits(value, member) for member in members):
        return
    candidates = [member for member in members if member != "null"]
    if len(candidates) == 1 and isinstance(candidates[0], dict):
        inner = list(_inner_problems(value, candidates[0], position))
        if inner:
            yield from inner
            return
    yield position, f"takes {shown(kind)}, not {_said(value)}"


def _inner_problems(value: Json, kind: Json, position: str) -> Iterator[tuple[str, str]]:
    """What is wrong inside an array or a record."""
    if kind["type"] == "array" and isinstance(value, list):
        for number, member in enumerate(value):
            yield from _problems(member, kind["items"], f"{position}[{number}]")
    elif kind["type"] == "record" and isinstance(value, dict):
        fields = field_types(kind)
        for name in value:
            if name not in fields:
                yield f"{position}.{name}", f"the record has no such field; {suggestion(name, fields)}"
        for name, wanted in fields.items():
            if name in value:
                yield from _problems(value[name], wanted, f"{position}.{name}")
            elif not is_nullable(wanted):
                yield f"{position}.{name}", f"the field ({shown(wanted)}) is missing"


def _fits(value: Json, kind: Json) -> bool:
    """Whether ``value`` is of one type that is no union."""
    if isinstance(kind, dict):
        return _fits_composed(value, kind)
    if kind in {"int", "long"}:
        bits = _INT_BITS if kind == "int" else _LONG_BITS
        return isinstance(value, int) and not isinstance(value, bool) and -(1 << bits) <= value < 1 << bits
    if kind in {"float", "double"}:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in {"File", "stdin", "Directory"}:
        return isinstance(value, dict) and value.get("class") == ("Directory" if kind == "Directory" else "File")
    simple: dict[str, type] = {"null": type(None), "boolean": bool, "string": str}
    if kind in simple:
        return isinstance(value, simple[kind])
    return value is not None  # Any, and a type that refers to itself by its name


def _fits_composed(value: Json, kind: Json) -> bool:
    if kind["type"] == "enum":
        return isinstance(value, str) and value in kind["symbols"]
    wanted = list if kind["type"] == "array" else dict
    return isinstance(value, wanted) and next(_inner_problems(value, kind, ""), None) is None


def _said(value: Json) -> str:
    """A value as it is told back: short, and by its kind where it is large."""
    if isinstance(value, dict):
        named = value.get("class")
        return f"a {named}" if named in {"File", "Directory"} else "a mapping"
    if isinstance(value, list):
        return "a list"
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    limit = 60
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


def _finding(inputs: Mapping[str, Json], port: str, message: str, rule: str) -> Finding:
    places = inputs.places if isinstance(inputs, InputObject) else {}
    return Finding(message, rule, _file_of(inputs), *places.get(port, (None, None)))


def _file_of(inputs: Mapping[str, Json]) -> str | None:
    return inputs.file if isinstance(inputs, InputObject) else None
