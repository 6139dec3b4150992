"""Looks at a run on its server, and writes down what is new in the journal of the attempt."""

import contextlib
import logging
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from stemma import clock
from stemma.engines.cwltool import journal_reader
from stemma.engines.cwltool.identity import ProcessIdentity
from stemma.engines.cwltool.journal import LINE_TYPES, Beginning, Ending, Entry, Journal
from stemma.engines.protocol import FileSeen, JobState, StepEnded, StepStarted
from stemma.engines.wes import logs, submission, texts
from stemma.engines.wes.answers import RunLog
from stemma.engines.wes.fetching import Bytes
from stemma.engines.wes.folder import Trail, WesFolder
from stemma.engines.wes.outputs import Outputs, told_outputs
from stemma.engines.wes.server import NotThere, WesServer
from stemma.engines.wes.states import meaning, sentence
from stemma.engines.wes.tasks import facts_of, fetch_tasks, known_tasks, told_about
from stemma.errors import EngineRefused
from stemma.records import Json

logger = logging.getLogger(__name__)

_UNSEEN_SECONDS: Final = 60.0
"""How long a server may not know a run that it has just taken."""
_CANCEL_AGAIN_SECONDS: Final = 10.0
_JOURNAL_BYTES: Final = 4 * 1024 * 1024
_MOST_BARE_TASKS: Final = 100


def environment_of(beginning: Beginning | None, trail: Trail) -> dict[str, Json] | None:
    """What is known of where it runs, and how many inputs the server reads where they lie: that is not known before it
    is asked, and may be another number when it is asked again."""
    if beginning is None:
        return None
    return {**beginning.environment, **({"inputs_by_url": trail.handed} if trail.handed else {})}


class Follower:
    """Follows one run. Only one does at a time: whoever holds the lock of its folder."""

    def __init__(self, folder: WesFolder, trail: Trail, server: WesServer) -> None:
        self._folder = folder
        self._trail = trail
        self._server = server

    def look(self, source: Bytes, *, with_tasks: bool) -> None:
        """Ask how it is, and write down what is new.

        Raises:
            EngineRefused: the server does not let us look.
            EngineUnreachable: it does not answer.
        """
        trail, run_id = self._trail, self._trail.run_id
        if run_id is None:
            return
        self._end_twins()
        try:
            state = self._server.status(run_id)
        except NotThere as error:
            if trail.submitted_at and clock.now() < trail.submitted_at + timedelta(seconds=_UNSEEN_SECONDS):
                return
            self._lose(f"the WES server does not know it any more ({error.reason})")
            return
        outcome = meaning(state)
        if outcome is JobState.LOST:
            self._lose(sentence(state) or "")
        elif outcome is not None and outcome.is_terminal:
            self._conclude(outcome, state, self._server.run_log(run_id), source)
        else:
            self._go_on(outcome, with_tasks=with_tasks)

    def cancel(self) -> None:
        """Ask the server to end it; asked again only after a while."""
        trail, now = self._trail, clock.now()
        again = timedelta(seconds=_CANCEL_AGAIN_SECONDS)
        if trail.run_id is None or (trail.cancelled_at is not None and now < trail.cancelled_at + again):
            return
        try:
            self._server.cancel(trail.run_id)
        except EngineRefused as error:  # it has ended, as a rule; if not, there is nothing more that we can do
            logger.warning("run %s cannot be stopped on the WES server: %s", trail.run_uuid, error.reason)
        trail.cancelled_at = now
        self._folder.keep(trail)

    def begin(self) -> None:
        """Write the first line, if there is none."""
        if not journal_reader.has_begun(self._folder.journal):
            self._write([Beginning(clock.now(), ProcessIdentity.own(), self._environment())])

    def end(self, state: JobState, reason: str) -> None:
        """Write the last line of a run that the server never had."""
        self._write([Ending(state, clock.now(), reason=reason)])

    def _go_on(self, outcome: JobState | None, *, with_tasks: bool) -> None:
        trail = self._trail
        if outcome is JobState.RUNNING and not trail.began:
            trail.began, trail.started_at = True, clock.now()
            self._folder.keep(trail)
        limit, since = trail.time_limit_seconds, trail.started_at
        if limit is not None and since is not None and clock.now() > since + timedelta(seconds=limit):
            trail.is_too_long = True
            self.cancel()
        if with_tasks and trail.run_id is not None and trail.began:
            told = fetch_tasks(self._server, trail.run_id, self._server.run_log(trail.run_id))
            tasks = known_tasks(trail, told or ())
            self._write([*facts_of(tasks, self._server, self._folder, trail.run_id, self._written())])

    def _conclude(self, outcome: JobState, state: str, log: RunLog, source: Bytes) -> None:
        """Bring in everything, and write it down together with the end."""
        trail, run_id = self._trail, self._trail.run_id or ""
        told = fetch_tasks(self._server, run_id, log)
        tasks = known_tasks(trail, told or ())
        streams = {
            stream: logs.keep(self._server, run_id, where, self._folder.run_log(stream))
            for stream, where in (("stdout", log.run_log.stdout), ("stderr", log.run_log.stderr))
        }
        environment = self._environment() | {"steps": told_about(told, tasks)}
        bare = [{"name": task.name, "exit_code": task.exit_code} for task in told or () if task.start_time is None]
        if bare:
            environment["tasks_without_times"] = bare[:_MOST_BARE_TASKS]
        reason, outputs, files = self._reason(outcome, state, log, streams["stderr"]), None, []
        if outcome is JobState.FINISHED:
            try:
                named = told_outputs(log.outputs, streams["stdout"], trail.outputs)
                collector = Outputs(trail, named, source, clock.now())
                outputs, files = collector.collect(), collector.facts
                if named.undeclared:
                    environment["undeclared_outputs"] = list(named.undeclared)
            except EngineRefused as error:
                outcome, outputs, files = JobState.FAILED, None, []
                reason = f"it finished on the WES server, and its outputs cannot be had: {error.reason}"
        elif trail.is_too_long:
            outcome = JobState.FAILED
            reason = f"it took longer than the time limit of {trail.time_limit_seconds:g} seconds"
        elif trail.cancelled_at is not None:
            outcome, reason = JobState.STOPPED, f"it was stopped (the WES server says {state})"
        started_at = log.run_log.start_time or trail.started_at or trail.submitted_at or clock.now()
        trail.began, trail.started_at = True, started_at
        self._folder.keep(trail)
        written = self._written()
        self._write([
            Beginning(started_at, ProcessIdentity.own(), environment),
            *facts_of(tasks, self._server, self._folder, run_id, written),
            *(fact for fact in files if ("file", fact.occurrence.uuid) not in written),
            Ending(outcome, max(log.run_log.end_time or clock.now(), started_at), outputs, reason),
        ])  # fmt: skip

    def _reason(self, outcome: JobState, state: str, log: RunLog, stderr: str | None) -> str | None:
        said = sentence(state)
        if outcome is not JobState.FAILED or said is None:
            return said
        if log.run_log.exit_code is not None:
            said += f", exit code {log.run_log.exit_code}"
        return f"{said}; the end of what it said:\n{texts.tail(stderr)}" if stderr else said

    def _lose(self, why: str) -> None:
        self._trail.lost = why
        self._folder.keep(self._trail)

    def _end_twins(self) -> None:
        if self._trail.asked > 1:
            with contextlib.suppress(EngineRefused):  # it told before, so it does not tell any more
                submission.end_twins(self._trail, self._server)

    def _environment(self) -> dict[str, Json]:
        """What is known of where it runs."""
        trail = self._trail
        known: dict[str, Json] = {
            "engine": "wes",
            "server": urlsplit(trail.server).netloc,
            "workflow_engine": trail.engine,
            "run": trail.run_id,
            "containers": "decided by the server",
        }
        return {key: value for key, value in known.items() if value is not None}

    def _written(self) -> set[tuple[str, UUID]]:
        """The facts that the journal has: their kinds and what they are of."""
        found: set[tuple[str, UUID]] = set()
        cursor, more = 0, self._folder.journal.exists()
        while more:
            chapter = journal_reader.read(self._folder.journal, cursor, _JOURNAL_BYTES)
            cursor, more = chapter.cursor, chapter.has_more
            for fact in chapter.facts:
                if isinstance(fact, StepStarted | StepEnded):
                    found.add((LINE_TYPES[type(fact)], fact.uuid))
                elif isinstance(fact, FileSeen):
                    found.add((LINE_TYPES[FileSeen], fact.occurrence.uuid))
        return found

    def _write(self, entries: list[Entry]) -> None:
        if not entries:
            return
        journal = Journal(self._folder.journal)
        try:
            journal.close_torn_line()
            journal.write(*entries)
        finally:
            journal.close()
