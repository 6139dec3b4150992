"""What REANA checks of a specification, at creation and at start."""

from collections.abc import Mapping
from itertools import permutations
from pathlib import PurePosixPath
from typing import Any

from support.reana_standin.refusals import Refused

_ENGINES = frozenset({"cwl", "serial", "yadage", "snakemake"})
_OPTIONS = {
    "CACHE": {"serial": "CACHE"},
    "FROM": {"serial": "FROM"},
    "TARGET": {"serial": "TARGET", "cwl": "--target"},
    "toplevel": {"yadage": "toplevel"},
    "initdir": {"yadage": "initdir"},
    "initfiles": {"yadage": "initfiles"},
    "accept_metadir": {"yadage": "accept_metadir"},
    "report": {"snakemake": "report"},
}
_BACKENDS = ("kubernetes",)


def checked_specification(specification: Any) -> dict[str, Any]:
    """Check what is checked at creation; the operational options, translated."""
    if not isinstance(specification, Mapping):
        raise Refused(500, "'list' object has no attribute 'get'")
    workflow = specification.get("workflow")
    if not isinstance(workflow, Mapping):
        raise Refused(400, "'workflow'")
    if "type" not in workflow:
        raise Refused(400, "'type'")
    if workflow["type"] not in _ENGINES:
        raise Refused(500, "Unknown workflow type.")
    if workflow["type"] != "cwl":
        raise Refused(501, "This stand-in runs CWL only.")
    inputs = specification.get("inputs", {})
    options = checked_options(inputs.get("options", {}))
    _check_paths([*inputs.get("files", []), *inputs.get("directories", [])])
    return options


def checked_options(options: Any) -> dict[str, Any]:
    """The operational options of CWL workflows, as arguments for cwltool."""
    if not isinstance(options, Mapping):
        raise Refused(400, "==> ERROR: Operational options must be a dictionary.")
    translated = {}
    for name, value in options.items():
        if name not in _OPTIONS:
            raise Refused(400, f'==> ERROR: Operational option "{name}" not supported.')
        argument = _OPTIONS[name].get("cwl")
        if argument is None:
            raise Refused(400, f'==> ERROR: Operational option "{name}" not supported for cwl workflows.')
        translated[argument] = value
    return translated


def check_start(specification: Mapping[str, Any], input_parameters: Mapping[str, Any]) -> None:
    """Check what is checked only when a workflow is started."""
    workflow = specification["workflow"]
    if "file" not in workflow and "specification" not in workflow:
        raise Refused(400, f"{dict(workflow)} is not valid under any of the given schemas")
    known = specification.get("inputs", {}).get("parameters", {})
    for name in input_parameters:
        if name not in known:
            raise Refused(400, f'Input parameter "{name}" is not present in reana.yaml')
    _check_backends(workflow.get("specification") or {})


def _check_backends(document: Mapping[str, Any]) -> None:
    for process in document.get("$graph", ()):
        for step in process.get("steps", ()) if isinstance(process, Mapping) else ():
            for hint in step.get("hints", ()) if isinstance(step, Mapping) else ():
                backend = hint.get("compute_backend") if isinstance(hint, Mapping) else None
                if backend and backend not in _BACKENDS:
                    raise Refused(
                        400,
                        f'Compute backend "{backend}" found in step "{step.get("id")}" is not supported. '
                        f'List of supported compute backends: "{", ".join(_BACKENDS)}"',
                    )


def _check_paths(names: list[str]) -> None:
    paths = [PurePosixPath(name) for name in names]
    for number, path in enumerate(paths):
        if path.is_absolute():
            raise Refused(400, f"Input path cannot be absolute: {path}")
        if not path.parts:
            raise Refused(400, "Input path cannot be empty")
        if ".." in path.parts:
            raise Refused(400, f"Input path cannot contain '..': {path}")
        if path in paths[:number]:
            raise Refused(400, f"Input path declared multiple times: {path}")
    for one, other in permutations(paths, 2):
        if one.is_relative_to(other):
            raise Refused(400, f"Duplicate input paths '{other}' and '{one}' found. Please deduplicate inputs first.")
