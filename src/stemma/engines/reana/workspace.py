"""The files of a run on REANA, piece by piece: a workspace may hold more than our memory does.

Names in a download's address are patterns to REANA, and the two servers behind it each decode them once, so that what
means something in an address or in a pattern is written as a class of characters with nothing else in it. REANA's
answers do not tell how long they are: the size is asked for first and held against what came.
"""

import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import httpx
import orjson

from stemma.engines.reana import answers, faults
from stemma.engines.reana.answers import WorkspaceFile
from stemma.engines.reana.server import MIB
from stemma.errors import EngineRefused

if TYPE_CHECKING:
    from stemma.engines.reana.session import ReanaSession

_CHUNK: Final = MIB
_FILES_A_PAGE: Final = 5000
_MOST_FILES: Final = 1_000_000
_SPOOLED: Final = 8 * MIB
_TRIES: Final = 5
_LIST: Final = "its list of files"
_BYTES: Final = "application/octet-stream"
_ZIP: Final = "application/zip"
_CLASSES: Final = {
    "*": "[*]",
    "[": "[[]",
    "\\": "[\\\\]",
    "#": '[! -"$-~]',
    "%": "[! -$&-~]",
    "?": "[! ->@-~]",
}
"""What means something in a pattern or an address, as patterns. The last three would not pass both servers."""
_CONTROL: Final = "[! -~]"


def upload(
    session: "ReanaSession", workflow_id: str, path: str, source: Path | bytes | Iterable[bytes], size: int
) -> None:
    """Put ``size`` bytes into the workspace as ``path``, over what is there.

    A file of which only a part arrived may lie there when this fails: only one that has its size (``file``) is whole.

    Raises:
        EngineUnreachable: the connection broke, say; upload it again, from its start.
        EngineRefused: the quota is used up, say.
        WorkspaceGone: it was deleted.
        SourceMismatch: ``source`` has another size.
    """
    _checked(path)
    for attempt in range(1, _TRIES + 1):
        try:
            with session.answered(
                "POST",
                f"/api/workflows/{workflow_id}/workspace",
                parameters=[("file_name", path)],
                headers={"Accept": "application/json", "Content-Type": _BYTES, "Content-Length": str(size)},
                content=_measured(path, _chunks(source), size),
            ) as response:
                _taken(response)
        except faults.ReanaTrouble as error:
            if error.http_status == HTTPStatus.INTERNAL_SERVER_ERROR:
                next(files(session, workflow_id, path), None)  # which says whether there is a workspace
            is_repeatable = isinstance(source, Path | bytes) and attempt < _TRIES
            if error.http_status != HTTPStatus.TOO_MANY_REQUESTS or not is_repeatable:
                raise
        else:
            return


def _taken(response: httpx.Response) -> None:
    """A success says so in JSON: a page of something in between is none."""
    answer = bytearray()
    for chunk in response.iter_raw():
        answer += chunk
        if len(answer) > MIB:
            break
    if faults.said(bytes(answer), "") is None:
        raise faults.WrongAnswer("what answers to an upload does not speak as REANA does")


def _chunks(source: Path | bytes | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, Path):
        with source.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    else:
        yield from source


def _measured(path: str, chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """``chunks``, whose sizes add up to ``size``."""
    found = 0
    for chunk in chunks:
        found += len(chunk)
        if found > size:
            break
        if chunk:
            yield chunk
    if found != size:
        raise faults.SourceMismatch(path, size, found)


def files(session: "ReanaSession", workflow_id: str, under: str = "") -> Iterator[WorkspaceFile]:
    """The files, links among them, whose path begins with ``under``.

    Raises:
        WorkspaceGone: it was deleted.
        EngineUnreachable: try again later.
    """
    search = orjson.dumps({"name": [under]}).decode() if under else None
    for page in range(1, _MOST_FILES // _FILES_A_PAGE + 1):
        found = answers.listed(
            session.run_call("list_files", workflow_id, search=search, page=page, size=_FILES_A_PAGE), _LIST
        )
        for one in found:
            file = answers.workspace_file(one, session.server.clock_ahead)
            if file.path.startswith(under):
                yield file
        if len(found) < _FILES_A_PAGE:
            return
    raise faults.AnswerTooLarge("the list of files", _MOST_FILES)


def file(session: "ReanaSession", workflow_id: str, path: str) -> WorkspaceFile | None:
    """The file of exactly that name; None where the workspace has none.

    Raises:
        WorkspaceGone: it was deleted.
    """
    return next((one for one in files(session, workflow_id, _checked(path)) if one.path == path), None)


def download(session: "ReanaSession", workflow_id: str, path: str, size: int | None = None) -> Iterator[bytes]:
    """The bytes of that very file, all ``size`` of them (asked for where it is not known).

    Raises:
        EngineUnreachable: the connection broke, or the file is being written; fetch it again, from its start.
        FileGone, WorkspaceGone: it is not there.
        EngineRefused: REANA does not give it: it is a link, say.
    """
    if "\n" in path:
        raise EngineRefused(faults.ENGINE, f"it does not give files with a line break in their name: {path!r}")
    if size is None:
        size = _found(session, workflow_id, path).size_bytes
    received = 0
    for chunk in _fetched(session, workflow_id, path, _pattern(_checked(path)), _BYTES):
        received += len(chunk)
        if received > size:
            break
        yield chunk
    if received != size:
        more = "at least " if received > size else ""
        raise faults.unreachable(
            f"it sent {more}{received} bytes of {path!r}, which has {size}; it is to be fetched again"
        )


def download_folder(
    session: "ReanaSession", workflow_id: str, folder: str, *, max_bytes: int
) -> Iterator[tuple[WorkspaceFile, bytes]]:
    """All files in ``folder``, fetched together: for many small ones. REANA holds them all in its memory.

    Raises:
        AnswerTooLarge: they have more than ``max_bytes`` together.
        EngineUnreachable: what comes is not what is there; fetch it again.
    """
    under = f"{_checked(folder.rstrip('/'))}/"
    expected = {one.path: one for one in files(session, workflow_id, under)}
    if sum(one.size_bytes for one in expected.values()) > max_bytes:
        raise faults.AnswerTooLarge(f"what lies in {folder!r}", max_bytes)
    if len(expected) <= 1:
        for one in expected.values():
            yield one, b"".join(download(session, workflow_id, one.path, one.size_bytes))
        return
    with tempfile.SpooledTemporaryFile(_SPOOLED) as spooled:
        received, most = 0, max_bytes + 1024 * len(expected) + MIB
        for chunk in _fetched(session, workflow_id, folder, _pattern(under) + "**", _ZIP):
            received += len(chunk)
            if received > most:
                raise faults.AnswerTooLarge(f"what lies in {folder!r}", most)
            spooled.write(chunk)
        try:
            with zipfile.ZipFile(spooled) as archive:
                for one in expected.values():
                    yield one, _member(archive, one)
        except (zipfile.BadZipFile, KeyError, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise faults.unreachable(f"the archive of {folder!r} is not whole; it is to be fetched again") from error


def _member(archive: zipfile.ZipFile, one: WorkspaceFile) -> bytes:
    """A file of the archive, which is as large as it should be and no larger."""
    with archive.open(one.path) as member:
        found = member.read(one.size_bytes + 1)
    if len(found) != one.size_bytes:
        raise zipfile.BadZipFile(one.path)
    return found


def _fetched(session: "ReanaSession", workflow_id: str, path: str, pattern: str, kind: str) -> Iterator[bytes]:
    """What REANA sends for ``pattern``, which is of that kind."""
    try:
        with session.answered(
            "GET",
            f"/api/workflows/{workflow_id}/workspace/{quote(pattern, safe='/')}",
            parameters=[("preview", "false")],
        ) as response:
            sent = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if sent != kind:
                raise _unexpected(path, sent)
            yield from response.iter_raw()
    except (faults.NotFoundThere, faults.ReanaTrouble) as error:
        _explain(session, workflow_id, path, error)
        raise


def _unexpected(path: str, sent: str) -> Exception:
    if sent in {_BYTES, _ZIP}:
        return EngineRefused(faults.ENGINE, f"it does not tell {path!r} from other files of the workspace")
    return faults.WrongAnswer(f"what answers to a download does not speak as REANA does: it sends {sent[:100]!r}")


def _explain(
    session: "ReanaSession", workflow_id: str, path: str, error: faults.NotFoundThere | faults.ReanaTrouble
) -> None:
    """Find out whether the file is gone: a 404 does not prove it, and a 500 may mean it.

    Raises:
        RunGone, WorkspaceGone, FileGone: it is.
    """
    may_be_gone = error.http_status in {HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR}
    if may_be_gone and next(_below(session, workflow_id, path), None) is None:
        raise faults.FileGone(workflow_id, path) from error


def _below(session: "ReanaSession", workflow_id: str, path: str) -> Iterator[WorkspaceFile]:
    """The file of that path, and those in the folder of that path."""
    return (one for one in files(session, workflow_id, path) if f"{one.path}/".startswith(f"{path}/"))


def _found(session: "ReanaSession", workflow_id: str, path: str) -> WorkspaceFile:
    found = file(session, workflow_id, path)
    if found is None:
        raise faults.FileGone(workflow_id, path)
    return found


def _checked(path: str) -> str:
    """``path``, which lies below the workspace and is written in one way only.

    Raises:
        EngineRefused: it is not.
    """
    if "\x00" in path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise EngineRefused(faults.ENGINE, f"{path!r} is no name for a file of a workspace")
    return path


def _pattern(path: str) -> str:
    """A pattern that ``path`` alone fits, and that passes both of REANA's servers."""
    return "".join(_CLASSES.get(letter, letter) if letter.isprintable() else _CONTROL for letter in path)
