"""Types that a SchemaDefRequirement names, written where they are used.

The engine's cwltool of 2021 refuses documents whose steps share such a type, or whose workflow does not repeat it.
"""

from typing import Final

from stemma.engines.reana.prepare_graph import listed, short
from stemma.engines.reana.refusals import Refusals
from stemma.records import Json

_REQUIREMENT: Final = "SchemaDefRequirement"
_DEEPEST: Final = 20


def with_types_inlined(processes: dict[str, dict[str, Json]], refusals: Refusals) -> dict[str, dict[str, Json]]:
    """``processes`` without named types."""
    named: dict[str, Json] = {}
    for process in processes.values():
        _collect(process, named)
    if not named:
        return processes
    inliner = _Inliner(named, refusals)
    return {name: inliner.element(process) for name, process in processes.items()}


def refuse_field_defaults(value: Json, refusals: Refusals) -> None:
    """Refuse records whose fields have defaults, which the engine's cwltool passes over in silence."""
    if isinstance(value, dict):
        if value.get("type") == "record":
            for field in listed(value.get("fields")):
                if "default" in field:
                    reason = f"REANA's engine passes over the default of {short(field['name'])!r} in a record"
                    refusals.add("", "record-default", reason)
        for key, entry in value.items():
            if key != "default":
                refuse_field_defaults(entry, refusals)
    elif isinstance(value, list):
        for entry in value:
            refuse_field_defaults(entry, refusals)


def _collect(value: Json, named: dict[str, Json]) -> None:
    if isinstance(value, dict):
        if value.get("class") == _REQUIREMENT:
            for definition in listed(value.get("types")):
                if isinstance(definition, dict) and "name" in definition:
                    named.setdefault(definition["name"], definition)
        for key, entry in value.items():
            if key != "default":
                _collect(entry, named)
    elif isinstance(value, list):
        for entry in value:
            _collect(entry, named)


class _Inliner:
    def __init__(self, named: dict[str, Json], refusals: Refusals) -> None:
        self._named = named
        self._refusals = refusals

    def element(self, value: Json) -> Json:
        """A process, step or part of one."""
        if isinstance(value, list):
            return [self.element(entry) for entry in value if not _is_requirement(entry)]
        if not isinstance(value, dict):
            return value
        return {key: self._entry(value, key, entry) for key, entry in value.items()}

    def _entry(self, owner: dict[str, Json], key: str, entry: Json) -> Json:
        if key == "default":
            return entry
        if key == "type" and "id" in owner:
            return self._type(entry, owner["id"], 0)
        return self.element(entry)

    def _type(self, kind: Json, scope: str, depth: int) -> Json:
        """``kind`` in full, with the identifiers in it below ``scope``."""
        if depth > _DEEPEST:
            self._refusals.add("", "recursive-type", f"the type of {short(scope)!r} contains itself")
            return "Any"
        if isinstance(kind, str):
            definition = self._named.get(kind)
            return kind if definition is None else self._type(definition, scope, depth + 1)
        if isinstance(kind, list):
            return [self._type(member, scope, depth + 1) for member in kind]
        new = {key: value for key, value in kind.items() if key != "name" or kind.get("name") not in self._named}
        if "items" in new:
            new["items"] = self._type(new["items"], scope, depth + 1)
        if "symbols" in new:
            new["symbols"] = [f"{scope}/{short(symbol)}" for symbol in new["symbols"]]
        if "fields" in new:
            new["fields"] = [self._field(field, scope, depth) for field in new["fields"]]
        if new.get("type") not in ("array", "record", "enum"):
            return self._type(new["type"], scope, depth + 1)
        return new

    def _field(self, field: dict[str, Json], scope: str, depth: int) -> dict[str, Json]:
        name = f"{scope}/{short(field['name'])}"
        return {**field, "name": name, "type": self._type(field["type"], name, depth + 1)}


def _is_requirement(entry: Json) -> bool:
    return isinstance(entry, dict) and entry.get("class") == _REQUIREMENT
