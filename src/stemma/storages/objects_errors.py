"""What obstore says went wrong, as one of our errors. Its own words are not passed on: they show whole requests."""

import re
from typing import Final

from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from stemma.errors import (
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    StemmaError,
)
from stemma.storages.gate import REFUSED

OBSTORE_ERRORS: Final = (BaseError, FileNotFoundError, ValueError, OSError)
"""All that it raises: its own, and those of Python."""
_STATUS: Final = re.compile(r"non-2xx status code: ([0-9]{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_CREDENTIAL: Final = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|TokenRefreshRequired|AccessDenied"
    r"|AuthorizationHeaderMalformed|AuthenticationFailed|InvalidAuthenticationInfo|\w*UserNotFound|NoSuchUser"
)
_ODD_NAME: Final = re.compile(r"rror parsing Path|contained empty path segment|illegal character sequence|nvalid path")
_BEYOND, _SERVERS_FAULT = 416, 500
_CLOSED: Final = frozenset({401, 403})
_GONE: Final = frozenset({404, 410})
_LATER: Final = frozenset({408, 425, 429})


class RangeIgnored(Exception):
    """The server sends the whole where a part was asked for."""


class RangeBeyond(Exception):
    """The part lies behind the end."""


def refusal_of(error: Exception, what: str) -> Exception:
    """``error`` in our words, ``what`` being asked for."""
    text = str(error)
    if "non-partial" in text:
        return RangeIgnored()
    status = int(found[1]) if (found := _STATUS.search(text)) else None
    if status == _BEYOND:
        return RangeBeyond()
    code = found[1] if (found := _CODE.search(text)) else ""
    return _by_class(error, code, what) or _by_status(status, code, text, what)


def _by_class(error: Exception, code: str, what: str) -> StemmaError | None:
    if code == REFUSED:
        return SourceNotFound(what)
    if _CREDENTIAL.fullmatch(code):
        return SourceForbidden(what)
    if code == "InvalidObjectState":
        return SourceUnusable(what, "it lies in an archive, from which it has to be fetched back first")
    if isinstance(error, FileNotFoundError):
        return SourceNotFound(what)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return SourceForbidden(what)
    return SourceChanged(what) if isinstance(error, PreconditionError) else None


def _by_status(status: int | None, code: str, text: str, what: str) -> StemmaError:
    if status is None:
        if _ODD_NAME.search(text):
            return SourceUnusable(what, "it has, or holds a file with, a name that cannot be asked for")
        return SourceUnavailable(what, "its server does not answer, or breaks off")
    if status in _CLOSED:
        return SourceForbidden(what)
    if status in _GONE:
        return SourceNotFound(what)
    said = f"its server answers {status}{f' ({code})' if code else ''}"
    if status in _LATER or status >= _SERVERS_FAULT:
        return SourceUnavailable(what, said)
    return SourceUnusable(what, said)
