"""Every file that the run knows, by identity and by place.

cwltool copies the objects that stand for files at will, so each carries the uuid of its occurrence in a
field of its own. Where an expression builds a new object, the field is lost, and the place tells which file it is.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from stemma.engines.cwltool.confinement import LITERAL, local_path
from stemma.file_fields import OCCURRENCE
from stemma.records import Content, FileKind, Json, Occurrence


@dataclass(slots=True)
class KnownFile:
    """A file or directory with an identity."""

    uuid: UUID
    kind: FileKind
    basename: str
    place: str
    """Its local path, or its location when it exists as text alone."""
    content: Content | None = None
    members: list[tuple[str, "KnownFile"]] = field(default_factory=list)
    """Of a directory: what is in it, each with its position."""
    stored: str | None = None
    """Of a file that came late: where its bytes lie in the store."""

    @classmethod
    def of(cls, occurrence: Occurrence, place: str) -> Self:
        """What ``occurrence`` describes, lying at ``place``."""
        return cls(occurrence.uuid, occurrence.kind, occurrence.basename, place, occurrence.content)


class KnownFiles:
    """The files of the run."""

    def __init__(self) -> None:
        self._by_uuid: dict[UUID, KnownFile] = {}
        self._by_place: dict[str, KnownFile] = {}

    def add(self, file: KnownFile, *places: str) -> KnownFile:
        """Know ``file``, also by other places. Whoever was first at a place keeps it."""
        self._by_uuid[file.uuid] = file
        for place in (file.place, *places):
            self._by_place.setdefault(place, file)
        return file

    def identify(self, value: Mapping[str, Json], nearby: Mapping[str, KnownFile] | None = None) -> KnownFile | None:
        """The file that an object stands for; None when it is a new one.

        The field counts only where the object still points to the same place: an expression may change it.
        ``nearby`` are places that mean more than those of the run as a whole.
        """
        place = place_of(value)
        if place is None:
            return None
        tagged = self.tagged(value)
        if tagged is not None and tagged.place == place:
            return tagged
        found = (nearby or {}).get(place)
        return found if found is not None else self._by_place.get(place)

    def tagged(self, value: Mapping[str, Json]) -> KnownFile | None:
        """The file that the object's own field names."""
        try:
            return self._by_uuid.get(UUID(value.get(OCCURRENCE)))
        except (TypeError, ValueError, AttributeError):
            return None  # no field, or an expression wrote something else into it


def place_of(value: Mapping[str, Json]) -> str | None:
    """The local path of a File or Directory object, or its location when it is text alone; None without either."""
    location = value.get("location") or value.get("path")
    if not isinstance(location, str):
        return None
    return location if location.startswith(LITERAL) else local_path(location)


def is_file_object(value: object) -> bool:
    """Whether it is a File or Directory object."""
    return isinstance(value, Mapping) and value.get("class") in ("File", "Directory")


def file_objects(value: Json, position: str = "") -> Iterator[tuple[str, dict[str, Json]]]:
    """The File and Directory objects in the value of a port, with their positions; not what belongs to them."""
    if isinstance(value, Mapping):
        if is_file_object(value):
            yield position, value  # type: ignore[misc]  # CWL objects are dicts, whatever their library calls them
            return
        for name, part in value.items():
            yield from file_objects(part, f"{position}.{name}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from file_objects(part, f"{position}[{index}]")


def literal_values(ports: Mapping[str, Json]) -> dict[str, Json]:
    """The values that are no files: whole ports, and the fields of records beside the files."""
    return {port: plain for port, value in ports.items() if (plain := _without_files(value)) is not None}


def _without_files(value: Json) -> Json:
    """``value`` without what is a file; None when nothing else is in it."""
    if isinstance(value, Mapping):
        if is_file_object(value):
            return None
        kept = {name: plain for name, part in value.items() if (plain := _without_files(part)) is not None}
        return kept if kept or not value else None
    if isinstance(value, list):
        return None if any(file_objects(value)) else value
    return value


def content_of(path: str) -> Content:
    """The digest and size of the file at ``path``, which is read once and piece by piece."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - once for every output of a run
        digest = hashlib.file_digest(file, "sha256")
        return Content(digest.hexdigest(), os.fstat(file.fileno()).st_size)


def content_of_text(text: str) -> Content:
    """The digest and size of a file that is given as text."""
    encoded = text.encode()
    return Content(hashlib.sha256(encoded).hexdigest(), len(encoded))
