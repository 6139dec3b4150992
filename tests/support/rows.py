"""Rows to start from, for tests that are about something else."""

from datetime import datetime

from sqlmodel import Session

from stemma import clock
from stemma.database.queries import contents, people, runs, workflows
from stemma.database.queries.runs import NewRun
from stemma.database.queries.workflows import NewRevision
from stemma.records import BundleFile, Content, Person, WorkflowStructure

ADA = Person("sub-ada", "ada")
SPEC = Content("a" * 64, 10)


def add_workflow(
    session: Session, *, group: str = "group1", name: str = "count", version: str = "1", spec: Content = SPEC
) -> int:
    """A registry entry with one revision; its id."""
    now = clock.now()
    people.remember(session, ADA, now)
    contents.remember(session, [spec], now)
    workflow_id = workflows.add(session, group=group, name=name, version=version, by=ADA, now=now)
    workflows.add_revision(session, workflow_id, new_revision(spec=spec), by=ADA, now=now)
    return workflow_id


def new_revision(digest: str = "d" * 64, spec: Content = SPEC) -> NewRevision:
    """What a revision of one small document consists of."""
    return NewRevision(
        digest=digest,
        main_path="main.cwl",
        spec_name="main.cwl",
        spec=spec,
        inputs_name=None,
        inputs=None,
        structure=WorkflowStructure("v1.2", "CommandLineTool", (), (), ()),
        placeholders=[],
        warnings=[],
        files=(BundleFile("main.cwl", spec),),
    )


def add_run(session: Session, workflow_id: int, *, group: str = "group1", now: datetime | None = None) -> int:
    """A queued run; its id."""
    row = workflows.revision_row(session, workflow_id, 1)
    new = NewRun(
        uuid=clock.new_uuid(),
        group=group,
        workflow_id=workflow_id,
        revision_id=row.id or 0,
        engine="cwltool",
        name="count:1",
        submitted_by=ADA,
        inputs={},
        containers="auto",
        time_limit_seconds=None,
    )
    return runs.add(session, new, now or clock.now())
