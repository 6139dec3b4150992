"""Loads a bundle's main document with cwltool, cut off from the machine and the network.

Imports cwltool; for the checking process alone.
"""

import logging
from dataclasses import dataclass, field
from typing import Any, Final

from cwltool.context import LoadingContext
from cwltool.errors import WorkflowException
from cwltool.load_tool import load_tool
from cwltool.process import Process
from cwltool.workflow import Workflow, WorkflowStep, default_make_tool
from schema_salad.exceptions import SchemaSaladException

from stemma.cwl.bundle import Bundle
from stemma.cwl.documents import Documents
from stemma.cwl.expressions import expression_findings
from stemma.cwl.fetching import BundleFiles, bundle_url, without_root
from stemma.cwl.links import link_findings, placed
from stemma.cwl.translate import Refused, Translator
from stemma.errors import Finding

_FIELDS: Final = {"scatter": "scatter", "embedded workflow": "run"}
"""Which field of a step cwltool means when it speaks of …; it does not say where."""


@dataclass(slots=True)
class Loaded:
    """What came of loading: the process, or what is wrong."""

    process: Process | None = None
    findings: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


def load(bundle: Bundle, documents: Documents) -> Loaded:
    """Load the main document of ``bundle``, whose documents were examined before."""
    loaded = Loaded()
    files = BundleFiles(bundle.files)
    translator = Translator(documents)
    context = _context(files, translator, loaded.warnings)
    try:
        loaded.process = load_tool(bundle_url(bundle.main_path), context)
        loaded.findings += expression_findings(loaded.process, documents)
    except (SchemaSaladException, WorkflowException) as error:
        loaded.findings += translator.findings(error, Finding("", "", bundle.main_file, 1, 1))
    except RecursionError:
        message = "workflows are nested too deeply, or one runs itself through others; break the circle"
        loaded.findings.append(Finding(message, "cwl/recursion", bundle.main_file, 1, 1))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - cwltool meets some malformed documents with whatever Python raises
        message = f"this is not CWL that can be read ({type(error).__name__}); compare it with the CWL specification"
        loaded.findings.append(Finding(message, "cwl/invalid", bundle.main_file, 1, 1))
    loaded.findings += [_refusal(url, bundle) for url in files.refused if not loaded.findings]
    loaded.warnings = list(dict.fromkeys(loaded.warnings))
    return loaded


def silence() -> None:
    """Keep cwltool and schema-salad from writing logs; what they have to say is returned."""
    for name in ("cwltool", "salad", "rdflib"):
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.ERROR)


def _refusal(url: str, bundle: Bundle) -> Finding:
    message = f"{without_root(url)!r} is not in the bundle; add it, or remove the reference"
    return Finding(message, "cwl/outside-bundle", bundle.main_file)


def _context(files: BundleFiles, translator: Translator, warnings: list[Finding]) -> LoadingContext:
    def construct(tool: Any, context: LoadingContext) -> Process:
        if isinstance(tool, dict) and tool.get("class") == "Workflow":
            return _CheckedWorkflow(tool, context, translator, warnings)
        return default_make_tool(tool, context)

    return LoadingContext(
        {
            "fetcher_constructor": files.fetcher(),
            "construct_tool_object": construct,
            "disable_js_validation": True,
            "skip_schemas": True,
            "doc_cache": False,
        }
    )


class _CheckedWorkflow(Workflow):
    """A workflow that says which of its steps and links are wrong, and where."""

    def __init__(self, tool: Any, context: LoadingContext, translator: Translator, warnings: list[Finding]) -> None:
        self._translator = translator
        self._problems: list[Finding] = []
        self.steps = []
        try:
            super().__init__(tool, context)
        except (SchemaSaladException, WorkflowException) as error:
            found = self._problems or self._link_findings()[0]
            raise Refused(found or translator.findings(error, placed(tool, None, "", ""))) from error
        except KeyError as error:  # cwltool looks a source up that no step gives
            found = self._problems
            if not found:
                raise
            raise Refused(found) from error
        found, doubts = self._link_findings()
        if found:
            raise Refused(found)
        warnings += doubts

    def make_workflow_step(self, *arguments: Any, **named: Any) -> WorkflowStep:
        """Make one step; what is wrong with it is noted, so that all steps are told of."""
        try:
            return super().make_workflow_step(*arguments, **named)
        except (SchemaSaladException, WorkflowException) as error:
            field = next((field for said, field in _FIELDS.items() if said in str(error)), None)
            found = self._translator.findings(error, placed(arguments[0], field, "", ""))
            self._problems += found
            raise Refused(found) from error

    def _link_findings(self) -> tuple[list[Finding], list[Finding]]:
        return link_findings(self)
