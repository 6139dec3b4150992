"""What the addresses in an input object lead to: looked at when a run is submitted, brought here when it needs them."""

import re
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit
from uuid import UUID

from stemma.cwl.filereferences import FileReference, SourceKind, file_references
from stemma.database.queries import remotes
from stemma.engines.protocol import Owner
from stemma.errors import (
    AddressRefused,
    Finding,
    InvalidInputs,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    TooLarge,
    TooManyFetches,
)
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
_LOOK_SECONDS: Final = 120.0
"""For all addresses of a run together: whoever submits waits for it."""
_LOOKERS: Final = threading.BoundedSemaphore(16)
"""So many submissions look around at a time in this process: slow servers must not use up its threads."""
_LOOKER_SECONDS: Final = 5.0
_SECRET: Final = re.compile(
    r"sig|token|secret|key|credential|pass|pwd|^pw$|auth|access|jwt|code|ticket|session|^sid$|mac|hash|policy|x-amz|x-goog",
    re.IGNORECASE,
)
_BOTH: Final = "a file and a folder there have the same name"
_LONG: Final = re.compile(r"[\w+/=-]{20,}")


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
    if not _LOOKERS.acquire(timeout=_LOOKER_SECONDS):
        raise TooManyFetches
    try:
        return _looked(installation, owner.group, ports)
    finally:
        _LOOKERS.release()


class _Budget:
    """What the looks of one submission may take together."""

    def __init__(self) -> None:
        self._until = time.monotonic() + _LOOK_SECONDS
        self._files = MAX_FILES
        self._guard = threading.Lock()

    @property
    def left_seconds(self) -> float:
        """Until its time is over."""
        return max(0.0, self._until - time.monotonic())

    def counted(self, listed: "Iterable[Listed]", what: str) -> "Iterator[Listed]":
        """``listed``, as long as there is time and room.

        Raises:
            TooLarge: there are too many.
            SourceUnavailable: it takes too long.
        """
        for one in listed:
            with self._guard:
                self._files -= 1
            if self._files < 0:
                raise TooLarge("what the inputs name elsewhere", MAX_FILES, "files")
            if not self.left_seconds:
                raise SourceUnavailable(what, "it takes too long")
            yield one


def _looked(installation: "Installation", group: str, ports: Mapping[Place, str]) -> dict[Place, Looked]:
    """Look at all places, several at a time."""
    known = _known_remotes(installation, group, {place.subject for place in ports})
    budget = _Budget()
    threads = ThreadPoolExecutor(min(_LOOKS_AT_ONCE, len(ports)), "look")
    try:
        looks = {
            place: threads.submit(_look, installation, group, known[place.subject], place, budget) for place in ports
        }
        return _gathered(looks, ports, budget)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _gathered(
    looks: "Mapping[Place, Future[Looked]]", ports: Mapping[Place, str], budget: _Budget
) -> dict[Place, Looked]:
    looked: dict[Place, Looked] = {}
    missing: list[Finding] = []
    for place, look in looks.items():
        try:
            looked[place] = look.result(budget.left_seconds)
        except FutureTimeout as error:
            raise SourceUnavailable(f"input {ports[place]!r}", "it takes too long") from error
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


def _look(installation: "Installation", group: str, known: "list[Remote]", place: Place, budget: "_Budget") -> Looked:
    remote = serving(known, place.address)
    storage = storage_for(installation, remote, place.address, Owner(place.subject, group))
    told = (remote.id, remote.uuid) if remote is not None else (None, None)
    if not place.is_folder:
        return Looked(storage.info(place.address), (), *told)
    listed = storage.list(place.address, limit=MAX_FILES)
    return Looked(None, tuple(budget.counted(listed, shown(place.address))), *told)


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
        said = parse_qsl(parts.query.replace(";", "&"), keep_blank_values=True)
    except ValueError:
        return address.partition("?")[0]
    if parts.scheme.lower() not in {"http", "https"}:
        return address
    query = "" if any(_may_be_a_key(name, value) for name, value in said) else parts.query
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def _may_be_a_key(name: str, value: str) -> bool:
    return not value or _SECRET.search(name) is not None or _LONG.search(value) is not None


def as_tree(listed: Iterable["Listed"]) -> dict[str, Any]:
    """The files of a folder by their names, those of folders in it as such a dictionary."""
    tree: dict[str, Any] = {}
    for one in listed:
        *folders, name = one.path.split("/")
        inner = tree
        for folder in folders:
            deeper = inner.setdefault(folder, {})
            if not isinstance(deeper, dict):
                raise SourceUnusable(shown(one.info.address), _BOTH)
            inner = deeper
        if isinstance(inner.get(name), dict):
            raise SourceUnusable(shown(one.info.address), _BOTH)
        inner[name] = one.info
    return tree
