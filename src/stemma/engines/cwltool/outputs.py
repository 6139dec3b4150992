"""Gives every file that a step generated its identity: an occurrence with digest, size and origin."""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

from cwltool.errors import WorkflowException

from stemma.engines.cwltool.confinement import LITERAL
from stemma.engines.cwltool.folder import link_or_copy
from stemma.engines.cwltool.known_files import (
    KnownFile,
    content_of_text,
    is_file_object,
    place_of,
)
from stemma.engines.cwltool.recorder import Recorder
from stemma.engines.protocol import Fact, FileSeen
from stemma.file_fields import OCCURRENCE
from stemma.records import Content, FileKind, Json, Occurrence

_FILE, _DIRECTORY = FileKind.FILE, FileKind.DIRECTORY
_MOST_HOPS = 40
"""As many links as the kernel follows."""
_NO_NAMES = frozenset({"", ".", ".."})
_literals = count()
"""One run a process, so one row of numbers is enough."""


class GeneratedFiles:
    """Goes once through the outputs of one step; collects its facts."""

    def __init__(
        self, recorder: Recorder, step: UUID, nearby: Mapping[str, KnownFile], folder: str | None = None
    ) -> None:
        self.facts: list[Fact] = []
        self._recorder = recorder
        self._step = step
        self._nearby = nearby
        self._folder = f"{folder}/" if folder is not None else None
        """Where the step worked; an expression works nowhere."""
        self._made: set[UUID] = set()
        self._inside: set[str] = set()
        """The folders that we are in, by real path."""
        self._at = recorder.now()

    def of_value(self, value: Json, port: str, position: str = "") -> Json:
        """A copy of ``value`` in which every File and Directory names its new occurrence.

        Raises:
            OutsideTheRun: a file, or what a link points to, is none of the run's.
            WorkflowException: there is text in it that cannot be kept, or a name that is none.
        """
        if is_file_object(value):
            return self._of_object(value, port, position, None)
        if isinstance(value, str):
            return _whole(value)
        if isinstance(value, Mapping):
            return {_whole(name): self.of_value(part, port, f"{position}.{name}") for name, part in value.items()}
        if isinstance(value, list):
            return [self.of_value(part, port, f"{position}[{index}]") for index, part in enumerate(value)]
        return value

    def _of_object(self, value: Mapping[str, Json], port: str, position: str, parent: UUID | None) -> dict[str, Json]:
        _check_name(value.get("basename"))
        if value["class"] == "Directory":
            return self._of_directory(value, port, position, parent)
        return self._of_file(value, port, position, parent)

    def _of_file(self, value: Mapping[str, Json], port: str, position: str, parent: UUID | None) -> dict[str, Json]:
        origin = self._origin(value)
        path, content = self._bytes_of(value, origin)
        occurrence = self._mint(
            FileKind.FILE, value["basename"], port, position, parent=parent, content=content, origin=origin
        )
        self._recorder.files.add(KnownFile.of(occurrence, path))
        made = {
            **value,
            "location": file_url(path),
            "size": content.size_bytes,
            "checksum": f"sha256:{content.sha256}",
            OCCURRENCE: str(occurrence.uuid),
        }
        if value.get("secondaryFiles"):
            made["secondaryFiles"] = self._belonging(value, "secondaryFiles", port, position, occurrence.uuid)
        return made

    def _of_directory(
        self, value: Mapping[str, Json], port: str, position: str, parent: UUID | None
    ) -> dict[str, Json]:
        origin = self._origin(value)
        occurrence = self._mint(
            FileKind.DIRECTORY, value["basename"], port, position, parent=parent, content=None, origin=origin
        )
        place = place_of(value)
        if place is None or place.startswith(LITERAL):
            location = f"{LITERAL}{occurrence.uuid}"
            known = self._recorder.files.add(KnownFile.of(occurrence, location))
            listing = self._belonging(value, "listing", port, position, occurrence.uuid)
            known.members = [(f".listing[{i}]", self._known(member)) for i, member in enumerate(listing)]
            return {**value, "location": location, "listing": listing, OCCURRENCE: str(occurrence.uuid)}
        real = self._settled(place)
        known = self._recorder.files.add(KnownFile.of(occurrence, place))
        self._members_on_disk(known, real, port, position)
        return {**value, "location": file_url(place), OCCURRENCE: str(occurrence.uuid)}

    def _members_on_disk(self, directory: KnownFile, real: str, port: str, position: str) -> None:
        """Know everything that lies in a folder, in the order of the names."""
        if real in self._inside:
            raise WorkflowException(f"{directory.place} is a link to a folder that it lies in, so it has no end")
        self._inside.add(real)
        with os.scandir(directory.place) as entries:
            members = sorted(entries, key=lambda entry: entry.name)
        for index, entry in enumerate(members):
            suffix = f".listing[{index}]"
            member = self._member(entry.path, entry.name, port, position + suffix, directory.uuid)
            directory.members.append((suffix, member))
        self._inside.discard(real)

    def _member(self, path: str, basename: str, port: str, position: str, parent: UUID) -> KnownFile:
        _check_name(basename)
        origin = self._origin({"location": path})
        real = self._settled(path)
        if stat.S_ISDIR(os.stat(real).st_mode):  # noqa: PTH116 - once for every file of every folder
            occurrence = self._mint(
                FileKind.DIRECTORY, basename, port, position, parent=parent, content=None, origin=origin
            )
            known = self._recorder.files.add(KnownFile.of(occurrence, path))
            self._members_on_disk(known, real, port, position)
            return known
        content = origin.content if origin is not None and origin.content is not None else self._content_of(path)
        occurrence = self._mint(_FILE, basename, port, position, parent=parent, content=content, origin=origin)
        return self._recorder.files.add(KnownFile.of(occurrence, path))

    def _belonging(
        self, value: Mapping[str, Json], part: str, port: str, position: str, parent: UUID
    ) -> list[dict[str, Json]]:
        return [
            self._of_object(member, port, f"{position}.{part}[{index}]", parent)
            for index, member in enumerate(value.get(part) or [])
        ]

    def _bytes_of(self, value: Mapping[str, Json], origin: KnownFile | None) -> tuple[str, Content]:
        """Where the bytes of a file lie, and their name."""
        place = place_of(value)
        if place is None or place.startswith(LITERAL):
            text = str(value.get("contents", ""))
            return write_literal(self._recorder, value["basename"], text), content_of_text(text)
        real = self._settled(place)
        if origin is not None and origin.content is not None and origin.place in (place, real):
            return place, origin.content
        return place, self._content_of(place)

    def _settled(self, path: str) -> str:
        """The real path of an output. A link that leaves the step's folder is replaced by what it leads to.

        It may pass by files that are removed with the step, and in a container it would lead nowhere.
        """
        real = self._recorder.confinement.real_path(path)
        if real == path or self._folder is None or not path.startswith(self._folder) or real.startswith(self._folder):
            return real
        if not os.path.islink(path):  # noqa: PTH114 - once for every file
            return real
        Path(path).unlink()
        if os.path.isdir(real):  # noqa: PTH112 - as above
            shutil.copytree(real, path, symlinks=True)
        else:
            link_or_copy(real, path)
        return path

    def _origin(self, value: Mapping[str, Json]) -> KnownFile | None:
        """The file that is handed on, if it is one that was known before this step."""
        files = self._recorder.files
        known = files.identify(value, self._nearby) or files.tagged(value)
        place = place_of(value)
        if known is None and place is not None and not place.startswith(LITERAL):
            hops = (files.identify({"location": hop}, self._nearby) for hop in _hops(place))
            known = next((file for file in hops if file is not None), None)
        return None if known is not None and known.uuid in self._made else known

    def _content_of(self, path: str) -> Content:
        """The digest and size of an output.

        Raises:
            WorkflowException: it is a pipe, a socket or a device, whose bytes have no end.
        """
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - once for every output of a run
            raise WorkflowException(f"the output {path} is neither a file nor a folder")
        return self._recorder.content_of(path)

    def _known(self, value: Mapping[str, Json]) -> KnownFile:
        known = self._recorder.files.tagged(value)
        assert known is not None  # noqa: S101 - it was made a moment ago
        return known

    def _mint(
        self,
        kind: FileKind,
        basename: str,
        port: str,
        position: str,
        *,
        parent: UUID | None,
        content: Content | None,
        origin: KnownFile | None,
    ) -> Occurrence:
        occurrence = Occurrence(
            uuid=self._recorder.mint("made", str(self._step), port, position),
            kind=kind,
            basename=basename,
            port=port,
            position=position,
            content=content,
            step=self._step,
            parent=parent,
            derived_from=(origin.uuid,) if origin is not None else (),
            at=self._at,
            attempt=self._recorder.attempt,
        )
        self._made.add(occurrence.uuid)
        self.facts.append(FileSeen(occurrence))
        return occurrence


def _hops(path: str) -> Iterator[str]:
    """Where a link leads, link by link; at last, where that lies when the folders on the way are links too."""
    for _ in range(_MOST_HOPS):
        if not os.path.islink(path):  # noqa: PTH114 - once for every file
            real = os.path.realpath(path)
            if real != path:
                yield real
            return
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))  # noqa: PTH115, PTH118, PTH120 - text, not files
        yield path


def _whole(text: str) -> str:
    """``text``, if it can be written down. An expression can make half a character, a tool a name that is no text.

    Raises:
        WorkflowException: it cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WorkflowException(f"an output holds {ascii(text)[:200]}, which is no text in UTF-8") from error
    return text


def _check_name(basename: object) -> None:
    """See that ``basename`` names a file within a folder (CWL v1.2, CommandLineTool §5.2.1: it holds no slash).

    Raises:
        WorkflowException: it does not.
    """
    if not isinstance(basename, str) or basename in _NO_NAMES or "/" in basename or "\0" in basename:
        raise WorkflowException(f"an output has the basename {ascii(basename)[:200]}, which is no name of a file")
    _whole(basename)


def file_url(path: str) -> str:
    """``path`` as cwltool writes locations."""
    return f"file://{quote(path)}"


def write_literal(recorder: Recorder, basename: str, text: str) -> str:
    """Write a file that an expression gave as text; returns its path."""
    folder = recorder.folder.out / f"literal{next(_literals)}"
    folder.mkdir()
    path = folder / Path(basename).name
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)
