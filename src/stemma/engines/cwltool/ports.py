"""What goes into a run and what comes out of it: the input object made ready, the output object made plain."""

import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import cast
from urllib.parse import quote
from uuid import UUID

from cwltool.errors import WorkflowException

from stemma.engines.cwltool.confinement import LITERAL, local_path
from stemma.engines.cwltool.folder import link_or_copy
from stemma.engines.cwltool.known_files import (
    KnownFile,
    is_file_object,
    place_of,
)
from stemma.engines.cwltool.recorder import Recorder
from stemma.engines.cwltool.usages import brought_file
from stemma.engines.protocol import Fact
from stemma.file_fields import LATE, OCCURRENCE
from stemma.records import Content, FileKind, Json

_PLAIN_FIELDS = ("class", "basename", "format")
"""Texts all: what else a tool writes there, an object that claims to be a file at worst, is left out."""


class StagedInputs:
    """Gives every input file a place of its own, by the name that people gave it.

    A stored file is named by its digest, and two inputs with the same bytes are one of them; cwltool tells
    files apart by their location alone, and takes it for the name.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._numbers = count()

    def of_value(self, value: Json) -> Json:
        """A copy of ``value`` whose files lie in the run's folder."""
        if is_file_object(value):
            return self._of_object(value, None)
        if isinstance(value, Mapping):
            return {name: self.of_value(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.of_value(part) for part in value]
        return value

    def _of_object(self, value: Mapping[str, Json], folder: str | None) -> dict[str, Json]:
        return self._of_directory(value, folder) if value["class"] == "Directory" else self._of_file(value, folder)

    def _of_file(self, value: Mapping[str, Json], folder: str | None) -> dict[str, Json]:
        """A file, with what belongs to it beside it where the names allow."""
        folder = folder or self._folder()
        place = self._place(value, folder)
        if value.get(LATE):
            self._expect(value, place, is_member=False)
        else:
            stored = os.path.realpath(cast("str", local_path(value["location"])))
            os.symlink(stored, place)  # noqa: PTH211 - for every input; a Path costs more than the call
            self._recorder.confinement.allow([stored])
            self._know(value, place, stored)
        staged = {**value, "location": f"file://{quote(place)}"}
        staged.pop(LATE, None)
        if value.get("secondaryFiles"):
            staged["secondaryFiles"] = [self._of_object(part, folder) for part in value["secondaryFiles"]]
        return staged

    def _of_directory(self, value: Mapping[str, Json], folder: str | None) -> dict[str, Json]:
        """A folder on the disk, so that its listing is loaded where the document asks for it, and nowhere else."""
        place = self._place(value, folder or self._folder())
        self._fill(value, place)
        return {**{key: part for key, part in value.items() if key != "listing"}, "location": f"file://{quote(place)}"}

    def _fill(self, value: Mapping[str, Json], place: str) -> KnownFile:
        if os.path.lexists(place):
            raise WorkflowException(f"a folder among the inputs has two members called {value['basename']!r}")
        os.mkdir(place)  # noqa: PTH102 - see above
        directory = KnownFile(UUID(value[OCCURRENCE]), FileKind.DIRECTORY, value["basename"], place)
        known = self._recorder.files.add(directory)
        for index, member in enumerate(value.get("listing") or []):
            inner = f"{place}/{Path(member['basename']).name}"
            found = self._fill(member, inner) if member["class"] == "Directory" else self._hold(member, inner)
            known.members.append((f".listing[{index}]", found))
            for number, part in enumerate(member.get("secondaryFiles") or []):
                beside = self._hold(part, f"{place}/{Path(part['basename']).name}")
                known.members.append((f".listing[{index}].secondaryFiles[{number}]", beside))
        if self._recorder.gate is not None:
            self._recorder.gate.expect_folder(known)
        return known

    def _hold(self, value: Mapping[str, Json], place: str) -> KnownFile:
        """A member of a folder: a hard link, since a symbolic one would lead nowhere inside a container."""
        if os.path.lexists(place):  # never write into what lies there: it may be the stored file itself
            raise WorkflowException(f"a folder among the inputs has two members called {value['basename']!r}")
        if value.get(LATE):
            return self._expect(value, place, is_member=True)
        link_or_copy(os.path.realpath(cast("str", local_path(value["location"]))), place)
        return self._know(value, place, place)

    def _expect(self, value: Mapping[str, Json], place: str, *, is_member: bool) -> KnownFile:
        """A file whose bytes come later."""
        known = self._recorder.files.add(KnownFile(UUID(value[OCCURRENCE]), FileKind.FILE, value["basename"], place))
        self._recorder.late_files().expect(known, is_member=is_member)
        return known

    def _know(self, value: Mapping[str, Json], place: str, real: str) -> KnownFile:
        content = Content(str(value["checksum"]).removeprefix("sha256:"), int(value["size"]))
        known = KnownFile(UUID(value[OCCURRENCE]), FileKind.FILE, value["basename"], place, content)
        return self._recorder.files.add(known, real)

    def _place(self, value: Mapping[str, Json], folder: str) -> str:
        """A free path in ``folder``, or in one of its own."""
        name = Path(value["basename"]).name
        place = f"{folder}/{name}"
        return f"{self._folder()}/{name}" if os.path.lexists(place) else place

    def _folder(self) -> str:
        path = f"{self._recorder.folder.inputs}/{next(self._numbers)}"
        os.mkdir(path)  # noqa: PTH102 - for every input; a Path costs more than the call
        return path


class FinalOutputs:
    """Makes the output object of the run plain: absolute paths, each of its own and free to be moved away."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._taken: set[str] = set()
        self._numbers = count()

    def of_value(self, value: Json, port: str, position: str = "") -> Json:
        """``value`` with every File and Directory as the engine's caller wants it."""
        if is_file_object(value):
            return self._of_object(value, port, position)
        if isinstance(value, Mapping):
            return {name: self.of_value(part, port, f"{position}.{name}") for name, part in value.items()}
        if isinstance(value, list):
            return [self.of_value(part, port, f"{position}[{index}]") for index, part in enumerate(value)]
        return value

    def _of_object(self, value: Mapping[str, Json], port: str, position: str) -> dict[str, Json]:
        known = self._recorder.files.identify(value)
        if known is None:
            facts: list[Fact] = []
            known = brought_file(self._recorder, facts, value, port, position, None)
            self._recorder.write(*facts)
        plain = {name: value[name] for name in _PLAIN_FIELDS if isinstance(value.get(name), str)}
        if value["class"] == "Directory":
            return self._of_directory(plain, known, value.get("listing") or [], port, position)
        plain |= self._bytes(known, value)
        if value.get("secondaryFiles"):
            plain["secondaryFiles"] = [
                self._of_object(part, port, f"{position}.secondaryFiles[{index}]")
                for index, part in enumerate(value["secondaryFiles"])
            ]
        return plain

    def _of_directory(
        self, plain: dict[str, Json], known: KnownFile, listing: list[Json], port: str, position: str
    ) -> dict[str, Json]:
        if known.place.startswith(LITERAL) and listing:
            members = [
                self._of_object(part, port, f"{position}.listing[{index}]") for index, part in enumerate(listing)
            ]
        else:
            members = [self._of_member(member) for _, member in known.members]
        return {**plain, OCCURRENCE: str(known.uuid), "listing": members}

    def _of_member(self, known: KnownFile) -> dict[str, Json]:
        plain: dict[str, Json] = {"basename": known.basename}
        if known.kind is FileKind.DIRECTORY:
            return self._of_directory({"class": "Directory", **plain}, known, [], "", "")
        return {"class": "File", **plain, **self._bytes(known, {})}

    def _bytes(self, known: KnownFile, value: Mapping[str, Json]) -> dict[str, Json]:
        """Where the bytes lie and what they are."""
        if known.content is None:
            raise WorkflowException(f"{known.basename} is an output of the run, and has not come")
        return {
            OCCURRENCE: str(known.uuid),
            "location": self._own_path(known, value),
            "size": known.content.size_bytes,
            "checksum": f"sha256:{known.content.sha256}",
        }

    def _own_path(self, known: KnownFile, value: Mapping[str, Json]) -> str:
        """The path where the file lies, or another that leads to the same bytes where this one is not free."""
        if known.place.startswith(LITERAL):
            path = self._fresh()
            Path(path).write_text(str(value.get("contents", "")), encoding="utf-8", newline="")
            return path
        real = self._recorder.confinement.real_path(place_of(value) or known.place)
        if real.startswith(f"{self._recorder.folder.tmp}/") and real not in self._taken:
            self._taken.add(real)
            return real
        path = self._fresh()
        link_or_copy(real, path)
        return path

    def _fresh(self) -> str:
        return f"{self._recorder.folder.out}/{next(self._numbers)}"
