"""Answers: JSON in its envelope, and files with headers that hold for any name."""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson
from fastapi import Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel

from stemma.auth.principal import Principal
from stemma.errors import ContentMissing, RangeUnsatisfiable
from stemma.lifecycle.archive.reading import ArchivedContent
from stemma.store.content import ContentStore

OCTETS: Final = "application/octet-stream"
HARMLESS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "Cache-Control": "private, no-cache",
}
"""For what a browser may show: it runs nothing and fetches nothing. Kept by the browser alone, and asked for anew."""

_QUOTED_TROUBLE: Final = re.compile(r'[\\"%]')
_RANGE: Final = re.compile(r"(\d*)-(\d*)")
_RANGES: Final = re.compile(r"bytes=((?: *(?:\d{1,18}-\d{0,18}|-\d{1,18}) *)(?:, *(?:\d{1,18}-\d{0,18}|-\d{1,18}) *)*)")
_NO_NAME: Final = "file"


def answer(data: Any, message: str, *, status: int = 200) -> Response:
    """``data``, models or what they describe, in its envelope (:class:`Envelope`)."""
    envelope = {"success": True, "code": status, "message": message, "data": data, "error_code": None}
    body = orjson.dumps(envelope, default=_as_values, option=orjson.OPT_UTC_Z)
    return Response(body, status, media_type="application/json")


def _as_values(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is nothing that an answer holds")


def listed(principal: Principal, count: int, what: str) -> str:
    """The message of a list; to somebody in no group, why it is empty."""
    if not principal.groups:
        return "you are in no group, so there is nothing for you to see; ask for membership in one"
    return f"{count} {what}"


def disposition(name: str, kind: str = "attachment") -> str:
    """A Content-Disposition (RFC 6266) that gives ``name`` to a download, whatever is in it."""
    shown = "".join("_" if _is_unseen(sign) else sign for sign in name).replace("/", "_").strip() or _NO_NAME
    plain = unicodedata.normalize("NFKD", shown).encode("ascii", "ignore").decode() or _NO_NAME
    quoted = _QUOTED_TROUBLE.sub("_", plain)
    if quoted == shown:
        return f'{kind}; filename="{shown}"'
    return f"{kind}; filename=\"{quoted}\"; filename*=UTF-8''{quote(shown, safe='')}"


def _is_unseen(sign: str) -> bool:
    return unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"}


def stored_file(
    request: Request,
    store: ContentStore,
    sha256: str,
    name: str,
    *,
    media_type: str = OCTETS,
    archived: Callable[[str], ArchivedContent] | None = None,
) -> Response:
    """The content of this digest as a download; only a word where the caller has them already, parts where it asks.
    ``archived`` gives what the store let go.

    Raises:
        ContentMissing: it is nowhere.
        ArchiveUnavailable: it lies in the archive, which does not answer.
    """
    tag = f'"{sha256}"'
    headers = {**HARMLESS, "ETag": tag, "Content-Disposition": disposition(name)}
    if _has_already(request, tag):
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": HARMLESS["Cache-Control"]})
    path = store.path(sha256)
    if not (path.is_file() if archived is None else store.touch(sha256)):  # what was asked for just now is not let go
        if archived is None:
            raise ContentMissing(sha256)
        return _from_archive(request, archived(sha256), tag, headers | {"Content-Type": media_type})
    _check_range(request, path.stat().st_size)
    return FileResponse(path, headers=headers, media_type=media_type)


def _from_archive(request: Request, found: ArchivedContent, tag: str, headers: dict[str, str]) -> Response:
    """A download that comes from the archive: whole, or the one part that was asked for."""
    _check_range(request, found.size_bytes)
    part = _one_part(request, found.size_bytes, tag)
    headers |= {"Accept-Ranges": "bytes", "Content-Length": str(found.size_bytes)}
    if request.method == "HEAD":
        found.check()
        return Response(headers=headers)
    if part is None:
        return StreamingResponse(found.begun(), headers=headers)
    first, last = part
    length = last - first + 1
    headers |= {"Content-Range": f"bytes {first}-{last}/{found.size_bytes}", "Content-Length": str(length)}
    return StreamingResponse(found.begun(first, length), 206, headers=headers)


def _one_part(request: Request, size: int, tag: str) -> tuple[int, int] | None:
    """The first and the last byte that are wanted; None for all. Of several parts, which hardly anybody asks for, the
    whole is given, as RFC 9110 §14.2 allows."""
    written = dict(request.scope["headers"]).get(b"range", b"").decode("latin-1")
    parts = _RANGES.fullmatch(written)
    found = _RANGE.findall(parts[1]) if parts else []
    if len(found) != 1 or request.headers.get("if-range", tag) != tag:
        return None
    first, last = _range(found[0][0], found[0][1], size)
    return max(0, first), min(last, size - 1)


def _check_range(request: Request, size: int) -> None:
    """Take a ``Range`` away that cannot be understood, as RFC 9110 §14.2 has it: the whole file is the answer.

    Raises:
        RangeUnsatisfiable: it asks for what lies behind the end.
    """
    written = request.headers.get("range")
    if written is None:
        return
    parts = _RANGES.fullmatch(written)
    found = [_range(first, last, size) for first, last in _RANGE.findall(parts[1])] if parts else []
    if not found or any(first > last for first, last in found):
        headers = request.scope["headers"]
        request.scope["headers"] = [(name, value) for name, value in headers if name != b"range"]
    elif any(first >= size for first, _ in found):
        raise RangeUnsatisfiable(size)


def _range(first: str, last: str, size: int) -> tuple[int, int]:
    """The first and the last byte; of ``-5``, the last five."""
    if not first:
        return (size - int(last), size) if int(last) else (size, size)
    return int(first), int(last) if last else max(size, int(first))


def _has_already(request: Request, tag: str) -> bool:
    """Whether ``If-None-Match`` names ``tag`` (RFC 9110 §13.1.2: compared weakly)."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    names = {name.strip().removeprefix("W/") for name in given.split(",")}
    return "*" in names or tag in names


def file_response(
    body: bytes | str, media_type: str, name: str, *, inline: bool = False, headers: Mapping[str, str] | None = None
) -> Response:
    """``body`` as a download called ``name``, or to be shown where ``inline``."""
    kind = "inline" if inline else "attachment"
    sent = {**HARMLESS, "Content-Disposition": disposition(name, kind), **(headers or {})}
    return Response(body, media_type=media_type, headers=sent)


def file_answers(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """How a successful download is documented."""
    return {200: {"description": "the file", "content": _contents(media_types)}}


def _contents(media_types: Collection[str]) -> dict[str, Any]:
    return {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in media_types}
