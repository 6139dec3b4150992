"""What stands against running something on REANA: a document, input values, a command line."""

import json
import posixpath
from collections.abc import Iterable, Mapping
from typing import Final

from stemma.engines.reana.prepare import prepare
from stemma.engines.reana.prepare_text import has_astral_characters, is_rewritten, is_safe_name, strings
from stemma.engines.reana.refusals import ELSEWHERE
from stemma.errors import Finding
from stemma.records import Json

_MOST_CHARACTERS: Final = 45_000
"""See ``stemma.engines.reana.prepare``: document and values share what REANA takes."""
_PLACES: Final = frozenset({"location", "path", "contents", "checksum", "format"})


def findings(packed: Mapping[str, Json]) -> list[Finding]:
    """Why REANA could not run a packed document (see ``stemma.cwl.packing``) faithfully; empty where it can."""
    return list(prepare(packed, default_image=None, resource_hints={}).findings)


def input_findings(inputs: Mapping[str, Json]) -> list[Finding]:
    """Which of the input values REANA would get wrong."""
    found: list[Finding] = []
    for port, value in inputs.items():
        for text in strings(_without_places(value)):
            if is_rewritten(text):
                message = f"input {port!r}: REANA's engine rewrites paths like /tmp/… and /var/lib/cwl/…: {text[:80]!r}"
                found.append(Finding(f"{message}; {ELSEWHERE}", "reana/rewritten-path"))
        for name in _names(value):
            if not is_safe_name(name):
                message = f"input {port!r}: REANA's engine takes no file named {name!r}"
                found.append(Finding(f"{message}; rename it, or {ELSEWHERE}", "reana/file-name"))
    found += [
        Finding(f"input {port!r}: REANA's engine cannot read all of its characters; {ELSEWHERE}", "reana/character")
        for port, value in inputs.items()
        if has_astral_characters(_without_places(value))
    ]
    size = len(json.dumps(inputs))
    if size > _MOST_CHARACTERS:
        message = f"the input values are {size} characters, of which REANA takes {_MOST_CHARACTERS}"
        found.append(Finding(f"{message}; put them into a file, or {ELSEWHERE}", "reana/too-large"))
    return list(dict.fromkeys(found))


def command_findings(words: Iterable[str]) -> list[Finding]:
    """Why a job's result cannot be believed: the engine changed its command line; ``words`` are what CWL meant."""
    return [
        Finding(
            f"REANA's engine rewrites paths like /tmp/… in command lines: {word[:80]!r}; {ELSEWHERE}",
            "reana/rewritten-path",
        )
        for word in dict.fromkeys(words)
        if is_rewritten(word)
    ]


def _without_places(value: Json) -> Json:
    if isinstance(value, dict):
        is_file = value.get("class") in {"File", "Directory"}
        return {key: _without_places(entry) for key, entry in value.items() if not (is_file and key in _PLACES)}
    if isinstance(value, list):
        return [_without_places(entry) for entry in value]
    return value


def _names(value: Json) -> Iterable[str]:
    if isinstance(value, dict):
        if value.get("class") in {"File", "Directory"}:
            place = value.get("basename") or posixpath.basename(str(value.get("location", value.get("path", ""))))
            if place:
                yield str(place)
        for entry in value.values():
            yield from _names(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _names(entry)
