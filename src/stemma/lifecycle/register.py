"""Station *register*: a checked document becomes an immutable revision of a registry entry."""

import unicodedata
from dataclasses import asdict, dataclass

from sqlmodel import Session

from stemma import clock
from stemma.auth.principal import Principal
from stemma.database.queries import contents, people, workflows
from stemma.database.queries.workflows import NewRevision
from stemma.database.tables.workflows import NAME_LENGTH, VERSION_LENGTH
from stemma.errors import DuplicateWorkflow, EntryChanging, Finding, InvalidRequest
from stemma.lifecycle import audit
from stemma.lifecycle.audit import Deed
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.guard import giving_out
from stemma.lifecycle.validate import Upload, Validated, validate
from stemma.records import BundleFile, WorkflowRecord
from stemma.store.content import ContentStore

_UPDATES = 5
"""How often an update begins anew when others were quicker."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A registry entry after registration or update."""

    workflow: WorkflowRecord
    revision_number: int
    changed: bool
    """Whether a revision was added."""
    warnings: tuple[Finding, ...] = ()


def register(
    installation: Installation,
    principal: Principal,
    *,
    name: str,
    version: str,
    spec: Upload,
    inputs: Upload | None = None,
    group: str | None = None,
    main: str | None = None,
) -> Registered:
    """Register a workflow under a name and version of a group.

    The document is checked before the transaction and its bytes are stored before their rows, so that no row ever
    speaks of bytes that are not there.

    Raises:
        InvalidRequest, GroupRequired: the name, version or group will not do.
        InvalidDocument, InvalidInputs, TooLarge: see :func:`validate`.
        DuplicateWorkflow: the group has this name and version.
    """
    owner = principal.group_for_writing(group)
    check_name(name, version)
    with installation.database.reading() as session:  # said at once, rather than after a check that may take seconds
        if workflows.exists(session, group=owner, name=name, version=version):
            raise DuplicateWorkflow(name, version)
    validated = validate(installation, spec, inputs, main=main)

    def write(session: Session, new: NewRevision) -> Registered:
        now = clock.now()
        people.remember(session, principal.person, now)
        workflow_id = workflows.add(session, group=owner, name=name, version=version, by=principal.person, now=now)
        number = _add_revision(session, workflow_id, new, principal)
        workflow = workflows.get(session, workflow_id, principal.groups)
        audit.record(session, principal, Deed.REGISTER, workflow_id, group=owner, now=now)
        return Registered(workflow, number, changed=True, warnings=validated.checked.warnings)

    with giving_out(installation.settings.home):  # the bytes stay until it is written down whose they are
        new = _stored(installation.store, validated)
        return installation.database.write(lambda session: write(session, new))


def update(
    installation: Installation,
    principal: Principal,
    workflow_id: int,
    *,
    name: str | None = None,
    version: str | None = None,
    spec: Upload | None = None,
    inputs: Upload | None = None,
    main: str | None = None,
) -> Registered:
    """Change what is given of a registry entry. New content becomes a new revision; equal content changes nothing.

    Raises:
        WorkflowNotFound: no such entry for ``principal``.
        DuplicateWorkflow: another entry of the group has that name and version.
        InvalidRequest, InvalidDocument, InvalidInputs, TooLarge: see :func:`register`.
        EntryChanging: others change it all the time.
    """
    given = _Given(name, version, spec, inputs, main)
    for _ in range(_UPDATES):
        try:
            return _update(installation, principal, workflow_id, given)
        except _OutdatedError:  # what was not given comes from the newest revision, which is another by now
            continue
    raise EntryChanging(workflow_id)


@dataclass(frozen=True, slots=True)
class _Given:
    """What is to change."""

    name: str | None
    version: str | None
    spec: Upload | None
    inputs: Upload | None
    main: str | None


class _OutdatedError(Exception):
    """Somebody else added a revision meanwhile."""


def _update(installation: Installation, principal: Principal, workflow_id: int, given: _Given) -> Registered:
    name, version, spec, inputs, main = given.name, given.version, given.spec, given.inputs, given.main
    with installation.database.reading() as session:
        workflow = workflows.get(session, workflow_id, principal.groups)
        row = workflows.revision_row(session, workflow_id, workflow.latest_number)
    check_name(name or workflow.name, version or workflow.version)
    validated: Validated | None = None
    if spec is not None or inputs is not None:
        main = main or (row.main_path if spec is None else _fragment_of(row.main_path))
        spec = spec or Upload(row.spec_name, installation.store.read(row.spec_sha256))
        if inputs is None and row.inputs_sha256 is not None:
            inputs = Upload(row.inputs_name or "inputs.yml", installation.store.read(row.inputs_sha256))
        validated = validate(installation, spec, inputs, main=main)
    warnings = validated.checked.warnings if validated else ()

    def write(session: Session, new: NewRevision | None) -> Registered:
        current = workflows.get(session, workflow_id, principal.groups, for_update=True)
        if new is not None and current.latest_number != row.number:
            raise _OutdatedError
        wanted = (name or current.name, version or current.version)
        if wanted != (current.name, current.version):
            workflows.rename(session, current, name=wanted[0], version=wanted[1], now=clock.now())
        latest = workflows.revision_row(session, workflow_id, current.latest_number)
        changed = new is not None and _differs(new, latest.digest, latest.inputs_sha256)
        number = _add_revision(session, workflow_id, new, principal) if changed and new else current.latest_number
        workflow = workflows.get(session, workflow_id, principal.groups)
        audit.record(session, principal, Deed.UPDATE, workflow_id, group=workflow.group, now=clock.now())
        return Registered(workflow, number, changed=changed, warnings=warnings)

    with giving_out(installation.settings.home):  # see register
        new = _stored(installation.store, validated) if validated else None
        return installation.database.write(lambda session: write(session, new))


def unregister(installation: Installation, principal: Principal, workflow_id: int) -> None:
    """Take an entry out of the registry. Its runs and their provenance stay.

    Raises:
        WorkflowNotFound: no such entry for ``principal``.
    """

    def write(session: Session) -> None:
        workflow = workflows.get(session, workflow_id, principal.groups)
        now = clock.now()
        workflows.delete(session, workflow_id, now)
        audit.record(session, principal, Deed.UNREGISTER, workflow_id, group=workflow.group, now=now)

    installation.database.write(write)


def check_name(name: str, version: str) -> None:
    """Return when both can be shown to people and kept by the database.

    Raises:
        InvalidRequest: one is empty, too long, or has characters that cannot be seen.
    """
    for what, text, limit in (("name", name, NAME_LENGTH), ("version", version, VERSION_LENGTH)):
        problem = _problem_of_name(text, limit)
        if problem is not None:
            rule = f"registry/{what}"
            raise InvalidRequest(f"the {what} {problem}", [Finding(f"the {what} {problem}", rule)])


def _problem_of_name(text: str, limit: int) -> str | None:
    if not text.strip():
        return "is empty"
    if len(text) > limit:
        return f"is longer than {limit} characters"
    if text != text.strip():
        return "begins or ends with white space"
    unseen = next((sign for sign in text if unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"}), None)
    return f"has a character that cannot be shown: {unseen!a}" if unseen else None


def _stored(store: ContentStore, validated: Validated) -> NewRevision:
    """Keep the bytes, and say what the revision consists of."""
    runnable = validated.checked.bundle_for_execution
    return NewRevision(
        digest=validated.digest,
        main_path=runnable.main_path,
        spec_name=validated.spec.name,
        spec=store.put_bytes(validated.spec.content),
        inputs_name=validated.inputs.name if validated.inputs else None,
        inputs=store.put_bytes(validated.inputs.content) if validated.inputs else None,
        structure=validated.checked.structure,
        placeholders=[asdict(placeholder) for placeholder in validated.checked.placeholders],
        warnings=[asdict(warning) for warning in validated.checked.warnings],
        files=tuple(BundleFile(path, store.put_bytes(runnable.read(path))) for path in sorted(runnable.files)),
    )


def _add_revision(session: Session, workflow_id: int, new: NewRevision, principal: Principal) -> int:
    now = clock.now()
    people.remember(session, principal.person, now)
    templates = [new.inputs] if new.inputs else []
    contents.remember(session, [new.spec, *templates, *(file.content for file in new.files)], now)
    return workflows.add_revision(session, workflow_id, new, by=principal.person, now=now)


def _differs(new: NewRevision, digest: str, inputs_sha256: str | None) -> bool:
    return new.digest != digest or (new.inputs.sha256 if new.inputs else None) != inputs_sha256


def _fragment_of(main_path: str) -> str | None:
    """The process that was chosen in a ``$graph``, to be chosen again in its next revision."""
    _, mark, fragment = main_path.partition("#")
    return f"#{fragment}" if mark else None
