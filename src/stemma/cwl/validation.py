"""The checking process: reads one document with cwltool, within limits, and says what it found.

Runs in children of a :class:`stemma.forkserver.ForkServer`, never in the API. Each child reads one request,
answers twice (that it has begun, and what it found), and ends.
"""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stemma.cwl.bundle import Bundle
from stemma.cwl.documents import VERSIONS, Documents, examine
from stemma.cwl.loading import Loaded, load, silence
from stemma.cwl.packing import Unpackable
from stemma.cwl.packing import pack as packed
from stemma.cwl.placeholders import extract
from stemma.cwl.steps import to_json
from stemma.cwl.structure import read_structure
from stemma.errors import Finding, InvalidDocument
from stemma.forkserver import Channel
from stemma.records import Json

MAX_FINDINGS: Final = 200

_OPEN_FILES: Final = 64
_PAGES: Final = "/proc/self/statm"
_SAMPLE: Final = """cwlVersion: {version}
$graph:
- {{id: main, class: Workflow, inputs: {{a: string}}, outputs: {{}},
   steps: {{s: {{run: "#t", in: {{a: a}}, out: [o]}}}}}}
- {{id: t, class: CommandLineTool, baseCommand: echo, inputs: {{a: string}}, outputs: {{o: stdout}}}}
"""


def preload() -> Iterator[None]:
    """Build cwltool's schemas, so that the children begin with them: the newest version's first."""
    silence()
    os.chdir("/")  # so that no place that is named relative to here says where the service runs
    for version in sorted(VERSIONS, reverse=True):
        check(Bundle({"main.cwl": _SAMPLE.format(version=version).encode()}, "main.cwl"), len(_SAMPLE) * 2)
        yield


def serve(channel: Channel) -> None:
    """Answer one request, in a process of its own."""
    request = channel.receive()
    channel.send({"begun": True})
    _limit(request["timeout_seconds"], request["memory_bytes"])
    files: dict[str, bytes | Path] = {path: Path(place) for path, place in request["files"].items()}
    task = pack if request.get("task") == "pack" else check
    try:
        answer = task(Bundle(files, request["main_path"]), request["document_bytes"])
    except MemoryError:
        answer = {"exhausted": "memory"}
    channel.send(answer)


def check(bundle: Bundle, document_bytes: int) -> Json:
    """What is to be said of ``bundle``: ``findings``, and where there are none its structure and placeholders."""
    try:
        blanked, placeholders = extract(bundle)
    except InvalidDocument as refusal:
        return {"findings": [_json(finding) for finding in refusal.findings]}
    documents, loaded = _read(blanked, document_bytes)
    if loaded.process is None or loaded.findings:
        return _refusal(loaded.findings)
    structure = read_structure(loaded.process, documents.cwl_version, blanked.main_path)
    try:
        plain = to_json(structure)
    except TypeError:  # half of a character
        message = r"an id, a label or a default is written with escapes such as \ud83d; write the character itself"
        return _refusal([Finding(message, "yaml/half-character", blanked.main_file, 1, 1)])
    return {
        "findings": [],
        "warnings": [_json(warning) for warning in loaded.warnings[:MAX_FINDINGS]],
        "structure": plain,
        "cwl_version": structure.cwl_version,
        "cwl_class": structure.cwl_class,
        "placeholders": [[one.port, one.kind, one.value, one.file, one.line, one.column] for one in placeholders],
        "blanked": blanked.read(blanked.main_file).decode() if placeholders else None,
    }


def pack(bundle: Bundle, document_bytes: int) -> Json:
    """``bundle`` as one object under ``packed``, or the ``findings`` that stand against it."""
    try:
        blanked, _ = extract(bundle)
    except InvalidDocument as refusal:
        return {"findings": [_json(finding) for finding in refusal.findings]}
    documents, loaded = _read(blanked, document_bytes)
    if loaded.process is None or loaded.findings:
        return _refusal(loaded.findings)
    try:
        return {"findings": [], "packed": packed(blanked, documents)}
    except Unpackable as refusal:
        return _refusal([refusal.finding])


def _read(bundle: Bundle, document_bytes: int) -> tuple[Documents, Loaded]:
    documents = examine(bundle, document_bytes)
    if documents.findings:
        return documents, Loaded(findings=documents.findings)
    return documents, load(bundle, documents)


def _refusal(findings: list[Finding]) -> Json:
    ordered = sorted(dict.fromkeys(findings), key=lambda one: (one.file or "", one.line or 0, one.column or 0))
    return {"findings": [_json(finding) for finding in ordered[:MAX_FINDINGS]]}


def _json(finding: Finding) -> Json:
    return {
        "message": finding.message,
        "rule": finding.rule,
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
    }


def _limit(timeout_seconds: float, memory_bytes: int) -> None:
    """Bound this process: beyond its time the kernel ends it, beyond its memory Python says so."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, timeout_seconds)
    seconds = int(timeout_seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    most = _address_space() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _address_space() -> int:
    """What this process has mapped already, so that the limit is for the document alone; 0 where it is unknown."""
    try:
        return int(Path(_PAGES).read_text("ascii").split()[0]) * resource.getpagesize()
    except OSError:
        return 0
