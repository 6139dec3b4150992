"""Zip archives: hostile ones read within limits, and our own written the same way every time.

Nothing that an archive declares is trusted: sizes are counted while inflating, names are checked before any byte is
read, and what is no plain file is refused.
"""

import io
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from stemma.errors import Finding, InvalidDocument, TooLarge

MAX_PART_BYTES: Final = 255
MAX_NAME_BYTES: Final = 1024
MAX_FOLDERS: Final = 32

_ENCRYPTED: Final = 0x1
_CHUNK_BYTES: Final = 1 << 18
_KEPT_IN_MEMORY_BYTES: Final = 1 << 20
_FIRST_MOMENT: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3
_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an upload may be."""

    document_bytes: int = 5 * 1024 * 1024
    """The largest CWL document."""
    bundle_bytes: int = 256 * 1024 * 1024
    """The largest bundle, unpacked."""
    bundle_files: int = 2000


def unpack(archive: BinaryIO, limits: Limits, folder: Path | None) -> dict[str, bytes | Path]:
    """The files of a zip archive by path.

    Those over 1 MiB are written into ``folder`` under names of our own, where one is given; all others are in memory.

    Raises:
        InvalidDocument: it is no zip archive, or one that is refused (every reason is a finding).
        TooLarge: it has too many files, or they are too large together.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened.infolist(), limits)
            return _inflate(opened, members, limits, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, ValueError) as error:
        message = "the zip archive is damaged, or packed in a way that is not read; pack it anew"
        raise InvalidDocument([Finding(message, "bundle/not-a-zip")]) from error


def pack(files: Mapping[str, bytes]) -> bytes:
    """A zip archive of ``files``: equal files, equal bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _FIRST_MOMENT)
            entry.create_system = _UNIX
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[path])
    return packed.getvalue()


def name_problem(path: str) -> str | None:
    """Why ``path`` may not be the path of a file in a bundle; None when it may."""
    parts = path.split("/")
    problems = {
        "holds control characters": any(unicodedata.category(character) in {"Cc", "Cs"} for character in path),
        "is absolute or not written with '/'": path.startswith("/") or "\\" in path or path[1:2] == ":",
        "holds '..', '.' or an empty part": not {"..", ".", ""}.isdisjoint(parts),
        "holds a '#', which separates a file from a part of it": "#" in path,
        "is too long": _byte_count(path) > MAX_NAME_BYTES or max(map(_byte_count, parts)) > MAX_PART_BYTES,
        f"lies deeper than {MAX_FOLDERS} folders": len(parts) > MAX_FOLDERS,
    }
    return next((problem for problem, is_so in problems.items() if is_so), None)


def _byte_count(text: str) -> int:
    return len(text.encode(errors="replace"))


def _members(entries: list[zipfile.ZipInfo], limits: Limits) -> list[zipfile.ZipInfo]:
    """The plain files of an archive, after every name and kind was checked."""
    if len(entries) > 2 * limits.bundle_files:
        raise TooLarge("the zip archive", limits.bundle_files, "files")
    findings: list[Finding] = []
    files: list[zipfile.ZipInfo] = []
    for entry in entries:
        problem = _entry_problem(entry)
        if problem is not None:
            findings.append(Finding(f"{_shown(entry.orig_filename)} {problem}", "bundle/unsafe-entry"))
        elif not entry.is_dir() and not _is_litter(entry.filename):
            files.append(entry)
    if len(files) > limits.bundle_files:
        raise TooLarge("the zip archive", limits.bundle_files, "files")
    findings += _clashes(entry.filename for entry in files)
    if findings:
        raise InvalidDocument(findings)
    return files


def _entry_problem(entry: zipfile.ZipInfo) -> str | None:
    if not entry.filename or "\0" in entry.orig_filename:
        return "is empty or holds control characters; rename it"
    name = entry.filename.removesuffix("/") if entry.is_dir() else entry.filename
    problem = name_problem(name)
    if problem is not None:
        return f"{problem}; rename it"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted; pack it without a password"
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "is compressed in a rare way; pack it with deflate, as every zip program can"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is a link or a special file; pack what it points to"
    return None


def _is_litter(path: str) -> bool:
    """Whether a file is what desktop systems leave in archives."""
    return path.startswith("__MACOSX/") or path.rsplit("/", 1)[-1] == ".DS_Store"


def _clashes(paths: Iterable[str]) -> list[Finding]:
    """Names that are one on some file systems, and files that are folders of others."""
    findings: list[Finding] = []
    seen: dict[str, str] = {}
    for path in paths:
        folded = unicodedata.normalize("NFC", path).casefold()
        if folded in seen:
            message = f"{_shown(path)} and {_shown(seen[folded])} are one name on some systems; rename one"
            findings.append(Finding(message, "bundle/duplicate-name"))
        seen[folded] = path
    for folded, path in seen.items():
        parts = folded.split("/")
        if any("/".join(parts[:count]) in seen for count in range(1, len(parts))):
            message = f"{_shown(path)} lies in what is a file of the archive too; rename one"
            findings.append(Finding(message, "bundle/duplicate-name"))
    return findings


def _inflate(
    opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], limits: Limits, folder: Path | None
) -> dict[str, bytes | Path]:
    left = limits.bundle_bytes
    files: dict[str, bytes | Path] = {}
    for number, entry in enumerate(members):
        target = folder / f"{number:05}" if folder is not None else None
        content, size = _read(opened, entry, left, target, limits)
        files[entry.filename] = content
        left -= size
    return files


def _read(
    opened: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int, target: Path | None, limits: Limits
) -> tuple[bytes | Path, int]:
    """Inflate one file, counting: into memory as long as it is small, then into ``target``."""
    kept, size = bytearray(), 0
    with opened.open(entry) as source:
        while chunk := source.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > left:
                raise TooLarge("the unpacked bundle", limits.bundle_bytes)
            kept += chunk
            if target is not None and len(kept) > _KEPT_IN_MEMORY_BYTES:
                with target.open("ab") as file:
                    file.write(kept)
                kept.clear()
        if target is None or size <= _KEPT_IN_MEMORY_BYTES:
            return bytes(kept), size
        with target.open("ab") as file:
            file.write(kept)
    return target, size


def _shown(name: str) -> str:
    printable = "".join(character if character.isprintable() else _REPLACED for character in name[:120])
    return f"'{printable}'"
