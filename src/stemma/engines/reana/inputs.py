"""The input object on its way to REANA: where each file goes in the workspace, and what the engine there is told."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

from stemma.engines.reana.wrapping import LATE_FOLDER
from stemma.file_fields import LATE, OCCURRENCE
from stemma.records import Json

_FOLDER: Final = "data"
_KEPT: Final = ("class", "basename", "format")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has to be in the workspace before the run starts."""

    source: Path | bytes
    place: str
    """Its path in the workspace."""
    size_bytes: int


@dataclass(slots=True)
class JobOrder:
    """The parameters of the run as REANA wants them, and the files that they name."""

    parameters: dict[str, Json] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    late: dict[UUID, str] = field(default_factory=dict)
    """The files that are not here yet: their names."""


def job_order(inputs: Mapping[str, Json]) -> JobOrder:
    """``inputs`` (see :class:`stemma.engines.protocol.Job`) with every file in a folder of its own."""
    order = JobOrder()
    numbers = count()
    order.parameters = {port: _of_value(value, order, numbers) for port, value in inputs.items()}
    return order


def late_uploads(late: Mapping[UUID, str], limit_seconds: float) -> list[Upload]:
    """What jobs have to know of late files: which there are, and how long to wait. Nothing where none is late."""
    if not late:
        return []
    names = "".join(f"{occurrence} {name}\n" for occurrence, name in late.items())
    texts = {"files": names.encode(), "limit": b"%d\n" % max(limit_seconds, 1)}
    return [Upload(text, f"{LATE_FOLDER}/{name}", len(text)) for name, text in texts.items()]


def placeholder(occurrence: UUID) -> bytes:
    """What lies in the place of a late file: as long for every one of them, and known to the wrapper."""
    return f"stemma:late {occurrence}\n".encode()


def _of_value(value: Json, order: JobOrder, numbers: Iterator[int]) -> Json:
    if isinstance(value, list):
        return [_of_value(part, order, numbers) for part in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("class") in {"File", "Directory"}:
        return _of_object(value, f"{_FOLDER}/{next(numbers)}", order)
    return {name: _of_value(part, order, numbers) for name, part in value.items()}


def _of_object(value: Mapping[str, Json], folder: str, order: JobOrder) -> dict[str, Json]:
    """A file or directory in ``folder``, with what belongs to it beside it, as CWL wants it."""
    place = f"{folder}/{Path(value['basename']).name}"
    told: dict[str, Any] = {name: value[name] for name in _KEPT if name in value} | {"path": place}
    if value["class"] == "Directory":
        for member in value.get("listing") or []:  # the engine lists the folder by itself
            _of_object(member, place, order)
        return told
    if value.get(LATE):
        occurrence = UUID(value[OCCURRENCE])
        order.late[occurrence] = Path(value["basename"]).name
        text = placeholder(occurrence)
        order.uploads.append(Upload(text, place, len(text)))
    else:
        order.uploads.append(Upload(_local(value["location"]), place, int(value["size"])))
    if value.get("secondaryFiles"):
        told["secondaryFiles"] = [_of_object(part, folder, order) for part in value["secondaryFiles"]]
    return told


def _local(location: str) -> Path:
    return Path(unquote(urlsplit(location).path))
