"""Executions: ask for one, look at it, stop it, delete it."""

import threading
import time
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile
from fastapi.responses import Response
from pydantic import BeforeValidator, ValidationError

from stemma.api import uploads
from stemma.api.answers import answer, file_answers, file_response, listed
from stemma.api.dependencies import (
    Caller,
    Cursor,
    Deleter,
    ExecutionId,
    Limit,
    Reader,
    RegistryId,
    Runner,
    cursor_of,
    id_of,
)
from stemma.api.error_responses import ERROR_HEADER, error_answer, guarded
from stemma.api.routes.provenance import PictureFormat
from stemma.api.routes.registry import PICTURE_TYPES
from stemma.api.schemas.envelope import Envelope, Page
from stemma.api.schemas.replication import ReplicationShown
from stemma.api.schemas.runs import DeletedShown, ExecutionRequest, RunDetails, RunShown, SubmittedShown, numbered
from stemma.database.queries import recorded, runs, workflows
from stemma.database.queries.awaited import Arrivals
from stemma.errors import AmbiguousSelection, EngineUnreachable, Finding, InvalidRequest, RunNotFound, TooLarge
from stemma.lifecycle import stop as stopping
from stemma.lifecycle.awaiting import Awaiting, awaiting
from stemma.lifecycle.capture import run_record
from stemma.lifecycle.engines import held_up
from stemma.lifecycle.outputs import occurrences_in
from stemma.lifecycle.submit import Submission, submit
from stemma.lifecycle.validate import Upload, parse_inputs
from stemma.records import Json, RunSummary
from stemma.states import RunState

router = APIRouter(prefix="/workflow_execution", tags=["execution"])

FIRST_WORD_SECONDS: Final = 10.0
"""How long a submission waits for the worker's first word."""
_FIRST_LOOK_SECONDS: Final = 0.02
_LAST_LOOK_SECONDS: Final = 0.25
_WAITING: Final = threading.BoundedSemaphore(16)
"""Bounds the threads that wait: who finds no room is told ``queued`` at once, and other requests go on."""
_PAGE: Final = 200
MOST_FILES: Final = 1000
"""How many files may come with one request."""
_ENGINE_CHARACTERS: Final = 40
_TOLD_CHARACTERS: Final = 40
"""How much is told back of a name that we do not know."""

_JSON_BODY: Final = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/ExecutionRequest"},
                "example": {"inputs": {"year": 2014}},
            },
        },
    },
}


async def asked_in_json(request: Request) -> ExecutionRequest:
    """What the body asks for, where it is JSON; else nothing.

    Raises:
        InvalidRequest: it is not what we understand.
        TooLarge: it is larger than an inputs file may be.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return ExecutionRequest()
    limit = request.app.state.service.installation.settings.max_document_bytes
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge("the request", limit)
    try:
        return ExecutionRequest.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        finding = Finding(f"this is not JSON: {error.msg}", "request/json", line=error.lineno, column=error.colno)
        raise InvalidRequest(finding.message, [finding]) from error
    except ValidationError as error:
        findings = [_finding(problem["loc"], problem["msg"], problem["type"]) for problem in error.errors()]
        raise InvalidRequest(findings[0].message, findings) from error


def _finding(place: tuple[int | str, ...], message: str, rule: str) -> Finding:
    named = ".".join(str(part)[:_TOLD_CHARACTERS] for part in ("body", *place))
    return Finding(f"{named}: {message}", f"request/{rule}")


InJson = Annotated[ExecutionRequest, Depends(asked_in_json)]
EngineQuery = Annotated[
    str | None, Query(max_length=_ENGINE_CHARACTERS, description="Which engine runs it; here or as a form field.")
]
EngineForm = Annotated[str | None, Form(alias="engine", max_length=_ENGINE_CHARACTERS)]
RevisionQuery = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="The newest without; here or as a form field.")
]
RevisionForm = Annotated[int | None, Form(alias="revision", ge=1, le=2**31 - 1)]
NoWait = Annotated[bool, Query(description="Answer at once, without the engine's ids; here or as a form field.")]
NoWaitForm = Annotated[bool, Form(alias="nowait")]
InputFile = Annotated[UploadFile | None, File(description="The input object, as YAML or JSON.")]
InputsText = Annotated[str | None, Form(description="The input object as JSON, in place of `input_file`.")]
Files = Annotated[
    list[UploadFile],
    BeforeValidator(lambda sent: [one for one in sent if one != ""]),  # what forms send where no file was chosen
    File(description=f"Files to run with, each under the name that the inputs call it by; at most {MOST_FILES}."),
]


@router.get("", response_model=Envelope[Page[RunShown]], responses=guarded())
def list_executions(
    caller: Reader,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Annotated[RunState | None, Query(description="Only those in this state.")] = None,
    registry_id: Annotated[int | None, Query(ge=0, le=10**18 - 1, description="Only those of this entry.")] = None,
) -> Response:
    """The executions of your groups, newest first."""
    principal = caller.principal
    with caller.installation.database.reading() as session:
        found = runs.page(
            session,
            principal.groups,
            limit=limit + 1,
            before=id_of(cursor),
            state=status,
            workflow_id=registry_id,
        )
    shown = [RunShown.of(run) for run in found[:limit]]
    following = cursor_of(found[limit - 1].id) if len(found) > limit else None
    return answer({"items": shown, "next_cursor": following}, listed(principal, len(shown), "executions"))


@router.get("/{execution_id:number}", response_model=Envelope[RunDetails], responses=guarded(404))
def show(caller: Reader, execution_id: ExecutionId) -> Response:
    """One execution with its steps, inputs and outputs."""
    with caller.installation.database.reading() as session:
        found = runs.get_whole(session, execution_id, caller.principal.groups)
        steps = recorded.steps(session, execution_id)
        named = [*occurrences_in(found.inputs), *occurrences_in(found.outputs or {})]
        numbers = recorded.numbers_of(session, execution_id, [file.occurrence for file in named])
        run = found.summary
        waits = awaiting(session, run, caller.installation.settings.lease_seconds)
    held = held_up(caller.installation.engines, run)
    sides = numbered(found.inputs, numbers), numbered(found.outputs, numbers)
    details = RunDetails.of_run(run, steps, *sides, awaiting=waits, held_up=held)
    return answer(details, f"execution {execution_id} is {run.state.value}")


@router.get("/{execution_id:number}/replication", response_model=Envelope[ReplicationShown], responses=guarded(404))
def replication(caller: Reader, execution_id: ExecutionId) -> Response:
    """What an execution needs from elsewhere, and which files and steps wait for each other: to be asked often."""
    with caller.installation.database.reading() as session:
        run = runs.get(session, execution_id, caller.principal.groups)
        waits = awaiting(session, run, caller.installation.settings.lease_seconds)
    found = waits or Awaiting(Arrivals())
    message = f"{found.waiting_steps} steps wait for {found.arrivals.waiting} files"
    return answer(ReplicationShown.of(found), message)


@router.get(
    "/{execution_id:number}/timeline",
    response_class=Response,
    responses=guarded(404) | file_answers(*PICTURE_TYPES.values()),
)
def timeline(caller: Reader, execution_id: ExecutionId, picture_format: PictureFormat = "svg") -> Response:
    """Transfers and steps of an execution on one time axis: what overlapped, what waited for what."""
    from stemma.lifecycle import draw  # noqa: PLC0415 - loads what draws, when somebody wants a picture

    run = run_record(caller.installation, caller.principal, execution_id)
    picture = draw.timeline(caller.installation, run, picture_format)
    name = f"{run.name}-{run.number}-timeline.{picture_format}".replace(":", "-")
    return file_response(picture, PICTURE_TYPES[picture_format], name, inline=True)


@router.post(
    "/execute/{registry_id:number}",
    response_model=Envelope[SubmittedShown],
    responses=guarded(404, 413),
    openapi_extra=_JSON_BODY,
)
def execute(
    *,
    caller: Runner,
    registry_id: RegistryId,
    in_json: InJson,
    input_file: InputFile = None,
    inputs: InputsText = None,
    files: Files = [],  # noqa: B006 - FastAPI's way to say that none is needed; never changed
    engine: EngineQuery = None,
    engine_form: EngineForm = None,
    revision: RevisionQuery = None,
    revision_form: RevisionForm = None,
    nowait: NoWait = False,
    nowait_form: NoWaitForm = False,
) -> Response:
    """Run a workflow. Without inputs, those that were registered with it are taken.

    Waits at most ten seconds for the worker's first word: what the engine calls the run, or that it refused.
    """
    installation = caller.installation
    given = _inputs(caller, in_json, input_file, inputs)
    if files:  # what is sent to an entry that is not there is not kept
        with installation.database.reading() as session:
            workflows.get(session, registry_id, caller.principal.groups)
    submission = Submission(
        workflow_id=registry_id,
        revision=revision or revision_form or in_json.revision,
        inputs=given,
        uploads=uploads.keep(installation, files),
        engine=engine or engine_form or in_json.engine,
    )
    run = submit(installation, caller.principal, submission)
    if not (nowait or nowait_form or in_json.nowait):
        run = _first_word(caller, run)
    shown = SubmittedShown.of(run)
    if run.state is RunState.FAILED and run.reference is None:  # it never came to the engine
        refused = EngineUnreachable(run.engine, run.reason or "it refused the run")
        headers = {ERROR_HEADER: refused.code, "Retry-After": str(refused.retry_after_seconds)}
        return error_answer(503, str(refused), shown, headers=headers)
    return answer(shown, f"execution {run.id} is {run.state.value}")


@router.post("/{execution_id:number}/stop", response_model=Envelope[RunShown], responses=guarded(404, 409))
def stop(caller: Runner, execution_id: ExecutionId) -> Response:
    """Ask for an execution to be stopped. Normally it has stopped within two seconds."""
    run = stopping.stop(caller.installation, caller.principal, execution_id)
    return answer(RunShown.of(run), "stopped" if run.state.is_terminal else "it is being stopped")


@router.delete("/delete", response_model=Envelope[DeletedShown], responses=guarded(404))
def delete(
    caller: Deleter,
    registry_id: Annotated[int | None, Query(ge=0, le=10**18 - 1, description="All executions of this entry.")] = None,
    reana_name: Annotated[str | None, Query(description="All executions of this name.")] = None,
) -> Response:
    """Delete executions, of an entry or of a name; those that still go on are stopped first.

    Captured records of them stay, and say that their execution was deleted.
    """
    if (registry_id is None) == (reana_name is None):
        raise AmbiguousSelection
    chosen = _chosen(caller, registry_id, reana_name)
    if not chosen:
        raise RunNotFound(reana_name if reana_name is not None else f"of workflow {registry_id}")
    stopping.delete(caller.installation, caller.principal, chosen)
    return answer(DeletedShown(deleted=chosen), f"{len(chosen)} executions deleted")


def _chosen(caller: Caller, registry_id: int | None, reana_name: str | None) -> list[int]:
    """The ids of all executions of an entry or a name."""
    chosen: list[int] = []
    while True:
        with caller.installation.database.reading() as session:
            found = runs.page(
                session,
                caller.principal.groups,
                limit=_PAGE,
                before=chosen[-1] if chosen else None,
                workflow_id=registry_id,
                name=reana_name,
            )
        chosen += [run.id for run in found]
        if len(found) < _PAGE:
            return chosen


def _inputs(
    caller: Caller, in_json: ExecutionRequest, file: UploadFile | None, text: str | None
) -> dict[str, Json] | None:
    """The input object, however it came; None where none did.

    Raises:
        InvalidRequest: it came in two ways.
        InvalidInputs, TooLarge: see :func:`parse_inputs`.
    """
    settings = caller.installation.settings
    upload = uploads.document(file, settings.max_document_bytes)
    if upload is not None and text:
        message = "give the inputs either as input_file or as inputs, not both"
        raise InvalidRequest(message, [Finding(message, "request/inputs")])
    if text:
        upload = Upload("inputs.json", text.encode("utf-8", "replace"))
    if upload is None:
        return in_json.inputs
    values = parse_inputs(settings, upload)
    _check_text(values)
    return values


def _check_text(values: dict[str, Json]) -> None:
    """YAML can write half a character; neither a database nor a document can keep it."""
    try:
        orjson.dumps(values)
    except TypeError as error:
        message = f"the inputs hold something that JSON cannot say: {error}"
        raise InvalidRequest(message, [Finding(message, "inputs/not-json")]) from error


def _first_word(caller: Caller, run: RunSummary) -> RunSummary:
    """The run, once its engine has it or it has ended; as it is where nothing is heard in time."""
    if not _WAITING.acquire(blocking=False):
        return run
    try:
        deadline = time.monotonic() + FIRST_WORD_SECONDS
        pause = _FIRST_LOOK_SECONDS
        while run.reference is None and not run.state.is_terminal and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(pause * 1.3, _LAST_LOOK_SECONDS)
            with caller.installation.database.reading() as session:
                run = runs.get(session, run.id, caller.principal.groups)
        return run
    finally:
        _WAITING.release()
