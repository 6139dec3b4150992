"""A job on this machine made one that can be sent: each file that it names becomes an upload, once."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from stemma.client.multipart import Attachment
from stemma.cwl.inputs import read_inputs
from stemma.errors import Finding, InvalidInputs

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_PLACES: Final = ("location", "path")
_ELSEWHERE: Final = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:", re.IGNORECASE)


@dataclass(slots=True)
class Job:
    """An input object whose files are uploads, and these."""

    inputs: dict[str, Any]
    files: list[Attachment]

    @property
    def size_bytes(self) -> int:
        """How much there is to send."""
        return sum(file.size_bytes for file in self.files)


def read_job(path: Path) -> dict[str, Any]:
    """The input object in a job file, as it is written.

    Raises:
        InvalidInputs: it cannot be read, with line and column where that is known.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInputs([Finding(f"{path} cannot be read: {error.strerror}", "inputs/unreadable")]) from error
    return read_inputs(content, str(path))


def make_job(parts: Iterable[tuple[Mapping[str, Any], Path]], patterns: Mapping[str, list[str]] | None = None) -> Job:
    """One job of ``parts``, input objects each with the folder that its relative paths are seen from.

    ``patterns`` are the secondary files that inputs of the workflow ask for; those that lie beside a file are sent
    along with it, as CWL runners do.

    Raises:
        InvalidInputs: a file or folder is missing, or is not what it is said to be.
    """
    maker, made = _Maker(patterns or {}), dict[str, Any]()
    for inputs, base in parts:
        maker.base = base
        made |= {name: maker.value(name, value, top=True) for name, value in inputs.items()}
    if maker.findings:
        raise InvalidInputs(maker.findings)
    return Job(made, list(maker.files.values()))


@dataclass(slots=True)
class _Maker:
    patterns: Mapping[str, list[str]]
    base: Path = field(default_factory=Path.cwd)
    files: dict[Path, Attachment] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def value(self, port: str, value: Any, *, top: bool = False) -> Any:
        """``value``, with what it names on this machine taken up."""
        if isinstance(value, list):
            return [self.value(port, element, top=top) for element in value]
        if not isinstance(value, dict):
            return value
        kind = value.get("class")
        if kind == "File":
            return self._file(port, value, top=top)
        if kind == "Directory":
            return self._folder(port, value)
        return {key: self.value(port, element) for key, element in value.items()}

    def _file(self, port: str, value: dict[str, Any], *, top: bool) -> dict[str, Any]:
        path = self._local(value)
        made = self._with_members(port, value)
        if path is None:
            return made
        if not path.is_file():
            what = "is a folder; say class: Directory" if path.is_dir() else "does not exist"
            self._refuse(port, f"the file {self._shown(value)} {what}", path)
            return made
        made = self._placed(made, self._upload(port, path))
        made.setdefault("basename", path.name)
        if top and "secondaryFiles" not in value:
            beside = [self._beside(path, pattern) for pattern in self.patterns.get(port, [])]
            found = [self.value(port, _named(one)) for one in beside if one is not None]
            if found:
                made["secondaryFiles"] = found
        return made

    def _folder(self, port: str, value: dict[str, Any]) -> dict[str, Any]:
        path = self._local(value)
        made = self._with_members(port, value)
        if path is None:
            return made
        made = self._placed(made, None)
        made.setdefault("basename", path.resolve().name)
        if "listing" in value:
            return made
        if not path.is_dir():
            what = "is a file; say class: File" if path.exists() else "does not exist"
            self._refuse(port, f"the folder {self._shown(value)} {what}", path)
            return made
        made["listing"] = list(self._listing(port, path, (path.resolve(),)))
        return made

    def _listing(self, port: str, folder: Path, within: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
        """What lies in ``folder``, by name; a link back to a folder that it lies in would never end."""
        for entry in sorted(folder.iterdir()):
            if entry.is_dir():
                target = entry.resolve()
                if target in within:
                    self._refuse(port, f"the folder {entry} is a link to a folder that it lies in", entry)
                    continue
                listing = list(self._listing(port, entry, (*within, target)))
                yield {"class": "Directory", "basename": entry.name, "listing": listing}
            elif entry.is_file():
                yield {"class": "File", "basename": entry.name, "location": self._upload(port, entry)}
            else:
                self._refuse(port, f"{entry} is neither a file nor a folder", entry)

    def _with_members(self, port: str, value: dict[str, Any]) -> dict[str, Any]:
        return {
            key: self.value(port, element) if key in {"secondaryFiles", "listing"} else element
            for key, element in value.items()
        }

    def _placed(self, value: dict[str, Any], location: str | None) -> dict[str, Any]:
        left = {key: element for key, element in value.items() if key not in _PLACES}
        return left if location is None else {**left, "location": location}

    def _upload(self, port: str, path: Path) -> str:
        """The name that the file at ``path`` goes by; the same file, the same name."""
        real = path.resolve()
        if real not in self.files:
            if not os.access(real, os.R_OK):
                self._refuse(port, f"the file {path} cannot be read", path)
            self.files[real] = Attachment(self._free_name(path.name), real)
        return self.files[real].name

    def _free_name(self, basename: str) -> str:
        """A name that needs no escaping anywhere: the file's own where it will do (the job says its basename)."""
        name = basename
        if not _PLAIN_NAME.fullmatch(name) or name in self.names:
            suffix = Path(basename).suffix
            name = f"file-{len(self.files) + 1}{suffix if _PLAIN_NAME.fullmatch('x' + suffix) else ''}"
            while name in self.names:
                name = f"file-{name}"
        self.names.add(name)
        return name

    def _local(self, value: dict[str, Any]) -> Path | None:
        """The path that a File or Directory names on this machine; None where it names none."""
        location, path = value.get("location"), value.get("path")
        if isinstance(location, str) and not _ELSEWHERE.match(location):
            return self.base / _path_of(location)
        if location is None and isinstance(path, str):
            named = self.base / (_path_of(path) if path.startswith("file://") else path)
            # A name may look like an address, as "A0:" does; a file that is there is what was meant.
            return named if named.exists() or not _ELSEWHERE.match(path) else None
        return None

    def _beside(self, path: Path, pattern: str) -> Path | None:
        """The secondary file that ``pattern`` names (CWL v1.2 CommandLineTool §5.1.4), where there is one."""
        name = path.name
        while pattern.startswith("^"):
            name, pattern = Path(name).stem if "." in name else name, pattern[1:]
        found = path.with_name(name + pattern)
        return found if found.exists() else None

    def _shown(self, value: dict[str, Any]) -> str:
        return repr(value.get("location") or value.get("path"))

    def _refuse(self, port: str, problem: str, path: Path) -> None:
        shown = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
        self.findings.append(Finding(f"{port}: {problem} (looked at {shown})", "inputs/missing-file"))


def _path_of(location: str) -> str:
    return unquote(urlsplit(location).path) if location.lower().startswith("file:") else unquote(location)


def _named(path: Path) -> dict[str, Any]:
    return {"class": "Directory" if path.is_dir() else "File", "path": str(path)}
