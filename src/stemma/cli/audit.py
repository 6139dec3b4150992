"""``stemma audit``: who did what, read from the database."""

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stemma import clock
from stemma.cli.console import say, short_time, visible
from stemma.cli.database import opened_database
from stemma.errors import InvalidRequest, Unavailable

if TYPE_CHECKING:
    from stemma.database.connection import Database
    from stemma.database.queries.audit import AuditEntry, Wanted

REFUSED: Final = "refused"
_LOOK_SECONDS: Final = 1.0
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WIDTHS: Final = (19, 12, 18, 14, 12, 15, 0)
_TITLES: Final = ("time", "user", "action", "resource", "group", "from", "result")


def audit(
    *,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not before: ISO 8601, or how long ago, as 2d, 3h, 30m.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only before; likewise.")] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="By this username, or subject of tokens.")] = None,
    action: Annotated[
        str | None, typer.Option(help="Only this, such as run.delete; or all of a kind, such as run.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="On things of this group.")] = None,
    resource: Annotated[str | None, typer.Option(metavar="KIND[:ID]", help="On this, such as run:12.")] = None,
    result: Annotated[
        str | None, typer.Option(help="Only with this result: done, refused, or the code of a refusal.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many, the newest; 0 for all.", min=0)] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is new, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Say who did what to what, when, from where, and with which result: the newest last.

    Reads the database itself, as operators may. Times without a zone are local ones. What was only read is not on
    record, refusals of whoever was logged in are.
    """
    from stemma.database import schema  # noqa: PLC0415 - commands load what they need
    from stemma.database.queries.audit import Wanted  # noqa: PLC0415 - see above

    if follow and until is not None:
        raise InvalidRequest("--follow has no end, so leave --until out")
    kind, _, number = (resource or "").partition(":")
    wanted = Wanted(
        since=_time("--since", since),
        until=_time("--until", until),
        user=user,
        action=action,
        group=group,
        resource_kind=kind or None,
        resource_id=number or None,
        result=None if result == REFUSED else result,
        is_refused=True if result == REFUSED else None,
    )
    with opened_database() as database:
        schema.check(database)
        if not as_json:
            print(_line(_TITLES))
        for entry in _told(database, wanted, limit or None, follow=follow):
            print(json.dumps(as_object(entry)) if as_json else _line(_cells(entry)), flush=follow)


def _told(database: "Database", wanted: "Wanted", newest: int | None, *, follow: bool) -> "Iterator[AuditEntry]":
    from stemma.database.queries.audit import Following, entries  # noqa: PLC0415 - commands load what they need

    following = Following(database, wanted, clock.now())
    for entry in entries(database, wanted, newest):
        following.saw(entry)
        yield entry
    is_away = False
    while follow:
        try:
            yield from following.look()
            is_away = False
        except Unavailable as error:
            if not is_away:
                say(f"waiting: {error}", style="yellow")
            is_away = True
        time.sleep(_LOOK_SECONDS)


def as_object(entry: "AuditEntry") -> dict[str, Any]:
    """``entry`` as JSON says it."""
    return {
        "id": entry.id,
        "at": clock.isoformat(entry.at),
        "subject": entry.by.subject,
        "username": entry.by.username,
        "action": entry.action,
        "resource_kind": entry.resource_kind,
        "resource_id": entry.resource_id,
        "group": entry.group,
        "address": entry.address,
        "result": entry.result,
        "status": entry.status,
        "request": str(entry.request) if entry.request else None,
    }


def _cells(entry: "AuditEntry") -> tuple[str, ...]:
    resource = ":".join(part for part in (entry.resource_kind, entry.resource_id) if part is not None)
    result = entry.result if entry.status is None else f"{entry.result} ({entry.status})"
    shown = (entry.by.username, entry.action, resource, entry.group, entry.address)
    return short_time(entry.at), *(_cell(text or "-") for text in shown), visible(result)


def _cell(text: str) -> str:
    """``text`` on one line. What has spaces of its own is quoted, or names could pose as other columns."""
    told = visible(text).replace("\n", "\\n").replace("\t", "\\t")
    return json.dumps(told, ensure_ascii=False) if " " in told else told


def _line(cells: tuple[str, ...]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True))


def _time(option: str, text: str | None) -> datetime | None:
    """The time that ``text`` names.

    Raises:
        InvalidRequest: it names none.
    """
    if text is None:
        return None
    ago = re.fullmatch(r"([0-9]+)([smhdw])", text.strip())
    try:
        if ago is not None:
            return clock.now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError) as error:
        message = f"{option} {text!r} is no time: give one as 2026-01-31T12:00, or how long ago, as 2d, 3h or 30m"
        raise InvalidRequest(message) from error
