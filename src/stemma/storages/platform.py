"""What the URL of a ``valueFromPlatform`` leads to: a file of this service, an entry of a catalogue, or the file.

An entry of a catalogue is JSON, said to be JSON, with ``distribution``: a list of objects with ``content_url`` (or
``contentUrl``, as schema.org has it). Its first one that has an address is the file. Any other JSON is the file itself.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urljoin, urlsplit

import orjson

from stemma import clock
from stemma.errors import AddressRefused, SourceUnusable
from stemma.records import Json

if TYPE_CHECKING:
    from stemma.storages.outgoing import Answer, Errand

_FILES: Final = "/workflow_execution/files/"
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")
_JSON: Final = re.compile(r"[a-z0-9.+-]+/(?:[a-z0-9.+-]+\+)?json", re.IGNORECASE)
_ADDRESSES: Final = ("content_url", "contentUrl")
_USUAL_PORTS: Final = {"https": 443, "http": 80}
_UNUSUAL: Final = re.compile(r"[^\w.+,:@-]")
"""What cwltool takes no file name with (spaces, say). Nobody chose these names for it."""
_MAX_NAME_BYTES: Final = 255
_MAX_HEADER_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file came from, and which version of it."""

    url: str
    """The file's address, as the placeholder or the catalogue has it."""
    fetched_at: datetime
    catalogue: str | None = None
    """The address of the entry that names the file."""
    served_from: str | None = None
    """Where redirects led to, without its query: those hold keys that are good for an hour."""
    etag: str | None = None
    last_modified: str | None = None

    def recorded(self) -> dict[str, Json]:
        """As it stands in the run's inputs."""
        told = {
            "url": self.url,
            "catalogue": self.catalogue,
            "served_from": self.served_from,
            "etag": self.etag,
            "last_modified": self.last_modified,
            "fetched_at": clock.isoformat(self.fetched_at),
        }
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file of this service; whether the caller may have it is for others to say."""

    number: int
    source: Source | None = None
    """Where a catalogue named it."""


class RemoteFile:
    """A file elsewhere, on its way to us."""

    def __init__(self, source: Source, basename: str, head: bytes, answer: "Answer") -> None:
        self.source = source
        self.basename = basename
        self._head = head
        self._answer = answer

    def read(self, size: int, /) -> bytes:
        """The next part; empty at the end.

        Raises:
            SourceUnavailable: it breaks off, or takes too long.
        """
        head, self._head = self._head, b""
        return head or self._answer.read(size)


@dataclass(frozen=True, slots=True)
class Platform:
    """What is known of this service, and the limits."""

    public_url: str
    max_file_bytes: int
    max_catalogue_bytes: int

    @contextmanager
    def found(self, errand: "Errand", url: str, what: str) -> Iterator[OwnFile | RemoteFile]:
        """What ``url`` leads to.

        Raises:
            SourceUnusable: it is an address of this service, but not of a file.
            AddressRefused, SourceNotFound, SourceUnavailable, TooLarge: see :meth:`Errand.get`.
        """
        number = self.own_file(url, what)
        if number is not None:
            yield OwnFile(number)
            return
        with errand.get(url, what, limit_bytes=self.max_file_bytes) as answer:
            named, head = self._named_by(answer)
            if named is None:
                yield _remote(answer, url, None, head)
                return
            base = answer.target.url
        named = _joined(base, named, what)
        number = self.own_file(named, what)
        if number is not None:
            yield OwnFile(number, Source(named, clock.now(), catalogue=url))
            return
        with errand.get(named, what, limit_bytes=self.max_file_bytes) as answer:
            yield _remote(answer, named, url, b"")

    def own_file(self, url: str, what: str) -> int | None:
        """The number of the file of this service that ``url`` names; None where it is an address of somebody else.

        Raises:
            SourceUnusable: it is an address of this service, but not of a file.
            AddressRefused: it is no address.
        """
        try:
            asked, own = urlsplit(url), urlsplit(self.public_url)
            is_ours = _place(asked.scheme, asked.hostname, asked.port) == _place(own.scheme, own.hostname, own.port)
        except ValueError as error:
            raise AddressRefused(what) from error
        is_beside = asked.hostname == own.hostname and asked.port is None and own.port is None
        if not (is_ours or is_beside):  # the second: http and https of one server
            return None
        if asked.username is not None:
            raise AddressRefused(what)
        beginning = own.path.rstrip("/") + _FILES
        number = asked.path.removeprefix(beginning).removesuffix("/") if asked.path.startswith(beginning) else ""
        if not _NUMBER.fullmatch(number):
            raise SourceUnusable(what, f"of this service's own addresses only files can be taken: …{_FILES}NUMBER")
        return int(number)

    def _named_by(self, answer: "Answer") -> tuple[str | None, bytes]:
        """The address that an entry of a catalogue names, and what was read of the answer to find out."""
        kind = (answer.header("content-type") or "").partition(";")[0].strip()
        if not _JSON.fullmatch(kind):
            return None, b""
        head = bytearray()
        while len(head) <= self.max_catalogue_bytes:
            part = answer.read(self.max_catalogue_bytes)
            if not part:
                return _content_url(bytes(head)), bytes(head)
            head += part
        return None, bytes(head)


def _place(scheme: str, host: str | None, port: int | None) -> tuple[str | None, int | None]:
    name = host.removesuffix(".") if host else None
    return name, port or _USUAL_PORTS.get(scheme)


def _content_url(content: bytes) -> str | None:
    """The address of the file, when ``content`` is an entry of a catalogue."""
    try:
        entry = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    distributions: Any = entry.get("distribution") if isinstance(entry, dict) else None
    if not isinstance(distributions, list):
        return None
    found = [one[key] for one in distributions if isinstance(one, dict) for key in _ADDRESSES if key in one]
    return next((url for url in found if isinstance(url, str) and url.strip()), None)


def _joined(base: str, named: str, what: str) -> str:
    try:
        return urljoin(base, named.strip())
    except ValueError as error:
        raise AddressRefused(what) from error


def _remote(answer: "Answer", url: str, catalogue: str | None, head: bytes) -> RemoteFile:
    source = Source(
        url=url,
        fetched_at=clock.now(),
        catalogue=catalogue,
        served_from=answer.target.shown if answer.target != answer.asked else None,
        etag=_told(answer, "etag"),
        last_modified=_told(answer, "last-modified"),
    )
    return RemoteFile(source, basename_of(answer.header("content-disposition") or "", url), head, answer)


def _told(answer: "Answer", name: str) -> str | None:
    value = (answer.header(name) or "")[:_MAX_HEADER_CHARACTERS]
    return value if value.isprintable() and value else None


def basename_of(disposition: str, url: str) -> str:
    """What the server calls the file, else the last part of its address."""
    message = Message()
    message["Content-Disposition"] = disposition[:_MAX_HEADER_CHARACTERS]
    candidates = (message.get_filename() or "", unquote(urlsplit(url).path.rstrip("/")))
    return next(filter(None, map(_usable, candidates)), "file")


def _usable(name: str) -> str:
    """The last part of ``name`` as the name of a file; empty where it is none."""
    last = name.replace("\\", "/").rpartition("/")[2].strip()
    if last in {".", ".."} or not last.isprintable() or len(last.encode()) > _MAX_NAME_BYTES:
        return ""
    return _UNUSUAL.sub("_", last)
