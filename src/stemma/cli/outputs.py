"""Brings the outputs of a run onto this machine and says where they are, as ``cwltool`` does."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stemma.errors import ContentDamaged, StemmaError

if TYPE_CHECKING:
    from stemma.client import Client

_FORBIDDEN: Final = frozenset({"", ".", ".."})


class UnsafeOutput(StemmaError):
    """An output has a name that would leave the folder it is to be put into."""

    code, exit_code = "unsafe-output", 73

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the output {name!r} is not written: {why}")
        self.name, self.why = name, why


class CannotWrite(StemmaError):
    """A file cannot be written here."""

    code, exit_code = "cannot-write", 73


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that lies here now."""

    path: Path
    sha1: str
    size_bytes: int


@dataclass(slots=True)
class Collector:
    """Downloads the files of one output object into ``folder``, each once, two of one name under two."""

    client: "Client"
    folder: Path
    progress: Callable[[str, int, int | None], None] | None = None
    _fetched: dict[Any, Fetched] = field(default_factory=dict)
    _taken: set[Path] = field(default_factory=set)

    def collect(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """The output object with the places where its files lie now.

        Raises:
            UnsafeOutput: a name would lead out of the folder.
            CannotWrite: the folder cannot be written to.
            ContentDamaged: what came is not what the run gave.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return {port: self._value(value, self.folder) for port, value in outputs.items()}
        except OSError as error:
            raise CannotWrite(f"cannot write to {error.filename or self.folder}: {error.strerror}") from error

    def _value(self, value: Any, folder: Path) -> Any:
        if isinstance(value, list):
            return [self._value(element, folder) for element in value]
        if not isinstance(value, dict):
            return value
        if value.get("class") == "File":
            return self._file(value, folder)
        if value.get("class") == "Directory":
            return self._directory(value, folder)
        return {key: self._value(element, folder) for key, element in value.items()}

    def _file(self, value: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        fetched = self._fetch(value, folder)
        shown: dict[str, Any] = {
            "location": fetched.path.as_uri(),
            "basename": value["basename"],
            "class": "File",
            "checksum": f"sha1${fetched.sha1}",
            "size": fetched.size_bytes,
        }
        if value.get("secondaryFiles"):
            shown["secondaryFiles"] = [self._value(one, folder) for one in value["secondaryFiles"]]
        shown |= {key: element for key, element in value.items() if key not in {*shown, "id", "contents", "path"}}
        return {**shown, "path": str(fetched.path)}

    def _directory(self, value: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        target = self._free(folder, value["basename"])
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise UnsafeOutput(value["basename"], f"{target} exists and is no folder")
        target.mkdir(exist_ok=True)
        inside = Collector(self.client, target, self.progress)  # names clash only within one folder
        listing = [inside._value(one, target) for one in value.get("listing") or ()]
        return {
            "location": target.as_uri(),
            "basename": value["basename"],
            "class": "Directory",
            "listing": listing,
            "path": str(target),
        }

    def _fetch(self, value: Mapping[str, Any], folder: Path) -> Fetched:
        number = value.get("id")
        known = self._fetched.get(number) if number is not None else None
        if known is not None:
            return known
        target = self._free(folder, value["basename"])
        if target.is_dir() and not target.is_symlink():
            raise UnsafeOutput(value["basename"], f"{target} is a folder")
        fresh = target.with_name(f".stemma-{os.getpid()}-{len(self._taken)}.part")
        try:
            fetched = self._download(value, fresh, target)
            fresh.replace(target)  # a link of that name is replaced, never followed
        finally:
            fresh.unlink(missing_ok=True)
        self._fetched[number] = fetched
        return fetched

    def _download(self, value: Mapping[str, Any], fresh: Path, target: Path) -> Fetched:
        basename, expected = value["basename"], str(value.get("checksum", "")).removeprefix("sha256:")

        def told(through: int, total: int | None) -> None:
            if self.progress is not None:
                self.progress(basename, through, total)

        with fresh.open("xb") as file:
            came = self.client.runs.file(value["id"], file, told)
        if expected and came.sha256 != expected:
            raise ContentDamaged(expected, came.sha256)
        return Fetched(target, came.sha1, came.size_bytes)

    def _free(self, folder: Path, basename: str) -> Path:
        """Where a file of this name goes: ``name``, ``name_2``, ``name_3`` … as ``cwltool`` counts."""
        if basename in _FORBIDDEN or "/" in basename or "\0" in basename:
            raise UnsafeOutput(basename, "its name would lead out of the folder")
        target, number = folder / basename, 2
        while target in self._taken:
            target, number = folder / f"{basename}_{number}", number + 1
        self._taken.add(target)
        return target
