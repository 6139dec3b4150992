"""What goes wrong with a REANA server, in our words. The one place that translates it.

Where trying again later helps, it is an ``EngineUnreachable``; where it does not, an ``EngineRefused``. What the engine
has to tell apart has a class of its own below them, with what the server said.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from stemma.errors import EngineRefused, EngineUnreachable

ENGINE: Final = "reana"
_LONGEST_MESSAGE: Final = 1000
_LATER: Final = frozenset({408, 421, 425, 429})
_TOKEN: Final = re.compile(r"(access_token=)[^&\s\"'<>]+")
_NO_TOKEN: Final = re.compile(r"token|sign(ed)? in|log(ged)? in", re.IGNORECASE)
_QUOTA: Final = re.compile(r"quota", re.IGNORECASE)
_STARTED: Final = re.compile(r"is already \w+ and cannot be started", re.IGNORECASE)
_RUNS: Final = re.compile(r"cannot be deleted as it is currently running", re.IGNORECASE)
_NOT_ITS_NAME: Final = re.compile(r"^Host .* is not trusted", re.IGNORECASE)
_NO_SUCH_RUN: Final = re.compile(r"^REANA_WORKON is set to \S+, but that workflow does not exist")
_NO_WORKSPACE: Final = re.compile(r"workspace does not exist", re.IGNORECASE)
_CAUSES: Final[dict[type[BaseException], str]] = {
    ssl.SSLError: "no secure connection to it can be made: it does not speak TLS as expected",
    socket.gaierror: "its name cannot be looked up",
    ConnectionRefusedError: "nobody listens at its address",
}
_TIMEOUTS: Final[dict[type[BaseException], str]] = {
    httpx.ConnectTimeout: "it does not take connections in time",
    httpx.PoolTimeout: "too many requests to it are under way",
}


class ReanaRefused(EngineRefused):
    """REANA understood and will not: with its status and its words."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(ENGINE, reason or message or f"it answers with {_phrase(status)}")
        self.http_status, self.message = status, message


class TokenRefused(ReanaRefused):
    """The token is not, or no longer, one of REANA's."""


class QuotaUsedUp(ReanaRefused):
    """The owner of the token may not use more there."""


class AlreadyStarted(ReanaRefused):
    """The run was started before."""


class StateConflict(ReanaRefused):
    """Not in the state that the run is in: stopped though it does not run, deleted while it runs."""


class ReanaTrouble(EngineUnreachable):
    """The server answers that something is wrong with it, or with what stands before it."""

    def __init__(self, status: int, message: str) -> None:
        said = f": {message}" if message else ""
        super().__init__(ENGINE, f"it answers with {_phrase(status)}{said}")
        self.http_status, self.message = status, message


class NotFoundThere(EngineUnreachable):
    """REANA answers 404, which it does for many reasons: it does not prove that the thing is not there."""

    def __init__(self, message: str) -> None:
        super().__init__(ENGINE, f"it answers that there is no such thing: {message}")
        self.http_status, self.message = 404, message


class WrongAnswer(EngineUnreachable):
    """What answers does not speak as REANA does."""

    def __init__(self, reason: str) -> None:
        super().__init__(ENGINE, reason)


class RunGone(EngineRefused):
    """The owner of the token has no such run, by REANA's own list."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(ENGINE, f"it has no run {workflow_id} (any more)")
        self.workflow_id = workflow_id


class WorkspaceGone(EngineRefused):
    """The run is there, its files are not: it was deleted."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(ENGINE, f"the files of run {workflow_id} were deleted there")
        self.workflow_id = workflow_id


class FileGone(EngineRefused):
    """The workspace is there, and has no such file."""

    def __init__(self, workflow_id: str, path: str) -> None:
        super().__init__(ENGINE, f"the workspace of run {workflow_id} has no file {path!r}")
        self.workflow_id, self.path = workflow_id, path


class AnswerTooLarge(EngineRefused):
    """More than is taken into memory at once."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(ENGINE, f"{what} is over the limit of {limit} bytes")
        self.what, self.limit = what, limit


class SourceMismatch(EngineRefused):
    """What was to be uploaded is not as large as was said."""

    def __init__(self, path: str, expected: int, found: int) -> None:
        super().__init__(ENGINE, f"the file for {path!r} has {found} bytes, not {expected}; it was not uploaded")
        self.path, self.expected, self.found = path, expected, found


def unreachable(reason: str) -> EngineUnreachable:
    """It does not answer."""
    return EngineUnreachable(ENGINE, reason)


def masked(text: str) -> str:
    """``text`` without the values of tokens in addresses."""
    return _TOKEN.sub(r"\1[hidden]", text)


@contextmanager
def translating(silence_seconds: float) -> Iterator[None]:
    """Whatever breaks between us and the server becomes an ``EngineUnreachable``."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise unreachable(_network(error, silence_seconds)) from error


def _network(error: BaseException, silence_seconds: float) -> str:
    """What broke, as a sentence for people."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not to be trusted ({cause.verify_message}); if it is signed by an authority of "
                "your own, name that one's certificates in STEMMA_REANA_CA_FILE"
            )
        for kind, sentence in _CAUSES.items():
            if isinstance(cause, kind):
                return sentence
    return _TIMEOUTS.get(type(error)) or (
        f"it says nothing for {silence_seconds:g} seconds"
        if isinstance(error, httpx.TimeoutException)
        else f"the connection broke ({type(error).__name__})"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def refusal(status: int, headers: httpx.Headers, body: bytes, token: str) -> EngineUnreachable | EngineRefused:
    """The error that an answer that is no success stands for."""
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return WrongAnswer(_elsewhere(headers.get("location", "")))
    message = said(body, token)
    if message is not None and _RUNS.search(message):  # with 500, or 409, by version
        return StateConflict(status, message)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER:
        return ReanaTrouble(status, message or "")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return ReanaRefused(status, message or "", "it, or what stands before it, takes nothing as large as this")
    if message is None:
        return WrongAnswer(f"what answers at its address does not speak as REANA does ({_phrase(status)})")
    return _refused(status, message)


def _refused(status: int, message: str) -> EngineUnreachable | EngineRefused:
    """What REANA means by a refusal: one status stands for much."""
    if status == HTTPStatus.NOT_FOUND or _NO_SUCH_RUN.search(message):  # some calls say it with 403
        return NotFoundThere(message)
    if _NOT_ITS_NAME.search(message):
        return WrongAnswer(f"it has another name than its address here says: {message}")
    if _STARTED.search(message):
        return AlreadyStarted(status, message)
    if status == HTTPStatus.CONFLICT:
        return StateConflict(status, message)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return _forbidden(status, message)
    return ReanaRefused(status, message)


def _forbidden(status: int, message: str) -> ReanaRefused:
    if _QUOTA.search(message):
        return QuotaUsedUp(status, message, f"the quota there is used up: {message}")
    if status == HTTPStatus.UNAUTHORIZED or _NO_TOKEN.search(message):
        return TokenRefused(status, message, f"it does not accept the token: {message}")
    return ReanaRefused(status, message)


def is_without_workspace(error: EngineUnreachable | EngineRefused) -> bool:
    """Whether REANA says that the files of a run are gone."""
    return isinstance(error, NotFoundThere) and _NO_WORKSPACE.search(error.message) is not None


def said(body: bytes, token: str) -> str | None:
    """The ``message`` of an answer, as one line, without the token; None where it is no answer of REANA."""
    try:
        found: Any = orjson.loads(body)
    except ValueError:
        return None
    message = found.get("message") if isinstance(found, dict) else None
    if message is None:
        return None
    text = message if isinstance(message, str) else orjson.dumps(message).decode()
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return masked(text.replace(token, "[hidden]") if token else text)[:_LONGEST_MESSAGE]


def _elsewhere(location: str) -> str:
    """Where a redirect leads, without what may be secret in it. Nobody goes there."""
    try:
        parts = urlsplit(location)
        target = f"{parts.scheme}://{parts.hostname}" if parts.hostname else "another page"
    except ValueError:
        target = "elsewhere"
    return f"it sends us to {masked(target)[:200]}, where we do not go; if that is right, name that as its address"


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
