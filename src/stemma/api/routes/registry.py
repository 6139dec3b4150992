"""The workflow registry."""

from typing import Annotated, Final

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.responses import Response

from stemma.api import uploads
from stemma.api.answers import answer, file_answers, file_response, listed, stored_file
from stemma.api.contract import STORED_FILE
from stemma.api.dependencies import (
    Cursor,
    Deleter,
    Limit,
    Reader,
    Registrar,
    RegistryId,
    Revision,
    cursor_of,
    given,
    id_of,
    required,
)
from stemma.api.error_responses import guarded
from stemma.api.schemas.envelope import Envelope, Page
from stemma.api.schemas.workflows import (
    RegisteredShown,
    RevisionDetails,
    RevisionShown,
    UnregisteredShown,
    ValidatedShown,
    WorkflowShown,
)
from stemma.cwl import steps
from stemma.database.queries import workflows
from stemma.database.tables import RevisionRow
from stemma.database.tables.runs import ENGINE_LENGTH
from stemma.errors import NotFound
from stemma.lifecycle import register as registering
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.suitability import check_engine
from stemma.lifecycle.validate import Upload, validate
from stemma.provenance.render import Format

router = APIRouter(prefix="/workflow_registry", tags=["registry"])

PICTURE_TYPES: Final = {"png": "image/png", "svg": "image/svg+xml"}
_CWL_TYPES: Final = {"zip": "application/zip", "json": "application/json"}

SpecFile = Annotated[UploadFile, File(description="CWL, or a zip of a CWL with everything that it refers to.")]
MaybeSpecFile = Annotated[UploadFile | None, File(description="The document, where it changes.")]
InputFile = Annotated[UploadFile | None, File(description="Inputs to run it with, as YAML or JSON; may be partial.")]
TextQuery = Annotated[str | None, Query(description="Here or as a form field.")]
NameForm = Annotated[str | None, Form(alias="name", description="Here or as a query parameter.")]
VersionForm = Annotated[str | None, Form(alias="version", description="Here or as a query parameter.")]
GroupForm = Annotated[str | None, Form(alias="group", description="Needed by who is in several groups.")]
EngineQuery = Annotated[
    str | None, Query(max_length=ENGINE_LENGTH, description="Whether this engine can run it; here or as a form field.")
]
EngineForm = Annotated[str | None, Form(alias="engine", max_length=ENGINE_LENGTH)]
MainForm = Annotated[
    str | None,
    Form(alias="main", description="Which document of a zip to run, as `path.cwl`, `path.cwl#id` or `#id`."),
]


@router.get("", response_model=Envelope[Page[WorkflowShown]], responses=guarded())
def list_workflows(
    caller: Reader,
    limit: Limit = 50,
    cursor: Cursor = None,
    name: Annotated[str | None, Query(description="Only entries of this name.")] = None,
) -> Response:
    """The entries of your groups, newest first."""
    principal = caller.principal
    with caller.installation.database.reading() as session:
        found = workflows.page(session, principal.groups, limit=limit + 1, before=id_of(cursor), name=name)
    shown = [WorkflowShown.of(workflow) for workflow in found[:limit]]
    following = cursor_of(found[limit - 1].id) if len(found) > limit else None
    return answer({"items": shown, "next_cursor": following}, listed(principal, len(shown), "workflows"))


@router.get("/{registry_id:number}", response_model=Envelope[WorkflowShown], responses=guarded(404))
def show(caller: Reader, registry_id: RegistryId) -> Response:
    """One entry."""
    with caller.installation.database.reading() as session:
        workflow = workflows.get(session, registry_id, caller.principal.groups)
    return answer(WorkflowShown.of(workflow), "one workflow")


@router.post("/register", response_model=Envelope[RegisteredShown], responses=guarded(400, 413))
def register(
    *,
    caller: Registrar,
    spec_file: SpecFile,
    input_file: InputFile = None,
    name: TextQuery = None,
    version: TextQuery = None,
    group: TextQuery = None,
    main: TextQuery = None,
    name_form: NameForm = None,
    version_form: VersionForm = None,
    group_form: GroupForm = None,
    main_form: MainForm = None,
) -> Response:
    """Register a workflow under a name and version of your group; the document is checked first."""
    registered = registering.register(
        caller.installation,
        caller.principal,
        name=required("name", given(name, name_form)),
        version=required("version", given(version, version_form)),
        spec=_spec(caller.installation, spec_file),
        inputs=_inputs(caller.installation, input_file),
        group=given(group, group_form),
        main=given(main, main_form),
    )
    return answer(RegisteredShown.of(registered), "registered")


@router.put(
    "/update/{registry_id:number}", response_model=Envelope[RegisteredShown], responses=guarded(400, 404, 409, 413)
)
def update(
    *,
    caller: Registrar,
    registry_id: RegistryId,
    spec_file: MaybeSpecFile = None,
    input_file: InputFile = None,
    name: TextQuery = None,
    version: TextQuery = None,
    main: TextQuery = None,
    name_form: NameForm = None,
    version_form: VersionForm = None,
    main_form: MainForm = None,
) -> Response:
    """Change what is given of an entry. New content becomes a new revision; the ones before stay as they are."""
    registered = registering.update(
        caller.installation,
        caller.principal,
        registry_id,
        name=given(name, name_form),
        version=given(version, version_form),
        spec=_spec(caller.installation, spec_file) if spec_file else None,
        inputs=_inputs(caller.installation, input_file),
        main=given(main, main_form),
    )
    return answer(RegisteredShown.of(registered), "updated" if registered.changed else "nothing new in its content")


@router.delete("/delete/{registry_id:number}", response_model=Envelope[UnregisteredShown], responses=guarded(404))
def delete(caller: Deleter, registry_id: RegistryId) -> Response:
    """Take an entry out of the registry. Its runs and their provenance stay."""
    registering.unregister(caller.installation, caller.principal, registry_id)
    return answer(UnregisteredShown(registry_id=registry_id), "deleted; its executions and their provenance stay")


@router.post("/validate", response_model=Envelope[ValidatedShown], responses=guarded(413))
def check(
    *,
    caller: Registrar,
    spec_file: SpecFile,
    input_file: InputFile = None,
    name: TextQuery = None,
    version: TextQuery = None,
    main: TextQuery = None,
    engine: EngineQuery = None,
    name_form: NameForm = None,
    version_form: VersionForm = None,
    main_form: MainForm = None,
    engine_form: EngineForm = None,
) -> Response:
    """Check a document as registration does, and store nothing; with `engine`, also whether that can run it."""
    named = given(name, name_form), given(version, version_form)
    if any(named):
        registering.check_name(named[0] or "name", named[1] or "version")
    spec, inputs = _spec(caller.installation, spec_file), _inputs(caller.installation, input_file)
    validated = validate(caller.installation, spec, inputs, main=given(main, main_form))
    named_engine = given(engine, engine_form)
    if named_engine is not None:
        check_engine(caller.installation, caller.principal, validated, named_engine)
    can_run = f", and engine {named_engine} can run it" if named_engine else ""
    return answer(ValidatedShown.of(validated), f"this can be registered{can_run}")


@router.get("/{registry_id:number}/revisions", response_model=Envelope[list[RevisionShown]], responses=guarded(404))
def revisions(caller: Reader, registry_id: RegistryId) -> Response:
    """The history of an entry, newest first."""
    with caller.installation.database.reading() as session:
        workflows.get(session, registry_id, caller.principal.groups)
        found = workflows.revisions(session, registry_id)
    return answer([RevisionShown.of(revision) for revision in found], f"{len(found)} revisions")


@router.get("/{registry_id:number}/structure", response_model=Envelope[RevisionDetails], responses=guarded(404))
def structure(caller: Reader, registry_id: RegistryId, revision: Revision = None) -> Response:
    """What a revision asks for, its steps, and what it gives."""
    row = _revision(caller, registry_id, revision)
    return answer(RevisionDetails.of(row, steps.from_json(row.structure)), f"revision {row.number}")


@router.get(
    "/{registry_id:number}/spec",
    response_class=Response,
    responses=guarded(404) | file_answers("application/cwl", *_CWL_TYPES.values()) | STORED_FILE,
)
def spec(request: Request, caller: Reader, registry_id: RegistryId, revision: Revision = None) -> Response:
    """The CWL as it was registered: the very bytes."""
    row = _revision(caller, registry_id, revision)
    ending = row.spec_name.lower().rpartition(".")[2]
    media_type = _CWL_TYPES.get(ending, "application/cwl")
    return stored_file(request, caller.installation.store, row.spec_sha256, row.spec_name, media_type=media_type)


@router.get(
    "/{registry_id:number}/inputs",
    response_class=Response,
    responses=guarded(404) | file_answers("application/yaml", "application/json") | STORED_FILE,
)
def inputs(request: Request, caller: Reader, registry_id: RegistryId, revision: Revision = None) -> Response:
    """The inputs that were registered with it: the very bytes."""
    row = _revision(caller, registry_id, revision)
    if row.inputs_sha256 is None:
        raise NotFound(f"revision {row.number} of workflow {registry_id} was registered without inputs")
    name = row.inputs_name or "inputs.yml"
    media_type = "application/json" if name.lower().endswith(".json") else "application/yaml"
    return stored_file(request, caller.installation.store, row.inputs_sha256, name, media_type=media_type)


@router.get(
    "/{registry_id:number}/diagram",
    response_class=Response,
    responses=guarded(404) | file_answers(*PICTURE_TYPES.values()),
)
def diagram(
    caller: Reader,
    registry_id: RegistryId,
    revision: Revision = None,
    picture_format: Annotated[
        Format, Query(alias="format", title="PictureFormat", description="What kind of picture.")
    ] = "png",
) -> Response:
    """The workflow drawn."""
    from stemma.lifecycle.draw import draw_workflow  # noqa: PLC0415 - loads what draws, when somebody wants a picture

    with caller.installation.database.reading() as session:
        workflow = workflows.get(session, registry_id, caller.principal.groups)
        row = workflows.revision_row(session, registry_id, revision or workflow.latest_number)
    title = f"{workflow.name} {workflow.version}"
    picture = draw_workflow(caller.installation, steps.from_json(row.structure), title, picture_format)
    name = f"{workflow.name}-{workflow.version}.{picture_format}"
    return file_response(picture, PICTURE_TYPES[picture_format], name, inline=True)


def _revision(caller: Reader, registry_id: int, number: int | None) -> RevisionRow:
    with caller.installation.database.reading() as session:
        workflow = workflows.get(session, registry_id, caller.principal.groups)
        return workflows.revision_row(session, registry_id, number or workflow.latest_number)


def _spec(installation: Installation, file: UploadFile) -> Upload:
    upload = uploads.document(file, installation.settings.max_bundle_bytes)
    if upload is None:
        raise AssertionError("a file was declared as needed and is not there")
    return upload


def _inputs(installation: Installation, file: UploadFile | None) -> Upload | None:
    return uploads.document(file, installation.settings.max_document_bytes)
