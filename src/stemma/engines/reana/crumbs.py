"""What is remembered of an attempt on REANA, in its folder: enough to go on after any crash.

It is written before and after every call that changes something there, so that a process that comes after a killed
one knows how far that came. A run that was created and whose id nobody wrote down is found by its document's name.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import orjson
from pydantic import TypeAdapter

from stemma.engines.protocol import EngineIdentity

_FILE = "reana.json"


@dataclass(frozen=True, slots=True)
class Crumbs:
    """How far an attempt has come."""

    path: Path
    creating_since: datetime | None = None
    """When it was first asked for on REANA."""
    workflow_id: str | None = None
    name: str | None = None
    number: int | None = None
    has_late: bool = False
    """Whether some of its files were not here when it started."""
    started_at: datetime | None = None
    """When the start was accepted."""
    cancelled_at: datetime | None = None
    """When it was deleted there because it was to be stopped and did not run yet."""
    given_up: str | None = None
    """Why it was deleted there before it ran: a sentence."""
    overdue: str | None = None
    """Why it was stopped there while it ran: a sentence."""
    server_version: str | None = None
    account: str | None = None
    """Whose it is there: what REANA calls the owner of the token that it was created with."""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 by place, of files that had to be read to know it."""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """What is remembered in ``folder``."""
        path = folder / _FILE
        try:
            return _ADAPTER.validate_json(path.read_bytes())  # type: ignore[return-value]  # there are no subclasses
        except FileNotFoundError:
            return cls(path)

    @property
    def identity(self) -> EngineIdentity | None:
        """What REANA calls it."""
        return None if self.workflow_id is None else EngineIdentity(self.workflow_id, self.name, self.number)

    def noting(self, **changes: Any) -> Self:
        """The same with ``changes``, written down."""
        changed = replace(self, **changes)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(f"{_FILE}.{uuid4().hex}")  # a worker that has lost the run may write at this moment
        try:
            aside.write_bytes(orjson.dumps(changed, default=str, option=orjson.OPT_UTC_Z))
            aside.replace(self.path)
        finally:
            aside.unlink(missing_ok=True)
        return changed


_ADAPTER = TypeAdapter(Crumbs)
"""Made once: crumbs are read at every look at every run."""


def document_name(run_uuid: UUID, attempt: int) -> str:
    """The name of an attempt's document: REANA keeps it, and nothing there depends on it."""
    return f"stemma-{run_uuid}-{attempt}.cwl"
