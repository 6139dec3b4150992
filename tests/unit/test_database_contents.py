"""Which contents a group is given: those whose bytes were seen under the digest."""

import pytest
from sqlmodel import col, update

from stemma import clock
from stemma.database.connection import Database
from stemma.database.queries import contents, facts
from stemma.database.tables import RunRow
from stemma.errors import FileNotFound
from stemma.facts import FileSeen, StepStarted
from stemma.records import Content, FileKind, Occurrence, RunOutput, StepKind
from support.rows import add_run, add_workflow

CLAIMED = Content("e" * 64, 7)


def _made(database: Database, engine: str, *, is_output: bool) -> None:
    """A run of ``group1`` on ``engine`` with a step that says that it made ``CLAIMED``."""
    with database.transaction() as session:
        contents.remember(session, [CLAIMED], clock.now())
        run = add_run(session, add_workflow(session))
        session.execute(update(RunRow).where(col(RunRow.id) == run).values(engine=engine))
        step = clock.new_uuid()
        made = Occurrence(clock.new_uuid(), FileKind.FILE, "made", "out", content=CLAIMED, step=step, at=clock.now())
        facts.write(session, run, 1, [StepStarted(step, "a", "a", StepKind.TOOL, clock.now()), FileSeen(made)])
        if is_output:
            facts.add_outputs(session, run, [RunOutput(made.uuid, "out")])


@pytest.mark.parametrize(("engine", "is_output"), [("cwltool", False), ("reana", True)])
def test_content_when_its_bytes_were_seen_here_then_the_group_holds_it(
    database: Database, engine: str, is_output: bool
) -> None:
    _made(database, engine, is_output=is_output)
    with database.reading() as session:
        assert contents.held_by(session, CLAIMED.sha256, ["group1"]) == CLAIMED
        with pytest.raises(FileNotFound):
            contents.held_by(session, CLAIMED.sha256, ["group2"])


def test_content_when_a_job_elsewhere_only_claims_its_digest_then_the_group_does_not_hold_it(
    database: Database,
) -> None:
    _made(database, "reana", is_output=False)
    with database.reading() as session, pytest.raises(FileNotFound):
        contents.held_by(session, CLAIMED.sha256, ["group1"])
