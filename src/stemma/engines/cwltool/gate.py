"""Where steps wait for files that are not here yet.

A late file has its place among the inputs from the start, with a link that leads nowhere until the bytes are in the
store. A step execution that needs it waits: it holds no core and no thread, and is looked at again only when the
last of its files has come. From then on until it ends its files are in use, and nobody can take them back.

All of this happens in the thread that makes the jobs, or under the lock that it holds while it does.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote
from uuid import UUID

from cwltool.errors import WorkflowException

from stemma.engines.cwltool.arrivals import News, Told, Whereabouts
from stemma.engines.cwltool.confinement import Confinement
from stemma.engines.cwltool.folder import AttemptFolder, link_or_copy
from stemma.engines.cwltool.known_files import KnownFile, is_file_object, place_of
from stemma.engines.cwltool.places import Branch
from stemma.records import Json

_AT_ONCE = 100
"""So many news are taken in before the lock is let go;"""
_TURN_SECONDS = 0.005
"""for so long, in which whoever waits for it finds it free."""


class FileRefused(WorkflowException):  # type: ignore[misc,unused-ignore]  # the library's class, so that a step fails by it
    """A file that a step needs cannot be had; the sentence says why."""


@dataclass(slots=True, eq=False)
class LateFile:
    """A file that was not here when the run began."""

    known: KnownFile
    is_member: bool
    """Whether it lies in a folder: then it is a link of its own to the bytes, and stays once it is here."""
    is_here: bool = False
    refusal: str | None = None
    users: int = 0
    waits: set["Wait"] = field(default_factory=set)


class Gate:
    """The late files of a run, and what waits for them."""

    def __init__(self, folder: AttemptFolder, confinement: Confinement) -> None:
        self._inputs = str(folder.inputs)
        self._confinement = confinement
        self._news = News(folder.arrivals)
        self._files: dict[UUID, LateFile] = {}
        self._by_place: dict[str, tuple[LateFile, ...]] = {}
        self._waits: set[Wait] = set()
        self._failures: list[Callable[[], None]] = []
        self._is_changed = False

    def expect(self, known: KnownFile, *, is_member: bool = False) -> LateFile:
        """Keep its place for a file that comes later."""
        late = LateFile(known, is_member)
        self._files[known.uuid] = late
        self._by_place[known.place] = (late,)
        os.symlink(self._nowhere(late), known.place)  # noqa: PTH211 - for every input; a Path costs more than the call
        return late

    def expect_folder(self, known: KnownFile) -> None:
        """Know which late files lie in a folder, at any depth."""
        inside = [late for _, member in known.members for late in self._by_place.get(member.place, ())]
        if inside:
            self._by_place[known.place] = tuple(inside)

    def needed_for(self, value: Json) -> dict[LateFile, None]:
        """The late files in a value, those that belong to others and those in folders included; here or not."""
        return dict.fromkeys(self._in(value))

    def _in(self, value: Json) -> Iterator[LateFile]:
        if isinstance(value, Mapping):
            if is_file_object(value):
                yield from self._by_place.get(place_of(value) or "", ())
                parts: Iterable[Json] = (value.get("secondaryFiles"), value.get("listing"))
            else:
                parts = value.values()
            for part in parts:
                yield from self._in(part)
        elif isinstance(value, list):
            for part in value:
                yield from self._in(part)

    def fill_in(self, value: Json) -> None:
        """Write sizes and digests into the objects of files that have come."""
        if isinstance(value, Mapping):
            if is_file_object(value):
                self._describe(value)  # type: ignore[arg-type]  # CWL objects are dicts
            for part in value.values():
                if isinstance(part, Mapping | list):
                    self.fill_in(part)
        elif isinstance(value, list):
            for part in value:
                self.fill_in(part)

    def _describe(self, value: dict[str, Json]) -> None:
        late = self._by_place.get(place_of(value) or "", ())
        if value["class"] == "File" and late and (content := late[0].known.content) is not None:
            value["size"] = content.size_bytes
            if not late[0].is_member:  # a listing that is read from the disk tells of no digest
                value["checksum"] = f"sha256:{content.sha256}"

    @property
    def is_awaited(self) -> bool:
        """Whether something waits whose files have not all come."""
        return bool(self._waits)

    def look(self) -> bool:
        """Whether something can go on since this was asked last."""
        self._take_in()
        changed, self._is_changed = self._is_changed, False
        return changed

    def take(self, files: Sequence[LateFile]) -> list[LateFile]:
        """Use ``files`` from now on, if all are here; returns those that are not.

        Raises:
            FileRefused: one of them cannot be had.
        """
        if not all(file.users for file in files):
            self._take_in()
            with self._news.alone():
                self._catch_up()
                for file in files:
                    if file.refusal is not None:
                        raise FileRefused(file.refusal)
                missing = [file for file in files if not file.is_here]
                if missing:
                    return missing
                for file in files:
                    if not file.users:
                        self._news.use(file.known.uuid)
        for file in files:
            file.users += 1
        return []

    def let_go(self, files: Iterable[LateFile]) -> None:
        """Use ``files`` no longer."""
        for file in files:
            file.users -= 1
            if not file.users:
                self._news.let_go(file.known.uuid)

    def hold(self, wait: "Wait", files: Iterable[LateFile]) -> None:
        """Tell ``wait`` of what becomes of ``files``."""
        self._waits.add(wait)
        for file in files:
            file.waits.add(wait)

    def drop(self, wait: "Wait", files: Iterable[LateFile]) -> None:
        """Forget ``wait``."""
        self._waits.discard(wait)
        for file in files:
            file.waits.discard(wait)

    def put_off(self, failure: Callable[[], None], branch: Branch | None) -> None:
        """Let a step that cannot have its files fail towards its workflow (``failure``) when nothing else can go on.

        cwltool ends a workflow at its first failure; the steps that need other files are to go on.
        """
        self._failures.append(failure)
        if branch is not None:
            self._failures.append(branch.wake)

    def fail(self) -> bool:
        """Let the steps fail that were put off; whether there were any."""
        failures, self._failures = self._failures, []
        for failure in failures:
            failure()
        return bool(failures)

    def _take_in(self) -> None:
        """Take in what was told, some at a time: who tells of thousands is not to wait for the lock meanwhile."""
        while self._news.is_there:
            with self._news.alone():
                if not self._catch_up(most=_AT_ONCE):
                    return  # left by one that was killed, half a line perhaps: what comes behind is for the next look
            if self._news.is_there:
                time.sleep(_TURN_SECONDS)

    def _catch_up(self, most: int | None = None) -> bool:
        """Take in what was told since, if anything was; only under the lock of the news."""
        found = self._news.read(most)
        for occurrence, told in found:
            file = self._files.get(occurrence)
            if file is not None:
                self._apply(file, told)
        return bool(found)

    def _apply(self, file: LateFile, told: Told) -> None:
        if told.whereabouts is Whereabouts.RECALLED:
            if file.is_here and not file.users:
                self._put(file, lambda aside: os.symlink(self._nowhere(file), aside))  # noqa: PTH211 - as above
                file.is_here = False
                for wait in file.waits:
                    wait.has_gone(file)
            return
        if told.whereabouts is Whereabouts.REFUSED:
            file.refusal = told.reason or "a file that it needs cannot be had"
        elif not file.is_here or told.content != file.known.content:
            self._receive(file, told)
        if file.is_here or file.refusal is not None:
            for wait in list(file.waits):
                self._is_changed = wait.has_come(file) or self._is_changed

    def _receive(self, file: LateFile, told: Told) -> None:
        """Put what has come in its place. What goes wrong with it is the trouble of the steps that need it."""
        known, content = file.known, told.content
        assert told.path is not None  # noqa: S101 - for the type checker: what is here is somewhere
        if known.content not in (None, content):
            file.refusal = f"{known.basename} is not what it was: other bytes came than those that were here before"
            return
        stored = os.path.realpath(told.path)
        try:
            if file.is_member:
                self._put(file, lambda aside: link_or_copy(stored, aside))
                self._news.use(known.uuid)
                file.users += 1  # for good: the space is not free before the run's folder is gone
            else:
                os.stat(stored)  # noqa: PTH116 - once for every late file
                self._put(file, lambda aside: os.symlink(stored, aside))  # noqa: PTH211 - as above
        except OSError as error:
            file.refusal = f"{known.basename} has come and cannot be put in its place: {error.strerror}"
            return
        self._confinement.allow([stored])
        known.content, known.stored = content, stored
        file.is_here, file.refusal = True, None

    def _put(self, file: LateFile, make: Callable[[str], None]) -> None:
        """Replace what is at the place of ``file`` at once."""
        aside = f"{self._inputs}/aside-{uuid.uuid4().hex}"
        make(aside)
        os.replace(aside, file.known.place)  # noqa: PTH105 - as above

    def _nowhere(self, file: LateFile) -> str:
        """Where the place of a file leads that is not here: within the inputs, to what never exists."""
        return f"{self._inputs}/late/{quote(str(file.known.uuid))}"


class Wait:
    """A step execution that may have to wait for files."""

    def __init__(self, gate: Gate, files: Iterable[LateFile], branch: Branch | None) -> None:
        self.gate = gate
        self._files = list(files)
        self._branch = branch
        self._missing: set[LateFile] = set()
        self.is_taken = False

    def is_over(self) -> bool:
        """Whether all files are here; from then on they are in use, until :meth:`lets_go`.

        Raises:
            FileRefused: one of them cannot be had.
        """
        if self.is_taken:
            return True
        if self._missing:
            return False
        missing = self.gate.take(self._files)
        self.is_taken = not missing
        if missing:
            self._missing = set(missing)
            self.gate.hold(self, self._files)
        return self.is_taken

    @property
    def missing(self) -> tuple[UUID, ...]:
        """The files that have not come, in the order of the inputs."""
        return tuple(file.known.uuid for file in self._files if file in self._missing)

    def has_come(self, file: LateFile) -> bool:
        """Note that a file is here, or never will be; returns whether that ends the waiting."""
        self._missing.discard(file)
        if self._missing and file.refusal is None:
            return False
        self.gate.drop(self, self._files)
        self._missing = set()
        if self._branch is not None:
            self._branch.wake()
        return True

    def has_gone(self, file: LateFile) -> None:
        """Note that a file was taken back."""
        self._missing.add(file)

    def lets_go(self) -> None:
        """Use the files no longer, or wait for them no longer."""
        if self._missing:
            self.gate.drop(self, self._files)
            self._missing = set()
        if self.is_taken:
            self.is_taken = False
            self.gate.let_go(self._files)
