"""Which files a workflow wants beside those that it is given: the ``secondaryFiles`` of its inputs."""

from collections.abc import Iterator, Mapping
from typing import Any

from stemma.cwl.nodes import Unreadable, decode, read
from stemma.cwl.types import short


def secondary_patterns(content: bytes, fragment: str | None) -> dict[str, list[str]]:
    """The patterns of each input of the document; expressions are left out, which only a CWL engine can evaluate."""
    if b"secondaryFiles" not in content:
        return {}
    try:
        document = read(decode(content, "document"), "document").to_json()
    except Unreadable:  # the service says what is wrong with it, and better
        return {}
    process = _process(document, fragment)
    found = {name: list(_patterns(port)) for name, port in _ports(process.get("inputs"))}
    return {name: patterns for name, patterns in found.items() if patterns}


def _process(document: Any, fragment: str | None) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        return {}
    graph = document.get("$graph")
    if not isinstance(graph, list):
        return document
    wanted = fragment or "main"
    named = [
        one for one in graph if isinstance(one, dict) and short(f"#{one.get('id', '')}".replace("##", "#")) == wanted
    ]
    return named[0] if named else {}


def _ports(inputs: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(inputs, dict):
        yield from ((name, port) for name, port in inputs.items() if isinstance(port, dict))
    elif isinstance(inputs, list):
        for port in inputs:
            if isinstance(port, dict) and isinstance(port.get("id"), str):
                yield short(f"#{port['id'].lstrip('#')}"), port


def _patterns(port: Mapping[str, Any]) -> Iterator[str]:
    wanted = port.get("secondaryFiles")
    for one in wanted if isinstance(wanted, list) else [wanted]:
        pattern = one.get("pattern") if isinstance(one, dict) else one
        if isinstance(pattern, str) and "$(" not in pattern and "${" not in pattern:
            yield pattern.removesuffix("?")
