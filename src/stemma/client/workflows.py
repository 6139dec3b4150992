"""The registry, seen from a client."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from stemma.client.connection import Connection, shaped
from stemma.client.downloads import Downloaded
from stemma.client.models import Registered, Revision, Workflow
from stemma.client.multipart import Attachment, Progress
from stemma.client.pages import pages
from stemma.errors import WorkflowNotFound

_ROOT = "/workflow_registry"


class Workflows:
    """Registry entries of the groups that the caller is in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def register(
        self,
        *,
        name: str,
        version: str,
        spec: Attachment,
        inputs: Attachment | None = None,
        group: str | None = None,
        main: str | None = None,
        progress: Progress | None = None,
    ) -> Registered:
        """Register a workflow.

        Raises:
            DuplicateWorkflow: the group has this name and version.
            InvalidDocument, InvalidInputs: it will not do, with findings.
        """
        fields = {"name": name, "version": version, "group": group, "main": main}
        files = _files(spec, inputs)
        told = self._connection.send("POST", f"{_ROOT}/register", fields=fields, files=files, progress=progress)
        return shaped(Registered.of, told)

    def validate(
        self,
        *,
        spec: Attachment,
        inputs: Attachment | None = None,
        main: str | None = None,
        engine: str | None = None,
    ) -> Any:
        """Check a document as :meth:`register` does, and store nothing; what is told of it.

        Raises:
            InvalidDocument, InvalidInputs: it will not do, with findings.
            EngineUnsuitable: ``engine`` cannot run it, with findings.
        """
        fields = {"name": "validation", "version": "1", "main": main, "engine": engine}
        return self._connection.send("POST", f"{_ROOT}/validate", fields=fields, files=_files(spec, inputs))

    def update(
        self,
        workflow_id: int,
        *,
        name: str | None = None,
        version: str | None = None,
        spec: Attachment | None = None,
        inputs: Attachment | None = None,
        main: str | None = None,
        progress: Progress | None = None,
    ) -> Registered:
        """Change what is given. Equal content adds no revision.

        Raises:
            WorkflowNotFound: there is no such entry.
            DuplicateWorkflow, InvalidDocument, InvalidInputs: see :meth:`register`.
        """
        fields = {"name": name, "version": version, "main": main}
        path, files = f"{_ROOT}/update/{workflow_id}", _files(spec, inputs)
        told = self._connection.send("PUT", path, fields=fields, files=files, progress=progress)
        return shaped(Registered.of, told)

    def get(self, workflow_id: int) -> Workflow:
        """One entry.

        Raises:
            WorkflowNotFound: there is no such entry.
        """
        return shaped(Workflow.of, self._connection.get(f"{_ROOT}/{workflow_id}"))

    def list(self, *, name: str | None = None, limit: int | None = None) -> Iterator[Workflow]:
        """The entries, newest first, page by page as they are taken."""
        return (shaped(Workflow.of, told) for told in pages(self._connection, _ROOT, limit, name=name))

    def find(self, name: str, version: str, group: str | None = None) -> Workflow:
        """The entry of this name and version.

        Raises:
            WorkflowNotFound: there is none.
        """
        for workflow in self.list(name=name):
            if (workflow.name, workflow.version) == (name, version) and group in {None, workflow.group}:
                return workflow
        raise WorkflowNotFound(f"{name}:{version}")

    def revisions(self, workflow_id: int) -> tuple[Revision, ...]:
        """The history of an entry.

        Raises:
            WorkflowNotFound: there is no such entry.
        """
        told = self._connection.get(f"{_ROOT}/{workflow_id}/revisions")
        return shaped(lambda revisions: tuple(map(Revision.of, revisions)), told)

    def structure(self, workflow_id: int, *, revision: int | None = None) -> Mapping[str, Any]:
        """What a revision asks for, its steps, and what it gives.

        Raises:
            WorkflowNotFound, RevisionNotFound: there is no such entry.
        """
        return self._connection.get(f"{_ROOT}/{workflow_id}/structure", revision=revision)  # type: ignore[no-any-return] # JSON

    def spec(self, workflow_id: int, target: BinaryIO, *, revision: int | None = None) -> Downloaded:
        """Write the CWL as it was registered into ``target``.

        Raises:
            WorkflowNotFound, RevisionNotFound: there is no such entry.
        """
        return self._connection.download(f"{_ROOT}/{workflow_id}/spec", target, {"revision": revision})

    def inputs(self, workflow_id: int, target: BinaryIO, *, revision: int | None = None) -> Downloaded:
        """Write the inputs as they were registered into ``target``.

        Raises:
            NotFound: it was registered without inputs.
            WorkflowNotFound, RevisionNotFound: there is no such entry.
        """
        return self._connection.download(f"{_ROOT}/{workflow_id}/inputs", target, {"revision": revision})

    def diagram(
        self, workflow_id: int, target: BinaryIO, *, revision: int | None = None, picture_format: str = "png"
    ) -> Downloaded:
        """Write a drawing of the workflow into ``target``, as ``png`` or ``svg``.

        Raises:
            WorkflowNotFound, RevisionNotFound: there is no such entry.
            DrawingFailed: it could not be drawn.
        """
        parameters = {"revision": revision, "format": picture_format}
        return self._connection.download(f"{_ROOT}/{workflow_id}/diagram", target, parameters)

    def delete(self, workflow_id: int) -> None:
        """Delete an entry; its runs stay.

        Raises:
            WorkflowNotFound: there is no such entry.
            Forbidden: that needs the role ``reprov_admin``.
        """
        self._connection.send("DELETE", f"{_ROOT}/delete/{workflow_id}")


def _files(spec: Attachment | None, inputs: Attachment | None) -> list[tuple[str, Attachment]]:
    named = (("spec_file", spec), ("input_file", inputs))
    return [(field, attachment) for field, attachment in named if attachment is not None]
