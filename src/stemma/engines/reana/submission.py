"""Brings an attempt to REANA: created, given its inputs, started. Each is done once, however often it is asked for."""

import contextlib
import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from stemma import clock
from stemma.engines.protocol import EngineIdentity, Job
from stemma.engines.reana.answers import RunState
from stemma.engines.reana.crumbs import Crumbs, document_name
from stemma.engines.reana.faults import AlreadyStarted, ReanaTrouble
from stemma.engines.reana.inputs import Upload, job_order, late_uploads
from stemma.engines.reana.prepare import Prepared
from stemma.engines.reana.session import ReanaSession
from stemma.engines.reana.uploaded import Uploaded
from stemma.errors import EngineUnreachable
from stemma.records import Json

SPECIFICATION_VERSION: Final = "0.9.4"
_CREATE_TRIES: Final = 4
_PAUSE_SECONDS: Final = 0.3
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
"""No room to write down how far it is: it goes on when there is some again."""


class Submission:
    """One attempt on its way."""

    def __init__(
        self,
        session: ReanaSession,
        job: Job,
        crumbs: Crumbs,
        store_path: Callable[[str], Path],
        *,
        late_seconds: float,
    ) -> None:
        self._session, self._job, self.crumbs = session, job, crumbs
        self._store_path, self._late_seconds = store_path, late_seconds
        self._document_name = document_name(job.run_uuid, job.attempt)

    def complete(self, prepared: Prepared) -> Crumbs:
        """Do what is left to do; returns what is to be remembered.

        Raises:
            EngineUnreachable: it goes on from here when it is called again.
            EngineRefused: REANA does not take it; nothing of it is left there.
        """
        order = job_order(self._job.inputs)
        uploads = [*order.uploads, *late_uploads(order.late, self._late_seconds), *self._of_the_document(prepared)]
        try:
            if self.crumbs.workflow_id is None:
                self._create(self._specification(prepared, order.parameters, uploads))
            self._bring(uploads)
            if order.late:
                self.crumbs = self.crumbs.noting(has_late=True)
            self._start()
        except EngineUnreachable:
            raise
        except Exception as error:  # whatever it was, nobody comes back to what lies there half
            if not (isinstance(error, OSError) and error.errno in _FULL):
                self._take_back()
            raise
        return self.crumbs

    def _specification(self, prepared: Prepared, parameters: dict[str, Json], uploads: list[Upload]) -> dict[str, Any]:
        return {
            "version": SPECIFICATION_VERSION,
            "workflow": {"type": "cwl", "specification": prepared.document, "file": self._document_name},
            "inputs": {"parameters": parameters, "files": [upload.place for upload in uploads]},
        }

    def _of_the_document(self, prepared: Prepared) -> list[Upload]:
        """The files that its preparation and the document itself bring."""
        uploads = [Upload(ours.content, ours.target, len(ours.content)) for ours in prepared.uploads]
        for named in prepared.bundle_files:
            for file in self._job.revision.files:
                inner = file.path.removeprefix(f"{named.path}/") if named.is_directory else ""
                if file.path == named.path or (named.is_directory and inner != file.path):
                    place = f"{named.target}/{inner}" if named.is_directory else named.target
                    uploads.append(Upload(self._store_path(file.content.sha256), place, file.content.size_bytes))
        return uploads

    def _create(self, specification: dict[str, Any]) -> None:
        identity = self._created_before()
        if identity is None:
            self.crumbs = self.crumbs.noting(creating_since=self.crumbs.creating_since or clock.now())
            identity = self._created(specification)
        self.crumbs = self.crumbs.noting(workflow_id=identity.id, name=identity.name, number=identity.number)

    def _created(self, specification: dict[str, Any]) -> EngineIdentity:
        """Create it. REANA answers 500 where another of the same name is being created, and makes nothing then."""
        for tries_left in reversed(range(_CREATE_TRIES)):
            try:
                return self._session.create(self._job.name, specification)
            except ReanaTrouble:
                if tries_left == 0:
                    raise
                time.sleep(_PAUSE_SECONDS)
                found = self._created_before()
                if found is not None:
                    return found
        raise AssertionError("unreachable")

    def _created_before(self) -> EngineIdentity | None:
        """The run that somebody created for this attempt who was killed before writing it down.

        Only ever one that was not started: its id is written down before.
        """
        for status in self._session.listed(name=self._job.name, states=[RunState.CREATED]):
            if self._session.specification(status.id).get("workflow", {}).get("file") == self._document_name:
                return status.identity
        return None

    def _bring(self, uploads: list[Upload]) -> None:
        """Upload what is not there yet."""
        there = Uploaded(self.crumbs.path.parent, self._id)
        for upload in uploads:
            if upload.place not in there:
                self._session.upload(self._id, upload.place, upload.source, upload.size_bytes)
                there.add(upload.place)

    def _start(self) -> None:
        with contextlib.suppress(AlreadyStarted):  # by us, who were killed before writing it down
            self._session.start(self._id)
        self.crumbs = self.crumbs.noting(started_at=clock.now())

    def _take_back(self) -> None:
        """Leave nothing there of what was refused."""
        if self.crumbs.workflow_id is not None:
            self._session.delete(self.crumbs.workflow_id)
            self.crumbs = self.crumbs.noting(workflow_id=None, creating_since=None)

    @property
    def _id(self) -> str:
        assert self.crumbs.workflow_id is not None  # noqa: S101 - for the type checker: it was created
        return self.crumbs.workflow_id
