"""The tables, one module a subject. Importing this package declares them all."""

from sqlalchemy import Table
from sqlmodel import SQLModel

from stemma.database.tables.archive import ArchivedRow
from stemma.database.tables.audit import AuditRow
from stemma.database.tables.contents import ContentRow
from stemma.database.tables.credentials import CredentialRow
from stemma.database.tables.facts import EventRow, OccurrenceRow, RunOutputRow, StepRow, UsageRow
from stemma.database.tables.hints import AheadRow, StepToldRow
from stemma.database.tables.people import PersonRow
from stemma.database.tables.replication import RemoteRow, ReplicaRow, ReplicationRow, StepWaitRow, StoreSpaceRow
from stemma.database.tables.runs import AttemptRow, CaptureRow, RunRow
from stemma.database.tables.workflows import RevisionFileRow, RevisionRow, WorkflowRow

__all__ = [
    "AheadRow",
    "ArchivedRow",
    "AttemptRow",
    "AuditRow",
    "CaptureRow",
    "ContentRow",
    "CredentialRow",
    "EventRow",
    "OccurrenceRow",
    "PersonRow",
    "RemoteRow",
    "ReplicaRow",
    "ReplicationRow",
    "RevisionFileRow",
    "RevisionRow",
    "RunOutputRow",
    "RunRow",
    "StepRow",
    "StepToldRow",
    "StepWaitRow",
    "StoreSpaceRow",
    "UsageRow",
    "WorkflowRow",
    "table_of",
]


def table_of(row: type[SQLModel]) -> Table:
    """The table behind ``row``: selecting its columns is several times faster than making objects of rows."""
    table: Table = row.__table__  # type: ignore[attr-defined]
    return table
