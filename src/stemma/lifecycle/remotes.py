"""Places elsewhere that people and groups registered: kept with their credentials sealed, found, and opened."""

import dataclasses
import json
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from pydantic import SecretStr
from sqlmodel import Session

from stemma import clock
from stemma.auth.principal import Principal
from stemma.database.connection import Database
from stemma.database.queries import people
from stemma.database.queries import remotes as queries
from stemma.database.queries.credentials import CredentialScope
from stemma.database.queries.remotes import Remote
from stemma.engines.protocol import Owner
from stemma.errors import (
    DatabaseUnavailable,
    Finding,
    InvalidRequest,
    RemoteChanging,
    RemoteExists,
    RemoteNotFound,
    RemoteUnreadable,
    TooLarge,
)
from stemma.lifecycle import audit
from stemma.lifecycle.audit import Deed
from stemma.lifecycle.remotes_addresses import address_at, serving
from stemma.lifecycle.remotes_opened import InstalledOpener, OpenStorages
from stemma.settings import Settings
from stemma.storages.protocol import RemoteSettings, Storage

if TYPE_CHECKING:
    from stemma.auth.sealing import Sealer
    from stemma.lifecycle.installation import Installation
    from stemma.storages.outgoing import Outgoing

__all__ = ["CredentialScope", "Remote", "Remotes", "Secrets", "address_at", "find_remote", "storage_for"]

logger = logging.getLogger(__name__)

MOST_REMOTES: Final = 100
"""How many a person or a group may have: all of them are looked at for each address."""
_TICK: Final = timedelta(microseconds=1)
"""Times are kept to the microsecond."""
Secrets: TypeAlias = Mapping[str, SecretStr]


def find_remote(session: Session, subject: str, group: str, address: str) -> Remote | None:
    """The remote that ``address`` lies at in a run of this person for this group: their own, else the group's.

    None where it lies at none: it is asked for without credentials, if that is allowed at all.

    Raises:
        RemoteNotFound: the address names a remote, and there is none of that name.
    """
    return serving(queries.find(session, subject, (group,)), address)


def storage_for(installation: "Installation", remote: Remote | None, address: str, owner: Owner) -> Storage:
    """See :meth:`Remotes.storage`."""
    return installation.remotes.storage(remote, address, owner)


class Remotes:
    """The remotes of an installation. Safe to use from several threads."""

    def __init__(self, settings: Settings, database: Database, storages: OpenStorages) -> None:
        self._settings = settings
        self._database = database
        self._storages = storages
        self._guard = threading.Lock()
        self._made_sealer: Sealer | None = None

    def add(
        self,
        principal: Principal,
        name: str,
        kind: str,
        settings: Mapping[str, str],
        credentials: Secrets,
        *,
        group: str | None = None,
    ) -> Remote:
        """Register a place for ``principal``, or for their ``group``.

        Raises:
            RemoteExists: there is one of that name.
            InvalidRequest: such a place cannot be, or nobody may ask there.
            TooLarge: they have as many as may be.
        """
        scope, owner = _place(principal, group)
        now = clock.now()
        remote = Remote(
            uuid=clock.new_uuid(),
            scope=scope,
            owner=owner,
            name=name,
            kind=kind,
            settings=dict(settings),
            sealed=None,
            created_by=principal.person,
            created_at=now,
            updated_at=now,
        )
        self._check(remote, credentials)
        remote = dataclasses.replace(remote, sealed=self._sealed(remote, credentials) if credentials else None)

        def write(session: Session) -> None:
            people.remember(session, principal.person, now)
            if queries.count(session, scope, owner) >= MOST_REMOTES:
                raise TooLarge("the number of remotes", MOST_REMOTES, "remotes")
            if not queries.add(session, remote):
                raise RemoteExists(name)
            audit.record(session, principal, Deed.REMOTE_ADD, name, group=group, now=now)

        self._database.write(write)
        return remote

    def change(
        self,
        principal: Principal,
        name: str,
        *,
        group: str | None = None,
        settings: Mapping[str, str] | None = None,
        credentials: Secrets | None = None,
    ) -> Remote:
        """Give a remote of ``principal``, or of their ``group``, other settings or credentials.

        Credentials stay with the place that they were given for: other settings want them anew. Else whoever may
        change a remote of a group could have its credentials sent to themselves.

        Raises:
            RemoteNotFound: there is none.
            RemoteChanging: others do the same.
            InvalidRequest: such a place cannot be, or the credentials are missing.
        """
        scope, _ = _place(principal, group)
        remote = self.find(principal, name, scope=scope, group=group)
        if settings is not None and not credentials and remote.sealed is not None:
            message = "with other settings, give the credentials anew: they stay with the place they were given for"
            raise InvalidRequest(message, [Finding(message, "remote/credentials")])
        given = remote.settings if settings is None else settings
        self._check(dataclasses.replace(remote, settings=given), credentials or {})
        sealed = self._sealed(remote, credentials) if credentials else None
        now = max(clock.now(), remote.updated_at + _TICK)  # another moment, whatever the clock says

        def write(session: Session) -> None:
            people.remember(session, principal.person, now)
            before = remote.updated_at
            if not queries.change(session, remote.uuid, before=before, now=now, settings=settings, sealed=sealed):
                raise RemoteChanging(name)
            audit.record(session, principal, Deed.REMOTE_CHANGE, name, group=group, now=now)

        self._database.write(write)
        self._storages.forget(remote.uuid)
        return dataclasses.replace(remote, settings=dict(given), sealed=sealed or remote.sealed, updated_at=now)

    def remove(self, principal: Principal, name: str, *, group: str | None = None) -> None:
        """Forget a remote of ``principal``, or of their ``group``. What lies there stays.

        Raises:
            RemoteNotFound: there is none.
        """
        scope, _ = _place(principal, group)
        remote = self.find(principal, name, scope=scope, group=group)

        def write(session: Session) -> None:
            if not queries.remove(session, remote.uuid):
                raise RemoteNotFound(name)
            audit.record(session, principal, Deed.REMOTE_DELETE, name, group=group, now=clock.now())

        self._database.write(write)
        self._storages.forget(remote.uuid)

    def known(self, principal: Principal) -> list[Remote]:
        """Those of ``principal`` and of their groups; the person's own first."""
        with self._database.reading() as session:
            return queries.find(session, principal.subject, principal.groups)

    def find(
        self, principal: Principal, name: str, *, scope: CredentialScope | None = None, group: str | None = None
    ) -> Remote:
        """The one of that name: of this scope and group where they are given, else the person's own before a group's.

        Raises:
            RemoteNotFound: there is none, or none that this person may use.
            InvalidRequest: several groups have one, and none of them was named.
        """
        with self._database.reading() as session:
            found = queries.find(session, principal.subject, principal.groups, name)
        fitting = [one for one in found if scope in {None, one.scope} and group in {None, one.group}]
        if not fitting:
            raise RemoteNotFound(name)
        first = fitting[0]
        if len(fitting) > 1 and first.scope is CredentialScope.GROUP:
            groups = ", ".join(one.owner for one in fitting)
            message = f"several of your groups have a remote {name!r}; say which: {groups}"
            raise InvalidRequest(message, [Finding(message, "remote/group")])
        return first

    def storage(self, remote: Remote | None, address: str, owner: Owner) -> Storage:
        """What reads and writes at ``remote``, or ``address`` where it lies at none. Kept, so that connections live on.

        Raises:
            RemoteNotFound: it is not one of ``owner``.
            RemoteUnreadable: its credentials were sealed with another key.
            AddressRefused: nobody may ask there.
        """
        if remote is None:
            return self._storages.anonymous(address)
        if remote.owner != (owner.subject if remote.scope is CredentialScope.PERSON else owner.group):
            raise RemoteNotFound(remote.name)
        return self._storages.of(remote.uuid, remote.updated_at, address, lambda: self.opened(remote))

    def opened(self, remote: Remote) -> RemoteSettings:
        """``remote`` with its credentials; under the seal of today from now on, where it was under an older one.

        Raises:
            RemoteUnreadable: they were sealed with another key.
        """
        if remote.sealed is None:
            return _opened(remote.name, remote.kind, remote.settings, {})
        from stemma.auth.sealing import SealBroken  # noqa: PLC0415 - see _sealer

        sealer, purpose = self._sealer(), purpose_of(remote)
        try:
            text = sealer.open(remote.sealed, purpose)
        except SealBroken as error:
            raise RemoteUnreadable(remote.name) from error
        if not sealer.is_of_today(remote.sealed, purpose):
            self._seal_anew(remote, remote.sealed, text)
        return RemoteSettings(remote.name, remote.kind, remote.settings, json.loads(text))

    def sealed_text(self, text: str, purpose: tuple[str, ...]) -> str:
        """``text``, sealed."""
        return self._sealer().seal(text, purpose)

    def opened_text(self, sealed: str, purpose: tuple[str, ...]) -> str:
        """What was sealed.

        Raises:
            SealBroken: with another key, or for another purpose.
        """
        return self._sealer().open(sealed, purpose)

    def close(self) -> None:
        """Let go of all connections."""
        self._storages.close()

    def _check(self, remote: Remote, credentials: Secrets) -> None:
        opened = _opened(remote.name, remote.kind, remote.settings, credentials)
        self._storages.check(opened, f"the remote {remote.name!r}")

    def _seal_anew(self, remote: Remote, before: str, text: str) -> None:
        try:
            sealed = self._sealer().seal(text, purpose_of(remote))
            self._database.write(lambda session: queries.reseal(session, remote.uuid, before=before, sealed=sealed))
        except DatabaseUnavailable as error:  # it is tried again at the next use
            logger.warning("the remote %s could not be sealed anew: %s", remote.uuid, error.reason)

    def _sealed(self, remote: Remote, credentials: Secrets) -> str:
        text = json.dumps({name: secret.get_secret_value() for name, secret in credentials.items()})
        return self._sealer().seal(text, purpose_of(remote))

    def _sealer(self) -> "Sealer":
        """Made, and its key with it, when something is first sealed or opened."""
        from stemma.auth.sealing import Sealer  # noqa: PLC0415 - loads what encrypts

        with self._guard:
            if self._made_sealer is None:
                self._made_sealer = Sealer(self._settings)
            return self._made_sealer


def purpose_of(remote: Remote) -> tuple[str, str]:
    """What its credentials are sealed for."""
    return "remote", str(remote.uuid)


def _place(principal: Principal, group: str | None) -> tuple[CredentialScope, str]:
    return (CredentialScope.PERSON, principal.subject) if group is None else (CredentialScope.GROUP, group)


def _opened(name: str, kind: str, settings: Mapping[str, str], credentials: Secrets) -> RemoteSettings:
    secrets = {key: secret.get_secret_value() for key, secret in credentials.items()}
    return RemoteSettings(name, kind, settings, secrets)


def remotes_of(settings: Settings, database: Database, outgoing: Callable[[], "Outgoing"]) -> Remotes:
    """The remotes of an installation."""
    return Remotes(settings, database, OpenStorages(InstalledOpener(settings, outgoing)))
