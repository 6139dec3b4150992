"""What went into executions and what came out: whole, as zip archives, or file by file."""

from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from stemma.api.answers import HARMLESS, OCTETS, disposition, file_answers, stored_file
from stemma.api.contract import STORED_FILE
from stemma.api.dependencies import Caller, ExecutionId, FileId, Reader, ReanaName, ReanaNumber
from stemma.api.error_responses import guarded
from stemma.api.zips import Layout, archive
from stemma.database.queries import contents, facts, runs
from stemma.errors import Conflict, FileNotFound, RunNotEnded
from stemma.lifecycle.archive.reading import ArchivedContent, archived
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.outputs import occurrences_in
from stemma.lifecycle.storekeeping.dropped import check_file, check_inputs

router = APIRouter(prefix="/workflow_execution", tags=["execution"])

_ZIP: Final = "application/zip"
_Side = Literal["inputs", "outputs"]


@router.get("/inputs", response_class=Response, responses=guarded(404, 409) | file_answers(_ZIP))
def inputs_by_name(caller: Reader, reana_name: ReanaName, reana_run_number: ReanaNumber) -> Response:
    """The inputs of an execution as a zip, by its name and number; 409 as by its id."""
    return _zip(caller, _named(caller, reana_name, reana_run_number), "inputs")


@router.get("/inputs/{execution_id:number}", response_class=Response, responses=guarded(404, 409) | file_answers(_ZIP))
def inputs(caller: Reader, execution_id: ExecutionId) -> Response:
    """The inputs of an execution as a zip; `inputs.json` in it is the input object.

    409 where one from elsewhere has not come yet, or was dropped to make room; the message says where it lies.
    """
    return _zip(caller, execution_id, "inputs")


@router.get("/outputs", response_class=Response, responses=guarded(404, 409) | file_answers(_ZIP))
def outputs_by_name(caller: Reader, reana_name: ReanaName, reana_run_number: ReanaNumber) -> Response:
    """The outputs of a finished execution as a zip, by its name and number."""
    return _zip(caller, _named(caller, reana_name, reana_run_number), "outputs")


@router.get("/outputs/{execution_id:number}", response_class=Response, responses=guarded(404, 409) | file_answers(_ZIP))
def outputs(caller: Reader, execution_id: ExecutionId) -> Response:
    """The outputs of a finished execution as a zip; `outputs.json` in it is the output object."""
    return _zip(caller, execution_id, "outputs")


@router.get(
    "/files/{file_id:number}",
    response_class=Response,
    responses=guarded(404, 409) | file_answers(OCTETS) | STORED_FILE,
)
def file(request: Request, caller: Reader, file_id: FileId) -> Response:
    """One file of an execution, by the `id` that its inputs and outputs show.

    409 for an input from elsewhere that has not come yet, or was dropped to make room; the message says where it lies.
    """
    installation, groups = caller.installation, caller.principal.groups
    with installation.database.reading() as session:
        check_file(session, installation.store, file_id, groups)
        found = contents.file(session, file_id, groups)
    if found.content is None:
        raise FileNotFound(file_id)
    elsewhere = _elsewhere(installation)
    return stored_file(request, installation.store, found.content.sha256, found.basename, archived=elsewhere)


def _elsewhere(installation: Installation) -> Callable[[str], ArchivedContent] | None:
    """Gives what the store let go, where there is an archive."""
    return None if installation.archive is None else partial(archived, installation)


def _named(caller: Caller, name: str, number: int) -> int:
    with caller.installation.database.reading() as session:
        return runs.id_by_name(session, name, number, caller.principal.groups)


def _zip(caller: Caller, run_id: int, side: _Side) -> Response:
    installation = caller.installation
    with installation.database.reading() as session:
        found = runs.get_whole(session, run_id, caller.principal.groups)
        run = found.summary
        values = found.inputs if side == "inputs" else found.outputs
        if values is None:
            if not run.state.is_terminal:
                raise RunNotEnded(run_id, run.state.value)
            raise Conflict(f"execution {run_id} is {run.state.value} and has no outputs")
        if side == "inputs":
            check_inputs(session, installation.store, run_id, caller.principal.groups)
        contents = facts.contents_of(session, run_id, [file.occurrence for file in occurrences_in(values)])
    digests = {uuid: content.sha256 for uuid, content in contents.items()}
    layout = Layout(installation.store, digests, _elsewhere(installation))
    document_name = f"{side}.json"
    document = layout.place(values, document_name)
    layout.check()
    name = f"{run.name}-{run.number or run_id}-{side}.zip".replace(":", "-")
    return StreamingResponse(
        archive(layout, document_name, document, run.ended_at or run.submitted_at),
        media_type=_ZIP,
        headers={**HARMLESS, "Content-Disposition": disposition(name)},
    )
