"""What the addresses in an input object lead to: looked at when a run is submitted, brought here when it needs them."""

import re
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit
from uuid import UUID

from stemma.cwl.filereferences import FileReference, SourceKind, file_references
from stemma.database.queries import remotes
from stemma.engines.protocol import Owner
from stemma.errors import AddressRefused, Finding, InvalidInputs, SourceNotFound, TooLarge
from stemma.lifecycle.remotes import storage_for
from stemma.lifecycle.remotes_addresses import serving
from stemma.records import Json

if TYPE_CHECKING:
    from stemma.database.queries.remotes import Remote
    from stemma.lifecycle.installation import Installation
    from stemma.storages.protocol import Listed, SourceInfo

MAX_FILES: Final = 100_000
"""How many files elsewhere the inputs of one run may come to, those of folders counted."""
MAX_LOOKS: Final = 10_000
"""How many addresses they may name."""
_LOOKS_AT_ONCE: Final = 16
_SECRET: Final = re.compile(r"sig|token|secret|key|credential|password|auth|x-amz|x-goog", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Looked:
    """What an address leads to."""

    info: "SourceInfo | None"
    """Of a file."""
    listing: "tuple[Listed, ...]"
    """Of a folder."""
    remote_id: int | None
    remote: UUID | None
    """The registered place that it was reached through."""


@dataclass(frozen=True, slots=True)
class Place:
    """One address, as it is to be looked at."""

    address: str
    is_folder: bool
    subject: str
    """Whose places it may be reached through, beside the group's; empty for nobody's. What a workflow names by itself
    must not be reached with the credentials of whoever runs it."""

    @classmethod
    def of(cls, reference: FileReference, subject: str) -> "Place":
        """Where the bytes of ``reference`` are."""
        return cls(reference.source.text, reference.value.get("class") == "Directory", subject)


def look_at(
    installation: "Installation", owner: Owner, inputs: Mapping[str, Json], given: Collection[str]
) -> dict[Place, Looked]:
    """What each address in ``inputs`` leads to. ``given`` are the inputs that the caller gave.

    Raises:
        InvalidInputs: there is nothing at some of them.
        AddressRefused, SourceForbidden, SourceUnusable, SourceUnavailable: see :mod:`stemma.storages.protocol`.
        TooLarge: there are too many.
    """
    found = [reference for reference in file_references(inputs) if reference.source.kind is SourceKind.REMOTE]
    ports: dict[Place, str] = {}
    for reference in found:
        ports.setdefault(Place.of(reference, owner.subject if reference.port in given else ""), reference.port)
    if not ports:
        return {}
    if len(ports) > MAX_LOOKS:
        raise TooLarge("what the inputs name elsewhere", MAX_LOOKS, "addresses")
    known = _known_remotes(installation, owner.group, {place.subject for place in ports})
    with ThreadPoolExecutor(min(_LOOKS_AT_ONCE, len(ports)), "look") as threads:
        looks = {
            place: threads.submit(_look, installation, owner.group, known[place.subject], place) for place in ports
        }
    looked: dict[Place, Looked] = {}
    missing: list[Finding] = []
    for place, look in looks.items():
        try:
            looked[place] = look.result()
        except AddressRefused as error:
            raise AddressRefused(f"input {ports[place]!r}, {shown(place.address)}") from error
        except SourceNotFound:
            message = f"input {ports[place]!r}: there is nothing at {shown(place.address)}"
            missing.append(Finding(message, "inputs/source-not-found"))
    if missing:
        raise InvalidInputs(missing)
    if sum(len(one.listing) or 1 for one in looked.values()) > MAX_FILES:
        raise TooLarge("what the inputs name elsewhere", MAX_FILES, "files")
    return looked


def _known_remotes(installation: "Installation", group: str, subjects: Collection[str]) -> "dict[str, list[Remote]]":
    """The registered places of each person, and of the group."""
    with installation.database.reading() as session:
        return {subject: remotes.find(session, subject, (group,)) for subject in subjects}


def _look(installation: "Installation", group: str, known: "list[Remote]", place: Place) -> Looked:
    remote = serving(known, place.address)
    storage = storage_for(installation, remote, place.address, Owner(place.subject, group))
    told = (remote.id, remote.uuid) if remote is not None else (None, None)
    if not place.is_folder:
        return Looked(storage.info(place.address), (), *told)
    return Looked(None, tuple(storage.list(place.address, limit=MAX_FILES)), *told)


def source_of(info: "SourceInfo") -> dict[str, Json]:
    """Where a file comes from, as it is recorded."""
    return {"url": shown(info.address), **told_by(info)}


def told_by(info: "SourceInfo") -> dict[str, Json]:
    """What a source tells of itself."""
    digests = {"md5": info.md5, "sha256": info.sha256}
    told = {**info.told, **{name: digest for name, digest in digests.items() if digest is not None}}
    return told if info.takes_ranges else {**told, "takes_ranges": False}


def shown(address: str) -> str:
    """``address`` without what gives access to it: keys that are good for an hour stand in its query."""
    try:
        parts = urlsplit(address)
        names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    except ValueError:
        return address.partition("?")[0]
    if parts.scheme.lower() not in {"http", "https"} or not any(map(_SECRET.search, names)):
        return address
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def as_tree(listed: Iterable["Listed"]) -> dict[str, Any]:
    """The files of a folder by their names, those of folders in it as such a dictionary."""
    tree: dict[str, Any] = {}
    for one in listed:
        *folders, name = one.path.split("/")
        inner = tree
        for folder in folders:
            deeper = inner.setdefault(folder, {})
            if not isinstance(deeper, dict):  # a store of objects may have both: the file goes
                deeper = inner[folder] = {}
            inner = deeper
        if not isinstance(inner.get(name), dict):
            inner[name] = one.info
    return tree
