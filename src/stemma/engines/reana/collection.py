"""What REANA's logs tell of the jobs of a run, made into the results that a replay takes."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

import orjson

from stemma.engines.output_object import files_in
from stemma.engines.reana.answers import JobLog
from stemma.engines.reana.faults import FileGone
from stemma.engines.reana.markers import JobFile, key_of, own_words, parse_log
from stemma.engines.reana.markers import JobResult as Told
from stemma.engines.reana.session import ReanaSession
from stemma.engines.reana.wrapping import FOLDER, folder_of
from stemma.engines.replay.results import JobResult, LeftFile
from stemma.records import Content, Json

_FINAL_BEGIN: Final = "FinalOutput{"
_FINAL_END: Final = "}FinalOutput"
_MOST_WORD_BYTES: Final = 32 * 1024 * 1024
"""So much is read at most of what a job is said to have said: whoever runs tools there can write to that place."""
_LAST_WORDS: Final = 600
_CLOCK_TOLERANCE: Final = timedelta(minutes=2)
"""So much later than its tool may a job have ended: the pod has to go, and REANA to look."""
STREAMS: Final = ("stdout", "stderr")
_OVERDUE: Final = re.compile(r"^stemma:overdue ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$", re.MULTILINE)


@dataclass(slots=True)
class Collected:
    """What is known of the jobs of a run."""

    jobs: list[JobResult] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """The keys of the jobs that have ended and whose log is not there yet."""
    sha1: dict[str, str] = field(default_factory=dict)
    """SHA-1 by SHA-256: what REANA's engine knows files by."""
    overdue: set[UUID] = field(default_factory=set)
    """The late files that some job has waited for in vain."""


class Collector:
    """Reads the jobs of one run."""

    def __init__(
        self,
        session: ReanaSession,
        workflow_id: str,
        digests: dict[str, str],
        keep: Callable[[str, tuple[str, str]], None],
    ) -> None:
        self._session, self._workflow_id = session, workflow_id
        self._keep = keep
        """Is given the key of each job that has ended, and what its tool said as ``stdout`` and ``stderr``."""
        self.digests = digests
        """SHA-256 by place, of what had to be read to know it."""

    def collect(self, jobs: Iterable[JobLog], *, is_last_word: bool) -> Collected:
        """What ``jobs`` come to.

        Args:
            jobs: as REANA tells of them.
            is_last_word: whether what is not there by now will not come: then the workspace is looked at instead.

        Raises:
            EngineUnreachable, EngineRefused: a file has to be read for its digest, and is not given.
        """
        found = Collected()
        for job in jobs:
            key = key_of(job.command)
            if key is not None and job.started_at is not None:
                self._add(found, key, job, is_last_word=is_last_word)
        return found

    def _add(self, found: Collected, key: str, job: JobLog, *, is_last_word: bool) -> None:
        assert job.started_at is not None  # noqa: S101 - for the type checker: the caller has looked
        result = JobResult(key, job.started_at, backend_job_id=job.backend_job_id or job.id, image=job.image or None)
        if not job.is_over or job.status == "stopped":
            found.jobs.append(result)
            return
        told = _parsed(job.log)
        if (told is None or told.key != key) and is_last_word:
            told = self._kept_word(key)
        if (told is None or told.key != key) and not is_last_word and not (job.log.strip() and job.status == "failed"):
            found.unread.append(key)
            found.jobs.append(result)
            return
        self._keep(key, own_words(job.log))
        found.jobs.append(self._ended(found, result, job, told if told is not None and told.key == key else None))

    def _kept_word(self, key: str) -> Told | None:
        """What a job said at its end, from the copy in the workspace: REANA may lose logs, or cut them."""
        place, said = f"{FOLDER}/{folder_of(key)}.marker", bytearray()
        try:
            for part in self._session.download(self._workflow_id, place):
                said += part
                if len(said) > _MOST_WORD_BYTES:
                    return None
        except FileGone:
            return None
        return _parsed("\n" + said.decode("utf-8", "replace"))

    def _ended(self, found: Collected, result: JobResult, job: JobLog, told: Told | None) -> JobResult:
        words = _last_words(job.log) or "it said nothing"
        if told is None:
            ended_at = max(job.finished_at or result.started_at, result.started_at)
            found.overdue |= {UUID(name) for name in _OVERDUE.findall(job.log)}
            failure = f"REANA ended its job as {job.status}, and the tool was not seen to come to its end: {words}"
            return replace(result, ended_at=ended_at, failure=failure, streams=STREAMS)
        found.sha1 |= {file.sha256: file.sha1 for file in told.files if file.sha256 and file.sha1}
        failed_after = job.status == "failed" and told.exit_code == 0
        started_at, ended_at = _times(told, job.finished_at)
        return replace(
            result,
            started_at=started_at,
            ended_at=ended_at,
            exit_code=told.exit_code,
            failure=f"REANA ended its job as failed after the tool had ended well: {words}" if failed_after else None,
            files=tuple(self._left(result.key, file) for file in told.files),
            folders=told.folders,
            streams=STREAMS,
        )

    def _left(self, key: str, file: JobFile) -> LeftFile:
        place = f"{FOLDER}/{folder_of(key)}/{file.path}"
        known = Content(file.sha256, file.size_bytes) if file.sha256 else self._content(place, file.size_bytes)
        return LeftFile(file.path, known, place)

    def _content(self, place: str, size: int) -> Content:
        """The digest of a file that nobody told the digest of."""
        if place not in self.digests:
            digest = sha256()
            for chunk in self._session.download(self._workflow_id, place, size):
                digest.update(chunk)
            self.digests[place] = digest.hexdigest()
        return Content(self.digests[place], size)


def _parsed(log: str) -> Told | None:
    """What a log says; None where it says nothing, or tells times that are none."""
    try:
        return parse_log(log)
    except (ValueError, OverflowError):
        return None


def _times(told: Told, known_end: datetime | None) -> tuple[datetime, datetime]:
    """When a job began and ended, by the server's clock where that of the job's machine is another."""
    ended_at = max(told.ended_at, told.started_at)
    off = (known_end or ended_at) - ended_at
    if abs(off) <= _CLOCK_TOLERANCE:
        return told.started_at, ended_at
    try:
        return told.started_at + off, ended_at + off
    except OverflowError:  # a clock that jumped by ages meanwhile
        return ended_at + off, ended_at + off


def _last_words(log: str) -> str:
    return " ".join(log.split())[-_LAST_WORDS:]


def final_output(workflow_log: str) -> dict[str, Json] | None:
    """The output object that REANA's engine came to, as it tells it at last; None where it does not.

    Looked for from the end, in linear time: the words of commands stand in this log as well.
    """
    end = workflow_log.rfind(_FINAL_END)
    start = workflow_log.rfind(_FINAL_BEGIN, 0, end + 1)
    if start < 0:
        return None
    try:
        value = orjson.loads(workflow_log[start + len(_FINAL_BEGIN) - 1 : end + 1])
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def sha1_of(value: Json) -> list[str]:
    """The SHA-1 digests in an output object of CWL, in the order in which they stand."""
    return [str(file.get("checksum", "")).removeprefix("sha1$") for file in files_in(value)]


def latest(moments: Iterable[datetime | None]) -> datetime | None:
    """The latest of those that are known."""
    return max((moment for moment in moments if moment is not None), default=None)
