"""Refusals and failures in their envelope, and how they are documented. The one place that makes them.

What goes wrong inside leaves with a number and no detail: the detail is in the service's log under that number.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from stemma import clock
from stemma.api import audit
from stemma.api.schemas.envelope import ErrorEnvelope, FindingShown
from stemma.auth.local_issuer import GrantRefused, TooManyFailures
from stemma.errors import (
    EngineRefused,
    InvalidRequest,
    NotAuthenticated,
    RangeUnsatisfiable,
    StemmaError,
    TooLarge,
    Unavailable,
)

logger = logging.getLogger(__name__)

ERROR_HEADER: Final = "Stemma-Error"
"""Which refusal it is, for programs: the ``code`` of the error's class."""
_PLACES: Final = re.compile(r"(?<![\w/:.])/[^\s'\",;)]+|\b[A-Za-z]:\\\S+")
_SERVER_SIDE: Final = 500
_REFUSED_SECONDS: Final = 60
"""When to ask again for what an engine refused: people have to put it right, if it can be."""
_OVER_A_LIMIT: Final = ("Part exceeded", "Field exceeded", "Too many")
"""How Starlette's form parser begins to say that a form has too much of something."""

_EXAMPLES: Final = {
    400: "a workflow 'rain' version '1' is registered already; choose another version",
    401: "no token was sent; log in, and send it as: Authorization: Bearer TOKEN",
    403: "to delete you need the role reprov_admin",
    404: "there is no execution 12",
    409: "execution 12 is running; wait until it has ended",
    413: "the request is over the limit of 5242880 bytes",
    422: "the inputs do not fit the workflow: the input 'year' (int) is missing",
    429: "too many wrong passwords; try again in 42 seconds",
    500: "something went wrong inside; the service's log has it as incident 0b7c9f6f2a11",
    503: "the database does not answer; nothing was changed, try again in some seconds",
}


def error_answer(
    status: int, message: str, data: Any = None, *, headers: Mapping[str, str] | None = None, **beside: str
) -> Response:
    """A refusal in its envelope; ``beside`` stands next to the envelope's own fields."""
    envelope = ErrorEnvelope(code=status, message=message, data=data, error_code=status)
    body = envelope.model_dump_json()
    if beside:
        import json  # noqa: PLC0415 - for the token endpoint's refusals alone

        body = json.dumps(envelope.model_dump() | beside)
    return Response(body, status, dict(headers or {}), media_type="application/json")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How refusals with these statuses are documented."""
    return {status: _documented(status) for status in sorted({*statuses, 422, 500, 503})}


def guarded(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same for routes that want a token."""
    return documented(401, 403, *statuses)


def _documented(status: int) -> dict[str, Any]:
    example = {
        "success": False,
        "code": status,
        "message": _EXAMPLES[status],
        "data": None,
        "error_code": status,
    }
    return {
        "model": ErrorEnvelope,
        "description": HTTPStatus(status).phrase,
        "content": {"application/json": {"example": example}},
    }


def install(app: FastAPI) -> None:
    """Let every refusal leave in its envelope."""
    app.add_exception_handler(StemmaError, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)


async def _on_refusal(request: Request, error: Exception) -> Response:  # async: a sync handler costs a thread
    if not isinstance(error, StemmaError):
        raise error
    return await noted_refusal(request.scope, error)


async def noted_refusal(scope: Scope, error: StemmaError) -> Response:
    """The answer that says ``error``, once the audit or the log has it."""
    if isinstance(error, NotAuthenticated):
        audit.not_authenticated(scope, error)
    else:
        await audit.refused(scope, error.code, error.status)
    return refusal(error)


def refusal(error: StemmaError) -> Response:
    """The answer that says ``error``."""
    headers = {ERROR_HEADER: error.code, **_headers(error)}
    if error.status == _SERVER_SIDE:
        return error_answer(_SERVER_SIDE, incident(error, _PLACES.sub("…", _kind(error))), headers=headers)
    message = str(error)
    if isinstance(error, Unavailable | EngineRefused):
        logger.warning("%s: %s (%s)", error.code, error, getattr(error, "reason", ""))
        message = _PLACES.sub("…", message)
    shown = [FindingShown.of(finding) for finding in error.findings] or None
    if isinstance(error, GrantRefused):  # OAuth clients look for these two (RFC 6749 §5.2)
        return error_answer(error.status, message, headers=headers, error=error.error, error_description=message)
    return error_answer(error.status, message, shown, headers=headers)


def _headers(error: StemmaError) -> dict[str, str]:
    if isinstance(error, NotAuthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, RangeUnsatisfiable):
        return {"Content-Range": f"bytes */{error.size}"}
    if isinstance(error, Unavailable | TooManyFailures):
        return {"Retry-After": str(error.retry_after_seconds)}
    if isinstance(error, EngineRefused):
        return {"Retry-After": str(_REFUSED_SECONDS)}
    return {}


def _kind(error: StemmaError) -> str:
    """What failed inside, without what only operators should know."""
    first = (type(error).__doc__ or "something went wrong inside").splitlines()[0]
    return first.rstrip(".")


def incident(error: Exception, what: str = "something went wrong inside") -> str:
    """Log ``error`` under a number, and say that number."""
    number = clock.new_uuid().hex[-12:]
    logger.error("incident %s: %s", number, error, exc_info=error)
    return f"{what}; the service's log has it as incident {number}"


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    await audit.refused(request.scope, InvalidRequest.code, InvalidRequest.status)
    findings = [_finding(problem) for problem in error.errors()]
    return error_answer(422, _summary(findings), findings, headers={ERROR_HEADER: InvalidRequest.code})


def _finding(problem: Mapping[str, Any]) -> FindingShown:
    """What FastAPI found wrong, without the value that was sent."""
    place = [str(part) for part in problem.get("loc", ())]
    if problem["type"] == "extra_forbidden":  # a name of the caller's own, which may be a secret in the wrong place
        place = place[:-1]
    return FindingShown(message=str(problem["msg"]), rule=f"request/{problem['type']}", parameter=".".join(place))


def _summary(findings: Sequence[FindingShown]) -> str:
    if not findings:
        return "the request cannot be understood"
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return f"{findings[0].parameter}: {findings[0].message}{more}"


async def _on_http_error(request: Request, error: Exception) -> Response:
    """What the framework says no to: unknown paths, other methods, bodies that cannot be read."""
    if not isinstance(error, HTTPException):
        raise error
    status, message = error.status_code, str(error.detail)
    headers = dict(error.headers or {})
    if status == 404:  # noqa: PLR2004 - the words of HTTP
        message = f"there is nothing at {request.url.path}"
    elif status == 405:  # noqa: PLR2004 - as above
        headers["Allow"] = ", ".join(_methods(request))
        message = f"{request.method} is not possible here; {headers['Allow']} is"
    elif status == 400:  # noqa: PLR2004 - said of bodies alone
        status = 413 if message.startswith(_OVER_A_LIMIT) else 422
    code = {413: TooLarge.code, 422: InvalidRequest.code}.get(status, "refused")
    await audit.refused(request.scope, code, status)
    return error_answer(status, message, headers=headers)


def _methods(request: Request) -> list[str]:
    """Every method that the path takes (RFC 9110 §10.2.1); the framework names those of one route."""
    scopes = [{**request.scope, "method": method} for method in ("DELETE", "GET", "POST", "PUT")]
    routes = request.app.routes
    return [scope["method"] for scope in scopes if any(route.matches(scope)[0] is Match.FULL for route in routes)]
