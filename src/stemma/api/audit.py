"""Refused requests on their way into the audit. What succeeds is written down by the lifecycle, with the change.

Only what a known caller was refused is written down, and of reading only what the role did not allow; who has no good
token is in the service's log. A refusal leaves as it is, whether or not it could be written down; where it could
not, it is in the log.
"""

import dataclasses
import logging
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qs
from uuid import UUID

from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Scope

from stemma import clock
from stemma.api.service import Service
from stemma.auth.policy import Action
from stemma.auth.principal import Principal
from stemma.database.connection import Database
from stemma.database.queries import audit
from stemma.database.queries.audit import AuditEntry
from stemma.errors import DatabaseUnavailable
from stemma.lifecycle.audit import ENGINE, REMOTE, RUN, WORKFLOW, Deed

logger = logging.getLogger(__name__)

REQUEST_HEADER: Final = "Stemma-Request"
"""Under which number the audit knows a request that changed something, or was refused."""
FILE: Final = "file"
_ASKED: Final = "asked"
_LOGGED_CHARACTERS: Final = 200
_NUMBER: Final = re.compile(r"/([0-9]{1,18})(?=/|\Z)")
_ENGINE: Final = re.compile(r"/engines/([A-Za-z0-9][A-Za-z0-9_.-]{0,39})(?=/|\Z)")
_REMOTE: Final = re.compile(r"/remotes/([a-z0-9][a-z0-9._-]{0,63})(?=/|\Z)")
_DEEDS: Final = {
    ("POST", "/workflow_registry/register"): Deed.REGISTER,
    ("PUT", "/workflow_registry/update/N"): Deed.UPDATE,
    ("DELETE", "/workflow_registry/delete/N"): Deed.UNREGISTER,
    ("POST", "/workflow_registry/validate"): Deed.VALIDATE,
    ("POST", "/workflow_execution/execute/N"): Deed.SUBMIT,
    ("POST", "/workflow_execution/N/stop"): Deed.STOP,
    ("DELETE", "/workflow_execution/delete"): Deed.DELETE,
    ("POST", "/workflow_events"): Deed.RUN_EVENTS,
    ("GET", "/provenance/capture"): Deed.CAPTURE,
    ("POST", "/provenance/capture"): Deed.CAPTURE,
    ("GET", "/provenance/capture/N"): Deed.CAPTURE,
    ("POST", "/provenance/capture/N"): Deed.CAPTURE,
    ("PUT", "/engines/E/credential"): Deed.ENGINE_LOGIN,
    ("DELETE", "/engines/E/credential"): Deed.ENGINE_LOGOUT,
    ("POST", "/remotes"): Deed.REMOTE_ADD,
    ("POST", "/remotes/copy"): Deed.REMOTE_COPY,
    ("PUT", "/remotes/R"): Deed.REMOTE_CHANGE,
    ("DELETE", "/remotes/R"): Deed.REMOTE_DELETE,
    ("POST", "/remotes/R/test"): Deed.REMOTE_TEST,
    ("PUT", "/remotes/R/files/content"): Deed.REMOTE_WRITE,
}
"""What the routes that change something do, by method and path; ``N`` is a number, ``E`` an engine, ``R`` a remote."""
_KINDS: Final = (
    ("/workflow_registry", WORKFLOW),
    ("/workflow_execution/execute/", WORKFLOW),
    ("/workflow_execution/files/", FILE),
    ("/workflow_execution", RUN),
    ("/workflow_events", RUN),
    ("/provenance", RUN),
    ("/engines/", ENGINE),
    ("/remotes", REMOTE),
)
"""What a path is about, by its beginning."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is known of a request as soon as its caller is."""

    principal: Principal
    action: Action | None
    """None where the request has not come to its route yet."""


def asked(scope: Scope, principal: Principal, action: Action | None = None) -> Principal:
    """``principal`` with where this request comes from, kept beside the request for the case that it is refused."""
    state = scope.setdefault("state", {})
    before: _Asked | None = state.get(_ASKED)
    request = clock.new_uuid() if before is None else before.principal.request
    located = dataclasses.replace(principal, address=address_of(scope), request=request)
    state[_ASKED] = _Asked(located, action)
    return located


def request_of(scope: Scope) -> UUID | None:
    """The number of the request; None for one that only looks."""
    found: _Asked | None = scope.get("state", {}).get(_ASKED)
    return None if found is None else found.principal.request


def address_of(scope: Scope) -> str | None:
    """Where the request comes from; None for a socket of this machine that has no address."""
    client = scope.get("client")
    if not client or not client[0]:
        return None
    told = str(client[0])
    try:
        return str(ip_address(told))
    except ValueError:
        return told  # a proxy that is trusted may say anything


async def refused(scope: Scope, result: str, status: int) -> None:
    """Write down that the request was refused, where that is to be known."""
    found: _Asked | None = scope.get("state", {}).get(_ASKED)
    entry = None if found is None else _entry(scope, found, result, status)
    if entry is None:
        return
    service: Service = scope["app"].state.service
    if result == DatabaseUnavailable.code:  # asking it again would take as long again
        _log(entry, "the database does not answer")
        return
    await to_thread.run_sync(_write, service.installation.database, entry, limiter=service.auditing)


def not_authenticated(scope: Scope, reason: object) -> None:
    """Log who came without a good token. Nobody is known, so that the audit has nobody to speak of."""
    told = f"{scope['method']} {scope['path']}"[:_LOGGED_CHARACTERS]
    logger.info("not authenticated: %a from %s: %s", told, address_of(scope), reason)


def deed_of(method: str, path: str) -> Deed | None:
    """What a request would change; None where it only looks, or leads nowhere."""
    for named, form in ((_ENGINE, "/engines/E"), (_REMOTE, "/remotes/R")):
        if named.match(path):
            return _DEEDS.get((method, path)) or _DEEDS.get((method, named.sub(form, path, count=1)))
    return _DEEDS.get((method, _NUMBER.sub("/N", path)))


def _entry(scope: Scope, asked: _Asked, result: str, status: int) -> AuditEntry | None:
    path: str = scope["path"]
    deed = deed_of(scope["method"], path)
    action = deed or asked.action
    if action is None:
        return None
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), errors="replace")
    kind = next((kind for start, kind in _KINDS if path.startswith(start)), None)
    resource = _resource_of(path, query)
    if resource is None and deed is Deed.DELETE and "registry_id" in query:
        kind, resource = WORKFLOW, query["registry_id"][-1]  # all runs of it were meant
    return AuditEntry(
        at=clock.now(),
        by=asked.principal.person,
        action=action.value,
        resource_kind=kind,
        resource_id=resource,
        group=query.get("group", [None])[-1],
        address=asked.principal.address,
        result=result,
        status=status,
        request=asked.principal.request,
    )


def _resource_of(path: str, query: dict[str, list[str]]) -> str | None:
    """The number, the engine or the remote in the path, or the name in the query."""
    named = _ENGINE.match(path) or _REMOTE.match(path)
    if named is not None:
        return named[1]
    number = _NUMBER.search(path)
    if number is not None:
        return number[1]
    name = query.get("reana_name", [None])[-1]
    count = query.get("reana_run_number", [None])[-1]
    return name if name is None or count is None else f"{name} #{count}"


def _write(database: Database, entry: AuditEntry) -> None:
    try:
        database.write(lambda session: audit.add(session, entry))
    except (DatabaseUnavailable, SQLAlchemyError) as error:
        _log(entry, getattr(error, "reason", error))


def _log(entry: AuditEntry, why: object) -> None:
    known = {name: value for name, value in dataclasses.asdict(entry).items() if value is not None}
    logger.warning("a refusal could not be written into the audit (%s): %a", why, known)
