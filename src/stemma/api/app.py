"""The HTTP service: every route, behind one login, one policy and one shape of answer."""

from typing import Any, Final

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.formparsers import MultiPartParser

import stemma
from stemma.api import error_responses
from stemma.api.contract import tidied
from stemma.api.identity import SCHEME, Identity
from stemma.api.metrics import Metrics
from stemma.api.middleware import BodyLimit, Guard, KnownHosts, Large
from stemma.api.routes import (
    documentation,
    engines,
    execution,
    following,
    login,
    provenance,
    registry,
    remotes,
    results,
    service,
    telling,
)
from stemma.api.service import Service
from stemma.api.transfers import Transfers
from stemma.auth.policy import Action
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.probing import EngineProbes
from stemma.lifecycle.storekeeping.figures import StoreFigures
from stemma.settings import MIB, Settings

_FORM_BYTES: Final = MIB
"""What the other fields of a form may take beside its files."""
_SMALL_BYTES: Final = 64 * 1024
"""The largest body where no document is expected."""
_EVENTS_BYTES: Final = MIB
"""Of events of steps that come in one request."""
_FORM_FIELDS: Final = 10
"""Fields of a form beside its files, each of which is kept in memory. A login has seven (RFC 6749), no route of ours
more than four, beside the files that were not chosen: browsers send some of these as empty fields."""
_FILE_BYTES_IN_MEMORY: Final = 64 * 1024
"""How much of each file of a form is kept in memory; larger ones lie on the disk."""
_VERIFYING_THREADS: Final = 4
_LOOKING_THREADS: Final = 8
_ROUTERS: Final = (  # routes are tried in this order: the ones that are asked most come first
    execution.router,
    registry.router,
    following.router,
    results.router,
    provenance.router,
    engines.router,
    remotes.router,
    telling.router,
    service.router,
    documentation.router,
)
_TAGS: Final = [
    {"name": "registry", "description": "CWL workflows, by name and version, with every revision they had."},
    {"name": "execution", "description": "Runs of registered workflows: their steps, files, logs and events."},
    {"name": "provenance", "description": "What made what: drawn, exported, and frozen."},
    {"name": "engine", "description": "What runs the workflows, and what you show it."},
    {"name": "remote", "description": "Places elsewhere where data lies, and the files there."},
    {"name": "service", "description": "The service itself."},
]
_LOCAL_LOGIN: Final = {"name": "login", "description": "Tokens of an installation without Keycloak."}
_DESCRIPTION: Final = """A registry of CWL workflows that knows where every result came from.

Log in with *Authorize*. Every JSON answer has the same envelope: `success`, `code`, `message`, `data`, `error_code`."""


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The contract as clients and Swagger should read it, with the ways to log in here."""
        if self.openapi_schema is None:
            document = tidied(super().openapi())
            document["components"]["securitySchemes"][SCHEME] = self.state.service.identity.security_scheme()
            self.openapi_schema = document
        return self.openapi_schema


def create_app(installation: Installation) -> FastAPI:
    """The service on ``installation``. The caller closes the installation at the end."""
    settings = installation.settings
    identity = Identity.of(settings)
    app = _Application(
        title="Stemma",
        version=stemma.__version__,
        description=_DESCRIPTION,
        openapi_url=None,  # served by our own route, beside Swagger
        docs_url=None,
        redoc_url=None,
        openapi_tags=_TAGS if identity.local is None else [*_TAGS, _LOCAL_LOGIN],
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        form_limits={
            "max_part_size": settings.max_document_bytes,
            "max_fields": _FORM_FIELDS,
            "max_files": execution.MOST_FILES,
        },
    )
    MultiPartParser.spool_max_size = _FILE_BYTES_IN_MEMORY  # the framework has no other place for it
    archive = None if installation.archive is None else installation.archive.name
    metrics = Metrics(StoreFigures(installation.database, installation.store, installation.home_id, archive))
    app.state.metrics = metrics
    serving = Service(
        installation,
        identity,
        verifying=CapacityLimiter(_VERIFYING_THREADS),
        looking=CapacityLimiter(_LOOKING_THREADS),
        probes=EngineProbes(installation.engines),
        transfers=Transfers(settings.fetches_at_once),
    )
    app.state.service = serving
    for router in _ROUTERS:
        app.include_router(router)
    if identity.local is not None:
        app.state.issuer = identity.local
        app.include_router(login.router)
    error_responses.install(app)
    # The last that is added is the first that a request meets.
    app.add_middleware(BodyLimit, limits=_body_limits(settings), otherwise=_SMALL_BYTES, service=serving)
    if identity.local is not None:
        app.add_middleware(KnownHosts)
    app.add_middleware(Guard, metrics=metrics)
    return app


def _operation_id(route: APIRoute) -> str:
    """``tag-name``: what a generated client calls its methods."""
    tag: Any = route.tags[0] if route.tags else "page"
    return f"{tag}-{route.name}"


def _body_limits(settings: Settings) -> dict[str, Large]:
    """How large a request may be and what it wants to do, by how its path begins."""
    documents = settings.max_bundle_bytes + settings.max_document_bytes + _FORM_BYTES
    uploads = settings.max_upload_bytes + settings.max_document_bytes + _FORM_BYTES
    return {
        "/workflow_registry/register": Large(documents, Action.REGISTER),
        "/workflow_registry/update/": Large(documents, Action.REGISTER),
        "/workflow_registry/validate": Large(documents, Action.REGISTER),
        "/workflow_execution/execute/": Large(uploads, Action.RUN),
        "/workflow_events": Large(_EVENTS_BYTES, Action.RUN),
        "/remotes/": Large(settings.max_upload_bytes, Action.WRITE, ending="/files/content"),
    }
