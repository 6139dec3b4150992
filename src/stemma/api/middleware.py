"""What every request passes, outside of the routes. Plain ASGI: a request costs a function call each."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stemma.api import audit
from stemma.api.dependencies import principal_of
from stemma.api.error_responses import error_answer, incident, noted_refusal
from stemma.api.metrics import Metrics
from stemma.api.service import Service
from stemma.auth.exposure import is_loopback
from stemma.auth.policy import Action, require
from stemma.errors import StemmaError, TooLarge

_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
"""Headers of every answer, set here alone."""
_MISDIRECTED: Final = 421
_LONGEST_LENGTH: Final = 18
"""Digits of a length that any disk could hold."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Guard:
    """Paths, headers, figures, and a decent answer whatever breaks. The outermost of ours."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                request = audit.request_of(scope)
                more = () if request is None else ((audit.REQUEST_HEADER.lower().encode(), str(request).encode()),)
                message["headers"] = [*message.get("headers", ()), *_ALWAYS, *more]
            await send(message)

        _without_slash(scope)
        try:
            if _CONTROL.search(scope["path"]):  # routes would take a line's end for the end of their path
                await error_answer(404, "there is nothing at a path with control characters")(
                    scope, receive, send_noting
                )
            else:
                await self._app(scope, receive, send_noting)
        except Exception as error:
            if status:  # an answer is on its way, and cannot be taken back: break it off, so that it is seen
                raise
            await audit.refused(scope, "internal-error", 500)
            await error_answer(500, incident(error))(scope, receive, send_noting)
        finally:
            self._metrics.note(scope, status, time.perf_counter() - began)


def _without_slash(scope: Scope) -> None:
    """Paths answer with and without a slash at the end."""
    path: str = scope["path"]
    if len(path) > 1 and path.endswith("/"):
        scope["path"] = path.rstrip("/") or "/"


class KnownHosts:
    """Refuses requests to names that are not this machine.

    A page anywhere can let its own name lead here (DNS rebinding) and would then speak for whoever opened it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and not is_loopback(_hostname(Headers(scope=scope).get("host", ""))):
            message = "this service with its local login answers at localhost alone"
            await error_answer(_MISDIRECTED, message)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _hostname(host: str) -> str:
    """``host`` without its port."""
    if host.startswith("["):
        address, closing, _ = host[1:].partition("]")
        return address if closing else ""
    return host.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Large:
    """What a path takes that takes large bodies."""

    limit: int
    """In bytes."""
    action: Action
    """What the routes under that path declare."""
    ending: str = ""
    """How such a path ends, where others begin in the same way."""


class BodyLimit:
    """Ends a request whose body is over the limit of its path, before or while it is read.

    Where large bodies are taken, token and role are looked at first: forms are read before any route is asked.
    """

    def __init__(self, app: ASGIApp, limits: Mapping[str, Large], otherwise: int, service: Service) -> None:
        self._app = app
        self._limits = limits
        self._otherwise = otherwise
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        fitting = (large for start, large in self._limits.items() if path.startswith(start))
        large = next((large for large in fitting if path.endswith(large.ending)), None)
        try:
            if large is not None:
                principal = await principal_of(self._service, Headers(scope=scope).get("authorization"))
                require(audit.asked(scope, principal), large.action)
            limit = self._otherwise if large is None else large.limit
            _check_announced(Headers(scope=scope).get("content-length", "0"), limit)
        except StemmaError as error:
            answer = await noted_refusal(scope, error)
            await answer(scope, receive, send)
            return
        await self._app(scope, _counting(receive, limit), send)


def _check_announced(length: str, limit: int) -> None:
    if length.isdecimal() and (len(length) > _LONGEST_LENGTH or int(length) > limit):
        raise TooLarge("the request", limit)


def _counting(receive: Receive, limit: int) -> Callable[[], Any]:
    read = 0

    async def receive_counting() -> Message:
        nonlocal read
        message = await receive()
        if message["type"] == "http.request":
            read += len(message.get("body", b""))
            if read > limit:  # an HTTPException, since the framework turns any other error of a body into 400
                raise HTTPException(413, str(TooLarge("the request", limit)))
        return message

    return receive_counting
