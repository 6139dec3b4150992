"""The outputs of a run: which the server tells, their bytes, and an identity for each.

A server tells the CWL output object (the standard), or a list of files, as Sapporo does. A list says nothing of the
document's outputs; the output object that the CWL runner prints (CWL Command Line Tool, "Executing CWL documents")
then tells which file is which, and each of its files has to be one of the list.

No server tells which step made a file, so an occurrence names none. That ``at`` is set tells it from a file that the
document brought: it was made in this run. A file that the document only hands through is the input that it was.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid5

import orjson

from stemma.cwl.types import is_nullable
from stemma.engines.protocol import FileSeen
from stemma.engines.wes import texts
from stemma.engines.wes.fetching import Bytes, Fetched, path_in
from stemma.engines.wes.folder import Given, OutputPort, Trail
from stemma.engines.wes.server import NAME
from stemma.errors import EngineRefused
from stemma.file_fields import ELSEWHERE, OCCURRENCE
from stemma.records import Content, FileKind, Json, Occurrence, WorkflowStructure

_CLASSES = ("File", "Directory")
_MEMBERS = ("secondaryFiles", "listing")
_MOST_FILES = 100_000
_DEEPEST = 100
_NAME_BYTES = 255
_NO_NAMES = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True)
class Told:
    """What the server told of the outputs."""

    value: dict[str, Json]
    """The output object, locations as the server gave them or as its list has them."""
    files: dict[str, str] = field(default_factory=dict)
    """Where a list was given: the places of the files, by path."""
    undeclared: tuple[str, ...] = ()
    """Outputs that the document does not have, which are left out."""


def handed_through(structure: WorkflowStructure, inputs: dict[str, Json]) -> list[Given]:
    """The inputs that the document names as outputs, at the places where they come out."""
    return [
        Given(
            port=port.id,
            position=position,
            occurrence=UUID(value[OCCURRENCE]),
            checksum=value["checksum"],
            basename=value["basename"],
        )
        for port in structure.outputs
        if len(port.sources) == 1 and port.sources[0] in inputs
        for position, value in _files(inputs[port.sources[0]], within=("secondaryFiles",))
        if value["class"] == "File" and OCCURRENCE in value and ELSEWHERE not in value
    ]


def read_elsewhere(inputs: dict[str, Json]) -> int:
    """How many files of an input object the server reads where they lie."""
    found = (file for value in inputs.values() for _, file in _files(value, within=_MEMBERS))
    return sum(ELSEWHERE in file for file in found)


def told_outputs(outputs: Json, stdout: str | None, ports: list[OutputPort]) -> Told:
    """What ``outputs`` of a run log means, with the runner's ``stdout``.

    Raises:
        EngineRefused: it does not tell what the document promises.
    """
    printed = _printed(stdout, ports)
    if isinstance(outputs, list):
        told = _from_list(outputs, printed, ports)
    else:
        told = Told(outputs if isinstance(outputs, dict) and outputs else printed or {})
    declared = {port.id for port in ports}
    value = {port.id: told.value.get(port.id) for port in ports}
    missing = [port.id for port in ports if value[port.id] is None and not is_nullable(port.type)]
    if missing:
        raise EngineRefused(NAME, f"it does not tell the outputs {', '.join(map(repr, missing))}")
    return Told(value, told.files, tuple(sorted(key for key in told.value if key not in declared))[:20])


class Outputs:
    """Goes once through an output object; collects the facts."""

    def __init__(self, trail: Trail, told: Told, source: Bytes, at: datetime) -> None:
        self.facts: list[FileSeen] = []
        self._trail = trail
        self._told = told
        self._source = source
        self._at = at
        self._given = {(given.port, given.position): given for given in trail.given}
        self._count = 0

    def collect(self) -> dict[str, Json]:
        """The output object with the identities of its files, all of which are here then.

        Raises:
            EngineRefused: something of it cannot be had.
            EngineUnreachable: the server does not answer; call again.
        """
        return {port: self._value(value, _Place(port)) for port, value in self._told.value.items()}

    def _value(self, value: Json, place: "_Place") -> Json:
        if isinstance(value, list):
            return [self._value(part, place.within(f"[{index}]")) for index, part in enumerate(value)]
        if not isinstance(value, dict):
            # Who was asked several times may tell of an asking that had more URLs than the last.
            may_have_keys = self._trail.handed > 0 or self._trail.asked > 1
            return texts.without_keys(value) if may_have_keys and isinstance(value, str) else value
        if value.get("class") in _CLASSES:
            return self._object(value, place)
        return {key: self._value(part, place.within(f".{key}")) for key, part in value.items() if key != OCCURRENCE}

    def _object(self, value: dict[str, Json], place: "_Place") -> dict[str, Json]:
        self._count += 1
        if self._count > _MOST_FILES:
            raise EngineRefused(NAME, f"its outputs are more than {_MOST_FILES} files")
        name = _basename(value, place.port)
        return self._directory(value, name, place) if value["class"] == "Directory" else self._file(value, name, place)

    def _directory(self, value: dict[str, Json], name: str, place: "_Place") -> dict[str, Json]:
        uuid = self._mint(FileKind.DIRECTORY, name, place, None)
        listing = self._members(self._listing(value), "listing", place, uuid)
        return {"class": "Directory", "basename": name, OCCURRENCE: str(uuid), "listing": listing}

    def _file(self, value: dict[str, Json], name: str, place: "_Place") -> dict[str, Json]:
        fetched = self._bytes(value, place.port)
        checksum = f"sha256:{fetched.content.sha256}"
        given = self._given.get((place.port, place.position))
        if given is not None and (given.checksum, given.basename) == (checksum, name):
            uuid = given.occurrence
        else:
            uuid = self._mint(FileKind.FILE, name, place, fetched.content)
        made: dict[str, Any] = {
            "class": "File",
            "basename": name,
            "location": fetched.path.as_uri(),
            OCCURRENCE: str(uuid),
            "size": fetched.content.size_bytes,
            "checksum": checksum,
        }
        if isinstance(value.get("format"), str):
            made["format"] = value["format"]
        if value.get("secondaryFiles"):
            secondary = _objects(value["secondaryFiles"], place.port)
            made["secondaryFiles"] = self._members(secondary, "secondaryFiles", place, uuid)
        return made

    def _members(
        self, members: list[dict[str, Json]], part: str, place: "_Place", parent: UUID
    ) -> list[dict[str, Json]]:
        return [self._object(member, place.within(f".{part}[{index}]", parent)) for index, member in enumerate(members)]

    def _bytes(self, value: dict[str, Json], port: str) -> Fetched:
        location = _location(value)
        if location is not None:
            return self._source.fetch(self._told.files.get(location, location), value)
        if isinstance(value.get("contents"), str):
            return self._source.write(value["contents"])
        raise EngineRefused(NAME, f"it does not tell where a file of output {port!r} is")

    def _listing(self, value: dict[str, Json]) -> list[dict[str, Json]]:
        """What is in a folder: told with it, or looked up on a disk that we share."""
        location = _location(value)
        if isinstance(value.get("listing"), list):
            return _objects(value["listing"], "listing")
        if location is not None and self._source.is_shared(location):
            return [
                {"class": "Directory" if is_folder else "File", "basename": name, "location": where}
                for name, where, is_folder in self._source.listing(location)
            ]
        raise EngineRefused(NAME, f"it does not tell what is in the folder {value.get('basename')!r}")

    def _mint(self, kind: FileKind, name: str, place: "_Place", content: Content | None) -> UUID:
        trail = self._trail
        uuid = uuid5(trail.run_uuid, f"output/{trail.attempt}/{place.port}/{place.position}")
        occurrence = Occurrence(
            uuid=uuid,
            kind=kind,
            basename=name,
            port=place.port,
            position=place.position,
            content=content,
            parent=place.parent,
            at=self._at,
            attempt=trail.attempt,
        )
        self.facts.append(FileSeen(occurrence))
        return uuid


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the output object we are."""

    port: str
    position: str = ""
    parent: UUID | None = None
    depth: int = 0

    def within(self, step: str, parent: UUID | None = None) -> "_Place":
        """One step further in.

        Raises:
            EngineRefused: that is too far.
        """
        if self.depth >= _DEEPEST:
            raise EngineRefused(NAME, f"output {self.port!r} is nested too deeply")
        return _Place(self.port, self.position + step, parent, self.depth + 1)


def _printed(stdout: str | None, ports: list[OutputPort]) -> dict[str, Json] | None:
    """The output object that a CWL runner printed: it has the outputs of the document, all and no others."""
    try:
        value = orjson.loads(stdout or "")
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) and value.keys() == {port.id for port in ports} else None


def _from_list(items: list[Json], printed: dict[str, Json] | None, ports: list[OutputPort]) -> Told:
    files: dict[str, str] = {}
    for item in items:
        entry = item if isinstance(item, dict) else {}
        name = next((entry[key] for key in ("file_name", "name", "path") if isinstance(entry.get(key), str)), None)
        place = next((entry[key] for key in ("file_url", "location", "url") if isinstance(entry.get(key), str)), None)
        if name is None or place is None:
            raise EngineRefused(NAME, "its list of outputs has not names and places of files")
        files[name] = place
    if printed is not None:
        return Told(printed, _placed(printed, files))
    if files and files.keys() <= {port.id for port in ports}:
        return Told({name: {"class": "File", "location": place} for name, place in files.items()})
    if len(files) == 1 and len(ports) == 1 and ports[0].type == "File":
        ((name, place),) = files.items()
        value = {"class": "File", "location": place, "basename": PurePosixPath(name).name}
        return Told({ports[0].id: value})
    if not files:
        return Told({})
    raise EngineRefused(NAME, "it lists files and does not tell which output of the document each of them is")


def _placed(printed: dict[str, Json], files: dict[str, str]) -> dict[str, str]:
    """For each location of the output object, where the list has it: one folder of the runner holds them all."""
    paths = {
        location: path_in(location)
        for _, value in _files(printed, within=_MEMBERS)
        if value.get("class") == "File" and (location := _location(value)) is not None
    }
    if not paths:
        return {}
    first = next(iter(paths.values()))
    folders = {first[: -len(name)] for name in files if first.endswith(f"/{name}") or first == name}
    fitting = [
        folder
        for folder in folders
        if all(path.startswith(folder) and path[len(folder) :] in files for path in paths.values())
    ]
    if len(fitting) != 1:
        raise EngineRefused(NAME, "the files that it lists are not those of the output object")
    return {location: files[path[len(fitting[0]) :]] for location, path in paths.items()}


def _files(
    value: Json, position: str = "", *, within: tuple[str, ...], depth: int = 0
) -> Iterator[tuple[str, dict[str, Json]]]:
    """The File and Directory objects in a value, with their positions; also those ``within`` these fields of them."""
    if depth > _DEEPEST:
        raise EngineRefused(NAME, "an output is nested too deeply")
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from _files(part, f"{position}[{index}]", within=within, depth=depth + 1)
    elif isinstance(value, dict):
        is_file = value.get("class") in _CLASSES
        if is_file:
            yield position, value
        for key, part in value.items():
            if not is_file or key in within:
                yield from _files(part, f"{position}.{key}", within=within, depth=depth + 1)


def _location(value: dict[str, Json]) -> str | None:
    found = (value.get(key) for key in ("location", "path", "url"))
    return next((place for place in found if isinstance(place, str) and place and not place.startswith("_:")), None)


def _basename(value: dict[str, Json], port: str) -> str:
    """The name of a file within its folder.

    Raises:
        EngineRefused: it is none.
    """
    name = value.get("basename")
    if name is None:
        name = path_in(_location(value) or "").rstrip("/").rpartition("/")[2]
    if (
        not isinstance(name, str)
        or name in _NO_NAMES
        or "/" in name
        or "\0" in name
        or len(name.encode()) > _NAME_BYTES
    ):
        raise EngineRefused(NAME, f"a file of output {port!r} has the name {texts.sentence(repr(name))}, which is none")
    return name


def _objects(value: Json, where: str) -> list[dict[str, Json]]:
    if isinstance(value, list) and all(isinstance(part, dict) and part.get("class") in _CLASSES for part in value):
        return value
    raise EngineRefused(NAME, f"what belongs to a file of output {where!r} are no files")
