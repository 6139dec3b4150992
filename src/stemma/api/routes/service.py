"""The service itself: is it alive, what can it reach, whom does it take me for."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

import stemma
from stemma.api.answers import answer
from stemma.api.dependencies import Reader, Service, open_to_all
from stemma.api.error_responses import documented, error_answer, guarded
from stemma.api.metrics import CONTENT_TYPE, Metrics
from stemma.api.schemas.envelope import Envelope
from stemma.api.schemas.service import Health, Readiness, WhoAmI
from stemma.errors import DatabaseUnavailable, Unavailable
from stemma.lifecycle.installation import Installation

router = APIRouter(tags=["service"])


@router.get("/healthz", response_model=Envelope[Health], dependencies=[Depends(open_to_all)], responses=documented())
async def health() -> Response:
    """Is it alive? Asks nobody else."""
    return answer(Health(version=stemma.__version__), "alive")


@router.get("/readyz", response_model=Envelope[Readiness], dependencies=[Depends(open_to_all)], responses=documented())
def ready(request: Request) -> Response:
    """Each part, and whether it answers; 503 when one does not."""
    service: Service = request.app.state.service
    found = _readiness(service.installation)
    if "unavailable" in found.model_dump().values():
        wait = {"Retry-After": str(Unavailable.retry_after_seconds)}
        return error_answer(503, "a part of the service does not answer", found.model_dump(), headers=wait)
    return answer(found, "ready")


def _readiness(installation: Installation) -> Readiness:
    try:
        installation.database.ping()
        database = True
    except DatabaseUnavailable:
        database = False
    store = installation.settings.home.is_dir()
    return Readiness(
        database="ready" if database else "unavailable",
        store="ready" if store else "unavailable",
    )


@router.get("/whoami", response_model=Envelope[WhoAmI], responses=guarded())
async def whoami(caller: Reader) -> Response:
    """Whom your token names, in which groups, with which roles."""
    principal = caller.principal
    shown = WhoAmI(
        subject=principal.subject,
        username=principal.username,
        groups=list(principal.groups),
        roles=sorted(principal.roles),
    )
    in_none = "; you are in no group, so you see nothing until somebody puts you into one"
    return answer(shown, f"you are {principal.username}{'' if principal.groups else in_none}")


@router.get(
    "/metrics",
    response_class=Response,
    responses=guarded() | {200: {"description": "the figures", "content": {"text/plain": {}}}},
)
async def metrics(request: Request, _: Reader) -> Response:
    """Figures for Prometheus: requests by route and status, and how long they took."""
    figures: Metrics = request.app.state.metrics
    return Response(figures.exposed(), media_type=CONTENT_TYPE)
