"""The engine with the rights of one owner: every call of the protocol that reaches the server."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from uuid import UUID

import orjson

from stemma import clock
from stemma.engines.cwltool import journal_reader
from stemma.engines.cwltool.folder import AttemptFolder, RunLock, RunOrder
from stemma.engines.output_object import files_in
from stemma.engines.protocol import EngineDescription, Job, JobState, OutputFile, Owner, Report
from stemma.engines.reana.accounts import check_account
from stemma.engines.reana.answers import RunState
from stemma.engines.reana.crumbs import Crumbs
from stemma.engines.reana.faults import RunGone, StateConflict
from stemma.engines.reana.following import Follower
from stemma.engines.reana.late import KEPT, LateNotes
from stemma.engines.reana.prepare import Prepared
from stemma.engines.reana.session import ReanaSession
from stemma.engines.reana.submission import Submission
from stemma.engines.replay.results import ELSEWHERE
from stemma.errors import EngineUnreachable, Finding
from stemma.file_fields import OCCURRENCE
from stemma.records import Content, FileKind, Json, RevisionRecord

if TYPE_CHECKING:
    from stemma.engines.reana.engine import ReanaEngine

_REPORT_BYTES: Final = 4 * 1024 * 1024
_PENDING_PATIENCE: Final = timedelta(seconds=30)
"""For so long a pending run is not deleted but waited for: REANA would leave what it is just starting for it alone."""
_PACKED_NAME: Final = "stemma.packed.cwl"
"""What the replay reads: the same document that REANA got its own from, with the names that packing gives."""


class OwnersReana:
    """The engine with the rights of one owner. Implements :class:`stemma.engines.protocol.Engine` too."""

    name = "reana"
    is_remote = True
    takes_late = True

    def __init__(self, engine: "ReanaEngine", owner: Owner | None) -> None:
        self._engine, self._owner = engine, owner

    def describe(self) -> EngineDescription:
        """What it can do."""
        return self._engine.describe()

    def probe(self) -> str:
        """The server's version."""
        return self._session.you().version

    def check(self, revision: RevisionRecord, containers: str) -> list[Finding]:
        """Why REANA would not come to the right results."""
        return self._engine.check(revision, containers)

    def check_inputs(self, inputs: Mapping[str, Json]) -> list[Finding]:
        """Why REANA could not take these inputs as they are."""
        return self._engine.check_inputs(inputs)

    def must_have(self, revision: RevisionRecord, inputs: Mapping[str, Json]) -> set[UUID]:
        """The files that may not be late."""
        return self._engine.must_have(revision, inputs)

    @property
    def _session(self) -> ReanaSession:
        return self._engine.session(self._owner)

    def submit(self, job: Job) -> str:
        """Create the run there, give it its inputs, start it: what of that is done already is not done again.

        Raises:
            EngineUnreachable: call it again; it goes on where it stopped.
            EngineRefused: REANA does not take it; nothing of it is left there.
        """
        reference = f"{job.run_uuid}/{job.attempt}"
        folder = self._engine.folder(reference)
        crumbs = Crumbs.of(folder.path)
        if crumbs.started_at is None:
            prepared = self._engine.prepared(job.revision)
            folder.lay_out(job.revision.files, _order(job), self._engine.store_path)
            with self._alone(folder):
                self._bring(job, folder, prepared)
        return reference

    def _bring(self, job: Job, folder: AttemptFolder, prepared: Prepared) -> None:
        crumbs = Crumbs.of(folder.path)
        if crumbs.started_at is not None:  # by another, while this one waited
            return
        _place_packed(folder, self._engine.packed(job.revision))
        session = self._session
        you = session.you()
        self._engine.version = you.version
        if crumbs.creating_since is not None:
            check_account(session, crumbs)
        else:
            crumbs = crumbs.noting(server_version=you.version, account=you.email or None)
        late_seconds = self._engine.settings.reana_late_limit_seconds
        Submission(session, job, crumbs, self._engine.store_path, late_seconds=late_seconds).complete(prepared)

    @contextlib.contextmanager
    def _alone(self, folder: AttemptFolder) -> Iterator[None]:
        """Be the only one who brings this attempt there: two would write the same files into one workspace.

        A worker that has lost its lease may still be at it.

        Raises:
            EngineUnreachable: another is at it.
        """
        lock = RunLock.take(folder.lock_file)
        if lock is None:
            raise EngineUnreachable(self.name, "another process brings the run there")
        try:
            yield
        finally:
            lock.release()

    def has_begun(self, job: Job) -> bool:
        """Whether something of ``job`` may be there."""
        return Crumbs.of(self._engine.folder(f"{job.run_uuid}/{job.attempt}").path).creating_since is not None

    def report(self, reference: str, cursor: str) -> Report:
        """What is new since ``cursor``: what the server says of the run is brought into the journal first."""
        folder = self._engine.folder(reference)
        crumbs = Crumbs.of(folder.path)
        if crumbs.started_at is None:
            reason = "what was known here of the run is gone, so nobody can say how it ends; look at it on REANA itself"
            return Report(JobState.LOST, cursor, reason=reason)
        state = JobState.RUNNING
        if journal_reader.ending(folder.journal) is None:
            self._go_on(reference, folder, crumbs)
            state = self._follower(reference, folder).follow(self._session, crumbs)
        else:
            self._engine.deliveries.cancel(reference)
        return _report(folder, cursor, state, crumbs)

    def _follower(self, reference: str, folder: AttemptFolder) -> Follower:
        follower = self._engine.followers.get(reference)
        if follower is None:
            follower = Follower(self._engine.settings, self._engine.replayer, folder)
            self._engine.followers[reference] = follower
        return follower

    def deliver(self, reference: str, occurrence: UUID, content: Content) -> None:
        """Tell that a late file is in the store; it is brought there in the background, by whoever follows the run."""
        self._tell(reference, lambda notes: notes.tell(occurrence, content))

    def refuse(self, reference: str, occurrence: UUID, reason: str) -> None:
        """Tell that a late file cannot be had; the jobs there hear of it in the background."""
        self._tell(reference, lambda notes: notes.refuse(occurrence, reason))

    def recall(self, reference: str, occurrence: UUID) -> bool:
        """Whether the store may drop a late file: not while it is being brought. Once it is there, it stays there."""
        if journal_reader.ending(self._engine.folder(reference).journal) is not None:
            return True
        try:
            return self._engine.late_notes(reference).recall(occurrence)
        except FileNotFoundError:
            return True

    def keeps(self, reference: str, occurrence: UUID) -> bool:
        """Whether a late file lies there, whole: it need not be told of again, whatever becomes of it here."""
        note = self._engine.late_notes(reference).find(occurrence)
        return note is not None and note.state in KEPT

    def _tell(self, reference: str, tell: Callable[[LateNotes], None]) -> None:
        """Note what is told of a late file; nothing is where the job has ended or is gone."""
        folder = self._engine.folder(reference)
        if journal_reader.ending(folder.journal) is None:
            with contextlib.suppress(FileNotFoundError):
                tell(self._engine.late_notes(reference))
                self._go_on(reference, folder, Crumbs.of(folder.path))

    def _go_on(self, reference: str, folder: AttemptFolder, crumbs: Crumbs) -> None:
        """Do what is left to do for late files, in the background."""
        if crumbs.has_late:
            notes = self._engine.late_notes(reference)
            self._engine.deliveries.go_on(reference, notes, folder.path, lambda: self._session)

    def outputs(self, reference: str) -> Iterator[OutputFile]:
        """The files of the output object, which are in the workspace."""
        folder = self._engine.folder(reference)
        ending = journal_reader.ending(folder.journal)
        crumbs = Crumbs.of(folder.path)
        if ending is None or crumbs.workflow_id is None:
            return
        session = self._session
        for value in files_in(ending.outputs):
            occurrence, location = UUID(value[OCCURRENCE]), str(value["location"])
            if not location.startswith(ELSEWHERE):
                yield OutputFile(occurrence, FileKind.FILE, Path(location))
                continue
            place, size = location.removeprefix(ELSEWHERE), int(value["size"])
            yield OutputFile(occurrence, FileKind.FILE, None, _download(session, crumbs, place, size))

    def log(self, reference: str, step: UUID | None, stream: str) -> BinaryIO | None:
        """The log as far as REANA has told it: that of a step when its job has ended."""
        folder = self._engine.folder(reference)
        if step is None and stream != "stderr":
            return None
        path = folder.logs / "reana.log" if step is None else folder.step_log(step, stream)
        try:
            return path.open("rb")
        except FileNotFoundError:
            return None

    def stop(self, reference: str) -> None:
        """End the run there. What has not begun yet can only be deleted there, and is.

        Raises:
            EngineUnreachable: REANA does not say that it is over; call it again.
        """
        folder = self._engine.folder(reference)
        crumbs = Crumbs.of(folder.path)
        if crumbs.workflow_id is None or journal_reader.ending(folder.journal) is not None:
            return
        session, workflow_id = self._session, crumbs.workflow_id
        try:
            status = session.status(workflow_id)
        except RunGone:
            check_account(session, crumbs)
            return
        if status.state.is_terminal:
            return
        with contextlib.suppress(StateConflict):  # it went on between our look and our word: the next look tells
            if status.state is RunState.RUNNING:
                session.stop(workflow_id)
            else:
                cancelled_at = crumbs.cancelled_at or clock.now()
                crumbs.noting(cancelled_at=cancelled_at)
                if status.state is RunState.PENDING and clock.now() - cancelled_at < _PENDING_PATIENCE:
                    raise EngineUnreachable(self.name, "it is just being started there, and will be stopped then")
                session.delete(workflow_id)
        session.watch.look_anew(workflow_id)
        if not session.status(workflow_id).state.is_terminal:
            raise EngineUnreachable(self.name, "the run is being stopped there")

    def release(self, reference: str) -> None:
        """Let go of what lies here for the replay; what lies there stays until it is deleted."""
        self._engine.forget(reference)
        self._engine.folder(reference).release()

    def delete(self, reference: str) -> None:
        """Remove the runs of all attempts there, with their workspaces, and then what lies here.

        Raises:
            EngineUnreachable, EngineRefused: REANA does not let it; nothing is removed here then.
        """
        self.stop(reference)
        run, _, attempt = reference.partition("/")
        references = [f"{run}/{number}" for number in range(1, int(attempt) + 1)]
        for earlier in references:
            crumbs = Crumbs.of(self._engine.folder(earlier).path)
            if crumbs.workflow_id is None:
                continue
            session = self._session
            try:
                session.delete(crumbs.workflow_id)
            except RunGone:
                check_account(session, crumbs)
        for earlier in references:
            self._engine.forget(earlier)
            self._engine.folder(earlier).delete()


def _order(job: Job) -> RunOrder:
    """What a replay has to know of the run."""
    structure = job.revision.structure
    is_tool = structure.cwl_class != "Workflow" and structure.steps
    return RunOrder(
        run_uuid=str(job.run_uuid),
        attempt=job.attempt,
        name=job.name,
        main_path=_PACKED_NAME,
        tool_path=structure.steps[0].path if is_tool else None,
        inputs=job.inputs,
        containers=job.containers,
        container_engine=None,
        cores=1,
        eval_timeout_seconds=60.0,
        time_limit_seconds=job.time_limit_seconds,
    )


def _place_packed(folder: AttemptFolder, packed: dict[str, Json]) -> None:
    place = folder.bundle / _PACKED_NAME
    place.unlink(missing_ok=True)  # a link to what is stored, if a bundle has a file of this name
    place.write_bytes(orjson.dumps(packed))


def _report(folder: AttemptFolder, cursor: str, state: JobState, crumbs: Crumbs) -> Report:
    try:
        chapter = journal_reader.read(folder.journal, int(cursor or 0), _REPORT_BYTES)
    except FileNotFoundError:
        return Report(state, cursor, identity=crumbs.identity)
    beginning, ending = chapter.beginning, chapter.ending
    return Report(
        state=ending.state if ending is not None else state if not chapter.facts else JobState.RUNNING,
        cursor=str(chapter.cursor),
        facts=chapter.facts,
        started_at=beginning.at if beginning is not None else None,
        ended_at=ending.at if ending is not None else None,
        environment=beginning.environment if beginning is not None else None,
        outputs=ending.outputs if ending is not None else None,
        reason=ending.reason if ending is not None else None,
        identity=crumbs.identity,
    )


def _download(session: ReanaSession, crumbs: Crumbs, place: str, size: int) -> Callable[[], Iterator[bytes]]:
    def chunks() -> Iterator[bytes]:
        try:
            yield from session.download(crumbs.workflow_id or "", place, size)
        except RunGone:
            check_account(session, crumbs)
            raise

    return chunks
