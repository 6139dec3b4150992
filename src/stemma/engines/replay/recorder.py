"""A recorder for a run that took place elsewhere: its times and digests, and the same identities in every replay."""

import os
import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from uuid import UUID

from cwltool.errors import WorkflowException

from stemma.engines.cwltool import journal_reader
from stemma.engines.cwltool.folder import AttemptFolder
from stemma.engines.cwltool.journal import Entry, Journal
from stemma.engines.cwltool.recorder import Recorder
from stemma.engines.protocol import FileSeen, FileUsed, StepEnded, StepStarted, StepWaits
from stemma.engines.replay.results import JobResult, LeftFile, Results, identity, namespace_of
from stemma.records import Content


class ContentUnknown(WorkflowException):  # type: ignore[misc,unused-ignore]  # the library's class, so that a step fails by it
    """The replay came by a file whose bytes nobody has told of. It says so rather than take other bytes for them."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the digest of {os.path.basename(path)} is not known")  # noqa: PTH119 - a text, no file
        self.path = path


class AppendedJournal(Journal):
    """A journal that is gone on with: what it says already is not said again, and what is new all at once or not."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.close_torn_line()
        self._new: list[Entry] = []
        self._said = {_identity(fact) for fact in journal_reader.read(path, 0, os.stat(path).st_size).facts}  # noqa: PTH116

    def write(self, *entries: Entry) -> None:
        """Keep those of ``entries`` that are new."""
        for entry in entries:
            identity = _identity(entry)
            if identity is None or identity not in self._said:
                self._new.append(entry)
                self._said.add(identity)

    def publish(self) -> None:
        """Write down what is new."""
        new, self._new = self._new, []
        super().write(*new)

    def close(self) -> None:
        """Write down what is new, bring all to the disk and close."""
        self.publish()
        super().close()


def _identity(entry: Entry) -> tuple[object, ...] | None:
    """What tells a fact from all others; None for what is no fact."""
    match entry:
        case StepStarted(uuid=step):
            return "started", step
        case StepEnded(uuid=step):
            return "ended", step
        case StepWaits(key=key):
            return "waits", key
        case FileSeen(occurrence=occurrence):
            return "file", occurrence.uuid
        case FileUsed(usage=usage):
            return "used", usage.step, usage.occurrence, usage.port, usage.position
    return None


_INDEX = re.compile(r"\[\d+\]")


def path_of(key: str) -> str:
    """The path of the step whose execution has ``key``."""
    return _INDEX.sub("", key)


class ReplayRecorder(Recorder):
    """Knows the results of the jobs, and where the files stand in that no bytes are there for."""

    def __init__(self, folder: AttemptFolder, journal: Journal, attempt: int, run_uuid: UUID, results: Results) -> None:
        super().__init__(folder, journal, attempt)
        self.jobs: dict[str, JobResult] = {job.key: job for job in results.jobs}
        self.missing: list[str] = []
        """The keys of the tools that could have run and have no job."""
        self.wanted: set[str] = set()
        """The places of the files that were read and whose bytes are not here."""
        self.trouble: OSError | None = None
        """What went wrong on this machine, so that this replay says nothing of the run."""
        self.late = {UUID(occurrence): file for occurrence, file in results.late.items()}
        """The late files that have come, by their occurrences."""
        self.moment = results.began_at
        self._namespace = namespace_of(run_uuid, attempt)
        self._minted: Counter[tuple[str, ...]] = Counter()
        self._stand_ins: dict[tuple[int, int], LeftFile] = {}
        self.write(*(StepWaits(wait.key, path_of(wait.key), wait.occurrences, wait.at) for wait in results.waits))

    def without_places(self, text: str) -> str:
        """``text`` with paths told from where tools work: neither the run's folder nor that of the replay."""
        return super().without_places(text.replace(f"{self.folder.tmp.parent}/", ""))

    def now(self) -> datetime:
        """When the engine says that it happened."""
        return self.moment

    def mint(self, *names: str) -> UUID:
        """The same identity for the same names in every replay of the attempt."""
        self._minted[names] += 1
        return identity(self._namespace, (*names, str(self._minted[names])))

    def content_of(self, path: str) -> Content:
        """What is known of the file; those of the document lie here, and are read.

        Raises:
            ContentUnknown: it stands for a file elsewhere of which nothing is known.
        """
        known = self.stand_in(path)
        if known is not None:
            return known.content
        if os.path.realpath(path).startswith(f"{os.path.realpath(self.folder.tmp)}/"):
            raise ContentUnknown(path)
        return super().content_of(path)

    def step_waits(self, key: str, path: str, occurrences: tuple[UUID, ...]) -> None:
        """Say nothing: that this replay goes no further does not mean that the job elsewhere waits; that one tells."""

    def stands_in(self, path: str, file: LeftFile) -> None:
        """Note that the file at ``path`` has the name and the size of ``file``, and none of its bytes."""
        about = os.stat(path)  # noqa: PTH116 - once for every file of a run
        self._stand_ins[about.st_dev, about.st_ino] = file

    def stand_in(self, path: str) -> LeftFile | None:
        """What the file at ``path`` stands for."""
        about = os.stat(path)  # noqa: PTH116 - as above
        return self._stand_ins.get((about.st_dev, about.st_ino))
