"""What stands before the API: counts requests, limits them, and makes them go wrong as the switches say."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import MutableMapping
from email.utils import formatdate
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from support.reana_standin.faults import Faults
from support.reana_standin.refusals import UnknownWorkflow

_MAKES_OR_STARTS = re.compile(r"POST /api/workflows(/[^/]+/start)?")
_UPLOADS = re.compile(r"POST /api/workflows/[^/]+/workspace")
_DOWNLOADS = re.compile(r"GET /api/workflows/[^/]+/workspace/.+")
_BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_MOMENT = 0.02


class Line(H11Protocol):
    """A connection that can be found by the address of its other end, to be cut."""

    lines: MutableMapping[tuple[str, int], asyncio.Transport] = {}  # noqa: RUF012 - all of this process's

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep it."""
        super().connection_made(transport)
        self.lines[transport.get_extra_info("peername")[:2]] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self.lines.pop(self.transport.get_extra_info("peername")[:2], None)
        super().connection_lost(exc)


def _dated(send: Send, skew_seconds: float) -> Send:
    """Answers that say what time it is by the server's clock."""

    async def say(message: Message) -> None:
        if message["type"] == "http.response.start":
            date = formatdate(time.time() + skew_seconds, usegmt=True).encode()
            message = {**message, "headers": [*message.get("headers", ()), (b"date", date)]}
        await send(message)

    return say


class _Cut(Exception):
    """The connection is gone; there is nothing more to do."""


class Gate:
    """Wraps the API."""

    def __init__(self, app: ASGIApp, faults: Faults, counts: "Counts") -> None:
        self._app = app
        self._faults = faults
        self._counts = counts
        self._windows: dict[str, tuple[float, int]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        call = f"{scope['method']} {scope['path']}"
        send = _dated(self._counts.counting(call, send), self._faults.clock_skew_seconds)
        if self._faults.slow_seconds:
            await asyncio.sleep(self._faults.slow_seconds)
        refusal = self._refusal(call, scope["client"][0])
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        try:
            await self._served(call, scope, receive, send)
        except _Cut:
            # The server may only hear of the end of the line after it, or it sends an answer of its own.
            await asyncio.sleep(_MOMENT)

    def _refusal(self, call: str, client: str) -> ASGIApp | None:
        if self._uses("bad_gateway", call):
            return HTMLResponse(_BAD_GATEWAY, 502)
        if self._is_too_much(client):
            limit = f"{self._faults.rate_limit} per 1 second"
            message = f'Too many requests in a given amount of time. Only "{limit}" allowed.'
            return JSONResponse({"message": message}, 429)
        if self._uses("odd_404", call):
            return JSONResponse({"message": UnknownWorkflow(call.rsplit("/", maxsplit=1)[-1]).message}, 404)
        return None

    def _uses(self, fault: str, call: str) -> bool:
        """Whether a counted fault hits this request; it is then used up by one."""
        left = getattr(self._faults, fault)
        if not left or not re.search(self._faults.routes, call):
            return False
        setattr(self._faults, fault, left - 1)
        return True

    def _is_too_much(self, client: str) -> bool:
        limit = self._faults.rate_limit
        if not limit:
            return False
        now = time.monotonic()
        since, count = self._windows.get(client, (now, 0))
        if now - since >= 1:
            since, count = now, 0
        self._windows[client] = since, count + 1
        return count >= limit

    async def _served(self, call: str, scope: Scope, receive: Receive, send: Send) -> None:
        if _MAKES_OR_STARTS.fullmatch(call) and self._uses("lost_answers", call):
            await self._app(scope, receive, _nowhere)
            _line(scope).abort()
            raise _Cut
        if self._faults.cut_upload_after is not None and _UPLOADS.fullmatch(call) and self._uses("cuts", call):
            receive = _cut_upload(scope, receive, self._faults.cut_upload_after)
        if self._faults.cut_download_after is not None and _DOWNLOADS.fullmatch(call) and self._uses("cuts", call):
            send = _cut_download(scope, send, self._faults.cut_download_after)
        await self._app(scope, receive, send)


def _line(scope: Scope) -> asyncio.Transport:
    return Line.lines[tuple(scope["client"])]


async def _nowhere(message: Message) -> None:
    """An answer that nobody gets."""


def _cut_upload(scope: Scope, receive: Receive, left: int) -> Receive:
    async def cut() -> Message:
        nonlocal left
        message = await receive()
        body = message.get("body", b"")
        if message["type"] == "http.request" and len(body) <= left:
            left -= len(body)
            return message
        if message["type"] == "http.request" and left:
            message = {**message, "body": body[:left], "more_body": True}
            left = 0
            return message
        _line(scope).abort()
        await asyncio.sleep(_MOMENT)
        return {"type": "http.disconnect"}

    return cut


def _cut_download(scope: Scope, send: Send, left: int) -> Send:
    async def cut(message: Message) -> None:
        nonlocal left
        body = message.get("body", b"")
        if len(body) <= left:
            left -= len(body)
            await send(message)
            return
        await send({**message, "body": body[:left], "more_body": True})
        # What has been sent is still delivered.
        _line(scope).close()
        raise _Cut

    return cut


class Counts:
    """How many requests of what kind there were, and how they were answered."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._since = time.monotonic()
        self._calls: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()

    def counting(self, call: str, send: Send) -> Send:
        """Count the request now, and its answer when it is sent."""
        self._calls[_route(call)] += 1

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answers[str(message["status"])] += 1
            await send(message)

        return counted

    def shown(self) -> dict[str, Any]:
        """All of it."""
        return {
            "requests": dict(self._calls),
            "answers": dict(self._answers),
            "total": self._calls.total(),
            "seconds": time.monotonic() - self._since,
        }


def _route(call: str) -> str:
    """The call, without which workflow and which file."""
    method, path = call.split(" ", 1)
    parts = path.split("/")
    if parts[2:3] == ["workflows"] and len(parts) > 3 and parts[3] != "move_files":
        parts[3] = "{workflow_id_or_name}"
        if parts[4:5] == ["workspace"] and len(parts) > 5:
            parts[5:] = ["{file_name}"]
    return f"{method} {'/'.join(parts[:6])}"
