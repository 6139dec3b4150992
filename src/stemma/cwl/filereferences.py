"""Files and Directories in an input object: where they are in it, and where their bytes come from."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote, urlsplit

from stemma.cwl.placeholders import PlaceholderKind, parse
from stemma.records import Json

MAX_LITERAL_BYTES: Final = 64 * 1024
"""CWL v1.2 CommandLineTool §5.1: file literals have at most 64 KiB."""
MAX_NAME_BYTES: Final = 255
FILE_CLASSES: Final = ("File", "Directory")
"""No set: a class that somebody wrote may be a list, which no set can be asked for."""

_CONTENT: Final = re.compile(r"stemma:sha256:([0-9a-f]{64})")
_ENTITY: Final = re.compile(r"stemma:file:([1-9][0-9]{0,17})")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
REMOTE_SCHEMES: Final = ("https", "http", "s3", "gs", "az", "rclone", "file")
"""Of addresses whose files are replicated."""
MAX_ADDRESS_CHARACTERS: Final = 4096
_CHECKSUM: Final = re.compile(r"sha256[:$]([0-9a-f]{64})|sha1\$([0-9a-f]{40})")
"""The second is what CWL v1.2 has for ``File.checksum``."""
_SHA1_DIGITS: Final = 40
_WAYS: Final = ("location", "path", "contents", "listing", *(kind.value for kind in PlaceholderKind))


class SourceKind(Enum):
    """Where bytes come from."""

    UPLOAD = "upload"
    """A file that is uploaded along under this name."""
    CONTENT = "content"
    """Content that the store holds, by its SHA-256."""
    ENTITY = "entity"
    """A file entity of this service, by its number."""
    PLATFORM = "platform"
    """A URL, looked through at submission: what it leads to is of this service, or an address elsewhere."""
    REMOTE = "remote"
    """An address elsewhere; the bytes are brought here when they are needed."""
    LITERAL = "literal"
    """The text itself."""
    LISTING = "listing"
    """A Directory of the files that it lists; they are references of their own."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is an address, so that what it leads to has to be looked at."""
        return self in {SourceKind.PLATFORM, SourceKind.REMOTE}


_COMPARED: Final = frozenset({SourceKind.REMOTE, SourceKind.PLATFORM, SourceKind.ENTITY, SourceKind.CONTENT})
"""Whose bytes are compared with the digest that is given."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """Where the bytes of one File come from."""

    kind: SourceKind
    text: str
    """The name, digest, number, URL, address or text; empty for a listing."""


@dataclass(frozen=True, slots=True)
class FileReference:
    """One File or Directory of an input object."""

    port: str
    position: str
    """Where in the port's value: empty, ``[3]``, ``.field``, ``.secondaryFiles[0]``, ``.listing[2]``, joined."""
    value: dict[str, Json]
    """The very object that stands in the inputs."""

    @property
    def source(self) -> FileSource:
        """Where its bytes come from.

        Raises:
            ValueError: it does not say, or names what is refused; the message says what to do.
        """
        return _source(self.value)

    @property
    def expected(self) -> str | None:
        """The SHA-256, or the SHA-1 (40 digits), that its bytes must have, where the object says so."""
        match = _CHECKSUM.fullmatch(str(self.value.get("checksum")))
        return match[1] or match[2] if match is not None else None


def is_sha1(expected: str) -> bool:
    """Whether a digest that is expected is a SHA-1, and no SHA-256."""
    return len(expected) == _SHA1_DIGITS


def file_references(inputs: Mapping[str, Json]) -> Iterator[FileReference]:
    """Every File and Directory, primary ones before what belongs to them."""
    for port, given in inputs.items():
        pending: list[tuple[str, Json]] = [("", given)]
        while pending:
            position, value = pending.pop()
            below: list[tuple[str, Json]] = []
            if isinstance(value, dict):
                if value.get("class") in FILE_CLASSES:
                    yield FileReference(port, position, value)
                    below = [(f"{position}.{name}", value.get(name)) for name in ("secondaryFiles", "listing")]
                else:
                    below = [(f"{position}.{name}", member) for name, member in value.items()]
            elif isinstance(value, list):
                below = [(f"{position}[{number}]", member) for number, member in enumerate(value)]
            pending += reversed(below)


def problem_of(value: Mapping[str, Json]) -> str | None:
    """Why a File or Directory cannot be taken; None when it can."""
    basename = value.get("basename")
    if basename is not None:
        problem = _name_problem(basename)
        if problem is not None:
            return f"basename {problem}"
    if not isinstance(value.get("format"), str | None):
        return "format must be text"
    for name in ("secondaryFiles", "listing"):
        if not _is_list_of_files(value.get(name, [])):
            return f"{name} takes a list of Files and Directories"
    try:
        source = _source(value)
    except ValueError as error:
        return str(error)
    return _checksum_problem(value) if source.kind in _COMPARED else None


def _checksum_problem(value: Mapping[str, Json]) -> str | None:
    """A digest that cannot be checked must not look as if it were."""
    checksum = value.get("checksum")
    if checksum is None or (isinstance(checksum, str) and _CHECKSUM.fullmatch(checksum)):
        return None
    return (
        "checksum of a file that is not sent along is sha256: and 64 hexadecimal digits, or sha1$ and 40, "
        "in lower case; leave it out if you have none"
    )


def _is_list_of_files(value: Json) -> bool:
    return isinstance(value, list) and all(
        isinstance(member, dict) and member.get("class") in FILE_CLASSES for member in value
    )


def _source(value: Mapping[str, Json]) -> FileSource:
    given = [way for way in _WAYS if value.get(way) is not None]
    is_folder = value.get("class") == "Directory"
    if len(given) != 1:
        wanted = "a listing" if is_folder else "a location, a path or contents"
        raise ValueError(f"give it one of these alone: {', '.join(given)}" if given else f"give it {wanted}")
    way = given[0]
    if way == "listing":
        if not is_folder:
            raise ValueError("a File has no listing; make it a Directory")
        return FileSource(SourceKind.LISTING, "")
    written = value[way]
    if not isinstance(written, str):
        raise ValueError(f"{way} must be text")  # noqa: TRY004 - one kind of refusal for all that a value may be
    source = _written_source(way, written)
    if is_folder and source.kind not in {SourceKind.ENTITY, SourceKind.REMOTE}:
        raise ValueError("a Directory is given by its listing; upload its files and list them")
    return source


def _written_source(way: str, written: str) -> FileSource:
    if way == "contents":
        if len(written.encode(errors="surrogatepass")) > MAX_LITERAL_BYTES:
            raise ValueError(f"contents may have {MAX_LITERAL_BYTES} bytes; upload the file instead")
        return FileSource(SourceKind.LITERAL, written)
    if way == PlaceholderKind.ENTITY:
        return FileSource(SourceKind.ENTITY, parse(PlaceholderKind.ENTITY, written))
    if way == PlaceholderKind.PLATFORM:
        return FileSource(SourceKind.PLATFORM, parse(PlaceholderKind.PLATFORM, written))
    return _located(written, is_encoded=way == "location")


def _located(written: str, *, is_encoded: bool) -> FileSource:
    for pattern, kind in ((_CONTENT, SourceKind.CONTENT), (_ENTITY, SourceKind.ENTITY)):
        match = pattern.fullmatch(written)
        if match is not None:
            return FileSource(kind, match[1])
    if written.startswith("stemma:"):
        raise ValueError("write stemma:sha256: and 64 hexadecimal digits, or stemma:file: and a number")
    scheme = _SCHEME.match(written)
    if scheme is not None and scheme[1].lower() in REMOTE_SCHEMES and _is_address(written, scheme[1].lower()):
        return FileSource(SourceKind.REMOTE, _checked(written))
    if written.startswith("/") or written.lower().startswith("file:"):
        raise ValueError("files of the server cannot be named; upload the file and give its name")
    if scheme is not None and (is_encoded or "://" in written):
        known = ", ".join(f"{name}:" for name in REMOTE_SCHEMES)
        raise ValueError(f"addresses begin with one of {known} else upload the file and give its name")
    name = unquote(written) if is_encoded else written
    problem = _name_problem(name)
    if problem is not None:
        raise ValueError(f"the name of an upload {problem}")
    return FileSource(SourceKind.UPLOAD, name)


def _is_address(written: str, scheme: str) -> bool:
    return written[len(scheme) :].startswith(":" if scheme == "rclone" else ":///" if scheme == "file" else "://")


def _checked(address: str) -> str:
    if len(address) > MAX_ADDRESS_CHARACTERS or not address.isprintable():
        raise ValueError(f"an address has at most {MAX_ADDRESS_CHARACTERS} characters, all of which can be printed")
    urlsplit(address)  # raises what a caller is to hear
    return address


def _name_problem(name: Json) -> str | None:
    """Why ``name`` is no name of a file; None when it is one."""
    if not isinstance(name, str) or name in {"", ".", ".."}:
        return "must be a name"
    if "/" in name or "\\" in name or "\0" in name:
        return "holds '/', a backslash or NUL; give the name alone"
    if any("\ud800" <= character <= "\udfff" for character in name) or len(name.encode()) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes or no text"
    return None
