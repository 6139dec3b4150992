"""What the run has to say, in order: the only writer of its journal while it goes on."""

import re
import threading
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from stemma import clock
from stemma.engines.cwltool.confinement import Confinement
from stemma.engines.cwltool.folder import AttemptFolder
from stemma.engines.cwltool.gate import Gate
from stemma.engines.cwltool.journal import Ending, Journal
from stemma.engines.cwltool.known_files import KnownFiles, content_of
from stemma.engines.protocol import Fact, JobState, StepEnded, StepWaits
from stemma.records import Content, Json
from stemma.states import StepState

_MOST_CHARACTERS = 2000
_NOISE = re.compile(r"(?<![\w/.-])bundle/|\(\d{6,}\) \([^)]*\) ")
"""Our folder for the document, which its author does not know, and the numbers of threads."""


class Recorder:
    """Writes facts until the run has ended; from then on it is silent."""

    def __init__(self, folder: AttemptFolder, journal: Journal, attempt: int) -> None:
        self.folder = folder
        self.attempt = attempt
        self.files = KnownFiles()
        self.confinement = Confinement(folder)
        self.first_failure: str | None = None
        self.gate: Gate | None = None
        """Where steps wait for late files; None in a run that has none."""
        self._journal = journal
        self._lock = threading.Lock()
        self._open_steps: dict[UUID, str] = {}
        self._keys: dict[str, int] = {}
        self._waiting: set[str] = set()
        self._is_ended = False

    def now(self) -> datetime:
        """When what is recorded now happens."""
        return clock.now()

    def mint(self, *_: str) -> UUID:
        """An identity for what is told apart in this run by the given names."""
        return clock.new_uuid()

    def content_of(self, path: str) -> Content:
        """The digest and size of the file at ``path``."""
        return content_of(path)

    def write(self, *facts: Fact) -> None:
        """Write facts down."""
        with self._lock:
            if not self._is_ended:
                self._journal.write(*facts)

    def step_begins(self, uuid: UUID, key: str, *facts: Fact) -> None:
        """Write down that a step began, with what belongs to it."""
        with self._lock:
            if not self._is_ended:
                self._open_steps[uuid] = key
                self._journal.write(*facts)

    def step_ends(self, fact: StepEnded) -> None:
        """Write down that a step ended."""
        with self._lock:
            if not self._is_ended and self._open_steps.pop(fact.uuid, None) is not None:
                self._journal.write(fact)

    def step_waits(self, key: str, path: str, occurrences: tuple[UUID, ...]) -> None:
        """Write down that a step waits for files; once, whatever it waits for afterwards."""
        if key not in self._waiting:
            self._waiting.add(key)
            self.write(StepWaits(key, path, occurrences, self.now()))

    def late_files(self) -> Gate:
        """Where late files are expected."""
        if self.gate is None:
            self.gate = Gate(self.folder, self.confinement)
        return self.gate

    def unique_key(self, key: str) -> str:
        """``key``, or with a number where a step that goes round has used it before."""
        with self._lock:
            times = self._keys.get(key, 0) + 1
            self._keys[key] = times
        return key if times == 1 else f"{key}#{times}"

    def note_failure(self, reason: str) -> None:
        """Remember why the run will fail; the first reason counts, the others follow from it."""
        if self.first_failure is None:
            self.first_failure = reason

    def without_places(self, text: str) -> str:
        """``text`` with paths told from the run's folder: where that lies is nobody's business."""
        for place in (f"file://{self.folder.path}/", f"{self.folder.path}/"):
            text = text.replace(place, "")
        return text

    def tidy(self, message: str) -> str:
        """``message`` on one line, with paths as the document's author knows them."""
        message = self.without_places(message)
        line = " ".join(_NOISE.sub("", message).split())
        half = _MOST_CHARACTERS // 2
        return line if len(line) <= _MOST_CHARACTERS else f"{line[:half]} … {line[-half:]}"

    def end(
        self,
        state: JobState,
        *,
        outputs: dict[str, Json] | None = None,
        reason: str | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> bool:
        """End the run: steps still open are stopped, and nothing is written after.

        ``meanwhile`` runs between the last fact of a step and the end of the journal. Returns whether the run
        ended by this call and not before.
        """
        with self._lock:
            if self._is_ended:
                return False
            self._is_ended = True
        if meanwhile is not None:
            meanwhile()
        at = self.now()
        why = "it was stopped" if state is JobState.STOPPED else "the run ended before it"
        stopped = [
            StepEnded(uuid, StepState.STOPPED, at, error=f"step {key!r} did not end: {why}")
            for uuid, key in self._open_steps.items()
        ]
        self._journal.write(*stopped, Ending(state, at, outputs, reason))
        self._journal.close()
        return True
