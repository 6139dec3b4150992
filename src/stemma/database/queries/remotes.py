"""Places elsewhere that people and groups registered. Their credentials are sealed, and stay so here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, true, update
from sqlmodel import Session, col

from stemma.database.queries.credentials import CredentialScope
from stemma.database.queries.insert import insert_missing
from stemma.database.tables import PersonRow, RemoteRow
from stemma.records import Json, Person


@dataclass(frozen=True, slots=True)
class Remote:
    """A registered place, as it is kept."""

    uuid: UUID
    scope: CredentialScope
    owner: str
    """The person's subject, or the group."""
    name: str
    kind: str
    settings: Mapping[str, str]
    """What may be shown."""
    sealed: str | None = field(repr=False)
    """The credentials; None where it needs none."""
    created_by: Person
    created_at: datetime
    updated_at: datetime
    id: int = 0
    """What rows of replicas call it; 0 before it is kept."""

    @property
    def group(self) -> str | None:
        """Whose it is; None for a person's."""
        return self.owner if self.scope is CredentialScope.GROUP else None


def add(session: Session, remote: Remote) -> bool:
    """Keep ``remote``; False where its owner has one of that name."""
    row: dict[str, Any] = {
        "uuid": remote.uuid,
        "scope": remote.scope.value,
        "owner": remote.owner,
        "name": remote.name,
        "kind": remote.kind,
        "settings": dict(remote.settings),
        "sealed": remote.sealed,
        "created_by": remote.created_by.subject,
        "created_at": remote.created_at,
        "updated_at": remote.updated_at,
    }
    insert_missing(session, RemoteRow, [row])  # another may do the same at this moment
    kept = session.execute(select(col(RemoteRow.uuid)).where(_is_called(remote.scope, remote.owner, remote.name)))
    return kept.scalar() == remote.uuid


def change(
    session: Session,
    uuid: UUID,
    *,
    before: datetime,
    now: datetime,
    settings: Mapping[str, str] | None = None,
    sealed: str | None = None,
) -> bool:
    """Give it other settings, or other credentials; False where it has been changed since ``before``, or is gone."""
    values: dict[str, Any] = {"updated_at": now}
    if settings is not None:
        values["settings"] = dict(settings)
    if sealed is not None:
        values["sealed"] = sealed
    is_it = and_(col(RemoteRow.uuid) == uuid, col(RemoteRow.updated_at) == before)
    return bool(session.execute(update(RemoteRow).where(is_it).values(**values)).rowcount)  # type: ignore[attr-defined] # a result of UPDATE has it


def reseal(session: Session, uuid: UUID, *, before: str, sealed: str) -> bool:
    """Put the same credentials under another seal; False where they are others by now. Nothing else changes."""
    is_it = and_(col(RemoteRow.uuid) == uuid, col(RemoteRow.sealed) == before)
    return bool(session.execute(update(RemoteRow).where(is_it).values(sealed=sealed)).rowcount)  # type: ignore[attr-defined] # see change


def remove(session: Session, uuid: UUID) -> bool:
    """Forget it; whether it was there."""
    found = session.execute(delete(RemoteRow).where(col(RemoteRow.uuid) == uuid))
    return bool(found.rowcount)  # type: ignore[attr-defined] # see change


def find(session: Session, subject: str, groups: Sequence[str], name: str | None = None) -> list[Remote]:
    """What the person of ``subject`` and these groups have, all or of one name; the person's own first."""
    is_theirs = or_(_is_of(CredentialScope.PERSON, (subject,)), _is_of(CredentialScope.GROUP, groups))
    is_called = true() if name is None else col(RemoteRow.name) == name
    return list(_remotes(session, and_(is_theirs, is_called)))


def count(session: Session, scope: CredentialScope, owner: str) -> int:
    """How many this person or group has."""
    return session.execute(select(func.count()).where(_is_of(scope, (owner,)))).scalar() or 0


def get(session: Session, remote_id: int) -> Remote | None:
    """The one that rows of replicas call so; None where it is gone."""
    return next(_remotes(session, col(RemoteRow.id) == remote_id), None)


def sealed(session: Session) -> list[Remote]:
    """All that have credentials, of everybody."""
    return list(_remotes(session, col(RemoteRow.sealed).is_not(None)))


def _remotes(session: Session, condition: ColumnElement[bool]) -> Iterator[Remote]:
    query = (
        select(RemoteRow, PersonRow)
        .join(PersonRow, col(PersonRow.subject) == col(RemoteRow.created_by))
        .where(condition)
        .order_by(col(RemoteRow.scope).desc(), col(RemoteRow.owner), col(RemoteRow.name), col(RemoteRow.id))
    )
    for row, person in session.execute(query):
        yield Remote(
            uuid=row.uuid,
            scope=CredentialScope(row.scope),
            owner=row.owner,
            name=row.name,
            kind=row.kind,
            settings=_texts(row.settings),
            sealed=row.sealed,
            created_by=Person(person.subject, person.username),
            created_at=row.created_at,
            updated_at=row.updated_at,
            id=row.id or 0,
        )


def _texts(settings: Json) -> dict[str, str]:
    return {name: str(value) for name, value in settings.items()} if isinstance(settings, dict) else {}


def _is_called(scope: CredentialScope, owner: str, name: str) -> ColumnElement[bool]:
    return and_(_is_of(scope, (owner,)), col(RemoteRow.name) == name)


def _is_of(scope: CredentialScope, owners: Iterable[str]) -> ColumnElement[bool]:
    return and_(col(RemoteRow.scope) == scope.value, col(RemoteRow.owner).in_(list(owners)))
