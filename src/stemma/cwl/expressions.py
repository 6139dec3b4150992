"""Expressions that need JavaScript where none was asked for, and those that never end.

Imports cwltool; for the checking process alone.
"""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from cwl_utils.errors import SubstitutionError
from cwl_utils.expression import scanner
from cwl_utils.sandboxjs import param_re
from cwltool.process import Process
from cwltool.workflow import Workflow, WorkflowStep

from stemma.cwl.documents import Documents
from stemma.cwl.links import placed
from stemma.errors import Finding

_EVALUATED: Final = frozenset(
    {"arguments", "coresMax", "coresMin", "enableReuse", "entry", "entryname", "envValue", "expression", "format"}
    | {"glob", "listing", "networkAccess", "outdirMax", "outdirMin", "outputEval", "pattern", "position", "ramMax"}
    | {"ramMin", "secondaryFiles", "stderr", "stdin", "stdout", "timelimit", "tmpdirMax", "tmpdirMin", "valueFrom"}
    | {"when"}
)
_NOT_ENTERED: Final = frozenset({"default", "doc", "label", "run", "steps", "_tool_entry"})
_OPENINGS: Final = ("$(", "${")

_Text: TypeAlias = tuple[Any, Any, str]
"""A text that is evaluated: what holds it, its key there, and itself."""


def expression_findings(process: Process, documents: Documents) -> list[Finding]:
    """What is wrong with the expressions of ``process`` and of everything that it runs."""
    findings = list(_of_process(process, _texts(process.tool, None), documents))
    if isinstance(process, Workflow):
        for step in process.steps:
            if not _has_javascript(process):
                findings += _of_process(step, _of_step(step), documents)
            findings += expression_findings(step.embedded_tool, documents)
    return list(dict.fromkeys(findings))


def _has_javascript(process: Process) -> bool:
    return process.get_requirement("InlineJavascriptRequirement")[0] is not None


def _of_step(step: WorkflowStep) -> Iterator[_Text]:
    """The texts that a step itself has; cwltool adds those of what it runs to its ports."""
    yield from _texts(step.tool["in"], None)
    if isinstance(step.tool.get("when"), str):
        yield step.tool, "when", step.tool["when"]


def _of_process(asked: Process, texts: Iterator[_Text], documents: Documents) -> Iterator[Finding]:
    if _has_javascript(asked):
        return
    for holder, key, text in texts:
        problem = _problem(text)
        if problem is not None:
            finding = placed(holder, key, *problem)
            node = documents.locate(finding.file, finding.line, finding.column, text)
            if node is not None:
                finding = Finding(finding.message, finding.rule, finding.file, node.line, node.column)
            if finding.file in documents.trees:  # cwltool adds texts of its own, which repeat the document's
                yield finding


def _texts(holder: Any, key: str | None) -> Iterator[_Text]:
    """Every text of ``holder`` that is evaluated."""
    pairs = list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder))
    for name, value in pairs:
        field = name if isinstance(name, str) else key
        if field in _NOT_ENTERED:
            continue
        if isinstance(value, str):
            if field in _EVALUATED:
                yield holder, name, value
        elif isinstance(value, dict | list):
            yield from _texts(value, field)


def _problem(text: str) -> tuple[str, str] | None:
    """What is wrong with ``text`` where JavaScript is not asked for, and the rule; None when nothing is."""
    rest = text
    while any(opening in rest for opening in _OPENINGS):
        try:
            found = scanner(rest)
        except SubstitutionError:
            return "an expression is opened with $( or ${ and not closed", "cwl/expression"
        if found is None:
            return None
        expression, rest = rest[found[0] : found[1]], rest[found[1] :]
        if not expression.startswith("\\") and param_re.fullmatch(expression[1:]) is None:
            shown = " ".join(expression.split())[:60]
            message = f"{shown!r} is JavaScript; add InlineJavascriptRequirement to the requirements"
            return message, "cwl/missing-requirement"
    return None
