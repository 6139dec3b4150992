"""Calls that make, show and list workflows."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from support.reana_standin import files
from support.reana_standin.checks import checked_specification
from support.reana_standin.clock import shown
from support.reana_standin.context import answered, bytes_shown, flag, json_body, pages, site_of
from support.reana_standin.refusals import Refused
from support.reana_standin.registry import is_uuid
from support.reana_standin.rows import ALIVE, User, Workflow

_STATUSES = ALIVE | {"finished", "failed", "stopped", "deleted"}
_NO_SIZE = {"raw": -1, "human_readable": ""}


async def create(request: Request) -> Response:
    """Make a workflow; much of what it says is looked at when it is started."""
    site = site_of(request)
    user = site.user(request)
    specification = await json_body(request)
    if specification is None:
        raise Refused(500, "Either remote repository or REANA specification needs to be provided")
    site.refuse_over_quota("create")
    name = request.query_params.get("workflow_name", "")
    _check_name(name)
    options = checked_specification(specification)
    if not name.isascii():
        raise Refused(400, f"Workflow name {name} is not valid.")
    workflow = site.registry.create(user, name, specification, options)
    return answered(
        {
            "message": "Workflow workspace created",
            "workflow_id": workflow.number,
            "workflow_name": workflow.full_name,
        },
        201,
    )


def _check_name(name: str) -> None:
    if "." in name:
        raise Refused(403, f'Workflow name {name} contains illegal character "."')
    if is_uuid(name):
        raise Refused(400, "Workflow name cannot be a valid UUIDv4.")


async def listed(request: Request) -> Response:
    """The caller's workflows, latest first; deleted ones too."""
    site = site_of(request)
    user = site.user(request)
    wanted = _filtered(request, site.registry.of(user))
    # The rows are in the order of their creation, which the times (whole seconds) do not tell.
    if request.query_params.get("sort", "desc") != "asc":
        wanted.reverse()
    part, about = pages(request).cut(wanted)
    verbose = flag(request, "verbose")
    full = flag(request, "include_progress") or verbose
    sized = flag(request, "include_workspace_size") or verbose
    items = [_item(user, workflow, full=full, sized=sized) for workflow in part]
    return answered({**about, "items": items, "user_has_workflows": bool(site.registry.of(user))})


def _filtered(request: Request, workflows: list[Workflow]) -> list[Workflow]:
    query = request.query_params
    if query.get("type", "batch") == "interactive":
        return []
    found = workflows
    if search := query.get("search"):
        try:
            part = json.loads(search)["name"][0].lower()
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise Refused(400, "Malformed request.") from error
        found = [w for w in found if part in w.name.lower()]
    if statuses := [one for text in query.getlist("status") for one in text.split(",") if one]:
        if not _STATUSES.issuperset(statuses):
            raise Refused(400, "Malformed request.")
        found = [w for w in found if w.status in statuses]
    if asked := query.get("workflow_id_or_name"):
        found = [w for w in found if (w.number if is_uuid(asked) else w.name) == asked]
    return found


def _item(user: User, workflow: Workflow, *, full: bool, sized: bool) -> dict[str, Any]:
    return {
        "id": workflow.number,
        "name": workflow.full_name,
        "status": workflow.status,
        "user": user.number,
        "launcher_url": None,
        "created": shown(workflow.created),
        "progress": workflow.progress(full=full),
        "size": bytes_shown(_size(workflow)) if sized else _NO_SIZE,
    }


def _size(workflow: Workflow) -> int:
    if not workflow.workspace.is_dir():
        return 0
    return sum((workflow.workspace / name).lstat().st_size for name in files.walked(workflow.workspace))


async def status(request: Request) -> Response:
    """How far one is, with the logs of all its jobs."""
    site = site_of(request)
    user = site.user(request)
    workflow = site.registry.find(user, request.path_params["workflow"])
    return answered(
        {
            "id": workflow.number,
            "name": workflow.full_name,
            "created": shown(workflow.created),
            "status": workflow.status,
            "progress": workflow.progress(full=True),
            "user": user.number,
            "logs": json.dumps(workflow.job_logs()),
        }
    )


async def logs(request: Request) -> Response:
    """What the engine and the jobs have said; a body may name the steps."""
    site = site_of(request)
    user = site.user(request)
    workflow = site.registry.find(user, request.path_params["workflow"])
    steps = await json_body(request)
    jobs = [job for job in workflow.jobs.values() if not steps or job.name in steps]
    part, _ = pages(request).cut(jobs)
    told = {
        "workflow_logs": None if steps else workflow.logs,
        "job_logs": workflow.job_logs(part),
        "engine_specific": None,
    }
    return answered(
        {
            "workflow_id": workflow.number,
            "workflow_name": workflow.full_name,
            "logs": json.dumps(told),
            "user": user.number,
        }
    )


async def specification(request: Request) -> Response:
    """What was given at creation, and at start."""
    site = site_of(request)
    workflow = site.registry.find(site.user(request), request.path_params["workflow"], 403)
    return answered({"specification": workflow.specification, "parameters": workflow.input_parameters})


async def parameters(request: Request) -> Response:
    """The inputs as the engine gets them."""
    site = site_of(request)
    workflow = site.registry.find(site.user(request), request.path_params["workflow"])
    given = workflow.specification.get("inputs", {}).get("parameters", {})
    return answered(
        {
            "id": workflow.number,
            "name": workflow.full_name,
            "type": workflow.specification["workflow"]["type"],
            "parameters": {**given, **workflow.input_parameters},
        }
    )


async def retention_rules(request: Request) -> Response:
    """What is to be deleted when; nothing is, here."""
    site = site_of(request)
    workflow = site.registry.find(site.user(request), request.path_params["workflow"])
    return answered(
        {
            "workflow_id": workflow.number,
            "workflow_name": workflow.full_name,
            "retention_rules": workflow.retention_rules,
        }
    )
