"""The engine for servers of the GA4GH Workflow Execution Service. See ``docs/engines/wes.md``."""

import copy
import io
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self
from urllib.parse import unquote, urlsplit
from uuid import UUID

from pydantic import SecretStr

from stemma.engines.cwltool import journal_reader
from stemma.engines.output_object import files_in
from stemma.engines.protocol import EngineDescription, EngineIdentity, Job, JobState, OutputFile, Owner, Report
from stemma.engines.wes import submission, suitability
from stemma.engines.wes.answers import ServiceInfo
from stemma.engines.wes.fetching import Bytes
from stemma.engines.wes.folder import OutputPort, Trail, WesFolder
from stemma.engines.wes.following import Follower, environment_of
from stemma.engines.wes.logs import text_of
from stemma.engines.wes.outputs import handed_through, read_elsewhere
from stemma.engines.wes.request import asking
from stemma.engines.wes.server import NAME, Authentication, NotThere, WesServer, new_client
from stemma.errors import EngineRefused, EngineUnreachable, Finding
from stemma.file_fields import OCCURRENCE
from stemma.records import FileKind, Json, RevisionRecord

if TYPE_CHECKING:
    from stemma.engines.entry_points import EngineContext

logger = logging.getLogger(__name__)

_REPORT_BYTES: Final = 4 * 1024 * 1024
_INFO_SECONDS: Final = 300.0
_INFO_TIMEOUT_SECONDS: Final = 5.0
_OUTPUT_BYTES: Final = 2**40


@dataclass(slots=True)
class _Shared:
    """What an engine has in common with itself on behalf of others."""

    info: ServiceInfo | None = None
    info_until: float = 0.0
    next_look: dict[str, float] = field(default_factory=dict)
    next_tasks: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class WesEngine:
    """Runs jobs on a WES server. Implements :class:`stemma.engines.protocol.Engine`.

    A reference is the attempt's folder below ``runs_folder``: ``<run uuid>/<attempt>``. What the server calls the run
    is in it, and in every report.
    """

    name = NAME
    is_remote = True

    def __init__(
        self,
        url: str,
        runs_folder: Path,
        store_path: Callable[[str], Path],
        *,
        credential: Callable[[Owner | None], SecretStr | None] = lambda _owner: None,
        authentication: Authentication = "bearer",
        ca_file: Path | None = None,
        timeout_seconds: float = 60.0,
        files_root: Path | None = None,
        inputs_by_path: bool = False,
        workflow_engine: str | None = None,
        engine_parameters: dict[str, str | None] | None = None,
        output_bytes: int = _OUTPUT_BYTES,
        poll_seconds: float = 1.0,
        tasks_seconds: float = 10.0,
        settle_seconds: float | None = None,
        url_kinds: frozenset[str] = frozenset(),
        url_seconds: int = 24 * 3600,
        pack: suitability.Pack | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._runs_folder = runs_folder
        self._store_path = store_path
        self._credential = credential
        self._authentication = authentication
        self._client = new_client(ca_file, timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._files_root = files_root
        self._inputs_by_path = inputs_by_path
        self._workflow_engine = workflow_engine
        self._engine_parameters = engine_parameters or {}
        self._output_bytes = output_bytes
        self._poll_seconds = poll_seconds
        self._tasks_seconds = tasks_seconds
        self._settle_seconds = timeout_seconds if settle_seconds is None else settle_seconds
        self.url_kinds = url_kinds
        self.url_seconds = url_seconds
        self._pack = pack
        self._owner: Owner | None = None
        self._shared = _Shared()

    def acting_for(self, owner: Owner) -> Self:
        """Itself, with the credential of ``owner``."""
        other = copy.copy(self)
        other._owner = owner  # noqa: SLF001 - it is one of us
        return other

    def has_begun(self, job: Job) -> bool:
        """Whether the server may have heard of ``job``."""
        trail = self._folder(f"{job.run_uuid}/{job.attempt}").trail()
        return trail is not None and trail.asked > 0

    def describe(self) -> EngineDescription:
        """What is known of the server so far: its version, once it was asked for anything."""
        info = self._shared.info
        capabilities: dict[str, Json] = {
            "server": urlsplit(self._url).netloc,
            "cwl_versions": info.cwl_versions if info is not None else None,
            "steps": "as far as the server tells them",
            "shared_folder": self._files_root is not None,
            "reads_by_url": sorted(self.url_kinds),
        }
        version = "not asked yet" if info is None else suitability.version(info)
        return EngineDescription(self.name, version, capabilities)

    def probe(self) -> str:
        """Ask the server: its version."""
        return suitability.version(self._server.service_info())

    def check(self, revision: RevisionRecord, containers: str) -> list[Finding]:
        """Why the server could not run ``revision``, as far as it says; nothing is found when it does not answer."""
        return suitability.findings(revision, containers, self._info())

    def submit(self, job: Job) -> str:
        """Have the server start ``job``; nothing happens when it did before.

        Raises:
            EngineRefused: it will not, or cannot tell whether it did.
            EngineUnreachable: it does not answer.
        """
        reference = f"{job.run_uuid}/{job.attempt}"
        folder = self._folder(reference)
        known = folder.trail()
        if known is not None and known.run_id is not None:
            return reference
        for part in (folder.out, folder.logs):
            part.mkdir(parents=True, exist_ok=True)
        with folder.locked():
            trail = folder.trail() or self._trail(job)
            self._check_server(trail)
            if trail.run_id is None:
                request = partial(
                    asking,
                    job,
                    self._store_path,
                    engine=trail.engine,
                    engine_parameters=self._engine_parameters,
                    by_path=self._inputs_by_path,
                )
                Follower(folder, trail, self._server).begin()
                submission.start(folder, trail, self._server, request, settle_seconds=self._settle_seconds)
        return reference

    def sent_ports(self, revision: RevisionRecord) -> set[str]:
        """The inputs whose files are sent in any case.

        Raises:
            ValidatorUnavailable: the document cannot be looked at now.
        """
        return suitability.sent_ports(revision, self._store_path, self._pack)

    def report(self, reference: str, cursor: str) -> Report:
        """What is new since ``cursor``. The server is asked once in ``poll_seconds``."""
        folder = self._folder(reference)
        if journal_reader.ending(folder.journal) is None:
            self._look(reference, folder)
        trail = folder.trail()
        try:
            chapter = journal_reader.read(folder.journal, int(cursor or 0), _REPORT_BYTES)
        except (FileNotFoundError, ValueError) as error:
            return Report(JobState.LOST, cursor, reason=f"the folder of the run is gone or damaged: {error}")
        if trail is None:
            return Report(JobState.LOST, cursor, reason="the folder of the run is gone or damaged")
        beginning, ending = chapter.beginning, chapter.ending
        state, reason = trail.state, None
        if ending is not None:
            state, reason = ending.state, ending.reason
        elif trail.lost is not None and not chapter.has_more:
            state, reason = JobState.LOST, trail.lost
        return Report(
            state=state,
            cursor=str(chapter.cursor),
            facts=chapter.facts,
            started_at=trail.started_at,
            ended_at=ending.at if ending is not None else None,
            environment=environment_of(beginning, trail),
            outputs=ending.outputs if ending is not None else None,
            reason=reason,
            identity=EngineIdentity(trail.run_id, trail.name) if trail.run_id is not None else None,
        )

    def outputs(self, reference: str) -> Iterator[OutputFile]:
        """The files of the output object, which are here since the end was reported."""
        ending = journal_reader.ending(self._folder(reference).journal)
        if ending is not None:
            for value in files_in(ending.outputs):
                if OCCURRENCE in value:
                    path = Path(unquote(urlsplit(value["location"]).path))
                    yield OutputFile(UUID(value[OCCURRENCE]), FileKind.FILE, path)

    def log(self, reference: str, step: UUID | None, stream: str) -> BinaryIO | None:
        """The log that was kept; until the end, what the server gives of the run's own."""
        folder = self._folder(reference)
        path = folder.run_log(stream) if step is None else folder.step_log(step, stream)
        try:
            return path.open("rb")
        except FileNotFoundError:
            pass
        trail = folder.trail()
        if step is not None or trail is None or trail.run_id is None or journal_reader.ending(folder.journal):
            return None
        log = self._server.run_log(trail.run_id).run_log
        found = text_of(self._server, trail.run_id, log.stdout if stream == "stdout" else log.stderr)
        return None if found is None else io.BytesIO(self._server.clean(found.decode("utf-8", "replace")).encode())

    def stop(self, reference: str) -> None:
        """Ask the server to end the job. Its end is in a later report: the server takes its time."""
        folder = self._folder(reference)
        if folder.trail() is None or journal_reader.ending(folder.journal) is not None:
            return
        with folder.locked():
            trail = folder.trail()
            if trail is None or journal_reader.ending(folder.journal) is not None:
                return
            self._check_server(trail)
            if trail.run_id is None and trail.asked:
                found = submission.find(trail, self._server)
                trail.run_id = found[0] if found else None
            follower = Follower(folder, trail, self._server)
            if trail.run_id is None:
                follower.end(JobState.STOPPED, "it was stopped")
            else:
                follower.cancel()
        self._shared.next_look.pop(reference, None)

    def release(self, reference: str) -> None:
        """Remove the outputs that were brought here; journal and logs stay."""
        self._folder(reference).release()

    def delete(self, reference: str) -> None:
        """Remove the folders here, and the runs there where the server lets us: the standard has no way to.

        Raises:
            EngineUnreachable: it has not ended yet, or the server does not answer.
        """
        run, _, attempt = reference.partition("/")
        for number in range(1, int(attempt) + 1):
            folder = self._folder(f"{run}/{number}")
            trail = folder.trail()
            if trail is not None and trail.run_id is not None:
                if trail.lost is None and journal_reader.ending(folder.journal) is None:
                    self.stop(f"{run}/{number}")
                    self._look(f"{run}/{number}", folder)
                    if journal_reader.ending(folder.journal) is None:
                        raise EngineUnreachable(self.name, "the run has not ended there yet")
                self._delete_there(trail.run_uuid, trail.run_id)
            folder.delete()
            self._shared.next_look.pop(f"{run}/{number}", None)
            self._shared.next_tasks.pop(f"{run}/{number}", None)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def _server(self) -> WesServer:
        return WesServer(
            self._url,
            lambda: self._credential(self._owner),
            authentication=self._authentication,
            client=self._client,
            timeout_seconds=self._timeout_seconds,
        )

    def _folder(self, reference: str) -> WesFolder:
        run, _, attempt = reference.partition("/")
        return WesFolder(self._runs_folder / str(uuid.UUID(run)) / str(int(attempt)))

    def _trail(self, job: Job) -> Trail:
        structure = job.revision.structure
        return Trail(
            run_uuid=job.run_uuid,
            attempt=job.attempt,
            name=job.name,
            server=self._url,
            given=handed_through(structure, job.inputs),
            outputs=[OutputPort(id=port.id, type=port.type, sources=port.sources) for port in structure.outputs],
            steps={step.path: step.kind.value for step in suitability.all_steps(structure.steps)},
            time_limit_seconds=job.time_limit_seconds,
            engine=self._engine(),
            handed=read_elsewhere(job.inputs),
        )

    def _engine(self) -> str | None:
        """Which workflow engine the server is to use; None leaves it to the server."""
        if self._workflow_engine is not None:
            return self._workflow_engine or None
        return suitability.preferred_engine(self._info())

    def _info(self) -> ServiceInfo | None:
        """What the server says of itself, as of some minutes ago at most; None when it does not answer."""
        shared = self._shared
        with shared.lock:
            if time.monotonic() >= shared.info_until:
                shared.info_until = time.monotonic() + _INFO_SECONDS
                try:
                    shared.info = self._server.service_info(min(_INFO_TIMEOUT_SECONDS, self._timeout_seconds))
                except (EngineUnreachable, EngineRefused) as error:
                    logger.info("the WES server does not tell what it runs: %s", error.reason)
                    shared.info_until = time.monotonic() + _INFO_TIMEOUT_SECONDS
            return shared.info

    def _check_server(self, trail: Trail) -> None:
        if trail.server != self._url:
            raise EngineRefused(
                self.name, f"the run was given to {trail.server}, and STEMMA_WES_URL names another server now"
            )

    def _look(self, reference: str, folder: WesFolder) -> None:
        """Ask the server, if it is time to and nobody else does."""
        now = time.monotonic()
        if now < self._shared.next_look.get(reference, 0.0):
            return
        lock = folder.take_lock()
        if lock is None:
            return
        try:
            trail = folder.trail()
            if trail is None or trail.lost is not None or journal_reader.ending(folder.journal) is not None:
                return
            self._check_server(trail)
            with_tasks = now >= self._shared.next_tasks.get(reference, 0.0)
            source = Bytes(
                self._server,
                trail.run_id or "",
                folder.out,
                files_root=self._files_root,
                limit_bytes=self._output_bytes,
            )
            Follower(folder, trail, self._server).look(source, with_tasks=with_tasks)
            if with_tasks and trail.began:
                self._shared.next_tasks[reference] = time.monotonic() + self._tasks_seconds
        finally:
            lock.release()
            self._shared.next_look[reference] = time.monotonic() + self._poll_seconds

    def _delete_there(self, run_uuid: UUID, run_id: str) -> None:
        try:
            self._server.delete(run_id)
        except NotThere:
            return
        except EngineRefused as error:
            logger.warning("run %s stays on the WES server as %s: %s", run_uuid, run_id, error.reason)


def make(context: "EngineContext") -> WesEngine | None:
    """The engine that the settings describe; None when they name no server."""
    settings = context.settings
    if settings.wes_url is None:
        return None
    return WesEngine(
        settings.wes_url,
        context.runs_folder,
        context.store_path,
        credential=context.credential,
        authentication=settings.wes_authentication,
        ca_file=settings.wes_ca_file,
        files_root=settings.wes_files_root,
        timeout_seconds=settings.wes_timeout_seconds,
        workflow_engine=settings.wes_workflow_engine,
        engine_parameters=dict(settings.wes_engine_parameters or {}),
        url_kinds=settings.wes_url_kinds,
        url_seconds=settings.wes_url_seconds,
        pack=context.validator.pack,
    )
