"""Whether what flows along the links of a workflow has the type that its receiver takes.

cwltool decides; it says so only in prose, so its decision is asked for again, as values, and told here. Imports
cwltool; for the checking process alone.
"""

from collections.abc import Iterator
from typing import Any

from cwltool.checker import _check_all_types  # offered only inside a function that answers in prose
from cwltool.process import shortname
from cwltool.workflow import Workflow
from schema_salad.sourceline import SourceLine

from stemma.cwl.fetching import without_root
from stemma.cwl.types import shown
from stemma.errors import Finding


def link_findings(workflow: Workflow) -> tuple[list[Finding], list[Finding]]:
    """What is wrong with the links of ``workflow``, and what may be: findings and warnings."""
    steps: list[Any] = [step.tool for step in workflow.steps]
    sources = [*workflow.tool["inputs"], *(port for step in steps for port in step["outputs"])]
    by_id = {port["id"]: port for port in sources}
    owners = {port["id"]: step for step in steps for name in ("inputs", "outputs") for port in step[name]}
    into_steps = _check_all_types(by_id, [port for step in steps for port in step["inputs"]], "source", owners)
    out = _check_all_types(by_id, workflow.tool["outputs"], "outputSource", owners)
    findings = [_incompatible(link, owners) for link in into_steps["exception"] + out["exception"]]
    findings += [finding for step in steps for finding in _unfed(step)]
    findings += _unasked(workflow, steps)
    doubtful = into_steps["warning"] + out["warning"]
    return findings, [said for link in doubtful for said in _doubtful(link, owners)]


def _incompatible(link: Any, owners: dict[str, Any]) -> Finding:
    source, sink = link.src, link.sink
    message = (
        f"{_name(sink, owners)} takes {shown(_type(sink))}, but its source {_source(source, owners)} gives "
        f"{shown(_type(source))}{_merged(link)}"
    )
    return placed(sink, None, message, "cwl/incompatible-types")


def _doubtful(link: Any, owners: dict[str, Any]) -> Iterator[Finding]:
    source, sink = link.src, link.sink
    if sink.get("not_connected"):
        if not sink.get("used_by_step"):
            message = f"{_name(sink, owners)} is not an input of what the step runs"
            yield placed(sink, None, message, "cwl/unused-input")
        return
    message = (
        f"{_name(sink, owners)} takes {shown(_type(sink))}, and its source {_source(source, owners)} gives "
        f"{shown(_type(source))}{_merged(link)}: this may fail when it runs"
    )
    yield placed(sink, None, message, "cwl/doubtful-types")


def _unfed(step: Any) -> Iterator[Finding]:
    """The inputs of a step that get no value though what it runs requires one."""
    for port in step["inputs"]:
        wanted = port["type"]
        optional = wanted in {"null", "Any"} if isinstance(wanted, str) else "null" in wanted
        if not optional and not any(name in port for name in ("source", "default", "valueFrom")):
            message = f"the input {shortname(port['id'])!r} of the step {shortname(step['id'])!r} gets no value; "
            yield placed(port, None, f"{message}give it a source, a default or a valueFrom", "cwl/missing-source")


def _unasked(workflow: Workflow, steps: list[Any]) -> Iterator[Finding]:
    """Features that links use and the workflow does not ask for; cwltool only fails on them when it runs."""
    sinks = [(port, port.get("source")) for step in steps for port in step["in"]]
    sinks += [(port, port.get("outputSource")) for port in workflow.tool["outputs"]]
    if workflow.get_requirement("MultipleInputFeatureRequirement")[0] is None:
        for port, source in sinks:
            if isinstance(source, list) and len(source) > 1:
                message = f"{shortname(port['id'])!r} has several sources; add MultipleInputFeatureRequirement"
                yield placed(port, None, f"{message} to the requirements", "cwl/missing-requirement")
    if workflow.get_requirement("StepInputExpressionRequirement")[0] is None:
        for port, _ in sinks:
            if "valueFrom" in port:
                message = f"{shortname(port['id'])!r} uses valueFrom; add StepInputExpressionRequirement"
                yield placed(port, "valueFrom", f"{message} to the requirements", "cwl/missing-requirement")


def placed(mapping: Any, key: str | None, message: str, rule: str) -> Finding:
    """A finding at the place of ``mapping``, or of its entry ``key``."""
    line = SourceLine(mapping, key)
    start = line.start() or (None, None)
    file = line.file()
    return Finding(message, rule, without_root(file) if file else None, *start)


def _merged(link: Any) -> str:
    return f" ({link.linkMerge})" if link.linkMerge else ""


def _name(port: Any, owners: dict[str, Any]) -> str:
    step = owners.get(port["id"])
    name = shortname(port["id"])
    return f"the output {name!r}" if step is None else f"the input {name!r} of the step {shortname(step['id'])!r}"


def _source(port: Any, owners: dict[str, Any]) -> str:
    step = owners.get(port["id"])
    name = shortname(port["id"])
    return repr(name if step is None else f"{shortname(step['id'])}/{name}")


def _type(port: Any) -> Any:
    return port["type"]
