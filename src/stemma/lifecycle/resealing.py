"""All credentials that people and groups gave, put under the seal of today: the end of a change of the key."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlmodel import Session

from stemma.auth.sealing import SealBroken, Sealer
from stemma.database.connection import Database
from stemma.database.queries import credentials, remotes, replicas
from stemma.database.queries.credentials import Sealed
from stemma.database.queries.remotes import Remote
from stemma.lifecycle.remotes import purpose_of
from stemma.lifecycle.replicate import sealed_addresses
from stemma.settings import Settings


@dataclass(frozen=True, slots=True)
class Resealed:
    """What was done."""

    done: int
    """How many are under the seal of today now, and were not before."""
    fine: int
    """How many were already."""
    lost: tuple[str, ...]
    """Which cannot be opened with any key that is known."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """Something under a seal."""

    what: str
    sealed: str
    purpose: tuple[str, ...]
    put: Callable[[Session, str], bool]
    """Keeps it under another seal; False where it is something else by now."""


def reseal(settings: Settings, database: Database) -> Resealed:
    """Seal everything with the key of today that is sealed with an older one. May be done while the service runs.

    Raises:
        DatabaseUnavailable: it does not answer.
    """
    sealer = Sealer(settings)
    done = fine = 0
    lost: list[str] = []
    for kept in _everything(database):
        if sealer.is_of_today(kept.sealed, kept.purpose):
            fine += 1
            continue
        try:
            fresh = sealer.seal(sealer.open(kept.sealed, kept.purpose), kept.purpose)
        except SealBroken:
            lost.append(kept.what)
            continue
        done += database.write(partial(_put, kept, fresh))
    return Resealed(done, fine, tuple(lost))


def _put(kept: _Kept, fresh: str, session: Session) -> bool:
    return kept.put(session, fresh)


def _everything(database: Database) -> list[_Kept]:
    with database.reading() as session:
        found = [_of_remote(remote) for remote in remotes.sealed(session)]
        found += [_of_engine(credential) for credential in credentials.every(session)]
        return found + [_of_address(*row) for row in replicas.addresses_with(session, sealed_addresses.MARK)]


def _of_remote(remote: Remote) -> _Kept:
    sealed = remote.sealed or ""

    def put(session: Session, fresh: str) -> bool:
        return remotes.reseal(session, remote.uuid, before=sealed, sealed=fresh)

    return _Kept(f"remote {remote.name} of {remote.scope} {remote.owner}", sealed, purpose_of(remote), put)


def _of_address(replica_id: int, group: str, address: str) -> _Kept:
    def put(session: Session, fresh: str) -> bool:
        return replicas.write_address(session, replica_id, address, sealed_addresses.with_seal(address, fresh))

    what = f"address of a file of group {group}"
    return _Kept(what, sealed_addresses.seal_in(address) or "", sealed_addresses.purpose_of(group), put)


def _of_engine(credential: Sealed) -> _Kept:
    def put(session: Session, fresh: str) -> bool:
        return credentials.reseal(session, credential, fresh)

    what = f"engine {credential.engine} of {credential.scope} {credential.owner}"
    return _Kept(what, credential.sealed, (credential.engine, credential.scope, credential.owner), put)
