"""Calls that REANA does not have: the switches and the counts of the stand-in."""

import asyncio
import shutil

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from support.reana_standin.context import answered, json_body, site_of
from support.reana_standin.faults import Faults
from support.reana_standin.gate import Counts
from support.reana_standin.refusals import Refused


async def about(request: Request) -> Response:
    """What this is."""
    return answered(
        {
            "stand_in_for": "REANA 0.9",
            "note": "Not REANA. Jobs are local processes, not containers: the image of a job is only written down.",
        }
    )


async def faults(request: Request) -> Response:
    """Show the switches, after setting those that are given."""
    current = site_of(request).faults
    if request.method == "POST":
        given = await json_body(request)
        if not isinstance(given, dict):
            raise Refused(400, "a JSON object is expected")
        try:
            changed = Faults.model_validate({**current.model_dump(), **given})
        except ValidationError as error:
            raise Refused(400, str(error)) from error
        for name in given:
            setattr(current, name, getattr(changed, name))
    return answered(current.model_dump())


async def requests(request: Request) -> Response:
    """Show the counts, or begin anew."""
    counts: Counts = request.app.state.counts
    told = counts.shown()
    if request.method == "DELETE":
        counts.clear()
    return answered(told)


async def lose_workspace(request: Request) -> Response:
    """Delete a workspace behind the back of everybody."""
    number = request.path_params["workflow"]
    found = next((one for one in site_of(request).registry.all() if one.number == number), None)
    if found is None:
        raise Refused(404, f"there is no workflow {number}")
    await asyncio.to_thread(shutil.rmtree, found.workspace)
    return answered({"lost": str(found.workspace)})
