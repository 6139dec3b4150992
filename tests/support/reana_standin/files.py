"""Files of a workspace. Symbolic links are not followed, in no part of a path."""

import contextlib
import errno
import os
import re
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from support.reana_standin.refusals import Refused

_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ZIP_BLOCK = 1 << 20
_TOKEN = re.compile(r"\\.|\[[!^]?\]?[^\]]*\]|\*+|.", re.DOTALL)


def parts_of(name: str) -> list[str]:
    """The parts of a path; a leading slash counts for nothing."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise Refused(400, "'..' is not a valid path component")
    return parts


def opened(workspace: Path, name: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of something in the workspace."""
    held = os.open(workspace, os.O_RDONLY | _SAFE)
    parts = parts_of(name)
    for number, part in enumerate(parts, 1):
        mode = flags if number == len(parts) else os.O_RDONLY
        try:
            following = os.open(part, mode | _SAFE, 0o664, dir_fd=held)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Refused(400, f"Opening symlink '{part}' is not allowed") from error
            raise
        finally:
            os.close(held)
        held = following
    return held


def reading(workspace: Path, name: str) -> BinaryIO:
    """A regular file, opened for reading."""
    descriptor = opened(workspace, name)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(400, f"'{name}' is not a regular file")
    return os.fdopen(descriptor, "rb")


def writing(workspace: Path, name: str) -> BinaryIO:
    """A file, made anew, with the folders that it needs."""
    parts = parts_of(name)
    for number in range(1, len(parts)):
        with contextlib.suppress(FileExistsError):
            folder = opened(workspace, "/".join(parts[: number - 1]))
            try:
                os.mkdir(parts[number - 1], dir_fd=folder)
            finally:
                os.close(folder)
    descriptor = opened(workspace, name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    return os.fdopen(descriptor, "wb")


def is_folder(workspace: Path, name: str) -> bool:
    """Whether there is a folder of this name."""
    try:
        descriptor = opened(workspace, name, os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, Refused):
        return False
    os.close(descriptor)
    return True


def walked(workspace: Path, below: str = "", *, folders: bool = False) -> Iterator[str]:
    """What is in a folder, and below it; links are files."""
    top = workspace / below if below else workspace
    top.lstat()
    # What goes away meanwhile is passed over.
    for folder, names, files in os.walk(top):
        here = Path(folder).relative_to(workspace)
        for name in names:
            if folders or (Path(folder) / name).is_symlink():
                yield str(here / name)
        for name in files:
            yield str(here / name)


def matching(workspace: Path, pattern: str, *, folders: bool = False) -> Iterator[str]:
    """What matches a pattern; below a folder, everything."""
    if is_folder(workspace, pattern):
        yield from walked(workspace, "/".join(parts_of(pattern)), folders=folders)
        return
    expression = re.compile(translated(pattern))
    yield from (name for name in walked(workspace, folders=folders) if expression.fullmatch(name))


def translated(pattern: str) -> str:
    """The regular expression of a pattern: ``**`` as a part of its own is any number of folders."""
    *parts, last = pattern.split("/")
    found = "".join("(?:[^/]+/)*" if part == "**" else f"{_part(part)}/" for part in parts)
    return found + (".+" if last == "**" else _part(last))


def _part(part: str) -> str:
    return _TOKEN.sub(lambda token: _translated_token(token[0]), part)


def _translated_token(token: str) -> str:
    if token[0] == "*":
        return "[^/]*"
    if token == "?":
        return "[^/]"
    if token[0] == "[" and len(token) > 1:
        inner = token[1:-1].replace("\\", r"\\")
        return f"[^{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]"
    return re.escape(token[-1])


def zipped(workspace: Path, names: list[str], folder: Path) -> BinaryIO:
    """An archive of these files, on disk, without a name of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - who sends it closes it
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name in names:
            with reading(workspace, name) as source, target.open(name, "w", force_zip64=True) as entry:
                while block := source.read(_ZIP_BLOCK):
                    entry.write(block)
    archive.seek(0)
    return archive


def deleted(workspace: Path, name: str) -> int:
    """Remove a file or an empty folder; its size."""
    parts = parts_of(name)
    folder = opened(workspace, "/".join(parts[:-1]))
    try:
        found = os.lstat(parts[-1], dir_fd=folder)
        remove = os.rmdir if stat.S_ISDIR(found.st_mode) else os.unlink
        remove(parts[-1], dir_fd=folder)
    finally:
        os.close(folder)
    return found.st_size
