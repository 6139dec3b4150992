"""Which inputs of a step must be here before its jobs can be made: those whose bytes or sizes the step itself reads.

What a file is called and where it lies is known from the start; its size, its digest and its contents are not.
"""

import re
from collections.abc import Iterator

from cwltool.workflow_job import WorkflowJobStep

from stemma.engines.cwltool.places import short_name

_KNOWN_BEFORE = frozenset({"basename", "nameroot", "nameext", "class", "format", "location", "path", "length"})
_PART = r"""\s*(?:\.\s*(?P<{0}>\w+)|\[\s*(['"])(?P<{0}_quoted>[^'"]*)\{1}\s*\])"""
_REST = r"""(?:\s*\[\s*\d+\s*\])*(?:\s*\.\s*(?P<field>\w+))?"""
_INPUT = re.compile(rf"\binputs\b(?:{_PART.format('port', 2)})?{_REST}")
_SELF = re.compile(rf"\bself\b{_REST}")
_WHOLE_VALUE = re.compile(r"\s*\$\(\s*(?:self|inputs\.\w+)(?:\[\d+\])*\s*\)\s*")
"""A value that is passed on as it is: whoever reads it waits for it."""


def ports_read(step: WorkflowJobStep) -> set[str] | None:
    """The inputs that ``loadContents``, ``valueFrom`` and ``when`` of ``step`` read, by their ids; None for all."""
    inputs = step.tool["inputs"]
    ids = {short_name(port["id"]): port["id"] for port in inputs}
    read = {port["id"] for port in inputs if port.get("loadContents")}
    expressions = [(port["id"], port["valueFrom"]) for port in inputs if "valueFrom" in port]
    if "when" in step.tool:
        expressions.append(("", step.tool["when"]))
    if expressions and _library_reads(step):
        return None
    for own, expression in expressions:
        for name in _names(own, str(expression)):
            if name is None:
                return None
            read.add(ids.get(name, name))
    return read


def _names(own: str, expression: str) -> Iterator[str | None]:
    """The inputs that an expression reads, by name, its own by its id; None when that may be any."""
    if _WHOLE_VALUE.fullmatch(expression):
        return
    for found in _INPUT.finditer(expression):
        name = found["port"] or found["port_quoted"]
        if name is None or found["field"] not in _KNOWN_BEFORE:
            yield name
    if any(found["field"] not in _KNOWN_BEFORE for found in _SELF.finditer(expression)):
        yield own


def _library_reads(step: WorkflowJobStep) -> bool:
    """Whether functions of the document may read the inputs by themselves."""
    requirement, _ = step.step.get_requirement("InlineJavascriptRequirement")
    return "inputs" in str((requirement or {}).get("expressionLib", ""))
