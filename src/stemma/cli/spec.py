"""A workflow on this machine, read so that it can be sent."""

from dataclasses import dataclass
from pathlib import Path

from stemma.client.multipart import Attachment
from stemma.cwl.collect import collect
from stemma.errors import Finding, InvalidDocument, InvalidInputs

_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Spec:
    """A document with what it refers to."""

    path: Path
    attachment: Attachment
    main: str | None
    """Which document in it to run, and which process of that; None where there is no choice."""
    fragment: str | None
    """The process of a ``$graph`` that was asked for."""

    @property
    def stem(self) -> str:
        """The name that it goes by when none is given: its file's, or its folder's where that is ``main``."""
        folder = self.path.resolve().parent.name
        return folder if self.path.stem == "main" and folder else self.path.stem


def read_spec(named: str) -> Spec:
    """What ``named`` is: ``main.cwl``, ``packed.cwl#main``, or a zip.

    Raises:
        InvalidDocument: it cannot be read, or refers to what is not there.
    """
    path, fragment = _split(named)
    mark = f"#{fragment}" if fragment else ""
    try:
        with path.open("rb") as opened:
            is_zip = opened.read(len(_ZIP)) == _ZIP
        if is_zip:
            return Spec(path, Attachment.of_path(path), mark or None, fragment)
        upload = collect(path)
    except OSError as error:
        finding = Finding(f"{named} cannot be read: {error.strerror}", "cwl/missing-file")
        raise InvalidDocument([finding]) from error
    needs_main = bool(mark) or upload.filename.endswith(".zip")
    main = (upload.main_path + mark) if needs_main else None
    return Spec(path, Attachment(upload.filename, upload.content), main, fragment)


def template(path: Path) -> Attachment:
    """An inputs file, to be kept with a workflow.

    Raises:
        InvalidInputs: it cannot be read.
    """
    try:
        return Attachment(path.name, path.read_bytes())
    except OSError as error:
        raise InvalidInputs([Finding(f"{path} cannot be read: {error.strerror}", "inputs/unreadable")]) from error


def _split(named: str) -> tuple[Path, str | None]:
    """The file, and the process in it; a file whose name has a ``#`` is taken as it is."""
    if "#" in named and not Path(named).exists():
        file, _, fragment = named.rpartition("#")
        return Path(file), fragment
    return Path(named), None
