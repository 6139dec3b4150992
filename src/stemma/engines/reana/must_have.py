"""Which inputs of a document REANA's engine itself reads: they have to be there before the run starts.

What a file is called and where it lies is known from the start, and a job waits for its bytes. But the engine
evaluates expressions before a job begins, and reads files for ``loadContents``; there it would find what lies in the
place of a late file. A file that a run gives out as it is counts as well: no job would wait for it.

Where an expression does not tell what it looks at, it counts as looking at everything.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from uuid import UUID

from stemma.engines.reana.prepare_graph import listed, short
from stemma.engines.reana.prepare_text import parts
from stemma.file_fields import OCCURRENCE
from stemma.records import Json

_KNOWN_BEFORE: Final = frozenset({"basename", "nameroot", "nameext", "dirname", "class", "format", "location", "path"})
_READ: Final = frozenset({"size", "contents", "checksum"})
_COUNTED: Final = "length"
_CHAIN: Final = r"""((?:\s*\.\s*[\w$]+|\s*\[\s*(?:'[^']*'|"[^"]*"|\d+)\s*\])*)"""
_INPUTS: Final = re.compile(rf"(?<![\w.$])inputs(?!\w){_CHAIN}")
_SELF: Final = re.compile(rf"(?<![\w.$])self(?!\w){_CHAIN}")
_LINK: Final = re.compile(r"""\.\s*([\w$]+)|\[\s*['"]([^'"]*)['"]\s*\]""")
_WHOLE: Final = re.compile(rf"\$\(\s*(?:inputs(?=\s*[.\[])|self){_CHAIN}\s*\)")
"""A value that is handed on as it is: whoever reads it is looked at as well."""
_WORDS: Final = frozenset({"id", "doc", "label", "default"})


def must_have(packed: Mapping[str, Json], inputs: Mapping[str, Json]) -> set[UUID]:
    """The files of ``inputs`` that have to be there before the run starts, by their occurrences.

    Args:
        packed: the document (see ``stemma.cwl.packing``).
        inputs: the input object.
    """
    return {occurrence for port in ports_read(packed) for occurrence in _occurrences(inputs.get(port))}


def ports_read(packed: Mapping[str, Json]) -> set[str]:
    """The inputs of a document whose files are read before a step is, or given out as they are."""
    return _Document(packed).ports_read()


def _occurrences(value: Json) -> Iterator[UUID]:
    if isinstance(value, Mapping):
        if value.get("class") == "File" and OCCURRENCE in value:
            yield UUID(value[OCCURRENCE])
        for part in value.values():
            yield from _occurrences(part)
    elif isinstance(value, list):
        for part in value:
            yield from _occurrences(part)


class _Document:
    """What the processes of a document read of their inputs."""

    def __init__(self, packed: Mapping[str, Json]) -> None:
        processes: list[Mapping[str, Json]] = packed.get("$graph", [packed])
        self._processes = {_fragment(process.get("id", "")): process for process in processes}
        self._main = self._processes.get("main") or processes[0]
        self._known: dict[int, set[str]] = {}
        above = [entry for element in _elements(processes) for entry in _requirements(element)]
        self._handed_down = [text for entry in above for text in _texts(entry) if not _is_library(entry)]
        """What workflows and steps say for the tools below them."""
        everything = [entry for process in _all(processes) for entry in _requirements(process)]
        libraries = [text for entry in everything if _is_library(entry) for text in _texts(entry)]
        self._reads_by_library = any("inputs" in text for text in libraries)

    def ports_read(self) -> set[str]:
        """The inputs of the run whose files are read."""
        read = self._read(self._main)
        for output in self._main["outputs"] if self._main["class"] != "Workflow" else []:
            read |= self._handed_on(self._main, short(output["id"]))
        return read

    def _read(self, process: Mapping[str, Json]) -> set[str]:
        """The inputs of ``process`` that the engine reads, or gives out as they are."""
        if id(process) not in self._known:
            self._known[id(process)] = set()  # a document that contains itself comes to nothing more
            found = self._read_in_workflow(process) if process["class"] == "Workflow" else self._read_in_tool(process)
            self._known[id(process)] = found | _loaded(process["inputs"])
        return self._known[id(process)]

    def _read_in_tool(self, tool: Mapping[str, Json]) -> set[str]:
        names = {short(port["id"]) for port in tool["inputs"]}
        if self._reads_by_library:
            return names
        read = {name for text in (*_texts(tool), *self._handed_down) for name in _read_by(text, names, None)}
        for port in tool["inputs"]:
            for text in _texts(port):
                read |= _read_by(text, names, short(port["id"]))
        return read

    def _read_in_workflow(self, workflow: Mapping[str, Json]) -> set[str]:
        wanted = []
        for step in workflow["steps"]:
            wanted += _sources(step, self._read(self._run_of(step)) | self._read_in_step(step))
        if workflow is self._main:
            wanted += [source for output in workflow["outputs"] for source in listed(output.get("outputSource"))]
        return self._origins(workflow, wanted)

    def _read_in_step(self, step: Mapping[str, Json]) -> set[str]:
        """The inputs of a step that its own expressions read, and those that it loads."""
        names = {short(entry["id"]) for entry in step["in"]}
        texts: list[tuple[str | None, str]] = [(None, text) for text in _texts(step.get("when"))]
        for entry in step["in"]:
            texts += [(short(entry["id"]), text) for text in _texts(entry.get("valueFrom"))]
        if texts and self._reads_by_library:
            return names
        return {name for own, text in texts for name in _read_by(text, names, own)} | _loaded(step["in"])

    def _origins(self, workflow: Mapping[str, Json], sources: Iterable[str]) -> set[str]:
        """The inputs of ``workflow`` whose files come to ``sources`` as they are, through whatever steps."""
        inputs = {port["id"]: short(port["id"]) for port in workflow["inputs"]}
        steps = {_id_of(out): (step, short(_id_of(out))) for step in workflow["steps"] for out in step["out"]}
        ports: set[str] = set()
        seen: set[str] = set()
        wanted = list(sources)
        while wanted:
            source = wanted.pop()
            if source in inputs:
                ports.add(inputs[source])
            elif source in steps and source not in seen:
                step, output = steps[source]
                wanted += _sources(step, self._handed_on(self._run_of(step), output))
            seen.add(source)
        return ports

    def _handed_on(self, process: Mapping[str, Json], output: str) -> set[str]:
        """The inputs of ``process`` of which files may come out as ``output``, as they are."""
        names = {short(port["id"]) for port in process["inputs"]}
        found: Mapping[str, Json] = next((port for port in process["outputs"] if short(port["id"]) == output), {})
        if process["class"] == "Workflow":
            return self._origins(process, listed(found.get("outputSource")))
        if process["class"] == "ExpressionTool" or any(_INPUTS.search(text) for text in _texts(found)):
            return names
        return set()

    def _run_of(self, step: Mapping[str, Json]) -> Mapping[str, Json]:
        run = step["run"]
        return run if isinstance(run, Mapping) else self._processes[_fragment(run)]


def _fragment(identifier: str) -> str:
    return identifier.rpartition("#")[2]


def _id_of(out: Json) -> str:
    return out if isinstance(out, str) else str(out["id"])


def _sources(step: Mapping[str, Json], ports: Iterable[str]) -> list[str]:
    wanted = set(ports)
    return [source for entry in step["in"] if short(entry["id"]) in wanted for source in listed(entry.get("source"))]


def _all(processes: Iterable[Mapping[str, Json]]) -> Iterator[Mapping[str, Json]]:
    """All processes and steps, those that stand within others included."""
    for process in processes:
        yield process
        for step in process.get("steps", []):
            yield step
            if isinstance(step["run"], Mapping):
                yield from _all([step["run"]])


def _elements(processes: Iterable[Mapping[str, Json]]) -> Iterator[Mapping[str, Json]]:
    """All workflows and steps."""
    return (element for element in _all(processes) if element.get("class", "Workflow") == "Workflow")


def _requirements(element: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    entries = [*listed(element.get("requirements")), *listed(element.get("hints"))]
    return [entry for entry in entries if isinstance(entry, Mapping)]


def _is_library(requirement: Mapping[str, Json]) -> bool:
    return requirement.get("class") == "InlineJavascriptRequirement"


def _read_by(text: str, names: set[str], own: str | None) -> set[str]:
    """Those of ``names`` that the expressions in ``text`` read; ``own`` is the one that they call ``self``."""
    pieces = list(parts(text))
    read: set[str] = set()
    for is_expression, piece in pieces:
        if not is_expression or (len(pieces) == 1 and _is_handed_on(piece)):
            continue
        for found in _INPUTS.finditer(piece):
            links = _links(found[1])
            if not links:
                return names
            if _reads(links[1:]):
                read.add(links[0])
        if own is not None and any(_reads(_links(found[1])) for found in _SELF.finditer(piece)):
            read.add(own)
    return read


def _is_handed_on(expression: str) -> bool:
    whole = _WHOLE.fullmatch(expression)
    return whole is not None and not _READ.intersection(_links(whole[1]))


def _links(chain: str) -> list[str]:
    """The names in ``.a["b"][0].c``."""
    return [plain or quoted for plain, quoted in _LINK.findall(chain)]


def _reads(links: list[str]) -> bool:
    """Whether what stands behind a value may be more than what is known of a file from its name."""
    if _READ.intersection(links):
        return True
    return not (_KNOWN_BEFORE.intersection(links) or links[-1:] == [_COUNTED])


def _loaded(ports: Iterable[Mapping[str, Json]]) -> set[str]:
    """The ports that load what is in their files."""
    return {short(port["id"]) for port in ports if _loads(port)}


def _loads(port: Json) -> bool:
    """Whether a port says so, or a part of its type does."""
    if isinstance(port, Mapping):
        return bool(port.get("loadContents")) or any(_loads(part) for part in port.values())
    return isinstance(port, list) and any(map(_loads, port))


def _texts(value: Json) -> Iterator[str]:
    """The strings in which expressions may stand."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key not in _WORDS:
                yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
