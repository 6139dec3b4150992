"""What the addresses in an input object lead to: looked at when a run is submitted, brought here when it needs them."""

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass, field
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
    PlaceholderNotFound,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    StemmaError,
    TooLarge,
    TooManyFetches,
)
from stemma.hiding import may_be_a_key
from stemma.lifecycle.remotes import storage_for
from stemma.lifecycle.remotes_addresses import serving
from stemma.records import Json
from stemma.storages.haste import over_by
from stemma.storages.platform import Platform

if TYPE_CHECKING:
    from stemma.database.queries.remotes import Remote
    from stemma.lifecycle.installation import Installation
    from stemma.storages.protocol import Listed, SourceInfo, Storage

MAX_FILES: Final = 100_000
"""How many files elsewhere the inputs of one run may come to, those of folders counted."""
MAX_LOOKS: Final = 10_000
"""How many addresses they may name."""
MAX_PLACEHOLDERS: Final = 100
"""How many of them by ``valueFromPlatform``, each of which may be an entry of a catalogue to be read."""
_LOOKS_AT_ONCE: Final = 16
_LOOK_SECONDS: Final = 120.0
"""For all addresses of a run together: whoever submits waits for it."""
_LOOKERS: Final = threading.BoundedSemaphore(16)
"""So many submissions look around at a time in this process: slow servers must not use up its threads."""
_LOOKER_SECONDS: Final = 5.0
_TRIED_SECONDS: Final = 60
_BOTH: Final = "a file and a folder there have the same name"


@dataclass(frozen=True, slots=True)
class Looked:
    """What an address leads to."""

    info: "SourceInfo | None" = None
    """Of a file."""
    listing: "tuple[Listed, ...]" = ()
    """Of a folder."""
    remote_id: int | None = None
    remote: UUID | None = None
    """The registered place that it was reached through."""
    number: int | None = None
    """Of a file of this service; whether the caller may have it is for others to say."""
    by_url: bool = False
    """Whether there are URLs that open it, or what is in it, to others."""
    source: dict[str, Json] = field(default_factory=dict)
    """What else is to be recorded of where it comes from: the catalogue that names it."""


@dataclass(frozen=True, slots=True)
class Place:
    """One address, as it is to be looked at."""

    address: str
    is_folder: bool
    subject: str
    """Whose places it may be reached through, beside the group's; empty for nobody's. What a workflow names by itself
    must not be reached with the credentials of whoever runs it."""
    is_placeholder: bool = False
    """Whether it stands in a ``valueFromPlatform``."""

    @classmethod
    def of(cls, reference: FileReference, subject: str) -> "Place":
        """Where the bytes of ``reference`` are."""
        source, is_folder = reference.source, reference.value.get("class") == "Directory"
        return cls(source.text, is_folder, subject, source.kind is SourceKind.PLATFORM)

    def named(self, port: str) -> str:
        """In messages, as what the input ``port`` names."""
        return f"the input {port!r}" if self.is_placeholder else f"input {port!r}, {shown(self.address)}"


def look_at(
    installation: "Installation",
    owner: Owner,
    inputs: Mapping[str, Json],
    given: Collection[str],
    url_kinds: Collection[str] = (),
) -> dict[Place, Looked]:
    """What each address in ``inputs`` leads to. ``given`` are the inputs that the caller gave; for places of
    ``url_kinds`` it is found out whether there are URLs that open them to others.

    Raises:
        InvalidInputs: there is nothing at some of them.
        PlaceholderNotFound: a ``valueFromPlatform`` leads nowhere.
        AddressRefused, SourceForbidden, SourceUnusable, SourceUnavailable: see :mod:`stemma.storages.protocol`.
        TooLarge: there are too many.
    """
    found = [reference for reference in file_references(inputs) if reference.source.kind.is_elsewhere]
    ports: dict[Place, str] = {}
    for reference in found:
        ports.setdefault(Place.of(reference, owner.subject if reference.port in given else ""), reference.port)
    if not ports:
        return {}
    if len(ports) > MAX_LOOKS:
        raise TooLarge("what the inputs name elsewhere", MAX_LOOKS, "addresses")
    if sum(place.is_placeholder for place in ports) > MAX_PLACEHOLDERS:
        raise TooLarge("what the inputs name elsewhere", MAX_PLACEHOLDERS, "addresses")
    looker = _Looker(installation, owner.group, frozenset(url_kinds))
    with _looking(looker, ports) as looks:
        return _gathered(looks, ports, looker.budget)


class _Budget:
    """What the looks of one submission may take together."""

    def __init__(self, files: int = MAX_FILES, seconds: float = _LOOK_SECONDS) -> None:
        self._until = time.monotonic() + seconds
        self._files = self._most = files
        self._guard = threading.Lock()

    @property
    def until(self) -> float:
        """When its time is over, by :func:`time.monotonic`."""
        return self._until

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
                raise TooLarge("what the inputs name elsewhere", self._most, "files")
            if not self.left_seconds:
                raise SourceUnavailable(what, "it takes too long")
            yield one


@contextmanager
def _looking(looker: "_Looker", places: Collection[Place]) -> "Iterator[dict[Place, Future[Looked]]]":
    """Looks at all ``places``, several at a time. Nobody waits for those that are under way when this is left.

    Raises:
        TooManyFetches: as many as may be look around at the moment.
    """
    if not _LOOKERS.acquire(timeout=_LOOKER_SECONDS):
        raise TooManyFetches
    looks: dict[Place, Future[Looked]] = {}
    try:
        known = _known_remotes(looker.installation, looker.group, {place.subject for place in places})
        threads = ThreadPoolExecutor(min(_LOOKS_AT_ONCE, len(places)), "look")
        try:
            for place in places:
                looks[place] = threads.submit(looker.look, known[place.subject], place)
            yield looks
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
    finally:
        _let_another(iter(looks.values()))


def _let_another(looks: "Iterator[Future[Looked]]") -> None:
    """Let another submission look around when all ``looks`` are over: until then they have their threads."""
    for look in looks:
        if not look.done():
            look.add_done_callback(lambda _: _let_another(looks))
            return
    _LOOKERS.release()


def look_each(
    installation: "Installation", group: str, places: Collection[Place], limit: int
) -> "dict[Place, Looked | StemmaError]":
    """What each of ``places`` leads to, or why it cannot be told. Folders may have ``limit`` files together.

    Raises:
        TooManyFetches: as many as may be look around at the moment.
    """
    if not places:
        return {}
    looker = _Looker(installation, group, budget=_Budget(limit))
    with _looking(looker, places) as looks:
        return {place: _seen(place, look, looker.budget) for place, look in looks.items()}


def _seen(place: Place, look: "Future[Looked]", budget: _Budget) -> "Looked | StemmaError":
    try:
        return look.result(budget.left_seconds)
    except FutureTimeout:
        return SourceUnavailable(shown(place.address), "it takes too long")
    except StemmaError as error:
        return error


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
            raise AddressRefused(place.named(ports[place])) from error
        except SourceNotFound as error:
            if place.is_placeholder:
                raise PlaceholderNotFound(ports[place], placeholder(place.address)) from error
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


@dataclass(frozen=True, slots=True)
class _Looker:
    """Looks at places for one submission."""

    installation: "Installation"
    group: str
    url_kinds: frozenset[str] = frozenset()
    """The kinds of places of which it is to be found out whether there are URLs that open them to others."""
    budget: _Budget = field(default_factory=_Budget)

    def look(self, known: "list[Remote]", place: Place) -> Looked:
        """What is at ``place``; ``known`` are the registered places that it may be reached through."""
        with over_by(self.budget.until):
            return self._look(known, place)

    def _look(self, known: "list[Remote]", place: Place) -> Looked:
        if place.is_placeholder:
            return self._look_through(known, place.address, Owner(place.subject, self.group))
        remote = serving(known, place.address)
        storage = storage_for(self.installation, remote, place.address, Owner(place.subject, self.group))
        if not place.is_folder:
            info = storage.info(place.address)
            return Looked(info, (), *_told(remote), by_url=self._is_opened(storage, place.address))
        found = storage.list(place.address, limit=MAX_FILES)
        listed = tuple(self.budget.counted(found, shown(place.address)))
        by_url = bool(listed) and self._is_opened(storage, listed[0].info.address)
        return Looked(None, listed, *_told(remote), by_url=by_url)

    def _look_through(self, known: "list[Remote]", url: str, owner: Owner) -> Looked:
        """What the URL of a placeholder leads to: a file of this service, the file itself, or what a catalogue names.

        Who wrote a catalogue may be a stranger: what it names is reached with the credentials of the place that its
        entry lies at, or without any.
        """
        settings, what = self.installation.settings, shown(url)
        platform = Platform(settings.public_url, settings.max_catalogue_bytes)
        number = platform.own_file(url, what)
        if number is not None:
            return Looked(number=number)
        remote = serving(known, url)
        storage = storage_for(self.installation, remote, url, owner)
        info = storage.info(url)
        source: dict[str, Json] = {}
        named = platform.named_by(storage, info, what)
        if named is not None:
            number = platform.own_file(named, what)
            if number is not None:
                return Looked(number=number, source={"url": shown(named), "catalogue": what})
            served_from = str(info.told.get("served_from") or url)
            # Where it redirects elsewhere the catalogue is a stranger's too.
            if remote is not None and not serving(known, named) == serving(known, served_from) == remote:
                remote = None
            storage = storage_for(self.installation, remote, named, owner)
            info = storage.info(named)
            source["catalogue"] = what
        return Looked(info, (), *_told(remote), by_url=self._is_opened(storage, info.address), source=source)

    def _is_opened(self, storage: "Storage", address: str) -> bool:
        """Whether there are URLs that open a file to others; nobody is asked for it."""
        return kind_of(address) in self.url_kinds and storage.signed(address, _TRIED_SECONDS) is not None


def _told(remote: "Remote | None") -> tuple[int | None, UUID | None]:
    return (remote.id, remote.uuid) if remote is not None else (None, None)


def kind_of(address: str) -> str:
    """The kind of place that an address is at. Plain http is what the settings allow beside https."""
    scheme = address.partition(":")[0].lower()
    return "https" if scheme == "http" else scheme


def placeholder(url: str) -> str:
    """``url`` as it is written in a document."""
    return f"{{{{{url}}}}}"


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
    query = "" if any(may_be_a_key(name, value) for name, value in said) else parts.query
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


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
