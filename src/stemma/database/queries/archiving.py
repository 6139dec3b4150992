"""What is to be copied to the archive, who copies it, and who removes it again.

A copy is claimed by compare-and-set with a lease and a fence, as replicas are: what is written under an older fence is
refused, so that two workers never count one copy twice, and that of a killed one is taken over.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlmodel import Session

from stemma import clock
from stemma.database.queries import storekeeping
from stemma.database.queries.archive import ArchiveState, Route, is_old, unused
from stemma.database.queries.insert import insert_missing
from stemma.database.queries.parts import parts_of
from stemma.database.queries.replicas import LONG_AGO
from stemma.database.tables import ArchivedRow, OccurrenceRow, RunOutputRow, RunRow, table_of
from stemma.records import Content

_ARCHIVED, _OCCURRENCE, _OUTPUT, _RUN = (table_of(row) for row in (ArchivedRow, OccurrenceRow, RunOutputRow, RunRow))
_PAGE: Final = 1000
_DESERTED: Final = timedelta(hours=1)
"""After so long another data folder may copy what one has noted and does not copy."""
Page: TypeAlias = list[tuple[int, Content]]
"""Contents, each with the number of where it was found."""
_HELD: Final = [ArchiveState.COPYING.value, ArchiveState.REMOVING.value]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A content that is to be copied, or removed, by who claimed it."""

    content: Content
    fence: int
    tries: int = 0


def outputs_after(session: Session, archive: str, after: int) -> Page:
    """A page of the outputs of ended runs that nobody noted yet, each with its number."""
    query = (
        select(_OUTPUT.c.id, _OCCURRENCE.c.sha256, _OCCURRENCE.c.size_bytes)
        .join(_OCCURRENCE, _OCCURRENCE.c.uuid == _OUTPUT.c.occurrence)
        .join(_RUN, _RUN.c.id == _OCCURRENCE.c.run_id)
        .where(_OUTPUT.c.id > after, *_is_new(archive))
        .order_by(_OUTPUT.c.id)
        .limit(_PAGE)
    )
    return _numbered(session, query)


def uploads_after(session: Session, archive: str, after: int) -> Page:
    """A page of the inputs that were sent with runs and that nobody noted yet, each with its number."""
    query = (
        select(_OCCURRENCE.c.id, _OCCURRENCE.c.sha256, _OCCURRENCE.c.size_bytes)
        .join(_RUN, _RUN.c.id == _OCCURRENCE.c.run_id)
        .where(_OCCURRENCE.c.id > after, _OCCURRENCE.c.step.is_(None), ~storekeeping.IS_LATE, *_is_new(archive))
        .order_by(_OCCURRENCE.c.id)
        .limit(_PAGE)
    )
    return _numbered(session, query)


def _is_new(archive: str) -> tuple[ColumnElement[bool], ...]:
    noted = (
        select(_ARCHIVED.c.sha256)
        .where(_ARCHIVED.c.archive == archive, _ARCHIVED.c.sha256 == _OCCURRENCE.c.sha256)
        .exists()
    )
    return _OCCURRENCE.c.sha256.is_not(None), _OCCURRENCE.c.size_bytes.is_not(None), _RUN.c.deleted_at.is_(None), ~noted


def _numbered(session: Session, query: Select[Any]) -> Page:
    return [(number, Content(sha256, size)) for number, sha256, size in session.execute(query)]


def newest(session: Session) -> tuple[int, int]:
    """The highest numbers of outputs and of inputs."""
    outputs = session.execute(select(func.max(_OUTPUT.c.id))).scalar()
    return int(outputs or 0), int(session.execute(select(func.max(_OCCURRENCE.c.id))).scalar() or 0)


def note(session: Session, route: Route, contents: Collection[Content]) -> None:
    """These are to be copied, by whoever works on the store of the data folder."""
    now = clock.now()
    sizes = {content.sha256: content.size_bytes for content in contents}
    rows = [
        {
            "archive": route.archive,
            "sha256": digest,
            "size_bytes": size,
            "home": route.home,
            "state": ArchiveState.WANTED.value,
            "noted_at": now,
            "tries": 0,
            "not_before": now,
            "lease_until": LONG_AGO,
            "fence": 0,
        }
        for digest, size in sorted(sizes.items())
    ]
    insert_missing(session, ArchivedRow, rows)


def deserted(session: Session, route: Route, after: str) -> list[str]:
    """A page of what other data folders noted long ago and do not copy, by digest."""
    query = (
        select(_ARCHIVED.c.sha256)
        .where(
            _ARCHIVED.c.archive == route.archive,
            _ARCHIVED.c.home != route.home,
            _ARCHIVED.c.sha256 > after,
            _ARCHIVED.c.state.in_([ArchiveState.WANTED.value, ArchiveState.COPYING.value]),
            _ARCHIVED.c.noted_at < clock.now() - _DESERTED,
            _ARCHIVED.c.lease_until <= clock.now(),
        )
        .order_by(_ARCHIVED.c.sha256)
        .limit(_PAGE)
    )
    return list(session.execute(query).scalars())


def adopt(session: Session, route: Route, digests: Sequence[str]) -> None:
    """These are copied from the store of the data folder from now on."""
    for part in parts_of(sorted(digests)):
        session.execute(
            update(_ARCHIVED)
            .where(
                _ARCHIVED.c.archive == route.archive,
                _ARCHIVED.c.sha256.in_(part),
                _ARCHIVED.c.lease_until <= clock.now(),
            )
            .values(home=route.home)
        )


def has_free(session: Session, route: Route) -> bool:
    """Whether there is anything to claim; asked often, and locks nothing."""
    return session.execute(select(_ARCHIVED.c.sha256).where(_is_free(route)).limit(1)).first() is not None


def _is_free(route: Route) -> ColumnElement[bool]:
    now = clock.now()
    free = or_(
        and_(_ARCHIVED.c.state == ArchiveState.WANTED.value, _ARCHIVED.c.not_before <= now),
        and_(_ARCHIVED.c.state.in_(_HELD), _ARCHIVED.c.lease_until <= now),
    )
    return and_(_ARCHIVED.c.archive == route.archive, _ARCHIVED.c.home == route.home, free)


def claim(session: Session, route: Route, owner: str, until: datetime, limit: int) -> list[Claimed]:
    """Take the right to copy some contents, those first that were noted first."""
    query = (
        select(_ARCHIVED.c.sha256, _ARCHIVED.c.size_bytes, _ARCHIVED.c.fence, _ARCHIVED.c.tries)
        .where(_is_free(route))
        .order_by(_ARCHIVED.c.not_before, _ARCHIVED.c.sha256)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    claimed = []
    for sha256, size, fence, tries in session.execute(query).all():
        values = {
            "state": ArchiveState.COPYING.value,
            "fence": fence + 1,
            "lease_owner": owner,
            "lease_until": until,
        }
        is_at = and_(_ARCHIVED.c.archive == route.archive, _ARCHIVED.c.sha256 == sha256, _ARCHIVED.c.fence == fence)
        if session.execute(update(_ARCHIVED).where(is_at).values(**values)).rowcount:  # type: ignore[attr-defined]
            claimed.append(Claimed(Content(sha256, size), fence + 1, tries))
    return claimed


def renew(session: Session, archive: str, fences: Mapping[str, int], until: datetime) -> set[str]:
    """Extend the leases of what is being copied; those that are lost."""
    return {
        sha256
        for sha256, fence in sorted(fences.items())
        if not _write(session, archive, sha256, fence, lease_until=until)
    }


def lies_there(session: Session, archive: str, sha256: str, fence: int) -> bool:
    """All of it lies in the archive; False where the claim was lost meanwhile."""
    values = {"state": ArchiveState.ARCHIVED.value, "archived_at": clock.now(), "error": None, "tries": 0}
    return _write(session, archive, sha256, fence, **values, **_FREE)


def put_off(session: Session, archive: str, claimed: Claimed, error: str, until: datetime) -> None:
    """Try again later."""
    values = {"state": ArchiveState.WANTED.value, "error": error, "not_before": until, "tries": claimed.tries + 1}
    _write(session, archive, claimed.content.sha256, claimed.fence, **values, **_FREE)


def release(session: Session, archive: str, fences: Mapping[str, int]) -> None:
    """Give back what was claimed."""
    for sha256, fence in sorted(fences.items()):
        _write(session, archive, sha256, fence, state=ArchiveState.WANTED.value, **_FREE)


def let_be(session: Session, archive: str, fences: Mapping[str, int]) -> None:
    """These could not be removed now: whoever comes next may do it."""
    for sha256, fence in sorted(fences.items()):
        _write(session, archive, sha256, fence, **_FREE)


def forget(session: Session, archive: str, sha256: str, fence: int) -> None:
    """What was claimed is neither here nor there any more."""
    session.execute(delete(_ARCHIVED).where(_holds(archive, sha256, fence)))


_FREE: Final[dict[str, Any]] = {"lease_owner": None, "lease_until": LONG_AGO}


def _holds(archive: str, sha256: str, fence: int) -> ColumnElement[bool]:
    """Whether a claim is the latest."""
    return and_(
        _ARCHIVED.c.archive == archive,
        _ARCHIVED.c.sha256 == sha256,
        _ARCHIVED.c.fence == fence,
        _ARCHIVED.c.state.in_(_HELD),
    )


def _write(session: Session, archive: str, sha256: str, fence: int, **values: Any) -> bool:
    changed = session.execute(update(_ARCHIVED).where(_holds(archive, sha256, fence)).values(**values))
    return bool(changed.rowcount)  # type: ignore[attr-defined]


def again(session: Session, route: Route, sha256: str) -> None:
    """It was seen that the archive does not have what it should: it is to be copied anew."""
    session.execute(
        update(_ARCHIVED)
        .where(
            _ARCHIVED.c.archive == route.archive,
            _ARCHIVED.c.sha256 == sha256,
            _ARCHIVED.c.state == ArchiveState.ARCHIVED.value,
        )
        .values(state=ArchiveState.WANTED.value, home=route.home, not_before=clock.now(), archived_at=None)
    )


def claim_removal(
    session: Session, route: Route, digests: Sequence[str], before: datetime, until: datetime
) -> list[tuple[Claimed, bool]]:
    """Take the right to remove those of ``digests`` that are still unused; and whether each may lie in the archive."""
    query = (
        select(_ARCHIVED.c.sha256, _ARCHIVED.c.size_bytes, _ARCHIVED.c.fence, _ARCHIVED.c.state, _ARCHIVED.c.tries)
        .where(_ARCHIVED.c.archive == route.archive, _ARCHIVED.c.sha256.in_(digests), is_old(before))
        .order_by(_ARCHIVED.c.sha256)
        .with_for_update(skip_locked=True)
    )
    rows = session.execute(query).all()
    free = set(unused(session, route.home, [row.sha256 for row in rows], before))
    claimed = []
    for row in rows:
        if row.sha256 not in free:
            continue
        is_at = and_(
            _ARCHIVED.c.archive == route.archive, _ARCHIVED.c.sha256 == row.sha256, _ARCHIVED.c.fence == row.fence
        )
        values = {"state": ArchiveState.REMOVING.value, "fence": row.fence + 1, "lease_until": until}
        if session.execute(update(_ARCHIVED).where(is_at).values(**values)).rowcount:  # type: ignore[attr-defined]
            was_copied = row.state in {ArchiveState.ARCHIVED, ArchiveState.REMOVING}
            claimed.append((Claimed(Content(row.sha256, row.size_bytes), row.fence + 1, row.tries), was_copied))
    return claimed
