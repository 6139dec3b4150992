"""Calls about the files of a workspace."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from support.reana_standin import files
from support.reana_standin.clock import Clock, shown
from support.reana_standin.context import answered, bytes_shown, json_body, pages, site_of
from support.reana_standin.refusals import Refused
from support.reana_standin.rows import Workflow

_BLOCK = 1 << 18
_SHOWN_FILES = 10_000


async def upload(request: Request) -> Response:
    """Take a file. What had come stays where the connection breaks."""
    site = site_of(request)
    user = site.user(request)
    site.refuse_over_quota("upload")
    name = request.query_params.get("file_name")
    if not name:
        raise Refused(400, "No file_name provided")
    kind = request.headers.get("content-type")
    if kind is None:
        raise Refused(500, "argument of type 'NoneType' is not iterable")
    if "application/octet-stream" not in kind:
        raise Refused(400, f"Wrong Content-Type {kind} use application/octet-stream")
    workflow = site.registry.find(user, request.path_params["workflow"])
    with files.writing(workflow.workspace, name) as target:
        async for block in request.stream():
            target.write(block)
    return answered({"message": f"{name} has been successfully uploaded."})


async def listed(request: Request) -> Response:
    """The files, by pattern and search."""
    site = site_of(request)
    workflow = site.registry.find(site.user(request), request.path_params["workflow"])
    pattern = request.query_params.get("file_name")
    search = _search(request)
    try:
        found = await asyncio.to_thread(_listing, workflow.workspace, pattern, site.clock)
    except FileNotFoundError as error:
        raise Refused(404, "Workspace does not exist.") from error
    if len(found) > _SHOWN_FILES:
        raise Refused(
            400,
            f"Too many files to display (limit={_SHOWN_FILES}). Please use more specific filters to narrow the "
            "results. Available filters: file name, size, or last-modified.",
        )
    part, about = pages(request).cut([entry for entry in found if _is_meant(entry, search)])
    return answered({**about, "items": part})


def _search(request: Request) -> dict[str, list[str]]:
    try:
        search = json.loads(request.query_params.get("search") or "{}")
    except ValueError as error:
        raise Refused(400, "Malformed request.") from error
    return search if isinstance(search, dict) else {}


def _listing(workspace: Path, pattern: str | None, clock: Clock) -> list[dict[str, Any]]:
    names = files.matching(workspace, pattern, folders=True) if pattern else files.walked(workspace)
    return [_entry(workspace, name, clock) for name in names]


def _entry(workspace: Path, name: str, clock: Clock) -> dict[str, Any]:
    found = (workspace / name).lstat()
    changed = clock.shifted(datetime.fromtimestamp(found.st_mtime, UTC))
    return {"name": name, "last-modified": shown(changed), "size": bytes_shown(found.st_size)}


def _is_meant(entry: dict[str, Any], search: dict[str, list[str]]) -> bool:
    texts = {"name": entry["name"], "size": str(entry["size"]["raw"]), "last-modified": entry["last-modified"]}
    return all(part.casefold() in texts[key].casefold() for key, parts in search.items() for part in parts)


async def download(request: Request) -> Response:
    """A file as it is; a folder, or what a pattern finds where that is not one file, as an archive."""
    site = site_of(request)
    workflow = site.registry.find(site.user(request), request.path_params["workflow"])
    name = _forwarded(request.path_params["file_name"])
    workspace = workflow.workspace
    if not name:
        return Response("<!doctype html><title>404 Not Found</title>", 404, media_type="text/html")
    found = await asyncio.to_thread(lambda: list(files.matching(workspace, name)))
    if not found:
        raise Refused(404, f"{name} does not exist.")
    if len(found) == 1 and not files.is_folder(workspace, name):
        return _sent(files.reading(workspace, found[0]), found[0], "application/octet-stream")
    archive = await asyncio.to_thread(files.zipped, workspace, found, site.folder / "archives")
    return _sent(archive, _archive_name(workflow, name), "application/zip")


def _forwarded(name: str) -> str:
    """What the server behind the server is asked for: the name, put into a URL without being quoted.

    So ``#`` and ``?`` end it, and what looks like a quoted character becomes one.
    """
    asked = unquote(name.partition("#")[0].partition("?")[0])
    return "" if asked == "." else asked


def _archive_name(workflow: Workflow, pattern: str) -> str:
    return f"download_{workflow.full_name}_{PurePosixPath(pattern).name}_{time.strftime('%Y-%m-%d-%H%M%S')}.zip"


def _sent(file: BinaryIO, name: str, kind: str) -> Response:
    """Stream it. As REANA does, this tells no length."""
    attached = f"attachment; filename*=UTF-8''{quote(PurePosixPath(name).name)}"
    if name.isascii():
        attached = f"attachment; filename={json.dumps(PurePosixPath(name).name)}"

    async def blocks() -> AsyncIterator[bytes]:
        with file:
            while block := await asyncio.to_thread(file.read, _BLOCK):
                yield block

    return StreamingResponse(blocks(), media_type=kind, headers={"content-disposition": attached})


async def delete(request: Request) -> Response:
    """Remove what a pattern finds; finding nothing is no error."""
    site = site_of(request)
    workflow = site.registry.find(site.user(request), request.path_params["workflow"])
    told: dict[str, dict[str, Any]] = {"deleted": {}, "failed": {}}
    names = files.matching(workflow.workspace, request.path_params["file_name"], folders=True)
    # The deepest first, as a folder has to be empty.
    for name in sorted(names, key=lambda name: -name.count("/")):
        try:
            told["deleted"][name] = {"size": files.deleted(workflow.workspace, name)}
        except OSError as error:
            told["failed"][name] = {"error": str(error)}
    return answered(told)


async def move(request: Request) -> Response:
    """Rename within the workspace."""
    site = site_of(request)
    workflow = site.registry.find(site.user(request), request.path_params["workflow"])
    source, target = (request.query_params.get(name) for name in ("source", "target"))
    if source is None or target is None:
        raise Refused(400, "400 Bad Request")
    parts = files.parts_of(source), files.parts_of(target)
    goal = workflow.workspace.joinpath(*parts[1])
    try:
        workflow.workspace.joinpath(*parts[0]).rename(goal / parts[0][-1] if goal.is_dir() else goal)
    except OSError as error:
        raise Refused(409, f"Something went wrong:\n {error}") from error
    return answered(
        {
            "message": f"File(s) {source} were successfully moved",
            "workflow_id": workflow.number,
            "workflow_name": workflow.full_name,
        }
    )


async def disk_usage(request: Request) -> Response:
    """How much room each file takes, or all of them."""
    site = site_of(request)
    user = site.user(request)
    given = await json_body(request) or {}
    workflow = site.registry.find(user, request.path_params["workflow"], 403)
    if not workflow.workspace.is_dir():
        raise Refused(500, "Directory does not exist.")
    found = await asyncio.to_thread(_listing, workflow.workspace, None, site.clock)
    told = [{"name": f"/{entry['name']}", "size": entry["size"]} for entry in found]
    if given.get("summarize"):
        told = [{"name": "", "size": bytes_shown(sum(entry["size"]["raw"] for entry in found))}]
    return answered(
        {
            "workflow_id": workflow.number,
            "workflow_name": workflow.name,
            "user": user.number,
            "disk_usage_info": told,
        }
    )
