"""CWL types as JSON says them: ``"File"``, ``"int?"``, ``["int", "string"]``, ``{"type": "array", "items": …}``."""

from typing import Any, Final

from stemma.records import Json

PRIMITIVES: Final = frozenset(
    {"null", "boolean", "int", "long", "float", "double", "string", "File", "Directory", "Any"},
) | {"stdin", "stdout", "stderr"}


def short(identifier: str) -> str:
    """The last part of an identifier: ``main.cwl#kind/fast`` is ``fast``."""
    return identifier.rpartition("#")[2].rpartition("/")[2]


def alternatives(kind: Json) -> list[Json]:
    """The members of a union, or the type alone; ``?`` and ``[]`` unfolded."""
    if isinstance(kind, list):
        return [member for one in kind for member in alternatives(one)]
    if isinstance(kind, str) and kind.endswith("?"):
        return ["null", *alternatives(kind[:-1])]
    if isinstance(kind, str) and kind.endswith("[]"):
        return [{"type": "array", "items": kind[:-2]}]
    if isinstance(kind, dict) and kind.get("type") not in {"array", "record", "enum"} and "type" in kind:
        return alternatives(kind["type"])
    return [kind]


def is_nullable(kind: Json) -> bool:
    """Whether a value of this type may be left out."""
    return any(member in {"null", "Any"} for member in alternatives(kind) if isinstance(member, str))


def shown(kind: Any) -> str:
    """A type as people write it: ``File[]``, ``int?``, ``int or string``."""
    members = alternatives(kind)
    texts = list(dict.fromkeys(_one(member) for member in members if member != "null"))
    text = " or ".join(texts) or "null"
    if len(members) > len(texts) and "null" in members and texts:
        return f"{text}?" if len(texts) == 1 else f"{text} or null"
    return text


def _one(kind: Any) -> str:
    if isinstance(kind, str):
        return short(kind)
    if kind["type"] == "array":
        items = shown(kind["items"])
        return f"({items})[]" if " " in items else f"{items}[]"
    if kind["type"] == "enum":
        return "one of " + ", ".join(short(symbol) for symbol in kind["symbols"])
    return "a record with " + ", ".join(short(name) for name in field_types(kind))


def field_types(record: Json) -> dict[str, Json]:
    """The types of a record's fields by their names."""
    fields = record.get("fields") or []
    if isinstance(fields, dict):
        return {name: _field_type(value) for name, value in fields.items()}
    return {short(field["name"]): _field_type(field) for field in fields}


def _field_type(field: Json) -> Json:
    return field["type"] if isinstance(field, dict) else field
