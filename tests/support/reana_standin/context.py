"""The server's parts, put together; and what a call gets to know of who makes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from support.reana_standin.clock import Clock
from support.reana_standin.faults import Faults
from support.reana_standin.refusals import Refused
from support.reana_standin.registry import Registry
from support.reana_standin.rows import User
from support.reana_standin.scheduler import Scheduler

_SHORT_OF = "User quota exceeded.\nResource: disk, usage: 100 MiB out of 100 MiB used (100%)\nPlease see: https://docs.reana.io/advanced-usage/user-quotas"


@dataclass(frozen=True)
class Site:
    """All that the calls need."""

    registry: Registry
    scheduler: Scheduler
    faults: Faults
    clock: Clock
    folder: Path

    def user(self, request: Request) -> User:
        """Who calls; REANA looks at the query only."""
        return self.registry.user(request.query_params.get("access_token"), self.faults.revoked)

    def refuse_over_quota(self, what: str) -> None:
        """Raise where there is no quota left."""
        if what in self.faults.over_quota:
            raise Refused(403, _SHORT_OF)


def site_of(request: Request) -> Site:
    """The site that serves this request."""
    site: Site = request.app.state.site
    return site


def answered(body: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return JSONResponse(body, status)


async def json_body(request: Request) -> Any:
    """The body where it says that it is JSON; else nothing."""
    if "json" not in request.headers.get("content-type", ""):
        return None
    content = await request.body()
    if not content:
        return None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "Your request contains not valid JSON.") from error


@dataclass(frozen=True)
class Pages:
    """Which part of a list is asked for."""

    page: int
    size: int | None

    def cut(self, items: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The part, and what is said about it."""
        if self.size is None:
            return items, {"page": self.page, "has_prev": False, "has_next": False, "total": len(items)}
        first, last = (self.page - 1) * self.size, self.page * self.size
        return items[first:last], {
            "page": self.page,
            "size": self.size,
            "has_prev": first > 0,
            "has_next": last < len(items),
            "total": len(items),
        }


def pages(request: Request) -> Pages:
    """``page`` and ``size``."""
    values: dict[str, int | None] = {}
    for name in ("page", "size"):
        text = request.query_params.get(name)
        if text is None:
            values[name] = None
            continue
        try:
            values[name] = int(text)
        except ValueError as error:
            raise Refused(400, f"Field '{name}': Not a valid integer.") from error
        if int(text) < 1:
            raise Refused(400, f"Field '{name}': Must be greater than or equal to 1.")
    return Pages(values["page"] or 1, values["size"])


def flag(request: Request, name: str) -> bool:
    """A yes or no of the query."""
    return request.query_params.get(name, "").lower() in {"true", "1", "t", "yes", "on"}


def bytes_shown(number: int) -> dict[str, Any]:
    """A size as REANA tells it."""
    value, unit = float(number), "Bytes"
    for bigger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, bigger
    rounded = round(value, 2)
    return {"raw": number, "human_readable": f"{int(rounded) if rounded.is_integer() else rounded} {unit}"}
