"""What is sent to start a run: the document and the inputs as attachments, and the input object that names them.

An input that the server reads where it lies is named by a URL that opens it, and not sent.

The document's files keep their paths, below ``bundle/``, since they name one another. Inputs get plain names, below
``inputs/``, since servers change others without saying so; CWL gives them their own names back (``basename``).
"""

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID

import orjson

from stemma.engines.protocol import Job
from stemma.engines.wes.server import NAME
from stemma.errors import EngineRefused
from stemma.file_fields import ELSEWHERE, OCCURRENCE
from stemma.records import Json

RUN_TAG, ATTEMPT_TAG = "stemma_run", "stemma_attempt"
_OURS = frozenset({OCCURRENCE, ELSEWHERE, "checksum", "size", "path", "dirname", "nameroot", "nameext"})
"""Fields of a File that are of no use to the server, or that it makes itself."""
_MEMBERS = ("secondaryFiles", "listing")
_CLASSES = ("File", "Directory")
_UNPLAIN = re.compile(r"[^A-Za-z0-9._-]+|\.{2,}")
_NAME_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Asking:
    """A request to run something."""

    fields: dict[str, str]
    attachments: list[tuple[str, "Attachment"]]
    by_url: int = 0
    """How many inputs the server is to read where they lie."""
    """Names, and what is sent by them."""


class Attachment(io.RawIOBase):
    """A file that is opened when it is its turn, and read piece by piece: thousands may be sent."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._size = path.stat().st_size
        self._position = 0
        self._file: io.FileIO | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is: its size is asked for that way."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        self._shut()
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        self._position = starts[whence] + offset
        return self._position

    def tell(self) -> int:
        """The place where it is."""
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; none at the end, and then it is shut."""
        if self._file is None:
            self._file = io.FileIO(self._path)
            self._file.seek(self._position)
        chunk = self._file.read(size) or b""
        self._position += len(chunk)
        if not chunk:
            self._shut()
        return chunk

    def close(self) -> None:
        """Shut it for good."""
        self._shut()
        super().close()

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def asking(
    job: Job,
    store_path: Callable[[str], Path],
    *,
    engine: str | None,
    engine_parameters: dict[str, str | None],
    by_path: bool,
) -> Asking:
    """The request for ``job``. With ``by_path`` the server reads the inputs where they lie here.

    Raises:
        EngineRefused: an input names a place that is none of ours.
        StemmaError: there is no URL that opens one; see ``Job.url_of``.
    """
    inputs = _Inputs(by_path=by_path, url_of=job.url_of)
    parameters = {port: inputs.value(value, port) for port, value in job.inputs.items()}
    main, _, fragment = job.revision.main_path.partition("#")
    fields = {
        "workflow_url": quote(f"bundle/{main}") + (f"#{quote(fragment)}" if fragment else ""),
        "workflow_type": "CWL",
        "workflow_type_version": job.revision.structure.cwl_version,
        "workflow_params": _json(parameters),
        "tags": _json({RUN_TAG: str(job.run_uuid), ATTEMPT_TAG: str(job.attempt), "stemma_name": job.name}),
    }
    if engine:
        fields["workflow_engine"] = engine
    if engine_parameters:
        fields["workflow_engine_parameters"] = _json(engine_parameters)
    bundle = [(f"bundle/{_inside(file.path)}", store_path(file.content.sha256)) for file in job.revision.files]
    return Asking(fields, [(name, Attachment(path)) for name, path in (*bundle, *inputs.files)], inputs.by_url)


@dataclass(slots=True)
class _Inputs:
    """Goes once through the input object."""

    by_path: bool
    url_of: Callable[[UUID], str] | None
    files: list[tuple[str, Path]] = field(default_factory=list)
    by_url: int = 0

    def value(self, value: Json, port: str) -> Json:
        """``value`` as the server is to have it."""
        if isinstance(value, list):
            return [self.value(part, port) for part in value]
        if not isinstance(value, dict):
            return value
        if value.get("class") not in _CLASSES:
            return {key: self.value(part, port) for key, part in value.items() if key != OCCURRENCE}
        given: dict[str, Any] = {key: part for key, part in value.items() if key not in _OURS}
        for key in _MEMBERS:
            if key in value:
                given[key] = self.value(value[key], port)
        if OCCURRENCE in value and value.get(ELSEWHERE) is True and self.url_of is not None:
            self.by_url += 1
            return given | _told(value) | {"location": self.url_of(UUID(str(value[OCCURRENCE])))}
        if "location" in value or "path" in value:
            given["location"] = self._location(value, port)
        return given

    def _location(self, value: dict[str, Json], port: str) -> str:
        location = value.get("location")
        if OCCURRENCE not in value or not isinstance(location, str) or not location.startswith("file:"):
            raise EngineRefused(NAME, f"input {port!r} names a place of its own, which is not handed to other servers")
        if self.by_path:
            return location
        name = f"inputs/{len(self.files)}/{_plain(str(value.get('basename', '')))}"
        self.files.append((name, Path(unquote(urlsplit(location).path))))
        return name


def _told(value: dict[str, Json]) -> dict[str, Json]:
    """What a File's source told of it, as CWL writes it."""
    told: dict[str, Json] = {"size": value["size"]} if "size" in value else {}
    if "checksum" in value:
        told["checksum"] = str(value["checksum"]).replace(":", "$", 1)
    return told


def _plain(basename: str) -> str:
    """A name that no server changes: it keeps what it ends in, which some tools go by."""
    return "f" + _UNPLAIN.sub("_", basename)[-_NAME_CHARACTERS:]


def _inside(path: str) -> PurePosixPath:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise EngineRefused(NAME, f"the bundle has a file at {path!r}, which leads out of it")
    return pure


def _json(value: Json) -> str:
    return orjson.dumps(value).decode()
