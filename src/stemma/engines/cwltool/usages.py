"""Writes down which files a step used, and knows those that the document itself brought."""

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from stemma.engines.cwltool.confinement import LITERAL
from stemma.engines.cwltool.known_files import (
    KnownFile,
    content_of_text,
    file_objects,
    place_of,
)
from stemma.engines.cwltool.recorder import Recorder
from stemma.engines.protocol import Fact, FileSeen, FileUsed
from stemma.file_fields import OCCURRENCE
from stemma.records import Content, FileKind, Json, Occurrence, Usage


class UsedFiles:
    """Goes once through the inputs of one step; collects its facts."""

    def __init__(self, recorder: Recorder, step: UUID) -> None:
        self.facts: list[Fact] = []
        self.nearby: dict[str, KnownFile] = {}
        """The step's own inputs by place: two inputs of a run may be the same stored file."""
        self._recorder = recorder
        self._step = step

    def add(self, ports: Mapping[str, Json]) -> None:
        """Note what is used at each port."""
        for port, value in ports.items():
            for position, file in file_objects(value):
                self._use(file, port, position, None)

    def _use(self, value: dict[str, Json], port: str, position: str, parent: UUID | None) -> KnownFile:
        known = self._recorder.files.identify(value) or brought_file(
            self._recorder, self.facts, value, port, position, parent
        )
        value[OCCURRENCE] = str(known.uuid)
        self._note(known, port, position)
        for index, secondary in enumerate(value.get("secondaryFiles") or []):
            self._use(secondary, port, f"{position}.secondaryFiles[{index}]", known.uuid)
        if value.get("listing") and not known.members:
            known.members = [
                (f".listing[{index}]", self._use(member, port, f"{position}.listing[{index}]", known.uuid))
                for index, member in enumerate(value["listing"])
            ]
        else:
            self._use_members(known, port, position)
        return known

    def _use_members(self, directory: KnownFile, port: str, position: str) -> None:
        for suffix, member in directory.members:
            self._note(member, port, position + suffix)
            self._use_members(member, port, position + suffix)

    def _note(self, known: KnownFile, port: str, position: str) -> None:
        self.nearby[known.place] = known
        if known.stored is not None:
            self.nearby.setdefault(known.stored, known)
        self.facts.append(FileUsed(Usage(self._step, known.uuid, port, position)))


def brought_file(  # noqa: PLR0917 - the place of a file has these parts
    recorder: Recorder, facts: list[Fact], value: Mapping[str, Json], port: str, position: str, parent: UUID | None
) -> KnownFile:
    """Know a file that no step made and nobody gave: a default, or text in the document."""
    kind = FileKind.DIRECTORY if value["class"] == "Directory" else FileKind.FILE
    content = _brought_content(recorder, value) if kind is FileKind.FILE else None
    uuid = recorder.mint("brought", place_of(value) or "", port, position, content.sha256 if content else "")
    occurrence = Occurrence(
        uuid=uuid,
        kind=kind,
        basename=value["basename"],
        port=port,
        position=position,
        content=content,
        parent=parent,
        attempt=recorder.attempt,
    )
    facts.append(FileSeen(occurrence))
    known = recorder.files.add(KnownFile.of(occurrence, place_of(value) or f"{LITERAL}{uuid}"))
    if kind is FileKind.DIRECTORY and not known.place.startswith(LITERAL):
        _bring_members(recorder, facts, known, port, position)
    return known


def _bring_members(recorder: Recorder, facts: list[Fact], directory: KnownFile, port: str, position: str) -> None:
    """Know what lies in a folder of the document, in the order of the names."""
    for index, path in enumerate(sorted(Path(recorder.confinement.real_path(directory.place)).iterdir())):
        suffix = f".listing[{index}]"
        kind = "Directory" if path.is_dir() else "File"
        member = {"class": kind, "location": str(path), "basename": path.name}
        known = brought_file(recorder, facts, member, port, position + suffix, directory.uuid)
        directory.members.append((suffix, known))


def _brought_content(recorder: Recorder, value: Mapping[str, Json]) -> Content:
    place = place_of(value)
    if place is None or place.startswith(LITERAL):
        return content_of_text(str(value.get("contents", "")))
    return recorder.content_of(recorder.confinement.real_path(place))
