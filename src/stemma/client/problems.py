"""What a service refuses, as the same classes that it was refused with.

An instance that came over the wire has the message and the findings of the original; the other facts of its case
(``run_id`` and the like) stayed at the server.
"""

from functools import cache
from http import HTTPStatus
from typing import Any, Final

from stemma import errors
from stemma.errors import Finding, InvalidRequest, StemmaError, Unavailable


class ServiceUnreachable(Unavailable):
    """No service answers at the address."""

    code = "service-unreachable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no service answers at {url}: {reason}")
        self.url, self.reason = url, reason


class NotLoggedIn(errors.NotAuthenticated):
    """Nobody is logged in at the service, or not any more."""

    code = "not-logged-in"

    def __init__(self, url: str, *, has_ended: bool = False) -> None:
        what = "the login has ended at" if has_ended else "you are not logged in at"
        again = "log in again" if has_ended else "log in"
        super().__init__(f"{what} {url}; {again}: stemma login {url}")
        self.url, self.has_ended = url, has_ended


class LoginRefused(errors.NotAuthenticated):
    """The issuer gives no token for that; ``error`` is its word for why (RFC 6749 §5.2, RFC 8628 §3.5)."""

    code = "login-refused"

    def __init__(self, error: str, description: str | None = None) -> None:
        super().__init__(f"login was refused: {description or error}")
        self.error, self.description = error, description


class UntrustedAddress(StemmaError):
    """A service names an address for its tokens that must not be given any secret."""

    code, exit_code = "untrusted-address", 77

    def __init__(self, url: str, origin: str) -> None:
        super().__init__(
            f"{url} wants its tokens to be got at {origin}, which is neither https nor its own address nor, with it, on"
            " this machine: nothing was sent there. Where that is right, trust it by name (stemma login --trust"
            f" {origin}, STEMMA_TRUSTED_ORIGIN, or the parameter trusted_origins)"
        )
        self.url, self.origin = url, origin


class UnexpectedAnswer(StemmaError):
    """What answers is no service of ours, or has failed in a way it does not speak of."""

    code, exit_code = "unexpected-answer", 76


class RateLimited(Unavailable):
    """Too many requests; try again later."""

    code, status = "rate-limited", HTTPStatus.TOO_MANY_REQUESTS


_BY_STATUS: Final[dict[int, type[StemmaError]]] = {
    HTTPStatus.BAD_REQUEST: InvalidRequest,
    HTTPStatus.UNAUTHORIZED: errors.NotAuthenticated,
    HTTPStatus.FORBIDDEN: errors.Forbidden,
    HTTPStatus.NOT_FOUND: errors.NotFound,
    HTTPStatus.CONFLICT: errors.Conflict,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: errors.TooLarge,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidRequest,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimited,
    HTTPStatus.SERVICE_UNAVAILABLE: Unavailable,
}

ERROR_HEADER: Final = "Stemma-Error"
"""In which header the service says which refusal it is: the ``code`` of its class."""


def problem(status: int, code: str | None, envelope: Any) -> StemmaError:
    """The error that an answer tells of: its status, its ``Stemma-Error`` header, its JSON (None where it had none)."""
    if not isinstance(envelope, dict) or not isinstance(envelope.get("message"), str):
        return UnexpectedAnswer(f"the service answered {status} without saying why; is its address right?")
    message: str = envelope["message"]
    kind = _by_code().get(code or "") or _BY_STATUS.get(status, StemmaError)
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    if isinstance(error, InvalidRequest):
        InvalidRequest.__init__(error, message, _findings(envelope.get("data")))
    return error


@cache
def _by_code() -> dict[str, type[StemmaError]]:
    """Every class of the tree by its code."""
    found, pending = dict[str, type[StemmaError]](), [StemmaError]
    while pending:
        kind = pending.pop()
        found.setdefault(kind.code, kind)
        pending += kind.__subclasses__()
    return found


def _findings(told: Any) -> list[Finding]:
    """The findings of a validation error."""
    return [_finding(one) for one in told if isinstance(one, dict)] if isinstance(told, list) else []


def _finding(told: dict[str, Any]) -> Finding:
    message, parameter = str(told.get("message")), told.get("parameter")
    return Finding(
        message=f"{parameter}: {message}" if parameter else message,
        rule=str(told.get("rule")),
        file=told.get("file"),
        line=told.get("line"),
        column=told.get("column"),
    )
