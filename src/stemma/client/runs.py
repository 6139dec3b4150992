"""Runs, seen from a client."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final

from stemma.client.connection import Connection, Downloaded
from stemma.client.events import follow
from stemma.client.models import Event, Run
from stemma.client.multipart import Attachment, Progress
from stemma.client.pages import pages

_ROOT: Final = "/workflow_execution"


class Runs:
    """Runs of the groups that the caller is in."""

    def __init__(self, connection: Connection, patience_seconds: float) -> None:
        self._connection = connection
        self._patience_seconds = patience_seconds

    def submit(
        self,
        workflow_id: int,
        *,
        inputs: Mapping[str, Any] | None = None,
        files: Sequence[Attachment] = (),
        engine: str | None = None,
        revision: int | None = None,
        progress: Progress | None = None,
    ) -> Run:
        """Queue a run. ``files`` are sent along, each under the name that ``inputs`` call it by (``location``).

        Without ``inputs``, those registered with the workflow are taken.

        Raises:
            WorkflowNotFound: there is no such entry.
            InvalidInputs: they do not fit, with findings.
            EngineUnsuitable: the engine cannot run it.
        """
        fields = {"engine": engine, "revision": revision, "nowait": True}
        sent = [("files", file) for file in files]
        if inputs is not None:  # as a file, since text fields of forms are limited to a megabyte in many servers
            written = json.dumps(inputs, ensure_ascii=False).encode()
            sent.insert(0, ("input_file", Attachment("inputs.json", written)))
        path = f"{_ROOT}/execute/{workflow_id}"
        return Run.of(self._connection.send("POST", path, fields=fields, files=sent, progress=progress))

    def get(self, run_id: int) -> Run:
        """One run with its steps and outputs.

        Raises:
            RunNotFound: there is no such run.
        """
        return Run.of(self._connection.get(f"{_ROOT}/{run_id}"))

    def list(
        self, *, status: str | None = None, workflow_id: int | None = None, limit: int | None = None
    ) -> Iterator[Run]:
        """The runs, newest first, page by page as they are taken."""
        return map(Run.of, pages(self._connection, _ROOT, limit, status=status, registry_id=workflow_id))

    def watch(self, run_id: int, *, after: str = "") -> Iterator[Event]:
        """Every change of state of a run and its steps, from the first (or the one after ``after``) to the end.

        A connection that breaks is made anew and goes on behind the last event.

        Raises:
            RunNotFound: there is no such run.
            Unavailable: the service does not answer any more.
        """
        path = f"{_ROOT}/{run_id}/events"
        for sent in follow(self._connection, path, patience_seconds=self._patience_seconds, last_id=after):
            if sent.kind != "end" and isinstance(sent.told, dict):
                yield Event.of(sent.id, sent.told)

    def wait(self, run_id: int) -> Run:
        """The run, when it has ended.

        Raises:
            RunNotFound: there is no such run.
        """
        for _ in self.watch(run_id):
            pass
        return self.get(run_id)

    def logs(self, run_id: int, *, step: str | None = None) -> Mapping[str, Any]:
        """What the steps of a run, or one of them, wrote so far; of much, the end.

        Raises:
            RunNotFound, StepNotFound: there is no such run or step.
        """
        told: Mapping[str, Any] = self._connection.get(f"{_ROOT}/{run_id}/logs", step=step)
        return told

    def follow_logs(self, run_id: int, *, step: str | None = None) -> Iterator[str]:
        """The lines that the steps of a run, or one of them, write, as they are written, until the run has ended.

        Raises:
            RunNotFound, StepNotFound: there is no such run or step.
        """
        with self._connection.lines(f"{_ROOT}/{run_id}/logs", {"step": step, "follow": True}) as lines:
            yield from lines

    def stop(self, run_id: int) -> None:
        """Ask for a run to be stopped.

        Raises:
            RunNotFound: there is no such run.
            RunEnded: it has ended already.
        """
        self._connection.send("POST", f"{_ROOT}/{run_id}/stop")

    def delete(self, *, workflow_id: int | None = None, name: str | None = None) -> Any:
        """Delete the runs of an entry, or those called ``name``; what was deleted.

        Raises:
            AmbiguousSelection: both were given, or neither.
            Forbidden: that needs the role ``reprov_admin``.
        """
        parameters = {"registry_id": workflow_id, "reana_name": name}
        return self._connection.send("DELETE", f"{_ROOT}/delete", parameters)

    def inputs(self, run_id: int, target: BinaryIO, progress: Progress | None = None) -> Downloaded:
        """Write the inputs of a run into ``target``, as a zip archive.

        Raises:
            RunNotFound: there is no such run.
        """
        return self._connection.download(f"{_ROOT}/inputs/{run_id}", target, progress=progress)

    def outputs(self, run_id: int, target: BinaryIO, progress: Progress | None = None) -> Downloaded:
        """Write the outputs of a run into ``target``, as a zip archive.

        Raises:
            RunNotFound: there is no such run.
            RunNotEnded: it still goes on.
        """
        return self._connection.download(f"{_ROOT}/outputs/{run_id}", target, progress=progress)

    def file(self, file_id: int, target: BinaryIO, progress: Progress | None = None) -> Downloaded:
        """Write one file of this service into ``target``.

        Raises:
            FileNotFound: there is no such file (the class in ``stemma.errors``).
        """
        return self._connection.download(f"{_ROOT}/files/{file_id}", target, progress=progress)
