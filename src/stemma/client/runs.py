"""Runs, seen from a client."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO, Final, TypeAlias

from stemma.client.arrivals import Replication
from stemma.client.connection import Connection, shaped
from stemma.client.downloads import Downloaded
from stemma.client.events import follow
from stemma.client.models import Event, Run
from stemma.client.multipart import Attachment, Progress
from stemma.client.pages import pages

_ROOT: Final = "/workflow_execution"
_EVENTS: Final = "/workflow_events"

RunName: TypeAlias = tuple[str, int]
"""``name:version`` and which of the runs of that name, as ``run.name`` and ``run.number`` have them."""


def named(path: str, run: int | RunName) -> tuple[str, dict[str, Any]]:
    """Where ``path`` is of a run, by its id or by its name and number; and the parameters."""
    if isinstance(run, int):
        return f"{path}/{run}", {}
    return path, {"reana_name": run[0], "reana_run_number": run[1]}


class Runs:
    """Runs of the groups that the caller is in."""

    def __init__(self, connection: Connection, patience_seconds: float) -> None:
        self._connection = connection
        self._patience_seconds = patience_seconds

    def submit(
        self,
        workflow_id: int,
        *,
        inputs: Mapping[str, Any] | Attachment | None = None,
        files: Sequence[Attachment] = (),
        engine: str | None = None,
        revision: int | None = None,
        nowait: bool = True,
        progress: Progress | None = None,
    ) -> Run:
        """Queue a run. ``files`` are sent along, each under the name that ``inputs`` call it by (``location``).

        ``inputs`` are the input object, or a file that has it as YAML or JSON; without them, those registered with the
        workflow are taken. With ``nowait=False``, the service waits some seconds for the engine's first word, so that
        an engine that refuses is told of here.

        Raises:
            WorkflowNotFound: there is no such entry.
            InvalidInputs: they do not fit, with findings.
            EngineUnsuitable: the engine cannot run it.
            EngineUnreachable: the engine does not answer (with ``nowait=False``); the run is on record as failed.
        """
        fields = {"engine": engine, "revision": revision, "nowait": nowait}
        sent = [("files", file) for file in files]
        if isinstance(inputs, Attachment):
            sent.insert(0, ("input_file", inputs))
        elif inputs is not None:  # as a file, since text fields of forms are limited to a megabyte in many servers
            written = json.dumps(inputs, ensure_ascii=False).encode()
            sent.insert(0, ("input_file", Attachment("inputs.json", written)))
        path = f"{_ROOT}/execute/{workflow_id}"
        return shaped(Run.of, self._connection.send("POST", path, fields=fields, files=sent, progress=progress))

    def get(self, run_id: int) -> Run:
        """One run with its steps and outputs.

        Raises:
            RunNotFound: there is no such run.
        """
        return shaped(Run.of, self._connection.get(f"{_ROOT}/{run_id}"))

    def replication(self, run_id: int) -> Replication:
        """What a run needs from elsewhere and waits for; nothing but zeros where it needs nothing.

        Raises:
            RunNotFound: there is no such run.
        """
        return shaped(Replication.of, self._connection.get(f"{_ROOT}/{run_id}/replication"))

    def list(
        self, *, status: str | None = None, workflow_id: int | None = None, limit: int | None = None
    ) -> Iterator[Run]:
        """The runs, newest first, page by page as they are taken."""
        found = pages(self._connection, _ROOT, limit, status=status, registry_id=workflow_id)
        return (shaped(Run.of, told) for told in found)

    def watch(self, run_id: int, *, after: str = "") -> Iterator[Event]:
        """Every change of state of a run and its steps, from the first (or the one after ``after``) to the end.

        A connection that breaks is made anew and goes on behind the last event.

        Raises:
            RunNotFound: there is no such run.
            Unavailable: the service does not answer any more.
        """
        path = f"{_ROOT}/{run_id}/events"
        for sent in follow(self._connection, path, patience_seconds=self._patience_seconds, last_id=after):
            if sent.kind != "end" and isinstance(told := sent.told, dict):
                yield shaped(partial(Event.of, sent.id), told)

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
            ServiceUnreachable: the connection broke. What was written has no numbers, so it begins at the start again.
        """
        with self._connection.lines(f"{_ROOT}/{run_id}/logs", {"step": step, "follow": True}) as lines:
            yield from lines

    def timeline(self, run_id: int, target: BinaryIO, *, picture_format: str = "svg") -> Downloaded:
        """Write the transfers and steps of a run on one time axis into ``target``, as ``svg`` or ``png``.

        Raises:
            RunNotFound: there is no such run.
            DrawingFailed: it could not be drawn.
        """
        return self._connection.download(f"{_ROOT}/{run_id}/timeline", target, {"format": picture_format})

    def stop(self, run_id: int) -> None:
        """Ask for a run to be stopped.

        Raises:
            RunNotFound: there is no such run.
            RunEnded: it has ended already.
        """
        self._connection.send("POST", f"{_ROOT}/{run_id}/stop")

    def tell(self, events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Tell how far steps are that another engine executes, at most 500 events at a time; what became of each.

        An event has ``execution_id`` or ``registry_id``, ``step``, ``state``, and what else the service takes. The
        answer counts what was ``taken``, ``known`` before and ``refused``, and has each as one of its ``events``.

        Raises:
            NotFound: all are about what is not there.
            InvalidRequest: none can be taken, with findings.
        """
        told: Mapping[str, Any] = self._connection.send("POST", _EVENTS, document={"events": list(events)})
        return told

    def delete(self, *, workflow_id: int | None = None, name: str | None = None) -> Mapping[str, Any]:
        """Delete the runs of an entry, or those called ``name``; what was deleted, its ids as ``deleted``.

        Raises:
            AmbiguousSelection: both were given, or neither.
            RunNotFound: there are none.
            Forbidden: that needs the role ``reprov_admin``.
        """
        parameters = {"registry_id": workflow_id, "reana_name": name}
        told: Mapping[str, Any] = self._connection.send("DELETE", f"{_ROOT}/delete", parameters)
        return told

    def inputs(self, run: int | RunName, target: BinaryIO, progress: Progress | None = None) -> Downloaded:
        """Write the inputs of a run into ``target``, as a zip archive.

        Raises:
            RunNotFound: there is no such run.
        """
        path, parameters = named(f"{_ROOT}/inputs", run)
        return self._connection.download(path, target, parameters, progress)

    def outputs(self, run: int | RunName, target: BinaryIO, progress: Progress | None = None) -> Downloaded:
        """Write the outputs of a run into ``target``, as a zip archive.

        Raises:
            RunNotFound: there is no such run.
            RunNotEnded: it still goes on.
        """
        path, parameters = named(f"{_ROOT}/outputs", run)
        return self._connection.download(path, target, parameters, progress)

    def file(
        self, file_id: int, target: BinaryIO, progress: Progress | None = None, *, sha256: str | None = None
    ) -> Downloaded:
        """Write one file of this service into ``target``; it goes on where a connection broke.

        Raises:
            FileNotFound: there is no such file (the class in ``stemma.errors``).
            ContentDamaged: what came has another digest than ``sha256``, or than the service says.
        """
        return self._connection.download(f"{_ROOT}/files/{file_id}", target, progress=progress, sha256=sha256)
