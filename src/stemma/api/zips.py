"""Input and output objects as zip archives, written while they are sent: memory stays bounded whatever their size."""

import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from stemma.errors import ContentMissing
from stemma.file_fields import OCCURRENCE
from stemma.lifecycle.archive.reading import ArchivedContent
from stemma.records import Json
from stemma.store.content import CHUNK_BYTES, ContentStore

_NAME_BYTES: Final = 200
_REFUSED: Final = re.compile(r'[/\\:*?"<>|]')
"""What separates folders, or what some system cannot have in a name."""
_FILE_MODE: Final = 0o100644 << 16
_FOLDER_MODE: Final = (0o040755 << 16) | 0x10
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Packed:
    """A file in the archive."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(slots=True)
class Layout:
    """Where everything of an object goes: ``port/basename``, with a folder for each index, field and Directory."""

    store: ContentStore
    digests: Mapping[UUID, str]
    archived: Callable[[str], ArchivedContent] | None = None
    """Gives what the store let go."""
    files: list[Packed] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def place(self, values: Mapping[str, Json], document_name: str) -> dict[str, Json]:
        """Lay out ``values``; return them with the place of each File in the archive as its location.

        Raises:
            ContentMissing: the store does not hold a file.
        """
        self._taken.add(document_name.lower())
        return {port: self._value(value, self._unique(_safe(port))) for port, value in values.items()}

    def _value(self, value: Json, folder: str) -> Json:
        if isinstance(value, list):
            return [self._value(element, f"{folder}/{index}") for index, element in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if value.get("class") == "File":
            return self._file(value, folder)
        if value.get("class") == "Directory":
            return self._directory(value, folder)
        return {key: self._value(element, f"{folder}/{_safe(key)}") for key, element in value.items()}

    def _file(self, value: dict[str, Any], folder: str) -> Json:
        shown = {key: element for key, element in value.items() if key != OCCURRENCE}
        digest = self.digests.get(UUID(value[OCCURRENCE])) if OCCURRENCE in value else None
        if digest is not None:
            path = self._unique(f"{folder}/{_safe(str(value.get('basename') or 'file'))}")
            self.files.append(Packed(path, digest, self._size(digest)))
            shown["location"] = path
        if "secondaryFiles" in value:
            shown["secondaryFiles"] = self._members(value["secondaryFiles"], folder)
        return shown

    def _directory(self, value: dict[str, Any], folder: str) -> Json:
        path = self._unique(f"{folder}/{_safe(str(value.get('basename') or 'directory'))}")
        self.folders.append(f"{path}/")
        shown = {key: element for key, element in value.items() if key != OCCURRENCE}
        return shown | {"listing": self._members(value.get("listing") or [], path)}

    def _members(self, members: Sequence[Json], folder: str) -> list[Json]:
        return [self._value(member, folder) for member in members]

    def _size(self, sha256: str) -> int:
        try:
            return self.store.path(sha256).stat().st_size
        except FileNotFoundError as error:
            if self.archived is None:
                raise ContentMissing(sha256) from error
            return self.archived(sha256).size_bytes

    def check(self) -> None:
        """Return when what the store let go can be had, as far as one file of it tells.

        Raises:
            ContentMissing, ArchiveUnavailable: it cannot.
        """
        gone = next((file for file in self.files if not self.store.has(file.sha256)), None)
        if gone is not None and self.archived is not None:
            self.archived(gone.sha256).check()

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """The bytes of a file, wherever they lie by now.

        Raises:
            ContentMissing, ContentDamaged, ArchiveUnavailable: they cannot be had.
        """
        try:
            source = self.store.open(sha256)
        except ContentMissing:
            if self.archived is None:
                raise
            yield from self.archived(sha256).begun()
            return
        with source:
            while chunk := source.read(CHUNK_BYTES):
                yield chunk

    def _unique(self, path: str) -> str:
        """``path``, or with a number where it is taken; some systems do not tell letters' case apart."""
        stem, dot, ending = path.rpartition(".")
        if not dot or "/" in ending:
            stem, ending = path, ""
        chosen, number = path, 1
        while chosen.lower() in self._taken:
            number += 1
            chosen = f"{stem} ({number}){dot if ending else ''}{ending}"
        self._taken.add(chosen.lower())
        return chosen


def archive(layout: Layout, document_name: str, document: Mapping[str, Json], at: datetime) -> Iterator[bytes]:
    """A zip of what was laid out, and ``document`` beside it, in pieces."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr(_entry(document_name, at), orjson.dumps(document, option=orjson.OPT_INDENT_2))
        for folder in layout.folders:
            written.writestr(_entry(folder, at, _FOLDER_MODE), b"")
        for packed in layout.files:
            entry = _entry(packed.path, at)
            entry.file_size = packed.size_bytes  # tells zipfile whether it takes a large entry
            with written.open(entry, "w") as target:
                for chunk in layout.chunks(packed.sha256):
                    target.write(chunk)
                    yield sink.taken()
    yield sink.taken()


def _entry(path: str, at: datetime, mode: int = _FILE_MODE) -> zipfile.ZipInfo:
    """An entry that is packed but not compressed: as fast as the disk, and readable while it comes in.

    An entry that is merely stored could be read from the end of the archive alone, since its size follows it.
    """
    moment = (at.year, at.month, at.day, at.hour, at.minute, at.second)
    entry = zipfile.ZipInfo(path, max(moment, _EARLIEST))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry._compresslevel = 0  # type: ignore[attr-defined]  # noqa: SLF001 - has a public name from Python 3.13 on
    entry.external_attr = mode
    return entry


def _safe(name: str) -> str:
    """``name`` as the name of one file or folder on any system."""
    shown = "".join("_" if unicodedata.category(sign)[0] == "C" else sign for sign in name)
    shown = _REFUSED.sub("_", shown).strip()
    if not shown.strip("."):
        return "_" * max(1, len(shown))
    while len(shown.encode()) > _NAME_BYTES:
        stem, dot, ending = shown.rpartition(".")
        keeps_ending = dot and len(ending) < _NAME_BYTES // 4 and len(stem) > 1
        shown = f"{stem[:-1]}.{ending}" if keeps_ending else shown[:-1]
    return shown


class _Sink:
    """Takes what ``zipfile`` writes, and gives it on. It cannot be sought in, and says so."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes, /) -> int:
        """Take a piece."""
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is held open."""

    def taken(self) -> bytes:
        """What has come since the last time."""
        pieces, self._pieces = b"".join(self._pieces), []
        return pieces
