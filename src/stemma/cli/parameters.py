"""``--name value`` after a workflow: its inputs, given on the command line."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stemma.cwl.inputs import read_inputs
from stemma.cwl.types import alternatives, shown
from stemma.errors import InvalidRequest

_TRUE: Final = frozenset({"true", "yes", "1"})
_FALSE: Final = frozenset({"false", "no", "0"})


def parse_parameters(given: Sequence[str], inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The values that ``given`` (``--name value``, ``--name=value``, ``--flag``) has for ``inputs``, as CWL.

    Arrays are given element by element. Types decide: ``--year 2014`` is a number where the input is one.

    Raises:
        InvalidRequest: there is no such input, or its value is not of its type.
    """
    types = {port["id"]: port["type"] for port in inputs}
    values: dict[str, Any] = {}
    pending = list(given)
    while pending:
        written = pending.pop(0)
        name, mark, text = written.lstrip("-").partition("=")
        if not written.startswith("-") or name not in types:
            raise InvalidRequest(_unknown(written, types))
        kind, is_array = _kind_of(types[name])
        if not mark and kind == "boolean" and not is_array:
            text = pending.pop(0) if pending and pending[0].lower() in _TRUE | _FALSE else "true"
        elif not mark:
            if not pending:
                raise InvalidRequest(f"--{name} takes a value ({shown(types[name])})")
            text = pending.pop(0)
        value = _value(name, kind, text)
        if is_array:
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    return values


def _unknown(written: str, types: Mapping[str, Any]) -> str:
    known = ", ".join(f"--{name}" for name in types)
    what = f"no option and no input of the workflow is called {written!r}"
    return f"{what}; its inputs: {known}" if known else f"{what}; it has no inputs"


def _kind_of(kind: Any) -> tuple[Any, bool]:
    """The type of one value on the command line, and whether several may be given."""
    members = [member for member in alternatives(kind) if member != "null"]
    if len(members) != 1:
        return None, False
    if isinstance(members[0], dict) and members[0].get("type") == "array":
        inner, _ = _kind_of(members[0]["items"])
        return inner, True
    return members[0], False


def _value(name: str, kind: Any, text: str) -> Any:
    try:
        if kind in {"File", "stdin", "Directory"}:
            return {"class": "Directory" if kind == "Directory" else "File", "path": text}
        if kind == "string" or (isinstance(kind, dict) and kind.get("type") == "enum"):
            return text
        if kind == "boolean":
            return _boolean(text)
        if kind in {"int", "long"}:
            return int(text)
        if kind in {"float", "double"}:
            return float(text)
    except ValueError as error:
        raise InvalidRequest(f"--{name} takes {shown(kind)}, not {text!r}") from error
    return read_inputs(f"value: {text}".encode(), f"--{name}").get("value")


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE
