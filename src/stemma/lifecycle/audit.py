"""What the audit calls what people do here, and the writing down of what was done."""

from datetime import datetime
from enum import StrEnum

from sqlmodel import Session

from stemma.auth.principal import Principal
from stemma.database.queries import audit
from stemma.database.queries.audit import AuditEntry

WORKFLOW, RUN, ENGINE, REMOTE = "workflow", "run", "engine", "remote"
"""Kinds of resources."""


class Deed(StrEnum):
    """What changes something, or would have."""

    REGISTER = "workflow.register"
    UPDATE = "workflow.update"
    UNREGISTER = "workflow.delete"
    VALIDATE = "workflow.validate"
    """Changes nothing; on record where it was refused."""
    SUBMIT = "run.submit"
    STOP = "run.stop"
    DELETE = "run.delete"
    RUN_EVENTS = "run.events"
    """How far its steps are is told by somebody else than its engine; or those of a workflow that runs elsewhere."""
    CAPTURE = "provenance.capture"
    ENGINE_LOGIN = "engine.login"
    """A credential for an engine is given, for a person or a group."""
    ENGINE_LOGOUT = "engine.logout"
    REMOTE_ADD = "remote.add"
    REMOTE_CHANGE = "remote.change"
    """Its settings or its credentials are replaced."""
    REMOTE_DELETE = "remote.delete"
    REMOTE_TEST = "remote.test"
    """Changes nothing; on record where it was refused."""
    REMOTE_WRITE = "remote.write"
    """A file is put there."""
    REMOTE_COPY = "remote.copy"

    @property
    def kind(self) -> str:
        """What it is done to."""
        first = self.partition(".")[0]
        return first if first in {WORKFLOW, ENGINE, REMOTE} else RUN


def record(
    session: Session,
    principal: Principal,
    deed: Deed,
    resource_id: int | str,
    *,
    group: str | None,
    now: datetime,
    kind: str | None = None,
) -> None:
    """Write down that ``principal`` did something, in the transaction that does it: both are there, or neither.

    ``kind`` is what it was done to, where the deed can be done to several kinds of things.
    """
    audit.add(
        session,
        AuditEntry(
            at=now,
            by=principal.person,
            action=deed.value,
            resource_kind=kind or deed.kind,
            resource_id=str(resource_id),
            group=group,
            address=principal.address,
            request=principal.request,
        ),
    )
