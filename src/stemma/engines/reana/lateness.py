"""What the record of a run on REANA has to know of its late files: which have come, and which jobs wait for which."""

import time
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from uuid import UUID

from stemma.engines.cwltool.arrivals import Arrivals
from stemma.engines.cwltool.folder import AttemptFolder
from stemma.engines.reana.answers import WorkspaceFile
from stemma.engines.reana.inputs import job_order
from stemma.engines.reana.late import KEPT, LateNotes, LateState, Note
from stemma.engines.reana.wrapping import LATE_FOLDER, folder_of
from stemma.engines.replay.results import JobWait, LeftFile
from stemma.errors import EngineUnreachable

if TYPE_CHECKING:
    from stemma.engines.reana.session import ReanaSession

_LOOK_SECONDS: Final = 5.0
_MOST_WAITS: Final = 20
"""So many are read at one look; each costs a request."""
_MOST_BYTES: Final = 1 << 20
_MOST_CHARACTERS: Final = 1000
_SHARE: Final = 10
_END: Final = "stemma:end"
_LINES: Final = 3


class Lateness:
    """The late files of one run, as one process knows them."""

    def __init__(self, folder: AttemptFolder, notes: LateNotes, limit_seconds: float) -> None:
        self._folder, self._notes, self._limit_seconds = folder, notes, limit_seconds
        self._refused: set[UUID] = set()
        self._waits: dict[str, JobWait] = {}
        self._seen: set[str] = set()
        self._next_look = 0.0

    @property
    def waits(self) -> tuple[JobWait, ...]:
        """The jobs that were seen to wait."""
        return tuple(self._waits.values())

    def come(self) -> dict[str, LeftFile]:
        """The files that lie there, by their occurrences."""
        return {
            str(note.occurrence): LeftFile(str(note.occurrence), note.content, f"{LATE_FOLDER}/{note.occurrence}")
            for note in self._notes.all()
            if note.state in KEPT and note.content is not None
        }

    def failure(self) -> str | None:
        """Why the run cannot go on: REANA does not take one of its files."""
        for note in self._notes.all() if self._notes.settled() else []:
            if note.state is LateState.FAILED:
                return self._failure(note)
        return None

    def _failure(self, note: Note) -> str:
        name = self._names.get(note.occurrence, str(note.occurrence))
        return f"the file {name!r} could not be brought to REANA, so the run was stopped there: {note.reason}"

    def refuse(self, overdue: set[UUID]) -> None:
        """Tell the replays which files never came: by what was said of them, or as jobs gave up waiting."""
        reasons = {
            note.occurrence: self._failure(note) if note.state is LateState.FAILED else note.reason
            for note in self._notes.all()
            if note.reason is not None
        }
        for occurrence in overdue & self._names.keys() - reasons.keys():
            reasons[occurrence] = (
                f"the file {self._names[occurrence]!r} had not arrived within {self._limit_seconds:g} s "
                "(STEMMA_REANA_LATE_LIMIT_SECONDS)"
            )
        for occurrence in reasons.keys() - self._refused:
            Arrivals(self._folder.arrivals).refuse(occurrence, reasons[occurrence])
            self._refused.add(occurrence)

    def look(self, session: "ReanaSession", workflow_id: str) -> bool:
        """See which jobs wait, as they say in the workspace; whether another does than before."""
        began = time.monotonic()
        if began < self._next_look or self._notes.settled() >= len(self._names):
            return False
        found = False
        try:
            under = f"{LATE_FOLDER}/waits/"
            fresh = (one for one in session.files(workflow_id, under) if one.path not in self._seen)
            for one in islice(fresh, _MOST_WAITS):
                found = self._read(session, workflow_id, one) or found
        except EngineUnreachable:
            pass  # one is being written, say: what is there now is seen at the next look
        spent = time.monotonic() - began
        self._next_look = time.monotonic() + max(_LOOK_SECONDS, _SHARE * spent)
        return found

    def _read(self, session: "ReanaSession", workflow_id: str, file: WorkspaceFile) -> bool:
        """Take in what a job says of its waiting. Whoever runs tools there can write to that place."""
        if file.size_bytes > _MOST_BYTES or file.modified_at is None:
            self._seen.add(file.path)
            return False
        said = b"".join(session.download(workflow_id, file.path, file.size_bytes)).decode("utf-8", "replace")
        lines = said.splitlines()
        if lines[-1:] != [_END]:
            return False
        self._seen.add(file.path)
        key = lines[0]
        is_sound = len(lines) == _LINES and 0 < len(key) <= _MOST_CHARACTERS and key.isprintable()
        if not is_sound or folder_of(key) != PurePosixPath(file.path).name:
            return False
        by_name = {str(occurrence): occurrence for occurrence in self._names}
        awaited = tuple(by_name[name] for name in lines[1].split() if name in by_name)
        if awaited:
            self._waits[key] = JobWait(key, awaited, file.modified_at)
        return bool(awaited)

    @cached_property
    def _names(self) -> dict[UUID, str]:
        return job_order(self._folder.order().inputs).late
