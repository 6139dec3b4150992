"""One CommandLineTool, rewritten so that REANA runs it as CWL says."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from stemma.engines.reana.prepare_graph import Inherited, is_of_files, listed, members, remaining, short
from stemma.engines.reana.prepare_text import (
    guarded,
    has_expression,
    is_rewritten,
    names_all_inputs,
    reference,
    strings,
)
from stemma.engines.reana.prepare_workdir import WorkDir, work_dir
from stemma.engines.reana.refusals import Refusals, has_no_bash
from stemma.engines.reana.wrapping import JOB_WORD, escaped, exit_cases, opening
from stemma.records import Json

_FIRST: Final = -2_000_000_000
_BASE: Final = -1_000_000
_LAST: Final = 2_000_000_000
_OURS: Final = frozenset({"HOME", "TMPDIR"})
_HINT_CLASS: Final = "http://reana.io/hints"
_MOST_BYTES: Final = 90_000
"""Of texts in one command line: Linux takes 131072 bytes in one argument, quoted twice by then."""
_WORDS: Final = frozenset({"doc", "label", "default"})


@dataclass(frozen=True, slots=True)
class Names:
    """Words of ours that stand nowhere in the document."""

    prefix: str
    slash: str

    @property
    def key(self) -> str:
        """The input that carries the key."""
        return f"{self.prefix}_key"


@dataclass(frozen=True, slots=True)
class Means:
    """What tools are rewritten with."""

    names: Names
    default_image: str | None
    resource_hints: Mapping[str, Json]
    refusals: Refusals


@dataclass(frozen=True, slots=True)
class Execution:
    """Which step a tool is for."""

    step: str
    """Its path."""
    key: str | None
    """The key of its one execution; None where there are several, and an input tells."""


def rewritten(tool: dict[str, Json], inherited: Inherited, execution: Execution, means: Means) -> dict[str, Json]:
    """A CommandLineTool that runs on REANA.

    ``inherited`` is what holds within the tool, its own requirements among it. What cannot be made right is refused.
    """
    step = execution.step
    new = {key: value for key, value in copy.deepcopy(tool).items() if key not in {"requirements", "hints"}}
    _convert_streams(new)
    needs_shell = inherited.effective("ShellCommandRequirement")[0] is not None
    folder = work_dir(inherited.effective("InitialWorkDirRequirement")[0], new["inputs"], step, means.refusals)
    kept = remaining(tool)
    requirements = [*kept.get("requirements", []), {"class": "ShellCommandRequirement"}]
    requirements += _image(inherited, step, means)
    if folder.listing:
        requirements.append({"class": "InitialWorkDirRequirement", "listing": folder.listing})
    _guard_bindings(new["inputs"], means.names.slash, needs_shell=needs_shell)
    own = _own_arguments(new, means.names.slash, needs_shell=needs_shell)
    key = f"$(inputs.{means.names.key})" if execution.key is None else escaped(execution.key)
    before = list(_before(new, inherited, folder, means.names.slash, key, needs_shell=needs_shell))
    _check(new, inherited, [*before, *own], execution, means)
    for field in (
        "baseCommand",
        "stdin",
        "stdout",
        "stderr",
        "successCodes",
        "temporaryFailCodes",
        "permanentFailCodes",
    ):
        new.pop(field, None)
    new["arguments"] = [*before, *own, _raw(_after(needs_shell=needs_shell), _LAST)]
    new["requirements"] = requirements
    hints = kept.get("hints", []) + _hints(inherited, means)
    if hints:
        new["hints"] = hints
    if execution.key is None:
        new["inputs"] = [*new["inputs"], {"id": f"{tool['id']}/{means.names.key}", "type": "string"}]
    return new


def _convert_streams(tool: dict[str, Json]) -> None:
    """Write the shortcuts ``type: stdout`` and ``type: stdin`` out, where packing has not."""
    for port in tool["outputs"]:
        if port.get("type") in ("stdout", "stderr"):
            name = tool.setdefault(port["type"], f"{quote(short(tool['id']), safe='')}.{port['type']}")
            port["type"], port["outputBinding"] = "File", {"glob": name}
    for port in tool["inputs"]:
        if port.get("type") == "stdin":
            port["type"], tool["stdin"] = "File", reference(short(port["id"]), ".path")


def _image(inherited: Inherited, step: str, means: Means) -> list[Json]:
    requirement, is_required = inherited.effective("DockerRequirement")
    if requirement is None:
        return [{"class": "DockerRequirement", "dockerPull": means.default_image}] if means.default_image else []
    image = requirement.get("dockerPull")
    for field in ("dockerFile", "dockerLoad", "dockerImport", "dockerOutputDirectory"):
        if field in requirement and (is_required or field == "dockerOutputDirectory" or not image):
            means.refusals.add(step, "docker", f"REANA cannot keep to {field} of its DockerRequirement")
    if not image:
        means.refusals.add(step, "docker", "its DockerRequirement names no image to pull (dockerPull)")
        return []
    if has_no_bash(image):
        reason = f"REANA starts every job with bash, which the image {image!r} does not have"
        means.refusals.add(step, "image-without-bash", reason, "name an image with bash, or run it on another engine")
    return [{"class": "DockerRequirement", "dockerPull": image}]


def _hints(inherited: Inherited, means: Means) -> list[Json]:
    said = {**means.resource_hints, **inherited.engine_hints()}
    return [{"class": _HINT_CLASS, **said}] if said else []


def _guard_bindings(value: Json, slash: str, *, needs_shell: bool) -> None:
    """Guard what the bindings of inputs say, and quote all where the document brings no shell of its own."""
    if isinstance(value, list):
        for entry in value:
            _guard_bindings(entry, slash, needs_shell=needs_shell)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if key == "inputBinding" and isinstance(entry, dict):
                value[key] = _guarded_binding(entry, slash, needs_shell=needs_shell)
            elif key not in _WORDS:
                _guard_bindings(entry, slash, needs_shell=needs_shell)


def _guarded_binding(binding: dict[str, Json], slash: str, *, needs_shell: bool) -> dict[str, Json]:
    new = {
        key: guarded(entry, slash)
        if key in {"valueFrom", "prefix", "itemSeparator"} and isinstance(entry, str)
        else entry
        for key, entry in binding.items()
    }
    if not needs_shell:
        new.pop("shellQuote", None)
    return new


def _own_arguments(tool: dict[str, Json], slash: str, *, needs_shell: bool) -> list[Json]:
    """The document's command and arguments."""
    own: list[Json] = [
        {"valueFrom": escaped(guarded(str(word), slash)), "position": _BASE} for word in listed(tool.get("baseCommand"))
    ]
    for argument in listed(tool.get("arguments")):
        if isinstance(argument, dict):
            own.append(_guarded_binding(argument, slash, needs_shell=needs_shell))
        else:
            own.append(guarded(str(argument), slash))
    return own


def _before(
    tool: dict[str, Json], inherited: Inherited, folder: WorkDir, slash: str, key: str, *, needs_shell: bool
) -> Iterator[Json]:
    """The arguments that stand before the document's own, up to the place of its command."""
    codes = exit_cases(
        listed(tool.get("successCodes")),
        [*listed(tool.get("temporaryFailCodes")), *listed(tool.get("permanentFailCodes"))],
    )
    yield _raw(f"\n: {JOB_WORD}")
    yield _quoted(key)
    yield _raw(opening(slash, codes))
    yield _quoted(key)
    yield _raw("\ngiven() {\nnames")
    for tag, field in (("i", "stdin"), ("o", "stdout"), ("e", "stderr")):
        if tool.get(field):
            yield _tagged(tag, guarded(tool[field], slash))
    limit = inherited.effective("ToolTimeLimit")[0]
    if limit is not None:
        yield _tagged("l", limit["timelimit"] if isinstance(limit["timelimit"], str) else str(limit["timelimit"]))
    if folder.is_writable:
        yield _tagged("c", "1")
    yield from _staging(tool, folder, slash)
    yield _raw("\n}\ntool() {\nrun")
    yield from _environment(inherited, slash)
    if needs_shell:
        yield _raw('/bin/sh "-c" "`text`"\n}\ntext() {\ncat <<\'STEMMA-TEXT\'\n')


def _after(*, needs_shell: bool) -> str:
    return f"{chr(10)}STEMMA-TEXT" * needs_shell + '\n}\ncp() { main "$@"; }'


def _staging(tool: dict[str, Json], folder: WorkDir, slash: str) -> Iterator[Json]:
    if folder.folders:
        yield _raw("\nfolders")
        for name in folder.folders:
            yield _quoted(guarded(escaped(str(name)), slash))
    for text in folder.texts:
        yield _raw("\nput")
        yield _tagged("n", guarded(text.name, slash))
        yield _tagged("c", f"x{guarded(text.content, slash)}x")
        yield _tagged("p", guarded(text.content, slash) if text.may_be_nothing else "1")
        if text.may_be_a_file:
            yield _tagged("u", "1")
    yield _raw("\nneed")
    for port in tool["inputs"]:
        is_one = list(members(port["type"])) == ["File"]
        if is_one:
            yield _tagged("z", reference(short(port["id"]), ".size"))
        if is_one or (is_of_files(port["type"]) and not _is_on_the_command_line(port)):
            yield _quoted(reference(short(port["id"])))


def _is_on_the_command_line(port: dict[str, Json]) -> bool:
    """Whether all of a port's files are arguments as they are: the wrapper looks for those anyway."""
    return (
        isinstance(port.get("inputBinding"), dict)
        and "valueFrom" not in port["inputBinding"]
        and ("itemSeparator" not in port["inputBinding"])
    )


def _environment(inherited: Inherited, slash: str) -> Iterator[Json]:
    requirement = inherited.effective("EnvVarRequirement")[0]
    variables = listed(requirement.get("envDef")) if requirement is not None else []
    variables = [one for one in variables if one["envName"] not in _OURS]
    if variables:
        yield _raw("env")
    for one in variables:
        yield _tagged(f"{one['envName']}=", guarded(str(one["envValue"]), slash))


def _raw(text: str, position: int = _FIRST) -> Json:
    return {"valueFrom": escaped(text), "shellQuote": False, "position": position}


def _quoted(text: str) -> Json:
    return {"valueFrom": text, "position": _FIRST}


def _tagged(tag: str, text: str) -> Json:
    return {"prefix": tag, "separate": False, "valueFrom": text, "position": _FIRST}


def _check(
    tool: dict[str, Json], inherited: Inherited, arguments: list[Json], execution: Execution, means: Means
) -> None:
    """Refuse what its strings would come to."""
    step = execution.step
    bindings = [{key: value for key, value in port.items() if key not in _WORDS} for port in tool["inputs"]]
    outputs = [{key: value for key, value in port.items() if key not in _WORDS} for port in tool["outputs"]]
    script = inherited.effective("InlineJavascriptRequirement")[0] or {}
    command = [*strings([bindings, arguments]), *strings(script.get("expressionLib"))]
    for text in command:
        if is_rewritten(text):
            reason = f"REANA's engine rewrites paths like /tmp/… and /var/lib/cwl/… in command lines: {_excerpt(text)}"
            means.refusals.add(step, "rewritten-path", reason, "take another path, or run it on another engine")
    for text in (*command, *strings(outputs)):
        if execution.key is None and names_all_inputs(text):
            reason = f"an expression uses 'inputs' as a whole, which has entries more on REANA: {_excerpt(text)}"
            means.refusals.add(
                step, "whole-inputs", reason, "name the inputs that are meant, or run it on another engine"
            )
    if any(code != 0 for code in listed(tool.get("successCodes"))) and any(
        "exitCode" in text for text in strings(outputs)
    ):
        means.refusals.add(step, "exit-code", "its outputs depend on runtime.exitCode, which REANA does not tell")
    if sum(len(text.encode()) for text in strings(arguments)) > _MOST_BYTES:
        means.refusals.add(step, "long-command", "its command line is too long for REANA with the texts in it")
    if isinstance(tool.get("stdin"), str) and not has_expression(tool["stdin"]) and not tool["stdin"].startswith("/"):
        means.refusals.add(step, "stdin", f"its standard input {tool['stdin']!r} is no input of it")


def _excerpt(text: str) -> str:
    return repr(" ".join(text.split())[:80])
