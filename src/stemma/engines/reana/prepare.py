"""A packed CWL document, prepared so that REANA runs it faithfully; or what stands against it.

Pure: values in, values out. What REANA gets wrong, and how each is made right, stands in ``docs/engines/reana.md``.
"""

import copy
import hashlib
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from stemma.cwl.requirements import REQUIREMENTS
from stemma.engines.reana.prepare_contents import with_readable_ports
from stemma.engines.reana.prepare_graph import (
    Inherited,
    ids,
    listed,
    members,
    remaining,
    renamed,
    short,
    unused,
    without_bindings,
)
from stemma.engines.reana.prepare_steps import Steps
from stemma.engines.reana.prepare_text import has_astral_characters, is_safe_name
from stemma.engines.reana.prepare_tools import Execution, Means, Names, rewritten
from stemma.engines.reana.prepare_types import refuse_field_defaults, with_types_inlined
from stemma.engines.reana.refusals import Refusals
from stemma.engines.reana.wrapping import FOLDER, SCRIPT, script
from stemma.errors import Finding
from stemma.records import Json

_MAIN: Final = "#main"
_MOST_PROCESSES: Final = 2000
_MOST_CHARACTERS: Final = 40_000
"""Of a specification. REANA starts its engine with specification and parameters in one argument of 131072 bytes, as
base64; where they are more, the run stays pending for ever."""
_DOCUMENT: Final = f"{FOLDER}/document.json"
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file or folder of the bundle that the document names."""

    path: str
    """In the bundle."""
    target: str
    """In REANA's workspace: where it has to be uploaded to."""
    is_directory: bool
    """Everything below ``path`` is meant."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of ours that has to lie in the workspace before the run starts."""

    target: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is given to REANA."""

    document: dict[str, Json]
    """REANA's ``workflow.specification``: a ``$graph`` with a Workflow ``#main``. No use where there are findings."""
    uploads: tuple[Upload, ...]
    bundle_files: tuple[BundleFile, ...]
    findings: tuple[Finding, ...]


def prepare(packed: Mapping[str, Json], *, default_image: str | None, resource_hints: Mapping[str, Json]) -> Prepared:
    """Rewrite ``packed`` (see ``stemma.cwl.packing``) for REANA.

    ``default_image`` is what tools run in that name no image (REANA's own default where it is None);
    ``resource_hints`` are REANA's hints for tools that say nothing else (``kubernetes_memory_limit``, …).
    """
    return _Preparation(packed, default_image, resource_hints).done()


class _Preparation:
    def __init__(
        self, packed: Mapping[str, Json], default_image: str | None, resource_hints: Mapping[str, Json]
    ) -> None:
        processes, self._rest = _split(packed)
        self.refusals = Refusals()
        self._processes = with_types_inlined(processes, self.refusals)
        refuse_field_defaults(list(self._processes.values()), self.refusals)
        self._made: dict[str, str] = {}
        self._graph: dict[str, dict[str, Json]] = {}
        taken = set(ids(list(self._processes.values())))
        self.means = Means(_names(packed, taken), default_image, resource_hints, self.refusals)
        self._steps = Steps(self.means.names, self.refusals)
        self._taken = {*self._processes}
        self._only_path: str | None = None
        """The key of the one step around a document that is a tool."""

    def done(self) -> Prepared:
        main = self._main()
        if main["class"] != "Workflow":
            main = self._wrapped(main)
        self._graph[_MAIN] = {}
        self._graph[_MAIN] = self._workflow(main, Inherited(), "", is_fixed=True)
        for helper in self._steps.helpers():
            self._graph[helper["id"]] = helper
        document = {**self._rest, "$graph": list(self._graph.values())}
        files = tuple(_bundle_files(document))
        for file in files:
            self._check_file(file)
        uploads = [Upload(SCRIPT, script())]
        if len(json.dumps(document)) > _MOST_CHARACTERS or has_astral_characters(document):
            uploads.append(Upload(_DOCUMENT, json.dumps(_moved(document), ensure_ascii=False).encode()))
            document = _pointing_at(self._graph[_MAIN], self._rest)
        return Prepared(document, tuple(uploads), files, tuple(self.refusals.findings))

    def _main(self) -> dict[str, Json]:
        return self._processes[_MAIN] if _MAIN in self._processes else next(iter(self._processes.values()))

    def _wrapped(self, tool: dict[str, Json]) -> dict[str, Json]:
        """A workflow of one step around a tool that is a document by itself."""
        name = short(tool["id"])
        ports = {short(port["id"]) for field in ("inputs", "outputs") for port in tool[field]}
        step = f"{_MAIN}/{unused(name, ports)}"
        inner_id = unused(tool["id"], [_MAIN])
        inner = renamed(tool, tool["id"], inner_id)
        workflow = renamed({key: tool[key] for key in ("id", "inputs", "outputs")}, tool["id"], _MAIN)
        for port in inner["inputs"]:
            port.pop("default", None)
        above = [entry for entry in listed(tool.get("requirements")) if entry["class"] == "InlineJavascriptRequirement"]
        self._processes = {inner_id: inner}
        self._taken.add(inner_id)
        self._only_path = name
        return {
            "class": "Workflow",
            "id": _MAIN,
            "requirements": copy.deepcopy(above),
            "inputs": [
                {key: without_bindings(value) for key, value in port.items() if key != "inputBinding"}
                for port in workflow["inputs"]
            ],
            "outputs": [
                {"id": port["id"], "type": _output_type(port["type"]), "outputSource": f"{step}/{short(port['id'])}"}
                for port in workflow["outputs"]
            ],
            "steps": [
                {
                    "id": step,
                    "run": inner_id,
                    "in": [{"id": f"{step}/{short(port['id'])}", "source": port["id"]} for port in workflow["inputs"]],
                    "out": [f"{step}/{short(port['id'])}" for port in workflow["outputs"]],
                }
            ],
        }

    def _workflow(self, workflow: dict[str, Json], outside: Inherited, path: str, *, is_fixed: bool) -> dict[str, Json]:
        """A workflow; ``is_fixed`` where it is run once, so that ``path`` is its key."""
        self._check_requirements(workflow, path)
        inherited = outside.within(workflow)
        new = {key: value for key, value in workflow.items() if key not in {"steps", "requirements", "hints"}}
        new = {**copy.deepcopy(new), **copy.deepcopy(remaining(workflow)), "steps": []}
        for step in workflow["steps"]:
            below = self._only_path or (f"{path}/{short(step['id'])}" if path else short(step["id"]))
            self._check_requirements(step, below)
            run = step["run"] if isinstance(step["run"], dict) else self._processes[step["run"]]
            key = below if is_fixed and not listed(step.get("scatter")) else None
            made = self._process(run, inherited.within(step), below, f"{step['id']}/run", key)
            new["steps"] += self._steps.rewritten(workflow["id"], step, made, run, below, is_fixed=is_fixed)
        if not is_fixed:
            new["inputs"].append({"id": f"{workflow['id']}/{self._steps.at}", "type": "string"})
        return self._steps.finished(new)

    def _process(self, process: dict[str, Json], outside: Inherited, path: str, inline_id: str, key: str | None) -> str:
        """The identifier in the new graph of what a step runs; one for all steps that run it alike."""
        old = process.get("id") or _scope(process) or inline_id
        alike = json.dumps([old, key, outside.requirements, outside.hints], sort_keys=True, default=str)
        known = self._made.get(alike)
        if known is not None:
            return known
        new = unused(f"#{path.rpartition('/')[2]}" if "/" in old else old, {*self._graph, *(self._taken - {old})})
        if len(self._graph) >= _MOST_PROCESSES:
            self.refusals.add("", "too-large", f"it comes to more than {_MOST_PROCESSES} tools and workflows")
            return new
        self._made[alike] = new
        self._graph[new] = {}
        process = with_readable_ports({**process, "id": old})
        if process["class"] == "Workflow":
            made = self._workflow(process, outside, path, is_fixed=key is not None)
        elif process["class"] == "CommandLineTool":
            self._check_requirements(process, path)
            made = rewritten(process, outside.within(process), Execution(path, key), self.means)
        else:
            if process["class"] != "ExpressionTool":
                self.refusals.add(
                    path, "operation", "it is an Operation, which nobody can run", "give it a tool to run"
                )
            made = {**copy.deepcopy(process), **remaining(process)}
        self._graph[new] = renamed(made, old, new)
        return new

    def _check_requirements(self, element: dict[str, Json], path: str) -> None:
        for entry in listed(element.get("requirements")):
            if entry["class"] not in REQUIREMENTS:
                reason = f"it requires {entry['class'].rpartition('#')[2]}, which REANA does not know"
                self.refusals.add(path, "requirement", reason)
            elif entry["class"] == "InplaceUpdateRequirement" and entry.get("inplaceUpdate"):
                self.refusals.add(path, "inplace-update", "it changes its inputs in place, which REANA does not bring")

    def _check_file(self, file: BundleFile) -> None:
        if not is_safe_name(posixpath.basename(file.target)):
            reason = f"REANA cannot take a file named {posixpath.basename(file.path)!r}"
            self.refusals.add("", "file-name", reason, "rename it, or run it on another engine")


def _scope(process: dict[str, Json]) -> str | None:
    """What the identifiers of a process without one begin with."""
    ports = [*process["inputs"], *process["outputs"]]
    return ports[0]["id"].rpartition("/")[0] if ports else None


def _split(packed: Mapping[str, Json]) -> tuple[dict[str, dict[str, Json]], dict[str, Json]]:
    """The processes by their ids, and what is said of the document as a whole."""
    rest = {key: packed[key] for key in ("cwlVersion", "$namespaces") if key in packed}
    above = ("cwlVersion", "$namespaces", "$schemas", "$graph")
    processes = packed.get("$graph", [packed])
    found = {}
    for process in processes:
        named = {key: value for key, value in process.items() if key not in above}
        named["id"] = named["id"] if named["id"].startswith("#") else f"#{named['id'].rpartition('#')[2]}"
        found[named["id"]] = _without_formats(named) if "$schemas" in packed else named
    return found, copy.deepcopy(rest)


def _without_formats(process: Json) -> Json:
    """A process whose inputs take any format: REANA has no ontology to compare them with."""
    if isinstance(process, dict):
        return {
            key: [_without_format(port) for port in entry] if key == "inputs" else _without_formats(entry)
            for key, entry in process.items()
        }
    if isinstance(process, list):
        return [_without_formats(entry) for entry in process]
    return process


def _without_format(port: Json) -> Json:
    return {key: entry for key, entry in port.items() if key != "format"} if isinstance(port, dict) else port


def _names(packed: Mapping[str, Json], taken: set[str]) -> Names:
    text = json.dumps(packed, sort_keys=True, default=str)
    prefix = "stemma"
    while any(short(identifier).startswith(prefix) for identifier in taken):
        prefix += "_"
    number = 0
    slash = ""
    while not slash or slash in text:
        slash = f"@{hashlib.sha256(f'{number}{text}'.encode()).hexdigest()[:12]}@"
        number += 1
    return Names(prefix, slash)


def _output_type(kind: Json) -> Json:
    return "File" if kind in ("stdout", "stderr") else without_bindings(kind)


def _bundle_files(document: Json) -> Iterator[BundleFile]:
    """The files that defaults name by their path in the bundle; each is given its place in the workspace."""
    seen: dict[tuple[str, bool], str] = {}
    for value in list(_default_files(document, within=False)):
        location = value["location"]
        is_directory = value["class"] == "Directory"
        if _SCHEME.match(location) or location.startswith(("_:", "/")):
            continue
        path = location.rstrip("/")
        if (path, is_directory) not in seen:
            name = value.get("basename") or posixpath.basename(path)
            seen[path, is_directory] = f"data/document/{len(seen)}/{name}"
            yield BundleFile(path, seen[path, is_directory], is_directory)
        value["location"] = seen[path, is_directory]


def _moved(document: dict[str, Json]) -> dict[str, Json]:
    """A document that lies one folder deeper than the places that it names."""
    moved = copy.deepcopy(document)
    for value in _default_files(moved, within=False):
        if not _SCHEME.match(value["location"]) and not value["location"].startswith(("_:", "/")):
            value["location"] = f"../{value['location']}"
    return moved


def _pointing_at(main: dict[str, Json], rest: dict[str, Json]) -> dict[str, Json]:
    """A small workflow that runs the document in the workspace."""
    step = (
        f"{_MAIN}/{unused('document', {short(port['id']) for field in ('inputs', 'outputs') for port in main[field]})}"
    )
    inputs = [
        {"id": port["id"], "type": ["null", *members(port["type"])] if "default" in port else port["type"]}
        for port in main["inputs"]
    ]
    outputs = [
        {"id": port["id"], "type": port["type"], "outputSource": f"{step}/{short(port['id'])}"}
        for port in main["outputs"]
    ]
    run = {
        "id": step,
        "run": f"{_DOCUMENT}{_MAIN}",
        "in": [{"id": f"{step}/{short(port['id'])}", "source": port["id"]} for port in main["inputs"]],
        "out": [f"{step}/{short(port['id'])}" for port in main["outputs"]],
    }
    requirements = [{"class": "SubworkflowFeatureRequirement"}]
    workflow = {"class": "Workflow", "id": _MAIN, "inputs": inputs, "outputs": outputs, "steps": [run]}
    return {**rest, "$graph": [{**workflow, "requirements": requirements}]}


def _default_files(value: Json, *, within: bool) -> Iterator[dict[str, Json]]:
    if isinstance(value, dict):
        if within and value.get("class") in {"File", "Directory"} and isinstance(value.get("location"), str):
            yield value
        for key, entry in value.items():
            yield from _default_files(entry, within=within or key == "default")
    elif isinstance(value, list):
        for entry in value:
            yield from _default_files(entry, within=within)
