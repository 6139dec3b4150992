"""Credentials for engines, sealed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlmodel import Session, col

from stemma.database.queries.insert import insert_missing
from stemma.database.tables import CredentialRow, PersonRow
from stemma.records import Person


class CredentialScope(StrEnum):
    """For whose runs a credential is."""

    PERSON = "person"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A credential as it is kept, without who may use it."""

    engine: str
    scope: CredentialScope
    owner: str
    """The person's subject, or the group."""
    sealed: str
    set_by: Person
    set_at: datetime


def put(session: Session, credential: Sealed) -> None:
    """Keep ``credential``, in place of the one before."""
    place = {"engine": credential.engine, "scope": credential.scope.value, "owner": credential.owner}
    values = {"sealed": credential.sealed, "set_by": credential.set_by.subject, "set_at": credential.set_at}
    insert_missing(session, CredentialRow, [place | values])  # another may do the same at this moment
    is_it = and_(col(CredentialRow.engine) == credential.engine, _is_of(credential.scope, (credential.owner,)))
    session.execute(update(CredentialRow).where(is_it).values(**values))


def remove(session: Session, engine: str, scope: CredentialScope, owner: str) -> bool:
    """Forget a credential; whether there was one."""
    is_it = and_(col(CredentialRow.engine) == engine, _is_of(scope, (owner,)))
    found = session.execute(delete(CredentialRow).where(is_it))
    return bool(found.rowcount)  # type: ignore[attr-defined] # a result of DELETE has it


def find(session: Session, subject: str, groups: Sequence[str], engine: str | None = None) -> list[Sealed]:
    """What the person of ``subject`` and these groups have, for one engine or all; the person's own first."""
    is_theirs = or_(_is_of(CredentialScope.PERSON, (subject,)), _is_of(CredentialScope.GROUP, groups))
    query = (
        select(CredentialRow, PersonRow)
        .join(PersonRow, col(PersonRow.subject) == col(CredentialRow.set_by))
        .where(is_theirs)
        .order_by(col(CredentialRow.engine), col(CredentialRow.scope).desc(), col(CredentialRow.owner))
    )
    if engine is not None:
        query = query.where(col(CredentialRow.engine) == engine)
    return [_sealed(row, person) for row, person in session.execute(query)]


def every(session: Session) -> list[Sealed]:
    """Those of everybody."""
    query = select(CredentialRow, PersonRow).join(PersonRow, col(PersonRow.subject) == col(CredentialRow.set_by))
    return [_sealed(row, person) for row, person in session.execute(query)]


def reseal(session: Session, credential: Sealed, sealed: str) -> bool:
    """Put the same credential under another seal; False where it is another by now. Nothing else changes."""
    is_it = and_(
        col(CredentialRow.engine) == credential.engine,
        _is_of(credential.scope, (credential.owner,)),
        col(CredentialRow.sealed) == credential.sealed,
    )
    found = session.execute(update(CredentialRow).where(is_it).values(sealed=sealed))
    return bool(found.rowcount)  # type: ignore[attr-defined] # a result of UPDATE has it


def _sealed(row: CredentialRow, person: PersonRow) -> Sealed:
    by = Person(person.subject, person.username)
    return Sealed(row.engine, CredentialScope(row.scope), row.owner, row.sealed, by, row.set_at)


def _is_of(scope: CredentialScope, owners: Sequence[str]) -> ColumnElement[bool]:
    return and_(col(CredentialRow.scope) == scope.value, col(CredentialRow.owner).in_(owners))
