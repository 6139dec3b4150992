"""The local issuer's own endpoints, in the words of OAuth: what they answer well is without an envelope."""

import asyncio
import base64
import binascii
from typing import Annotated, Any, Final, NoReturn

from fastapi import APIRouter, Depends, Form, Header, Request
from fastapi.responses import Response

from stemma.api.dependencies import open_to_all
from stemma.api.error_responses import documented
from stemma.api.schemas.envelope import TokenRefusal
from stemma.api.schemas.service import IssuerConfiguration, KeySet, TokenAnswer
from stemma.auth.local_issuer import CLIENT, GrantRefused, LocalIssuer

router = APIRouter(prefix="/auth", tags=["login"], dependencies=[Depends(open_to_all)])

_REFUSAL_SECONDS: Final = 0.3
"""How long a wrong password takes to be refused."""
_SECRET: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""RFC 6749 §5.1."""


_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    400: {
        "model": TokenRefusal,
        "description": "no token for this",
        "content": {
            "application/json": {
                "example": {
                    "success": False,
                    "code": 400,
                    "message": "wrong username or password",
                    "data": None,
                    "error_code": 400,
                    "error": "invalid_grant",
                    "error_description": "wrong username or password",
                },
            },
        },
    },
}


@router.post("/token", response_model=TokenAnswer, responses=documented(400, 413, 429) | _REFUSED)
async def token(
    *,
    request: Request,
    grant_type: Annotated[str, Form(description="`password` or `refresh_token`.", examples=["password"])],
    username: Annotated[str, Form(examples=["user_1"])] = "",
    password: Annotated[str, Form(examples=["password_1"])] = "",
    refresh_token: Annotated[str, Form()] = "",
    client_id: Annotated[str, Form(examples=[CLIENT])] = "",
    authorization: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Log in with a username and password, or go on with a refresh token."""
    issuer: LocalIssuer = request.app.state.issuer
    _check_client(client_id or _client_of(authorization))
    try:
        match grant_type:
            case "password":
                granted = issuer.grant_password(username, password)
            case "refresh_token":
                granted = issuer.grant_refresh(refresh_token)
            case _:
                granted = _unsupported()
    except GrantRefused:
        await asyncio.sleep(_REFUSAL_SECONDS)
        raise
    shown = TokenAnswer(
        access_token=granted.access_token,
        expires_in=granted.access_seconds,
        refresh_token=granted.refresh_token,
        refresh_expires_in=granted.refresh_seconds,
    )
    return Response(shown.model_dump_json(), media_type="application/json", headers=_SECRET)


@router.get("/jwks", response_model=KeySet, responses=documented())
async def jwks(request: Request) -> dict[str, object]:
    """The public keys that tokens are signed with (RFC 7517)."""
    issuer: LocalIssuer = request.app.state.issuer
    return {"keys": list(issuer.fetch())}


@router.get("/.well-known/openid-configuration", response_model=IssuerConfiguration, responses=documented())
async def configuration(request: Request) -> dict[str, object]:
    """Where everything is (OpenID Connect Discovery 1.0)."""
    issuer: LocalIssuer = request.app.state.issuer
    return issuer.configuration()


def _client_of(authorization: str | None) -> str:
    """The client's name in a Basic authorization, which is how Swagger sends it; empty where there is none."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError) as error:
        raise GrantRefused("invalid_request", "the Authorization header cannot be read") from error


def _unsupported() -> NoReturn:
    raise GrantRefused("unsupported_grant_type", "ask with grant_type=password or refresh_token")


def _check_client(name: str) -> None:
    if name not in {"", CLIENT}:
        raise GrantRefused("invalid_client", f"there is no client {name!r}; it is called {CLIENT!r}")
