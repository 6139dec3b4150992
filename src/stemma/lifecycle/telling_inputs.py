"""What steps read that others told of: looked at as the inputs of a run are, and wanted ahead."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlmodel import Session

from stemma import clock
from stemma.auth.principal import Principal
from stemma.cwl.filereferences import FileReference, SourceKind, file_references, problem_of
from stemma.database.queries import demand, hints
from stemma.database.queries.demand import Sought
from stemma.database.tables.replication import VERSION_LENGTH
from stemma.errors import Finding, InvalidRequest, StemmaError
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.ahead import MOST_FILES
from stemma.lifecycle.replicate.sealed_addresses import kept
from stemma.lifecycle.sources import Looked, Place, look_each, shown, source_of, told_by
from stemma.records import Json
from stemma.storages.protocol import SourceInfo

_MOST_REASONS: Final = 20


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An input that is not fetched ahead."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ahead:
    """What becomes of the inputs of an event."""

    here: int
    to_come: int
    left_out: Sequence[LeftOut]

    @property
    def reasons(self) -> Sequence[LeftOut]:
        """Why some are left out: as many as anybody reads."""
        return self.left_out[:_MOST_REASONS]


@dataclass(slots=True)
class Inputs:
    """What one step reads."""

    references: list[FileReference] = field(default_factory=list)
    sought: list[Sought] = field(default_factory=list)
    """Once it was looked at."""
    left_out: list[LeftOut] = field(default_factory=list)

    @classmethod
    def read(cls, given: Sequence[Json]) -> "Inputs":
        """Of addresses, Files and Directories.

        Raises:
            InvalidRequest: one is nothing of that, or not as in an input object.
        """
        values = [_as_file(one) for one in given]
        for number, value in enumerate(values):
            if not isinstance(value, dict) or value.get("class") not in ("File", "Directory"):
                raise _invalid(f"input {number} is neither an address nor a File or Directory")
        found = list(file_references({"inputs": values}))
        for each in found:
            problem = problem_of(each.value)
            if problem is not None:
                raise _invalid(f"{each.port}{each.position}: {problem}")
        return cls([each for each in found if each.source.kind is not SourceKind.LISTING])

    def seek(self, reference: FileReference, found: Looked | StemmaError) -> None:
        """Note what one of them leads to, or why it is left out."""
        address = shown(reference.source.text)
        if isinstance(found, StemmaError):
            self.left_out.append(LeftOut(address, str(found)))
        elif found.number is not None:
            self.left_out.append(LeftOut(address, "it lies in this service"))
        elif found.info is not None:
            self._seek_file(found, found.info, reference.expected)
        else:
            for listed in found.listing:
                self._seek_file(found, listed.info, None)

    def _seek_file(self, found: Looked, info: SourceInfo, expected: str | None) -> None:
        reason = _unfit(info)
        if reason is not None:
            self.left_out.append(LeftOut(shown(info.address), reason))
            return
        self.sought.append(
            Sought(
                occurrence=clock.new_uuid(),
                address=info.address,
                version=info.version,
                told=told_by(info),
                size_bytes=info.size_bytes,
                remote_id=found.remote_id,
                remote=found.remote,
                expected=expected,
                source=source_of(info),
            )
        )


def look(installation: Installation, principal: Principal, group: str, inputs: Sequence[Inputs]) -> None:
    """See what ``inputs`` lead to, as a run of ``group`` would see it that ``principal`` submits.

    Raises:
        TooManyFetches: as many as may be look around at the moment.
    """
    if not installation.settings.replication_ahead_bytes:
        for one in inputs:
            one.left_out += [LeftOut(_named(each), "nothing is fetched ahead here") for each in one.references]
        return
    elsewhere = [(one, each) for one in inputs for each in one.references if each.source.kind.is_elsewhere]
    places = {Place.of(each, principal.subject) for _, each in elsewhere}
    looked = look_each(installation, group, places, MOST_FILES)
    for one, each in elsewhere:
        one.seek(each, looked[Place.of(each, principal.subject)])
    for one in inputs:
        others = [each for each in one.references if not each.source.kind.is_elsewhere]
        one.left_out += [LeftOut(_named(each), "it is no address elsewhere") for each in others]


def share(bound: int, others: int) -> int:
    """How much of what a group may have together one member may have, of which the others have so much: half of what
    they leave. So there is always some left for whoever comes next, and in a day, when all that was told before has
    expired, those who want much have the same."""
    return max(0, bound - others) // 2


@dataclass(slots=True)
class _Wanted:
    """The copies that a group wants, by source and version, with their sizes."""

    all: dict[tuple[str, str], int]
    others_bytes: int
    """Of those that others want than who tells now."""
    others_files: int
    all_bytes: int


class Wishes:
    """What ``subject`` wants ahead for groups, in one transaction, in which nobody else tells of these groups."""

    def __init__(self, installation: Installation, session: Session, subject: str) -> None:
        self._installation = installation
        self._session = session
        self._subject = subject
        self._wanted: dict[str, _Wanted] = {}

    def add(self, group: str, told_id: int, inputs: Inputs) -> Ahead:
        """Have ``inputs`` fetched for a step that was told of, as far as its group may."""
        if not inputs.sought:
            return Ahead(0, 0, inputs.left_out)
        within, over = [], []
        for sought in inputs.sought:
            if self._may_have(group, sought):
                within.append(sought)
            else:
                limit = self._installation.settings.replication_ahead_bytes
                reason = (
                    f"a group may have {limit} bytes and {MOST_FILES} files fetched ahead at a time, and each of its "
                    "members half of what the others leave"
                )
                over.append(LeftOut(shown(sought.address), reason))
        home, has = self._installation.home_id, self._installation.store.has
        within = kept(self._installation, group, within)
        here, to_come = demand.want_ahead(self._session, home, group, told_id, within, by=self._subject, has=has)
        return Ahead(here, to_come, [*inputs.left_out, *over])

    def _may_have(self, group: str, sought: Sought) -> bool:
        if group not in self._wanted:
            self._wanted[group] = self._read(group)
        wanted, source, size = self._wanted[group], (sought.key, sought.version), sought.size_bytes or 0
        if source in wanted.all:
            return True
        limit = self._installation.settings.replication_ahead_bytes
        own_bytes, own_files = wanted.all_bytes - wanted.others_bytes, len(wanted.all) - wanted.others_files
        if own_bytes + size > share(limit, wanted.others_bytes) or own_files >= share(MOST_FILES, wanted.others_files):
            return False
        wanted.all[source] = size
        wanted.all_bytes += size
        return True

    def _read(self, group: str) -> _Wanted:
        place, now = (self._session, self._installation.home_id, group), clock.now()
        everything, others = hints.wished(*place, now), hints.wished(*place, now, but_by=self._subject)
        return _Wanted(everything, sum(others.values()), len(others), sum(everything.values()))


def _as_file(given: Json) -> Json:
    if not isinstance(given, str):
        return given
    return {"class": "Directory" if given.endswith("/") else "File", "location": given}


def _named(reference: FileReference) -> str:
    source = reference.source
    return shown(source.text) if source.kind.is_elsewhere else source.kind.value


def _unfit(info: SourceInfo) -> str | None:
    """Why a file is not fetched ahead."""
    if not 0 < len(info.version) <= VERSION_LENGTH:
        return "its server tells no version, so that a run would have it fetched again"
    return "its server does not tell how large it is" if info.size_bytes is None else None


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, [Finding(message, "events/inputs")])
