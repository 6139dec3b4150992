"""The application: routes, and what errors become."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from support.reana_standin import calls_changes, calls_files, calls_people, calls_workflows, control
from support.reana_standin.context import Site, answered
from support.reana_standin.gate import Counts, Gate
from support.reana_standin.refusals import Refused

_log = logging.getLogger(__name__)
_ONE = "/api/workflows/{workflow}"

ROUTES = [
    Route("/", control.about),
    Route("/standin", control.about),
    Route("/standin/faults", control.faults, methods=["GET", "POST"]),
    Route("/standin/requests", control.requests, methods=["GET", "DELETE"]),
    Route("/standin/workspaces/{workflow}", control.lose_workspace, methods=["DELETE"]),
    Route("/api/ping", calls_people.ping),
    Route("/api/you", calls_people.you),
    Route("/api/info", calls_people.info),
    Route("/api/workflows", calls_workflows.listed),
    Route("/api/workflows", calls_workflows.create, methods=["POST"]),
    Route("/api/workflows/move_files/{workflow}", calls_files.move, methods=["PUT"]),
    Route(f"{_ONE}/start", calls_changes.start, methods=["POST"]),
    Route(f"{_ONE}/status", calls_workflows.status),
    Route(f"{_ONE}/status", calls_changes.set_status, methods=["PUT"]),
    Route(f"{_ONE}/logs", calls_workflows.logs),
    Route(f"{_ONE}/specification", calls_workflows.specification),
    Route(f"{_ONE}/parameters", calls_workflows.parameters),
    Route(f"{_ONE}/retention_rules", calls_workflows.retention_rules),
    Route(f"{_ONE}/disk_usage", calls_files.disk_usage),
    Route(f"{_ONE}/workspace", calls_files.listed),
    Route(f"{_ONE}/workspace", calls_files.upload, methods=["POST"]),
    Route(f"{_ONE}/workspace/{{file_name:path}}", calls_files.download),
    Route(f"{_ONE}/workspace/{{file_name:path}}", calls_files.delete, methods=["DELETE"]),
]


def application(site: Site) -> Starlette:
    """The whole server for ``site``."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await site.scheduler.close()

    counts = Counts()
    app = Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        middleware=[Middleware(Gate, faults=site.faults, counts=counts)],
        exception_handlers={Refused: _refused, ClientDisconnect: _gone, OSError: _failed, ValueError: _odd},
    )
    app.state.site = site
    app.state.counts = counts
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return answered({"message": error.message}, error.status)


async def _odd(request: Request, error: Exception) -> Response:
    """REANA takes every ValueError for a workflow that does not exist."""
    _log.error("a ValueError becomes a 404", exc_info=error)
    asked = request.path_params.get("workflow", "")
    return answered(
        {
            "message": f"REANA_WORKON is set to {asked}, but that workflow does not exist. "
            "Please set your REANA_WORKON environment variable appropriately."
        },
        404,
    )


async def _failed(request: Request, error: Exception) -> Response:
    """What the disk says: a folder in the place of a file, a workspace that is gone."""
    return answered({"message": str(error)}, 500)


async def _gone(request: Request, error: Exception) -> Response:
    """Nobody is there any more to read this."""
    return answered({"message": "the client is gone"}, 499)
