"""Runs jobs on a REANA server. How is told in ``docs/engines/reana.md``.

A document is prepared so that REANA's engine comes to the right results (:mod:`.prepare`), brought there
(:mod:`.submission`) and followed (:mod:`.following`); its record is written by a replay (:mod:`stemma.engines.replay`).
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import SecretStr

from stemma.cwl.bundle import Bundle
from stemma.cwl.helper import Validator
from stemma.engines.cwltool.folder import AttemptFolder
from stemma.engines.entry_points import EngineContext
from stemma.engines.protocol import EngineDescription, Job, OutputFile, Owner, Report
from stemma.engines.reana.deliveries import Deliveries
from stemma.engines.reana.findings import findings, input_findings
from stemma.engines.reana.following import Follower
from stemma.engines.reana.late import LateNotes
from stemma.engines.reana.must_have import must_have
from stemma.engines.reana.owner import OwnersReana
from stemma.engines.reana.prepare import Prepared, prepare
from stemma.engines.reana.server import ReanaServer
from stemma.engines.reana.session import ReanaSession
from stemma.engines.replay.caller import Replayer
from stemma.errors import EngineRefused, Finding
from stemma.records import Content, Json, RevisionRecord
from stemma.settings import Settings

_PACKED: Final = 32
"""So many packed documents are remembered."""


def make(context: EngineContext) -> "ReanaEngine | None":
    """The engine of an installation; None where no server is named."""
    settings = context.settings
    if settings.reana_server_url is None:
        return None
    server = ReanaServer(
        settings.reana_server_url,
        ca_file=settings.reana_ca_file,
        timeout_seconds=settings.reana_timeout_seconds,
        requests_per_second=settings.reana_requests_per_second,
    )
    return ReanaEngine(
        server,
        settings,
        runs_folder=context.runs_folder,
        store_path=context.store_path,
        validator=context.validator,
        credential=context.credential,
    )


class ReanaEngine:
    """One server. Implements ``Engine`` and ``TakesLateFiles`` of the protocol.

    A reference is ``<run uuid>/<attempt>``.
    """

    name = "reana"
    is_remote = True
    takes_late = True

    def __init__(
        self,
        server: ReanaServer,
        settings: Settings,
        *,
        runs_folder: Path,
        store_path: Callable[[str], Path],
        validator: Validator,
        credential: Callable[[Owner | None], SecretStr | None],
        replayer: Replayer | None = None,
    ) -> None:
        self.server, self.settings = server, settings
        self.runs_folder, self.store_path = runs_folder, store_path
        self.replayer = replayer or Replayer(self.name)
        self.followers: dict[str, Follower] = {}
        """What is known of the runs that are followed, by reference. It only saves work: it can be lost at any time."""
        self.deliveries = Deliveries(store_path)
        self._late: dict[str, LateNotes] = {}
        self._validator, self._credential = validator, credential
        self._packed: dict[str, dict[str, Json]] = {}
        self.version: str | None = None
        """The server's, as soon as it was asked."""

    def start(self) -> None:
        """Load what replays need; returns before it is done."""
        self.replayer.start()

    def close(self) -> None:
        """Hang up. Runs go on."""
        self.deliveries.close()
        self.replayer.close()
        self.server.close()

    def acting_for(self, owner: Owner) -> "OwnersReana":
        """The engine with the rights of ``owner``."""
        return OwnersReana(self, owner)

    def session(self, owner: Owner | None) -> ReanaSession:
        """What ``owner`` may do there.

        Raises:
            EngineRefused: nobody gave a token for that.
        """
        token = self._credential(owner)
        if token is None:
            raise EngineRefused(
                self.name,
                "there is no token for it; give yours with `stemma engine login reana`, or let the operator set "
                "REANA_ACCESS_TOKEN",
            )
        return self.server.session(token)

    def describe(self) -> EngineDescription:
        """What it can do."""
        capabilities = {
            "cwl_versions": ["v1.0", "v1.1", "v1.2"],
            "container_engines": ["kubernetes"],
            "server": urlsplit(self.server.url).netloc,
        }
        return EngineDescription(self.name, self.version or "not asked yet", capabilities)

    def probe(self) -> str:
        """The server's version, or that it answers where nobody may ask for that.

        Raises:
            EngineUnreachable: it does not answer.
            EngineRefused: the service's own token is none.
        """
        if self._credential(None) is None:
            self.server.ping()
            return "it answers, and tells its version only with a token"
        self.version = self.session(None).you().version
        return self.version

    def check(self, revision: RevisionRecord, containers: str) -> list[Finding]:  # noqa: ARG002 - always in containers there
        """Why REANA would not come to the right results."""
        return findings(self.packed(revision))

    def check_inputs(self, inputs: Mapping[str, Json]) -> list[Finding]:
        """Why REANA could not take these inputs as they are."""
        return input_findings(inputs)

    def must_have(self, revision: RevisionRecord, inputs: Mapping[str, Json]) -> set[UUID]:
        """The files of ``inputs``, by their occurrences, that may not be late: REANA's engine itself reads them."""
        return must_have(self.packed(revision), inputs)

    def prepared(self, revision: RevisionRecord) -> Prepared:
        """The document as REANA gets it.

        Raises:
            EngineRefused: it would not come to the right results.
        """
        prepared = prepare(
            self.packed(revision),
            default_image=self.settings.reana_default_image,
            resource_hints=self.settings.reana_hints or {},
        )
        if prepared.findings:
            raise EngineRefused(self.name, "; ".join(finding.message for finding in prepared.findings))
        return prepared

    def folder(self, reference: str) -> AttemptFolder:
        """Where what is known of an attempt lies."""
        run, _, attempt = reference.partition("/")
        return AttemptFolder(self.runs_folder / str(UUID(run)) / str(int(attempt)))

    def late_notes(self, reference: str) -> LateNotes:
        """What is known of the late files of an attempt: one object for all threads."""
        return self._late.setdefault(reference, LateNotes(self.folder(reference).arrivals))

    def forget(self, reference: str) -> None:
        """Do nothing more for an attempt that has ended."""
        self.followers.pop(reference, None)
        self.deliveries.cancel(reference)
        self._late.pop(reference, None)

    def packed(self, revision: RevisionRecord) -> dict[str, Json]:
        """The whole document as one object."""
        key = f"{revision.digest} {revision.main_path}"
        if key not in self._packed:
            files = {file.path: self.store_path(file.content.sha256) for file in revision.files}
            packed = self._validator.pack(Bundle(files, revision.main_path))
            while len(self._packed) >= _PACKED:
                self._packed.pop(next(iter(self._packed)))
            self._packed[key] = packed
        return self._packed[key]

    # Without an owner: as the service itself, where one token is for all.

    def submit(self, job: Job) -> str:
        """See :meth:`OwnersReana.submit`."""
        return self._own(job.owner).submit(job)

    def report(self, reference: str, cursor: str) -> Report:
        """See :meth:`OwnersReana.report`."""
        return self._own().report(reference, cursor)

    def outputs(self, reference: str) -> Iterator[OutputFile]:
        """See :meth:`OwnersReana.outputs`."""
        return self._own().outputs(reference)

    def log(self, reference: str, step: UUID | None, stream: str) -> BinaryIO | None:
        """See :meth:`OwnersReana.log`."""
        return self._own().log(reference, step, stream)

    def deliver(self, reference: str, occurrence: UUID, content: Content) -> None:
        """See :meth:`OwnersReana.deliver`."""
        self._own().deliver(reference, occurrence, content)

    def refuse(self, reference: str, occurrence: UUID, reason: str) -> None:
        """See :meth:`OwnersReana.refuse`."""
        self._own().refuse(reference, occurrence, reason)

    def recall(self, reference: str, occurrence: UUID) -> bool:
        """See :meth:`OwnersReana.recall`."""
        return self._own().recall(reference, occurrence)

    def keeps(self, reference: str, occurrence: UUID) -> bool:
        """See :meth:`OwnersReana.keeps`."""
        return self._own().keeps(reference, occurrence)

    def stop(self, reference: str) -> None:
        """See :meth:`OwnersReana.stop`."""
        self._own().stop(reference)

    def release(self, reference: str) -> None:
        """See :meth:`OwnersReana.release`."""
        self._own().release(reference)

    def delete(self, reference: str) -> None:
        """See :meth:`OwnersReana.delete`."""
        self._own().delete(reference)

    def _own(self, owner: Owner | None = None) -> "OwnersReana":
        return OwnersReana(self, owner)
