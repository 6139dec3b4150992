"""What the URL of a ``valueFromPlatform`` leads to: a file of this service, an entry of a catalogue, or the file.

An entry of a catalogue is JSON, said to be JSON, with ``distribution``: a list of objects with ``content_url`` (or
``contentUrl``, as schema.org has it). Its first one that has an address is the file. Any other JSON is the file itself.
"""

import re
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urljoin, urlsplit

import orjson

from stemma.errors import AddressRefused, SourceUnusable

if TYPE_CHECKING:
    from stemma.storages.protocol import SourceInfo, Storage

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
class Platform:
    """What is known of this service, and the limits."""

    public_url: str
    max_catalogue_bytes: int

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

    def named_by(self, storage: "Storage", info: "SourceInfo", what: str) -> str | None:
        """The address that an entry of a catalogue names; None where ``info`` is of no such entry.

        Raises:
            AddressRefused: what it names is no address of the web.
            SourceUnavailable: it breaks off, or takes too long.
        """
        kind, size = info.media_type.partition(";")[0].strip(), info.size_bytes
        if not _JSON.fullmatch(kind) or (size or 0) > self.max_catalogue_bytes:
            return None
        content = bytearray()
        with storage.read(info.address, version="", length=size) as chunks:
            for chunk in chunks:
                content += chunk
                if len(content) > self.max_catalogue_bytes:
                    return None
        named = _content_url(bytes(content))
        if named is None:
            return None
        return _joined(str(info.told.get("served_from") or info.address), named, what)


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
        joined = urljoin(base, named.strip())
        is_of_the_web = urlsplit(joined).scheme in _USUAL_PORTS
    except ValueError as error:
        raise AddressRefused(what) from error
    if not is_of_the_web:
        raise AddressRefused(what)
    return joined


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
