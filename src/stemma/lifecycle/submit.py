"""Station *submit*: a revision and its inputs become a queued run."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlmodel import Session

from stemma import clock
from stemma.auth.principal import Principal
from stemma.cwl.filereferences import file_references, is_sha1
from stemma.cwl.inputs import check_inputs
from stemma.cwl.placeholders import PlaceholderKind
from stemma.database.queries import arrivals, contents, demand, facts, people, runs, workflows
from stemma.database.queries.archive import is_archived
from stemma.database.queries.demand import Sought
from stemma.database.queries.runs import NewRun
from stemma.engines.protocol import Engine, Owner
from stemma.errors import ContentMissing, EngineUnsuitable, Finding, InputGone, InvalidInputs, TooLarge
from stemma.lifecycle import audit
from stemma.lifecycle.audit import Deed
from stemma.lifecycle.inputs import InputFiles
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.literals import keep_literals
from stemma.lifecycle.replicate.guard import giving_out
from stemma.lifecycle.replicate.handing import sent_ports, url_kinds
from stemma.lifecycle.replicate.room import check_room
from stemma.lifecycle.replicate.sealed_addresses import kept
from stemma.lifecycle.sha1 import sha1_of
from stemma.lifecycle.sources import look_at, placeholder
from stemma.lifecycle.storekeeping.dropped import is_held
from stemma.lifecycle.validate import Upload, parse_inputs
from stemma.records import Content, Json, RunSummary
from stemma.wake import wake_workers

_REFUSED_BY_REANA = re.compile(r"[^A-Za-z0-9_:-]")


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller asks to be run."""

    workflow_id: int
    revision: int | None = None
    """None for the newest."""
    inputs: dict[str, Json] | None = None
    """None to take those registered with the workflow."""
    uploads: Mapping[str, Content] = field(default_factory=dict)
    """Files sent along: by the names that the inputs call them by. They lie in the store already."""
    engine: str | None = None
    """None for the default one."""


def submit(installation: Installation, principal: Principal, submission: Submission) -> RunSummary:
    """Queue one run; a worker will pick it up.

    Raises:
        WorkflowNotFound, RevisionNotFound: no such entry for ``principal``.
        InvalidInputs: an input is missing, unknown, of the wrong type, or names a file that was not sent.
        PlaceholderNotFound, FileNotFound: a file of this service is named that does not exist for ``principal``,
            or an address elsewhere where nothing is.
        AddressRefused, SourceForbidden, SourceUnusable, SourceUnavailable, TooManyFetches, TooLarge: a file elsewhere
            cannot be had.
        InputGone: a file is named that was dropped from the store.
        TooLarge: too many files are named, or one elsewhere is larger than may be fetched.
        UnknownEngine, EngineUnsuitable: the engine is not set up here, or cannot run this workflow.
    """
    settings = installation.settings
    engine = installation.engines.get(submission.engine or installation.engines.default)
    with installation.database.reading() as session:
        workflow = workflows.get(session, submission.workflow_id, principal.groups)
        row = workflows.revision_row(session, workflow.id, submission.revision or workflow.latest_number)
        revision_id = row.id or 0
        revision = workflows.revision_by_id(session, revision_id)
    _refuse_unfit(engine, engine.check(revision, settings.containers))
    values = _given_inputs(installation, submission, row.inputs_name, row.inputs_sha256)
    values = _with_placeholders(values, row.placeholders)
    findings = check_inputs(revision.structure, values)
    if findings:
        raise InvalidInputs(findings)
    _check_for(engine, values)
    given = [port for port, value in (submission.inputs or {}).items() if value is not None]
    looked = look_at(installation, Owner(principal.subject, workflow.group), values, given, url_kinds(engine))
    ports = sent_ports(engine, revision) if any(one.by_url for one in looked.values()) else set()
    literals = keep_literals(installation, values)
    bundle = {file.path: file.content for file in revision.files}

    def named_by(session: Session, sha1: Mapping[str, str] | None) -> InputFiles:
        return InputFiles(
            session,
            groups=principal.groups,
            group=workflow.group,
            given=given,
            uploads=submission.uploads,
            bundle=bundle,
            literals=literals,
            looked=looked,
            sent_ports=ports,
            is_archived=partial(_is_archived, installation, session, principal.groups),
            sha1=sha1,
            subject=principal.subject,
        )

    known_sha1 = _known_sha1(installation, principal, workflow.group, values, named_by)

    def write(session: Session) -> RunSummary:
        now = clock.now()
        people.remember(session, principal.person, now)
        files = named_by(session, known_sha1)
        resolved = files.resolve(values)
        sent = {*submission.uploads.values(), *bundle.values(), *literals.values()}
        late = {one.occurrence for one in files.sought}
        named = (item.content for item in files.occurrences if item.content and item.uuid not in late)
        _check_here(installation, session, named, sent, principal.groups)
        brought = [one for one in files.sought if not one.by_url]
        _check_sizes(brought, settings.max_replica_bytes)
        new = NewRun(
            uuid=clock.new_uuid(),
            group=workflow.group,
            workflow_id=workflow.id,
            revision_id=revision_id,
            engine=engine.name,
            name=run_name(revision.name, revision.version),
            submitted_by=principal.person,
            inputs=resolved,
            containers=settings.containers,
            time_limit_seconds=settings.run_time_limit_seconds,
        )
        contents.remember(session, [item.content for item in files.occurrences if item.content], now)
        run_id = runs.add(session, new, now)
        facts.add_occurrences(session, run_id, 1, files.occurrences)
        if files.sought:
            place, has = (installation.home_id, workflow.group, run_id), installation.store.has
            handed = kept(installation, workflow.group, (one for one in files.sought if one.by_url))
            brought = kept(installation, workflow.group, brought)
            brought += demand.hand_over(session, *place, handed, has=has) if handed else []
            check_room(settings.store_bytes, engine, revision.structure, brought, files.occurrences)
            here = demand.want(session, *place, brought, has=has)
            arrivals.fill_occurrences(session, here)
        audit.record(session, principal, Deed.SUBMIT, run_id, group=workflow.group, now=now)
        return runs.get(session, run_id, principal.groups)

    with giving_out(settings.home):  # what is here now stays until it is written down that the run needs it
        run = installation.database.write(write)
    wake_workers(settings.home)
    return run


def _known_sha1(
    installation: Installation,
    principal: Principal,
    group: str,
    values: dict[str, Json],
    named_by: Callable[[Session, Mapping[str, str] | None], InputFiles],
) -> dict[str, str]:
    """The SHA-1 of the files of this service that ``values`` give it for, by their SHA-256. They are read for it, while
    nobody waits to write.

    Raises:
        InputGone: one is not there any more.
        TooManyFetches: as many as may be read at the moment.
    """
    given = (reference.expected for reference in file_references(values))
    if not any(expected is not None and is_sha1(expected) for expected in given):
        return {}
    with installation.database.reading() as session:
        files = named_by(session, None)
        files.resolve(values)
        here = [content for content in files.asked_sha1 if not files.is_archived(content)]
        _check_here(installation, session, here, (), principal.groups)
    try:
        return sha1_of(installation, group, principal.subject, files.asked_sha1)
    except ContentMissing as error:  # it was dropped since
        raise InputGone(error.sha256) from error


def _is_archived(installation: Installation, session: Session, groups: Collection[str], content: Content) -> bool:
    """Whether a content has to come from the archive. That others archived it must not be seen from that."""
    return (
        installation.archive is not None
        and not installation.store.has(content.sha256)
        and is_archived(session, content.sha256)
        and is_held(session, content.sha256, groups)
    )


def _check_here(
    installation: Installation,
    session: Session,
    named: Iterable[Content],
    sent: Collection[Any],
    groups: Collection[str],
) -> None:
    """See that the store holds what the inputs name: a copy of a file elsewhere may have been dropped.

    Raises:
        InputGone: it does not.
    """
    for content in dict.fromkeys(named):
        # That another group has what this one had must not be seen from whether it can be named.
        is_theirs = content in sent or is_held(session, content.sha256, groups)
        if not is_theirs or not installation.store.has(content.sha256):
            raise InputGone(content.sha256)


def _check_sizes(sought: Iterable[Sought], limit: int) -> None:
    """See that no file elsewhere is larger than may be fetched, as far as their sources tell.

    Raises:
        TooLarge: one is.
    """
    for one in sought:
        if (one.size_bytes or 0) > limit:
            raise TooLarge(str(one.source.get("url")), limit)


def _check_for(engine: Engine, values: dict[str, Json]) -> None:
    """See whether the engine can take these inputs, where it is not one that takes all.

    Raises:
        EngineUnsuitable: it cannot.
    """
    check = getattr(engine, "check_inputs", None)
    _refuse_unfit(engine, check(values) if check is not None else [])


def _refuse_unfit(engine: Engine, unfit: Sequence[Finding]) -> None:
    if unfit:
        raise EngineUnsuitable(engine.name, unfit)


def run_name(name: str, version: str) -> str:
    """``reana_name``: what REANA refuses in a name is replaced by ``-``."""
    return f"{_REFUSED_BY_REANA.sub('-', name)}:{_REFUSED_BY_REANA.sub('-', version)}"


def _given_inputs(
    installation: Installation, submission: Submission, template_name: str | None, template_sha256: str | None
) -> dict[str, Json]:
    if submission.inputs is not None:
        return submission.inputs
    if template_sha256 is None:
        return {}
    template = Upload(template_name or "inputs.yml", installation.store.read(template_sha256))
    return parse_inputs(installation.settings, template)


def _with_placeholders(values: dict[str, Json], placeholders: list[dict[str, Any]]) -> dict[str, Json]:
    """Inputs that were not given, from where the workflow says that they come from."""
    missing = [written for written in placeholders if values.get(written["port"]) is None]
    found = {
        written["port"]: {"class": "File", PlaceholderKind(written["kind"]).value: placeholder(written["value"])}
        for written in missing
    }
    return {**values, **found}
