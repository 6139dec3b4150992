"""Ports that read their file (``loadContents``) where the engine's cwltool of 2021 cannot: lists, and optional files.

A list of files is read by a step of ours, one file an element; an optional file is read where the tool binds it.
"""

import copy

from stemma.engines.reana.prepare_graph import listed, members, short
from stemma.engines.reana.refusals import Refusals
from stemma.records import Json


def reader(identifier: str) -> dict[str, Json]:
    """The process that reads one file."""
    return {
        "class": "ExpressionTool",
        "id": identifier,
        "requirements": [{"class": "InlineJavascriptRequirement"}],
        "inputs": [{"id": f"{identifier}/file", "type": "File", "loadContents": True}],
        "outputs": [{"id": f"{identifier}/read", "type": "File"}],
        "expression": "${ return {read: inputs.file}; }",
    }


def with_readable_ports(process: dict[str, Json]) -> dict[str, Json]:
    """``process`` with no ``loadContents`` that the engine fails at."""
    return {**process, "inputs": [_readable(port) for port in process["inputs"]]}


def read_before(
    step: dict[str, Json], process: dict[str, Json], *, prefix: str, run: str, path: str, refusals: Refusals
) -> list[dict[str, Json]]:
    """Steps that read what ``step`` takes (changed in place) where the engine fails at it.

    ``prefix`` is what their identifiers begin with, ``run`` the process that reads one file.
    """
    ports = {short(port["id"]): port for port in process["inputs"]}
    scattered = listed(step.get("scatter"))
    connected = {short(entry["id"]): entry for entry in step["in"]}
    steps = []
    for name, port in ports.items():
        entry = connected.get(name)
        if not (port.get("loadContents") or (entry is not None and entry.get("loadContents"))):
            continue
        is_plain = list(members(port["type"])) == ["File"]
        if entry is not None and (is_plain or entry["id"] in scattered):
            continue
        if entry is not None and _is_list(port["type"]):
            entry.pop("loadContents", None)
            steps.append(_reading_step(entry, f"{prefix}_{name}", run))
        elif not _is_optional(port["type"]) or (entry is not None and entry.get("loadContents")):
            refusals.add(path, "load-contents", f"REANA's engine cannot read the contents of {name!r}")
    return steps


def _reading_step(entry: dict[str, Json], identifier: str, run: str) -> dict[str, Json]:
    file = f"{identifier}/file"
    moved = {key: entry.pop(key) for key in ("source", "linkMerge", "pickValue", "default") if key in entry}
    entry["source"] = f"{identifier}/read"
    return {
        "id": identifier,
        "run": run,
        "in": [{"id": file, **copy.deepcopy(moved)}],
        "scatter": [file],
        "out": [f"{identifier}/read"],
    }


def _readable(port: dict[str, Json]) -> dict[str, Json]:
    if not port.get("loadContents"):
        return port
    without = {key: value for key, value in port.items() if key != "loadContents"}
    if _is_list(port["type"]):
        return without
    if _is_optional(port["type"]):
        binding = port.get("inputBinding") or {"valueFrom": "$(null)"}
        return {**without, "inputBinding": {**binding, "loadContents": True}}
    return port


def _is_list(kind: Json) -> bool:
    found = list(members(kind))
    return (
        len(found) == 1
        and isinstance(found[0], dict)
        and found[0].get("type") == "array"
        and found[0]["items"] == "File"
    )


def _is_optional(kind: Json) -> bool:
    return sorted(map(str, members(kind))) == ["File", "null"]
