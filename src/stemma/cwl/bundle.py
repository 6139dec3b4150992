"""A CWL document with the files that it refers to, as it was uploaded."""

import hashlib
import io
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

import orjson

from stemma.cwl.archive import Limits, name_problem, unpack
from stemma.cwl.nodes import Unreadable, decode, read
from stemma.cwl.references import NotLocal, bundle_path, references
from stemma.errors import Finding, InvalidDocument, TooLarge

__all__ = ["Bundle", "Limits", "digest", "read_upload"]

_ZIP_MAGICS: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_DOCUMENT_SUFFIXES: Final = frozenset({".cwl", ".yml", ".yaml", ".json"})
_LONE_NAME: Final = "main.cwl"
_CHUNK_BYTES: Final = 1 << 20
_SEARCHED_BYTES: Final = 512 * 1024
"""How much CWL is read to find the document that no other refers to, before the caller is asked instead."""
_SHOWN_CANDIDATES: Final = 10


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files by their path, and which of them is the document to run."""

    files: Mapping[str, bytes | Path]
    """Contents, or where they lie on this machine."""
    main_path: str
    """With ``#id`` where one process of a ``$graph`` is meant."""

    @property
    def main_file(self) -> str:
        """The file of the main document, without a fragment."""
        return self.main_path.partition("#")[0]

    def read(self, path: str) -> bytes:
        """The bytes of one file."""
        content = self.files[path]
        return content if isinstance(content, bytes) else content.read_bytes()

    def size_bytes(self, path: str) -> int:
        """The size of one file."""
        content = self.files[path]
        return len(content) if isinstance(content, bytes) else content.stat().st_size


def read_upload(
    filename: str,
    content: bytes | BinaryIO | Path,
    limits: Limits | None = None,
    *,
    main: str | None = None,
    folder: Path | None = None,
) -> Bundle:
    """The bundle that was uploaded: one CWL document, or a zip archive of one with what it refers to.

    ``main`` names the document to run, as ``path.cwl``, ``path.cwl#id`` or ``#id``; without it the main document is
    found. Files over 1 MiB are put into ``folder`` where one is given, which the caller removes.

    Raises:
        InvalidDocument: it is neither, is refused for its names or kinds of files, or its main document is unclear.
        TooLarge: it is over a limit.
    """
    limits = limits or Limits()
    if isinstance(content, Path):
        with content.open("rb") as opened:
            return read_upload(filename, opened, limits, main=main, folder=folder)
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    start = source.read(len(_ZIP_MAGICS[0]))
    if start.startswith(_ZIP_MAGICS):
        return _from_archive(_seekable(source, start, limits), limits, main, folder)
    if filename.lower().endswith(".zip"):
        raise _invalid(f"{filename!r} is not a zip archive", "bundle/not-a-zip")
    return _lone(filename, start + source.read(limits.document_bytes + 1), limits, main)


def digest(bundle: Bundle) -> str:
    """SHA-256 over the paths, the contents' digests and the main path: equal content, equal digest."""
    files = [[path, _sha256(bundle.files[path])] for path in sorted(bundle.files)]
    return hashlib.sha256(orjson.dumps({"files": files, "main": bundle.main_path})).hexdigest()


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _lone(filename: str, content: bytes, limits: Limits, main: str | None) -> Bundle:
    if len(content) > limits.document_bytes:
        raise TooLarge("the document", limits.document_bytes)
    name = _safe_name(filename)
    if not content.strip():
        raise _invalid("the document is empty", "yaml/empty", name)
    _check_text(content, name)
    return Bundle({name: content}, _chosen({name: content}, main) if main else name)


def _safe_name(filename: str) -> str:
    """The uploaded name where it can be a document's, else one of ours."""
    name = filename.replace("\\", "/").rsplit("/", 1)[-1]
    fits = PurePosixPath(name).suffix.lower() in _DOCUMENT_SUFFIXES and name_problem(name) is None
    return name if fits else _LONE_NAME


def _check_text(content: bytes, name: str) -> None:
    try:
        decode(content, name)
    except Unreadable as error:
        raise InvalidDocument([error.finding]) from error


def _seekable(source: BinaryIO, start: bytes, limits: Limits) -> BinaryIO:
    """``source`` from its beginning: itself where it can go back, else what it holds, in memory."""
    if source.seekable():
        source.seek(-len(start), io.SEEK_CUR)
        return source
    held = bytearray(start)
    while chunk := source.read(_CHUNK_BYTES):
        held += chunk
        if len(held) > limits.bundle_bytes:
            raise TooLarge("the zip archive", limits.bundle_bytes)
    return io.BytesIO(bytes(held))


def _from_archive(archive: BinaryIO, limits: Limits, main: str | None, folder: Path | None) -> Bundle:
    files = _without_top_folder(unpack(archive, limits, folder))
    if not files:
        raise _invalid("the zip archive holds no file", "bundle/empty")
    main_path = _chosen(files, main) if main else _found(files)
    bundle = Bundle(files, main_path)
    if bundle.size_bytes(bundle.main_file) > limits.document_bytes:
        raise TooLarge(f"the document {bundle.main_file}", limits.document_bytes)
    _check_text(bundle.read(bundle.main_file), bundle.main_file)
    return bundle


def _without_top_folder(files: dict[str, bytes | Path]) -> dict[str, bytes | Path]:
    tops = {path.partition("/")[0] for path in files}
    if len(tops) != 1 or any("/" not in path for path in files):
        return files
    return {path.partition("/")[2]: content for path, content in files.items()}


def _chosen(files: Mapping[str, bytes | Path], main: str) -> str:
    """The main path that the caller named, once it is known to be there."""
    path, mark, fragment = main.partition("#")
    if any(character.isspace() or not character.isprintable() for character in fragment):
        raise _invalid(f"{main!r} does not name a process", "bundle/main")
    if not path and len(files) == 1:
        path = next(iter(files))
    path = path or _found(files)
    candidates = (path, posixpath.normpath(path), path.partition("/")[2])
    for candidate in candidates:
        if candidate in files:
            return f"{candidate}{mark}{fragment}" if fragment else candidate
    raise _invalid(f"there is no {path!r} in the bundle; {_offer(_documents(files))}", "bundle/main")


def _found(files: Mapping[str, bytes | Path]) -> str:
    """The main document of an archive.

    ``main.cwl`` at the top, else the only document at the top, else the only one that no other refers to.
    """
    if _LONE_NAME in files:
        return _LONE_NAME
    documents = _documents(files)
    if not documents:
        raise _invalid("the bundle holds no CWL document; its name must end with .cwl", "bundle/main")
    top = [path for path in documents if "/" not in path]
    if len(top) == 1:
        return top[0]
    roots = _unreferenced(files, documents)
    if len(roots) == 1:
        return roots[0]
    message = f"the bundle has no main.cwl and {len(documents)} documents that could be meant; {_offer(documents)}"
    raise _invalid(message, "bundle/main")


def _documents(files: Mapping[str, bytes | Path]) -> list[str]:
    """The CWL documents of an archive: by their suffix, or anything that could be one where none has it."""
    named = sorted(path for path in files if path.lower().endswith(".cwl"))
    return named or sorted(path for path in files if PurePosixPath(path).suffix.lower() in _DOCUMENT_SUFFIXES)


def _unreferenced(files: Mapping[str, bytes | Path], documents: list[str]) -> list[str]:
    """The documents that no other one refers to; all of them where there is too much to read."""
    contents = {path: files[path] for path in documents}
    texts = {path: content for path, content in contents.items() if isinstance(content, bytes)}
    if len(texts) < len(documents) or sum(map(len, texts.values())) > _SEARCHED_BYTES:
        return documents
    named: set[str] = set()
    for path, content in texts.items():
        named |= _targets(path, content) - {path}
    return [path for path in documents if path not in named]


def _targets(path: str, content: bytes) -> set[str]:
    targets = set()
    try:
        for reference in references(read(decode(content, path), path)):
            try:
                targets.add(bundle_path(reference, path))
            except NotLocal:
                continue  # the check of the document reports it; here it names no neighbour
    except Unreadable:
        return set()  # reported as well, once it is known to be part of the workflow
    return targets


def _offer(candidates: list[str]) -> str:
    shown = ", ".join(candidates[:_SHOWN_CANDIDATES]) + (", …" if len(candidates) > _SHOWN_CANDIDATES else "")
    return f"name the one to run with 'main', as path.cwl or path.cwl#id (documents: {shown or 'none'})"


def _invalid(message: str, rule: str, file: str | None = None) -> InvalidDocument:
    return InvalidDocument([Finding(message, rule, file)])
