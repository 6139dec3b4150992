"""The service itself: is it alive, what can it reach, whom does it take me for."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

import stemma
from stemma.api.answers import answer
from stemma.api.dependencies import Reader, open_to_all
from stemma.api.error_responses import documented, error_answer, guarded
from stemma.api.metrics import CONTENT_TYPE, Metrics
from stemma.api.schemas.envelope import Envelope
from stemma.api.schemas.service import EngineAnswer, Health, LoginWays, PartState, Readiness, WhoAmI
from stemma.api.service import Service
from stemma.errors import DatabaseUnavailable, Unavailable

router = APIRouter(tags=["service"])


@router.get("/healthz", response_model=Envelope[Health], dependencies=[Depends(open_to_all)], responses=documented())
async def health() -> Response:
    """Is it alive? Asks nobody else."""
    return answer(Health(version=stemma.__version__), "alive")


@router.get("/readyz", response_model=Envelope[Readiness], dependencies=[Depends(open_to_all)], responses=documented())
def ready(request: Request) -> Response:
    """Each part, and whether it answers; 503 when one does not without which nobody can be served."""
    service: Service = request.app.state.service
    issuer = service.identity.verifier.check_issuer()
    found = _readiness(service, can_log_in=issuer.answers)
    if "unavailable" in {found.database, found.store} or not issuer.has_keys:
        wait = {"Retry-After": str(Unavailable.retry_after_seconds)}
        return error_answer(503, "a part of the service does not answer", found.model_dump(), headers=wait)
    return answer(found, _message(found))


def _message(found: Readiness) -> str:
    if found.login == PartState.UNAVAILABLE:
        return "ready, but nobody can log in: the login service is silent"
    silent = [engine.name for engine in found.engines if engine.state is PartState.UNAVAILABLE]
    return f"ready, but runs wait on {', '.join(silent)}: no answer from there" if silent else "ready"


def _readiness(service: Service, *, can_log_in: bool) -> Readiness:
    installation = service.installation
    try:
        installation.database.ping()
        database = True
    except DatabaseUnavailable:
        database = False
    store = installation.settings.home.is_dir()
    return Readiness(
        database="ready" if database else "unavailable",
        store="ready" if store else "unavailable",
        login="ready" if can_log_in else "unavailable",
        engines=[EngineAnswer.of(probed) for probed in service.probes.seen()],
    )


@router.get("/login", response_model=Envelope[LoginWays], dependencies=[Depends(open_to_all)], responses=documented())
async def ways_to_log_in(request: Request) -> Response:
    """Where and how to get a token."""
    service: Service = request.app.state.service
    identity = service.identity
    return answer(
        LoginWays(
            issuer=identity.issuer,
            client_id=identity.client_id,
            token_url=identity.token_url,
            authorization_url=identity.authorization_url,
            device_authorization_url=identity.device_authorization_url,
        ),
        "log in at the issuer, and send the token as: Authorization: Bearer TOKEN",
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
def metrics(request: Request, _: Reader) -> Response:
    """Figures for Prometheus: requests by route and status and how long they took, replication, the store."""
    figures: Metrics = request.app.state.metrics
    return Response(figures.exposed(), media_type=CONTENT_TYPE)
