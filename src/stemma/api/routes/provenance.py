"""Provenance of executions: frozen, drawn, exported."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response

from stemma.api.answers import answer, file_answers, file_response
from stemma.api.dependencies import Caller, Capturer, ExecutionId, Reader, ReanaName, ReanaNumber
from stemma.api.error_responses import guarded
from stemma.api.routes.registry import PICTURE_TYPES
from stemma.api.schemas.envelope import Envelope
from stemma.api.schemas.provenance import CaptureShown
from stemma.database.queries import captures, runs
from stemma.lifecycle import capture as capturing
from stemma.provenance.render import Format
from stemma.records import RunRecord

router = APIRouter(prefix="/provenance", tags=["provenance"])

_PROV_JSON: Final = "application/json"
_PROV_N: Final = "text/provenance-notation"
_Exported = Literal["json", "provn"]

PictureFormat = Annotated[Format, Query(alias="format", title="PictureFormat", description="What kind of picture.")]


@router.post("/capture", response_model=Envelope[CaptureShown], responses=guarded(404, 409), name="capture_by_name")
@router.get("/capture", response_model=Envelope[CaptureShown], responses=guarded(404, 409), name="get_capture_by_name")
def capture_by_name(caller: Capturer, reana_name: ReanaName, reana_run_number: ReanaNumber) -> Response:
    """Freeze the record of an ended execution, by its name and number."""
    return _capture(caller, _named(caller, reana_name, reana_run_number))


@router.post(
    "/capture/{execution_id:number}",
    response_model=Envelope[CaptureShown],
    responses=guarded(404, 409),
    name="capture",
)
@router.get(
    "/capture/{execution_id:number}",
    response_model=Envelope[CaptureShown],
    responses=guarded(404, 409),
    name="get_capture",
)
def capture(caller: Capturer, execution_id: ExecutionId) -> Response:
    """Freeze the record of an ended execution: what it says now is said for good. Once only (403 afterwards)."""
    return _capture(caller, execution_id)


@router.get("/draw", response_class=Response, responses=guarded(404) | file_answers(*PICTURE_TYPES.values()))
def draw_by_name(
    caller: Reader, reana_name: ReanaName, reana_run_number: ReanaNumber, picture_format: PictureFormat = "png"
) -> Response:
    """What is known of an execution as a picture, by its name and number."""
    return _picture(caller, _named(caller, reana_name, reana_run_number), picture_format)


@router.get(
    "/draw/{execution_id:number}",
    response_class=Response,
    responses=guarded(404) | file_answers(*PICTURE_TYPES.values()),
)
def draw(caller: Reader, execution_id: ExecutionId, picture_format: PictureFormat = "png") -> Response:
    """What is known of an execution as a picture: what went in, what was done with it, what came out."""
    return _picture(caller, execution_id, picture_format)


@router.get("/json/{execution_id:number}", response_class=Response, responses=guarded(404) | file_answers(_PROV_JSON))
def prov_json(caller: Reader, execution_id: ExecutionId) -> Response:
    """The record of an execution as PROV-JSON; of a captured one, the very bytes that were frozen."""
    return _document(caller, execution_id, "json")


@router.get(
    "/export/{execution_id:number}",
    response_class=Response,
    responses=guarded(404) | file_answers(_PROV_N, _PROV_JSON),
)
def export(
    caller: Reader,
    execution_id: ExecutionId,
    document_format: Annotated[
        _Exported, Query(alias="format", title="RecordFormat", description="PROV-JSON or PROV-N.")
    ] = "json",
) -> Response:
    """The record of an execution in a format of the W3C."""
    return _document(caller, execution_id, document_format)


def _named(caller: Caller, name: str, number: int) -> int:
    with caller.installation.database.reading() as session:
        return runs.id_by_name(session, name, number, caller.principal.groups)


def _capture(caller: Caller, run_id: int) -> Response:
    captured = capturing.capture(caller.installation, caller.principal, run_id)
    return answer(CaptureShown.of(captured), f"the provenance of execution {run_id} is captured")


def _picture(caller: Caller, run_id: int, picture_format: Format) -> Response:
    from stemma.lifecycle.draw import draw_run  # noqa: PLC0415 - loads what draws, when somebody wants a picture

    run = capturing.run_record(caller.installation, caller.principal, run_id)
    picture = draw_run(caller.installation, run, picture_format)
    return file_response(picture, PICTURE_TYPES[picture_format], f"{_name(run)}.{picture_format}", inline=True)


def _document(caller: Caller, run_id: int, document_format: _Exported) -> Response:
    run = capturing.run_record(caller.installation, caller.principal, run_id)
    if document_format == "provn":
        text = capturing.prov_n(caller.installation, run)
        return file_response(text, f"{_PROV_N}; charset=utf-8", f"{_name(run)}.provn")
    body = _sealed(caller, run) or capturing.prov_json(caller.installation, run)
    return file_response(body, _PROV_JSON, f"{_name(run)}.prov.json")


def _sealed(caller: Caller, run: RunRecord) -> bytes | None:
    """What was frozen. Of a deleted run it is made anew, to say that it was deleted."""
    if run.captured_at is None or run.deleted_at is not None:
        return None
    with caller.installation.database.reading() as session:
        return caller.installation.store.read(captures.get(session, run.id).sha256)


def _name(run: RunRecord) -> str:
    return f"{run.name}-{run.number}".replace(":", "-")
