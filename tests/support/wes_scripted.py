"""A small WES server that does what a test says: other servers' ways to answer, and their faults."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from stemma.engines.protocol import Report
from support.scripted_http import Answered, Asked, Scripted, scripted
from support.wes_bench import WesBench, wes_bench

SECRET = "a-long-secret-token"
TOOL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [cat]
inputs:
  text: {type: File, inputBinding: {}}
outputs:
  made: {type: File, outputBinding: {glob: made.txt}}
"""
HANDED_THROUGH = """
cwlVersion: v1.2
class: Workflow
inputs: {text: File}
steps: {}
outputs:
  made: {type: File, outputSource: text}
"""

Fault = Callable[[Asked], Answered | None]


@dataclass
class ScriptedRun:
    """A run of the server."""

    id: Any
    tags: dict[str, str] = field(default_factory=dict)
    state: str = "RUNNING"
    log: dict[str, Any] = field(default_factory=dict)
    """What the run log says beside the state."""
    form: list[tuple[str, str | None, bytes]] = field(default_factory=list)
    """Name, file name and bytes of each part of the request."""


@dataclass
class ScriptedWes:
    """The server: its runs, and the switches."""

    runs: dict[str, ScriptedRun] = field(default_factory=dict)
    files: dict[str, Answered] = field(default_factory=dict)
    """What else lies there, by path."""
    list_key: str = "runs"
    tags_in_list: bool = True
    tags_in_log: bool = True
    ids: Callable[[int], Any] = "run-{}".format
    new_state: str = "RUNNING"
    info: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    """By ``METHOD path``, of which a beginning is enough; None lets the request pass."""
    http: Scripted = field(default_factory=lambda: Scripted(""))

    @property
    def only_run(self) -> ScriptedRun:
        (run,) = self.runs.values()
        return run

    def asked(self, beginning: str) -> list[Asked]:
        """The requests that came in, of those that begin so."""
        return [asked for asked in self.http.asked if f"{asked.method} {asked.path}".startswith(beginning)]

    def answer(self, asked: Asked) -> Answered:
        what = f"{asked.method} {asked.path.partition('?')[0]}"
        for beginning, fault in self.faults.items():
            if what.startswith(beginning) and (given := fault(asked)) is not None:
                return given
        if asked.path in self.files:
            return self.files[asked.path]
        if what == "POST /runs":
            return self.take(asked)
        listed = [self._entry(run) for run in self.runs.values()]
        fixed = {"GET /service-info": self.info, "GET /runs": {self.list_key: listed, "next_page_token": ""}}
        found = re.fullmatch(r"(\w+) /runs/([^/]+)(/status|/cancel|)", what)
        if found is not None and found[2] in self.runs:
            return self._of_run(self.runs[found[2]], f"{found[1]}{found[3]}")
        return said(fixed[what]) if what in fixed else said({"msg": "no such thing", "status_code": 404}, 404)

    def take(self, asked: Asked) -> Answered:
        """Start a run."""
        parts = _parts(asked)
        fields = {name: body for name, file, body in parts if file is None}
        run = ScriptedRun(self.ids(len(self.runs)), json.loads(fields["tags"]), self.new_state, form=parts)
        self.runs[str(run.id)] = run
        return said({"run_id": run.id})

    def _entry(self, run: ScriptedRun) -> dict[str, Any]:
        return {"run_id": run.id, "state": run.state} | ({"tags": run.tags} if self.tags_in_list else {})

    def _of_run(self, run: ScriptedRun, what: str) -> Answered:
        if what == "GET":
            request = {"tags": run.tags} if self.tags_in_log else {}
            return said({"run_id": run.id, "state": run.state, "request": request, **run.log})
        if what == "GET/status":
            return said({"run_id": run.id, "state": run.state})
        if what == "POST/cancel":
            run.state = "CANCELED"
            return said({"run_id": run.id})
        return said({"msg": "not implemented"}, 405)


def said(value: Any, status: int = 200) -> Answered:
    """An answer in JSON."""
    return Answered(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def once(fault: Fault) -> Fault:
    """A fault that comes a single time."""
    left = [fault]
    return lambda asked: left.pop()(asked) if left else None


def always(status: int = 200, body: bytes = b"", **more: Any) -> Fault:
    """The same answer to everything."""
    return lambda _asked: Answered(status, body, **more)


def _parts(asked: Asked) -> list[tuple[str, str | None, bytes]]:
    header = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
    found: list[tuple[str, str | None, bytes]] = []
    for part in message_from_bytes(header + asked.body).get_payload():
        assert isinstance(part, Message)
        name = part.get_param("name", header="content-disposition")
        found.append((str(name), part.get_filename(), part.get_payload(decode=True)))  # type: ignore[arg-type]
    return found


@contextmanager
def scripted_wes(home: Path, **more: Any) -> Iterator[tuple[ScriptedWes, WesBench]]:
    """The server, and a bench whose engine is on it."""
    server = ScriptedWes()
    with scripted(server.answer) as http:
        server.http = http
        settings = {"poll_seconds": 0.0, "tasks_seconds": 0.0, "timeout_seconds": 5, "settle_seconds": 0, **more}
        with wes_bench(home, http.url, **settings) as bench:
            try:
                yield server, bench
            finally:
                server.faults.clear()
                for run in server.runs.values():
                    run.state = "CANCELED"


def start(bench: WesBench, document: str = TOOL, text: str = "a text", **more: Any) -> tuple[str, Any]:
    """Submit a small document; its reference, and the job."""
    revision = bench.revision({"main.cwl": document})
    job = bench.job(revision, {"text": bench.file(text, "text.txt")}, **more)
    return bench.submit(job), job


def finish(server: ScriptedWes, bench: WesBench, reference: str, outputs: Any = None, **log: Any) -> Report:
    """Let the run end well, and look."""
    server.only_run.state = "COMPLETE"
    server.only_run.log = {"outputs": outputs, **log}
    return bench.engine.report(reference, "")


def file_at(location: str, **more: Any) -> dict[str, Any]:
    return {"class": "File", "location": location, **more}
