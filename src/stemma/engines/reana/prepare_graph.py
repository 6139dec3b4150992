"""Packed documents: processes by their ids, requirements that come down from above, types."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from stemma.records import Json

_ID_FIELDS: Final = frozenset(
    {"id", "name", "type", "items", "symbols", "source", "outputSource", "scatter", "run", "out"}
)
_FREE_FIELDS: Final = frozenset({"default", "doc", "label"})
TAKEN_DOWN: Final = frozenset(
    {
        "EnvVarRequirement",
        "InitialWorkDirRequirement",
        "ShellCommandRequirement",
        "ToolTimeLimit",
        "DockerRequirement",
        "InplaceUpdateRequirement",
    }
)
"""Requirements that are done by the rewritten tool itself, wherever they were said."""
ENGINE_HINTS: Final = (
    "compute_backend",
    "kerberos",
    "unpacked_img",
    "voms_proxy",
    "rucio",
    "htcondor_max_runtime",
    "htcondor_accounting_group",
    "slurm_partition",
    "slurm_time",
    "kubernetes_uid",
    "kubernetes_cpu_request",
    "kubernetes_cpu_limit",
    "kubernetes_memory_request",
    "kubernetes_memory_limit",
    "kubernetes_job_timeout",
    "c4p_cpu_cores",
    "c4p_memory_limit",
    "c4p_additional_requirements",
)
"""What REANA's engine looks for in hints, of whatever class. It takes the outermost; CWL means the innermost."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """Requirements and hints that hold at a place, the outermost first."""

    requirements: tuple[Json, ...] = ()
    hints: tuple[Json, ...] = ()

    def within(self, element: dict[str, Json]) -> Self:
        """What holds within a workflow, step or tool that stands here."""
        return type(self)(
            (*self.requirements, *listed(element.get("requirements"))), (*self.hints, *listed(element.get("hints")))
        )

    def effective(self, kind: str) -> tuple[dict[str, Json] | None, bool]:
        """The requirement of a class that counts, and whether it is more than a hint."""
        for entries, is_required in ((self.requirements, True), (self.hints, False)):
            for entry in reversed(entries):
                if entry.get("class") == kind:
                    return entry, is_required
        return None, False

    def engine_hints(self) -> dict[str, Json]:
        """What is said to REANA's engine, the innermost word for each."""
        return {key: hint[key] for hint in self.hints for key in ENGINE_HINTS if key in hint}


def listed(value: Json) -> list[Any]:
    """A value that may stand alone, as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def short(identifier: str) -> str:
    """The last part of an identifier."""
    return identifier.rpartition("#")[2].rpartition("/")[2]


def remaining(element: dict[str, Json]) -> dict[str, list[Json]]:
    """The requirements and hints of an element that REANA's engine may see, by their fields."""
    requirements = [entry for entry in listed(element.get("requirements")) if entry.get("class") not in TAKEN_DOWN]
    hints = [
        entry
        for entry in listed(element.get("hints"))
        if entry.get("class") not in TAKEN_DOWN and not any(key in entry for key in ENGINE_HINTS)
    ]
    return {name: entries for name, entries in (("requirements", requirements), ("hints", hints)) if entries}


def renamed(value: Json, old: str, new: str, key: str = "") -> Json:
    """A copy of a process with another identifier, everything below it as well."""
    if isinstance(value, dict):
        return {
            name: copy.deepcopy(entry) if name in _FREE_FIELDS else renamed(entry, old, new, name)
            for name, entry in value.items()
        }
    if isinstance(value, list):
        return [renamed(entry, old, new, key) for entry in value]
    if key in _ID_FIELDS and isinstance(value, str) and (value == old or value.startswith(f"{old}/")):
        return new + value[len(old) :]
    return value


def without_bindings(kind: Json) -> Json:
    """A type of a tool's input as a workflow may say it."""
    if isinstance(kind, dict):
        return {
            name: without_bindings(entry)
            for name, entry in kind.items()
            if name not in {"inputBinding", "outputBinding"}
        }
    if isinstance(kind, list):
        return [without_bindings(entry) for entry in kind]
    return kind


def members(kind: Json) -> Iterator[Json]:
    """The types of which ``kind`` is a choice."""
    for member in listed(kind):
        if isinstance(member, list):
            yield from members(member)
        else:
            yield member


def is_of_files(kind: Json) -> bool:
    """Whether a value of this type is a File or a Directory, a list of them, or nothing."""
    others = [member for member in members(kind) if member != "null"]
    return bool(others) and all(member in ("File", "Directory") or _is_list_of_files(member) for member in others)


def _is_list_of_files(kind: Json) -> bool:
    if not isinstance(kind, dict) or kind.get("type") != "array":
        return False
    return all(member in ("File", "Directory", "null") for member in members(kind["items"]))


def ids(value: Json) -> Iterator[str]:
    """All identifiers in a document."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if key in ("id", "name") and isinstance(entry, str):
                yield entry
            else:
                yield from ids(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from ids(entry)


def unused(wanted: str, taken: Iterable[str]) -> str:
    """``wanted``, with a number where it is taken."""
    used = set(taken)
    number = 2
    name = wanted
    while name in used:
        name = f"{wanted}_{number}"
        number += 1
    return name
