"""The tables, one module a subject. Importing this package declares them all."""

from stemma.database.tables.contents import ContentRow
from stemma.database.tables.facts import EventRow, OccurrenceRow, RunOutputRow, StepRow, UsageRow
from stemma.database.tables.people import PersonRow
from stemma.database.tables.runs import AttemptRow, CaptureRow, RunRow
from stemma.database.tables.workflows import RevisionFileRow, RevisionRow, WorkflowRow

__all__ = [
    "AttemptRow",
    "CaptureRow",
    "ContentRow",
    "EventRow",
    "OccurrenceRow",
    "PersonRow",
    "RevisionFileRow",
    "RevisionRow",
    "RunOutputRow",
    "RunRow",
    "StepRow",
    "UsageRow",
    "WorkflowRow",
]
