"""Swagger, with everything that it needs from here: no page of it asks another server."""

import functools
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Depends, Request
from fastapi.openapi.docs import get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from stemma.api.dependencies import open_to_all
from stemma.api.service import Service

router = APIRouter(include_in_schema=False, dependencies=[Depends(open_to_all)])

_ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
_REDIRECT: Final = "/docs/oauth2-redirect"


def _headers(*origins: str) -> dict[str, str]:
    """Nothing but our own files, and requests to ourselves and ``origins``."""
    asked = " ".join(("'self'", *origins))
    return {
        "Content-Security-Policy": (
            "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
            f"connect-src {asked}; img-src 'self' data: blob:; "
            "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
        ),
    }


@router.get("/docs")
async def swagger(request: Request) -> Response:
    """The page."""
    root = request.scope.get("root_path", "")
    service: Service = request.app.state.service
    identity = service.identity
    page = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="Stemma",
        swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/swagger-ui.css",
        swagger_favicon_url=f"{root}/docs/favicon.png",
        oauth2_redirect_url=f"{root}{_REDIRECT}",
        init_oauth={
            "clientId": identity.client_id,
            "appName": "Stemma",
            "scopes": "openid",
            "usePkceWithAuthorizationCodeGrant": True,
        },
        swagger_ui_parameters={"persistAuthorization": True, "displayOperationId": True, "docExpansion": "list"},
    )
    page.headers.update(_headers(*identity.origins))
    return page


@router.get(_REDIRECT)
async def redirect() -> Response:
    """Where the login service sends the browser back to; it hands the code to the page that opened it."""
    page = get_swagger_ui_oauth2_redirect_html()
    page.headers.update(_headers())
    return page


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    """A script, a style sheet or a picture of the page."""
    if name not in _ASSETS:
        raise HTTPException(404)
    return FileResponse(_folder() / name, media_type=_ASSETS[name], headers={"Cache-Control": "public, max-age=86400"})


@router.get("/openapi.json")
async def document(request: Request) -> Response:
    """The whole contract, for programs."""
    return Response(_serialised(request), media_type="application/json")


def _serialised(request: Request) -> bytes:
    """Made when it is first asked for, and kept."""
    state = request.app.state
    if not hasattr(state, "openapi_bytes"):
        import orjson  # noqa: PLC0415 - beside its only use

        state.openapi_bytes = orjson.dumps(request.app.openapi())
    kept: bytes = state.openapi_bytes
    return kept


@functools.cache
def _folder() -> Path:
    import fastapi_offline  # noqa: PLC0415 - a package that carries Swagger's files; no other request needs it

    return Path(fastapi_offline.__file__).parent / "static"
