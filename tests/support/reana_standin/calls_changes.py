"""Calls that start, stop and delete."""

import asyncio
import shutil
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from support.reana_standin.checks import check_start, checked_options
from support.reana_standin.context import Site, answered, json_body, site_of
from support.reana_standin.refusals import Refused
from support.reana_standin.rows import User, Workflow

_FIELDS = {
    "operational_options": dict,
    "input_parameters": dict,
    "restart": bool,
    "all_runs": bool,
    "workspace": bool,
}


async def start(request: Request) -> Response:
    """Queue a workflow."""
    site = site_of(request)
    user = site.user(request)
    given = await _given(request)
    site.refuse_over_quota("start")
    return answered(_started(site, user, request.path_params["workflow"], given))


async def set_status(request: Request) -> Response:
    """Start, stop or delete."""
    site = site_of(request)
    user = site.user(request)
    asked = request.path_params["workflow"]
    wanted = request.query_params.get("status")
    if wanted is None:
        raise Refused(400, "Field 'status': Missing data for required field.")
    given = await _given(request)
    if wanted == "start":
        told = _started(site, user, asked, given)
        del told["run_number"]
        return answered(told)
    workflow = site.registry.find(user, asked)
    if wanted == "stop":
        return answered(_stopped(site, workflow))
    if wanted == "deleted":
        return answered(await _deleted(site, workflow, given))
    raise Refused(400, f"Status {wanted} is not one of: start, stop, deleted")


async def _given(request: Request) -> dict[str, Any]:
    body = await json_body(request)
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise Refused(400, "Field '_schema': Invalid input type.")
    for name, kind in _FIELDS.items():
        if name in body and not isinstance(body[name], kind):
            raise Refused(400, f"Field '{name}': Not a valid {'mapping type' if kind is dict else 'boolean'}.")
    return body


def _started(site: Site, user: User, asked: str, given: dict[str, Any]) -> dict[str, Any]:
    workflow = site.registry.find(user, asked, 403)
    options = checked_options(given.get("operational_options", {}))
    if given.get("restart"):
        if workflow.status not in {"finished", "failed"}:
            raise Refused(403, "Only finished or failed workflows can be restarted.")
        workflow = site.registry.restarted(workflow, given.get("reana_specification"))
    elif workflow.status != "created":
        raise Refused(403, f"Workflow {workflow.full_name} is already {workflow.status} and cannot be started again.")
    parameters = given.get("input_parameters", {})
    check_start(workflow.specification, parameters)
    workflow.input_parameters = parameters
    workflow.operational_options = options or workflow.operational_options
    site.scheduler.submit(workflow)
    return {
        "message": "Workflow submitted.",
        "workflow_id": workflow.number,
        "workflow_name": workflow.name,
        "status": "queued",
        "run_number": workflow.run_number,
        "user": user.number,
    }


def _stopped(site: Site, workflow: Workflow) -> dict[str, Any]:
    if not workflow.can_become("stopped"):
        raise Refused(409, f"Workflow {workflow.number} is not running.")
    workflow.become("stopped", site.clock.now())
    site.scheduler.kill(workflow)
    return _told(workflow, "Workflow successfully stopped")


async def _deleted(site: Site, workflow: Workflow, given: dict[str, Any]) -> dict[str, Any]:
    if not given.get("workspace", True):
        raise Refused(400, "Workspace must always be deleted when deleting a workflow.")
    if workflow.status == "running":
        raise Refused(409, f"Workflow {workflow.full_name} cannot be deleted as it is currently running.")
    doomed = [workflow]
    if given.get("all_runs"):
        doomed += [
            other
            for other in site.registry.of(workflow.owner)
            if other.name == workflow.name and other.status != "running" and other is not workflow
        ]
    for one in doomed:
        one.become("deleted", site.clock.now())
        site.scheduler.kill(one)
        await asyncio.to_thread(shutil.rmtree, one.workspace, ignore_errors=True)
    all_said = f"All workflows named {workflow.name} successfully deleted."
    return _told(workflow, all_said if given.get("all_runs") else "Workflow successfully deleted.")


def _told(workflow: Workflow, message: str) -> dict[str, Any]:
    return {
        "message": message,
        "workflow_id": workflow.number,
        "workflow_name": workflow.full_name,
        "status": workflow.status,
        "user": workflow.owner.number,
    }
