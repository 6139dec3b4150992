"""Follows one run on REANA: what its logs tell is brought into the journal, again and again until it has ended."""

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Final
from uuid import UUID, uuid4

from stemma import clock
from stemma.engines.cwltool.folder import AttemptFolder
from stemma.engines.protocol import JobState
from stemma.engines.reana.accounts import check_account
from stemma.engines.reana.answers import JobLog, Progress, RunState, RunStatus
from stemma.engines.reana.collection import STREAMS, Collector, final_output, latest, sha1_of
from stemma.engines.reana.crumbs import Crumbs
from stemma.engines.reana.faults import RunGone, StateConflict
from stemma.engines.reana.late import LateNotes
from stemma.engines.reana.lateness import Lateness
from stemma.engines.reana.session import ReanaSession
from stemma.engines.replay.caller import Replayer
from stemma.engines.replay.results import Results, RunEnd, step_uuid
from stemma.errors import EngineRefused
from stemma.settings import Settings

_LOGS_AFTER_SECONDS: Final = 30.0
"""For so long the logs are read again when the run has ended and they are not whole."""
_REREAD_SECONDS: Final = 2.0
_LEAST_SECONDS: Final = 3.0
"""Between two readings of the logs of a run that goes on."""
_SHARE: Final = 10
"""So many times as long as a reading took is waited before the next: runs of ten thousand jobs are read seldom."""
_JOBS_A_SECOND: Final = 100
"""The same for their replays: one of ten thousand jobs takes its time too."""
_MOST_SECONDS: Final = 120.0
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_TELLING: Final = re.compile(r"error|cannot|exception|invalid|unexpectedly", re.IGNORECASE)
_MOST_LINES: Final = 4
_MOST_WANTED_BYTES: Final = 64 * 1024 * 1024
_ROUNDS: Final = 1000
"""So many times a replay may come to a file that it has to read first."""


class Follower:
    """What is known of one run in this process; it can be made anew at any time."""

    def __init__(self, settings: Settings, replayer: Replayer, folder: AttemptFolder) -> None:
        self._settings, self._replayer, self._folder = settings, replayer, folder
        self._late = Lateness(folder, LateNotes(folder.arrivals), settings.reana_late_limit_seconds)
        self._seen: Progress | None = None
        self._next_reading = 0.0
        self._ended_since: float | None = None

    def follow(self, session: ReanaSession, crumbs: Crumbs) -> JobState:
        """Bring the journal up to what the server tells; returns where the run is there.

        Raises:
            EngineUnreachable: later.
        """
        assert crumbs.workflow_id is not None  # noqa: S101 - for the type checker: it was started
        try:
            status = session.watch.look(crumbs.workflow_id)
        except RunGone as gone:
            check_account(session, crumbs)
            self._end_without_logs(session, crumbs, RunEnd("failed", clock.now(), gone.reason))
            return JobState.RUNNING
        match status.state:
            case RunState.CREATED | RunState.QUEUED | RunState.PENDING:
                return self._wait(session, crumbs, status)
            case RunState.RUNNING:
                if not self._is_overdue(session, crumbs, status):
                    if crumbs.has_late and self._late.look(session, status.id):
                        self._seen, self._next_reading = None, 0.0
                    self._read(session, crumbs, status, None)
                return JobState.RUNNING
            case RunState.DELETED:
                self._end_without_logs(session, crumbs, _deletion(crumbs))
                return JobState.RUNNING
            case _:
                self._read(session, crumbs, status, _end_of(status, crumbs))
                return JobState.RUNNING

    def _wait(self, session: ReanaSession, crumbs: Crumbs, status: RunStatus) -> JobState:
        """Let it wait there, within a limit of ours: REANA itself may leave a run pending for ever."""
        limit = self._settings.reana_queue_limit_seconds
        if crumbs.started_at is not None and clock.now() - crumbs.started_at > timedelta(seconds=limit):
            reason = (
                f"REANA left it {status.state.value} for more than {limit:g} s (STEMMA_REANA_QUEUE_LIMIT_SECONDS), "
                "so it was deleted there; submit it again, or ask those who run REANA"
            )
            crumbs.noting(given_up=reason)
            try:
                session.delete(status.id)
            except StateConflict:  # just now it began to run
                crumbs.noting(given_up=None)
            session.watch.look_anew(status.id)
        return JobState.PENDING

    def _is_overdue(self, session: ReanaSession, crumbs: Crumbs, status: RunStatus) -> bool:
        """Whether it ran longer than it may, or waits in vain; it is stopped there then. REANA knows no such limit."""
        limit, started_at = self._time_limit, status.started_at or crumbs.started_at
        reason = self._late.failure() if crumbs.has_late else None
        if limit is not None and started_at is not None and clock.now() - started_at > timedelta(seconds=limit):
            reason = f"the run took longer than its time limit of {limit:g} s, and was stopped on REANA"
        if reason is None:
            return False
        crumbs.noting(overdue=reason)
        with contextlib.suppress(StateConflict):  # just now it ended
            session.stop(status.id)
        session.watch.look_anew(status.id)
        return True

    @cached_property
    def _time_limit(self) -> float | None:
        return self._folder.order().time_limit_seconds

    def _read(self, session: ReanaSession, crumbs: Crumbs, status: RunStatus, end: RunEnd | None) -> None:
        """Read the logs, if there is something new in them, and replay the run as far as they tell it."""
        now = time.monotonic()
        is_first_of_the_end = end is not None and self._ended_since is None
        if (now < self._next_reading and not is_first_of_the_end) or (end is None and status.progress == self._seen):
            return
        began = time.monotonic()
        is_last_word = end is not None and self._is_too_late(now)
        collector = Collector(session, status.id, dict(crumbs.digests), self._keep_words)
        workflow_log = _Log()
        try:
            found = collector.collect(workflow_log.jobs_of(session, status.id), is_last_word=is_last_word)
        finally:
            if collector.digests != crumbs.digests:  # whoever goes on after a failure need not read those files again
                crumbs = crumbs.noting(digests=collector.digests)
        spent = time.monotonic() - began
        if workflow_log.text:
            (self._folder.logs / "reana.log").write_text(workflow_log.text, encoding="utf-8", errors="replace")
        if end is not None and not is_last_word and (found.unread or not workflow_log.text.strip()):
            self._next_reading = time.monotonic() + _REREAD_SECONDS
            return
        if end is not None and end.state == "failed" and end.reason is None:
            end = replace(end, reason=_why_failed(workflow_log.text))
        results = Results(
            status.started_at or min((job.started_at for job in found.jobs), default=clock.now()),
            _environment(session, crumbs),
            tuple(found.jobs),
            end,
            told={port: sha1_of(value) for port, value in (final_output(workflow_log.text) or {}).items()},
            sha1=found.sha1,
        )
        if crumbs.has_late:
            self._late.refuse(found.overdue)
            results = replace(results, late=self._late.come(), waits=self._late.waits)
        self._replay(session, status.id, results)
        self._seen = status.progress if not found.unread else None
        pause = max(_LEAST_SECONDS, _SHARE * spent, len(found.jobs) / _JOBS_A_SECOND)
        self._next_reading = time.monotonic() + min(pause, _MOST_SECONDS)

    def _is_too_late(self, now: float) -> bool:
        """Whether logs that are not there yet will not come."""
        if self._ended_since is None:
            self._ended_since = now
        return now - self._ended_since > _LOGS_AFTER_SECONDS

    def _replay(self, session: ReanaSession, workflow_id: str, results: Results) -> None:
        for _ in range(_ROUNDS):
            replayed = self._replayer.replay(self._folder, results)
            if not replayed.wanted:
                return
            self._fetch(session, workflow_id, results, replayed.wanted)
        raise EngineRefused("reana", "the document reads too many files for its record to be written")

    def _fetch(self, session: ReanaSession, workflow_id: str, results: Results, places: tuple[str, ...]) -> None:
        """Bring the bytes here that the document reads."""
        left = [*results.late.values(), *(file for job in results.jobs for file in job.files)]
        contents = {file.place: file.content for file in left}
        for place in places:
            content = contents[place]
            if content.size_bytes > _MOST_WANTED_BYTES:
                raise EngineRefused(
                    "reana", f"the document reads a file of {content.size_bytes} bytes, which is too large"
                )
            aside, digest = self._folder.arrivals / uuid4().hex, sha256()
            try:
                with aside.open("wb") as target:
                    for chunk in session.download(workflow_id, place, content.size_bytes):
                        digest.update(chunk)
                        target.write(chunk)
                if digest.hexdigest() != content.sha256:
                    raise EngineRefused(
                        "reana",
                        f"the document reads {PurePosixPath(place).name!r}, which is not any more what its step left: "
                        f"it has the digest {digest.hexdigest()} instead of {content.sha256}",
                    )
                aside.replace(self._folder.arrivals / content.sha256)
            finally:
                aside.unlink(missing_ok=True)

    def _end_without_logs(self, session: ReanaSession, crumbs: Crumbs, end: RunEnd) -> None:
        """End a run whose logs REANA does not give any more, with what the journal says by now."""
        late = self._late.come() if crumbs.has_late else {}
        results = Results(crumbs.started_at or end.at, _environment(session, crumbs), (), end, late=late)
        self._replayer.replay(self._folder, results)

    def _keep_words(self, key: str, words: tuple[str, str]) -> None:
        """Keep here what a tool said: REANA loses it with the run."""
        run_uuid, attempt = UUID(self._folder.path.parent.name), int(self._folder.path.name)
        for stream, text in zip(STREAMS, words, strict=True):
            path = self._folder.step_log(step_uuid(run_uuid, attempt, key), stream)
            if not path.exists():
                path.write_text(text, encoding="utf-8", errors="replace")


class _Log:
    """The logs of a run, some jobs at a time: those of ten thousand jobs are more than is held at once."""

    def __init__(self) -> None:
        self.text = ""
        """What the engine there said, as soon as a job was given."""

    def jobs_of(self, session: ReanaSession, workflow_id: str) -> Iterator[JobLog]:
        for page in session.log_pages(workflow_id):
            self.text = page.workflow_log
            yield from page.jobs


def _why_failed(workflow_log: str) -> str:
    """What the engine there says at last, where no step of the run says why it failed."""
    lines = [line for line in _COLOURS.sub("", workflow_log).splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)] or lines
    words = " / ".join(" ".join(line.split())[:300] for line in telling[-_MOST_LINES:])
    return f"REANA's engine ended it as failed, and no step says why. Its last words: {words or 'none'}"


def _deletion(crumbs: Crumbs) -> RunEnd:
    if crumbs.cancelled_at is not None:
        return RunEnd("stopped", clock.now(), "it was stopped before REANA had begun with it")
    return RunEnd("failed", clock.now(), crumbs.given_up or "it was deleted on REANA, and what it made with it")


def _end_of(status: RunStatus, crumbs: Crumbs) -> RunEnd:
    at: datetime = (
        latest([status.finished_at or status.stopped_at, status.started_at, crumbs.started_at]) or clock.now()
    )
    if status.state is RunState.FINISHED:
        return RunEnd("finished", at)
    if status.state is RunState.STOPPED:
        return RunEnd("failed", at, crumbs.overdue) if crumbs.overdue else RunEnd("stopped", at, "it was stopped")
    return RunEnd("failed", at)


def _environment(session: ReanaSession, crumbs: Crumbs) -> dict[str, object]:
    return {
        "server": session.server.url,
        "engine": "reana",
        "reana": crumbs.server_version,
        "workflow_id": crumbs.workflow_id,
        "workflow": f"{crumbs.name}.{crumbs.number}",
    }
