"""What a loaded document asks for and gives, as :class:`stemma.records.WorkflowStructure`.

Imports cwltool; for the checking process alone.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote

from cwltool.process import Process
from cwltool.workflow import Workflow, WorkflowStep

from stemma.cwl.fetching import bundle_name
from stemma.cwl.types import PRIMITIVES, is_nullable, short
from stemma.records import Json, Port, StepDefinition, StepInput, StepKind, WorkflowStructure

_KINDS: Final = {
    "CommandLineTool": StepKind.TOOL,
    "ExpressionTool": StepKind.EXPRESSION,
    "Workflow": StepKind.WORKFLOW,
    "Operation": StepKind.OPERATION,
}


def read_structure(process: Process, cwl_version: str, main_path: str) -> WorkflowStructure:
    """The structure of a loaded document, in the order in which it is written."""
    return WorkflowStructure(
        cwl_version=cwl_version,
        cwl_class=process.tool["class"],
        inputs=tuple(_port(port, process, is_input=True) for port in _in_order(process.tool["inputs"])),
        outputs=tuple(_port(port, process, is_input=False) for port in _in_order(process.tool["outputs"])),
        steps=_steps(process, _scope(process, None), "")
        if isinstance(process, Workflow)
        else (_only_step(process, main_path),),
        label=_text(process.tool.get("label")),
        doc=_text(process.tool.get("doc")),
    )


def _port(port: Any, process: Process, *, is_input: bool) -> Port:
    kind = _json_type(port["type"], _definitions(process), ())
    default = _plain(port.get("default")) if is_input else None
    scope = _scope(process, None)
    return Port(
        id=short(port["id"]),
        type=kind,
        label=_text(port.get("label")),
        doc=_text(port.get("doc")),
        required=not is_input or not ("default" in port or is_nullable(kind)),
        default=default,
        sources=tuple(_relative(source, scope) for source in _listed(port.get("outputSource"))),
    )


def _steps(workflow: Workflow, scope: str, above: str) -> tuple[StepDefinition, ...]:
    ordered = {id_: place for place, id_ in enumerate(step["id"] for step in _in_order(workflow.tool["steps"]))}
    steps = sorted(workflow.steps, key=lambda step: ordered[step.id])
    return tuple(_step(step, scope, above) for step in steps)


def _step(step: WorkflowStep, scope: str, above: str) -> StepDefinition:
    path = above + _relative(step.id, scope)
    embedded = step.embedded_tool
    image, required = _image(embedded)
    return StepDefinition(
        path=path,
        kind=_KINDS[embedded.tool["class"]],
        run=_run(step, path),
        label=_text(step.tool.get("label")) or _text(embedded.tool.get("label")),
        doc=_text(step.tool.get("doc")) or _text(embedded.tool.get("doc")),
        scatter=tuple(short(port) for port in _listed(step.tool.get("scatter"))),
        conditional="when" in step.tool,
        inputs=tuple(
            StepInput(short(port["id"]), tuple(_relative(source, scope) for source in _listed(port.get("source"))))
            for port in _in_order(step.tool["in"])
        ),
        outputs=tuple(short(port if isinstance(port, str) else port["id"]) for port in step.tool["out"]),
        image=image,
        image_required=required,
        steps=_steps(embedded, _scope(embedded, step), f"{path}/") if isinstance(embedded, Workflow) else (),
    )


def _only_step(process: Process, main_path: str) -> StepDefinition:
    """The one step of a document that is a single tool."""
    file, _, fragment = main_path.partition("#")
    image, required = _image(process)
    ports = [short(port["id"]) for port in _in_order(process.tool["inputs"])]
    return StepDefinition(
        path=fragment or PurePosixPath(file).stem,
        kind=_KINDS[process.tool["class"]],
        run=main_path,
        label=_text(process.tool.get("label")),
        doc=_text(process.tool.get("doc")),
        inputs=tuple(StepInput(port, (port,)) for port in ports),
        outputs=tuple(short(port["id"]) for port in _in_order(process.tool["outputs"])),
        image=image,
        image_required=required,
    )


def _image(process: Process) -> tuple[str | None, bool]:
    requirement, is_required = process.get_requirement("DockerRequirement")
    if requirement is None:
        return None, False
    image = requirement.get("dockerPull") or requirement.get("dockerImageId")
    return _text(image), bool(is_required)


def _run(step: WorkflowStep, path: str) -> str:
    """What a step runs, as a path inside the bundle; the step's own path where it is inline."""
    url, mark, fragment = str(step.embedded_tool.tool["id"]).partition("#")
    file = bundle_name(url)
    is_inline = not isinstance(step.tool["run"], str) and url == str(step.id).partition("#")[0]
    return path if file is None or is_inline else f"{file}{mark}{fragment}"


def _definitions(process: Process) -> dict[str, Any]:
    """The types that a SchemaDefRequirement names, by their identifiers."""
    requirement, _ = process.get_requirement("SchemaDefRequirement")
    types: Any = requirement["types"] if requirement is not None else []
    return {str(definition["name"]): definition for definition in types}


def _json_type(kind: Any, definitions: dict[str, Any], within: tuple[str, ...]) -> Json:
    """``kind`` with names resolved, addresses shortened, and ``["null", "int"]`` written ``int?``."""
    if isinstance(kind, str):
        if kind in definitions and kind not in within:
            return _json_type(definitions[kind], definitions, (*within, kind))
        return kind if kind in PRIMITIVES else short(kind)
    if isinstance(kind, list):
        members = [_json_type(member, definitions, within) for member in kind]
        others = [member for member in members if member != "null"]
        if len(members) == 2 and len(others) == 1 and isinstance(others[0], str):  # noqa: PLR2004 - null and one more
            return f"{others[0]}?"
        return members if len(members) != 1 else members[0]
    return _composed(kind, definitions, within)


def _composed(kind: Any, definitions: dict[str, Any], within: tuple[str, ...]) -> Json:
    if kind["type"] == "array":
        return {"type": "array", "items": _json_type(kind["items"], definitions, within)}
    if kind["type"] == "enum":
        return {"type": "enum", "symbols": [short(symbol) for symbol in kind["symbols"]]}
    if kind["type"] == "record":
        fields = [
            {"name": short(field["name"]), "type": _json_type(field["type"], definitions, within)}
            for field in kind.get("fields") or []
        ]
        return {"type": "record", "fields": fields}
    return _json_type(kind["type"], definitions, within)


def _scope(process: Process, step: WorkflowStep | None) -> str:
    """What the identifiers within ``process`` begin with; one that is written inline has none of its own."""
    identifier = str(process.tool["id"])
    if identifier.startswith("_:") and step is not None:
        return f"{_fragment(str(step.id))}/run"
    return _fragment(identifier)


def _fragment(identifier: str) -> str:
    return unquote(identifier.partition("#")[2])


def _relative(identifier: str, scope: str) -> str:
    """An identifier as seen from within its workflow: ``step/port``, or the port alone."""
    fragment = _fragment(identifier)
    return fragment.removeprefix(f"{scope}/") if scope else fragment


def _in_order(entries: Iterable[Any]) -> list[Any]:
    """Entries as they stand in the text; schema-salad sorts those of mappings by their names."""
    listed = list(entries)
    places = [_place(entry) for entry in listed]
    known = [place for place in places if place is not None]
    if len(known) < len(listed) or len({place[0] for place in known}) > 1:
        return listed
    return [entry for _, entry in sorted(zip(known, listed, strict=True), key=lambda pair: pair[0])]


def _place(entry: Any) -> tuple[str, int, int] | None:
    """Where an entry stands; one that schema-salad unfolded (``a: x``) only knows where its parts do."""
    lines = getattr(entry, "lc", None)
    if lines is None:
        return None
    parts = [(part[0], part[1]) for part in (lines.data or {}).values()]
    if lines.line is not None and lines.line > 0:
        parts = [(lines.line, lines.col or 0)]
    return (str(getattr(lines, "filename", "")), *min(parts)) if parts else None


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else "\n".join(map(str, value))


def _plain(value: Any) -> Json:
    """A default without addresses that only exist while it is checked, and without ruamel's classes."""
    if isinstance(value, dict):
        return {str(name): _plain_entry(str(name), entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)  # as JSON's readers have it
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def _plain_entry(name: str, value: Any) -> Json:
    if name in {"location", "path"} and isinstance(value, str):
        return bundle_name(value) or value
    return _plain(value)
