"""What people and groups show engines elsewhere, so that their runs are theirs there too."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from pydantic import SecretStr
from sqlmodel import Session

from stemma import clock
from stemma.auth.principal import Principal
from stemma.database.connection import Database
from stemma.database.queries import credentials, people
from stemma.database.queries.credentials import CredentialScope, Sealed
from stemma.engines.protocol import Owner
from stemma.errors import CredentialNotFound, CredentialUnreadable, DatabaseUnavailable, Finding, InvalidRequest
from stemma.lifecycle import audit
from stemma.lifecycle.audit import Deed
from stemma.settings import Settings

if TYPE_CHECKING:
    from stemma.auth.sealing import Sealer
    from stemma.lifecycle.installation import Installation

__all__ = ["CredentialScope", "EngineCredentials", "Known", "credential_for"]

logger = logging.getLogger(__name__)

BELIEVED_SECONDS: Final = 5.0
"""How long what was found is believed: who attends to many runs asks for the same credential all the time."""
LONGEST: Final = 16 * 1024
"""In characters. The tokens of some issuers are long."""
_KEPT: Final = 1000
_Key: TypeAlias = tuple[str, Owner | None]


@dataclass(frozen=True, slots=True)
class Known:
    """That there is a credential, and nothing of what it is."""

    scope: CredentialScope
    group: str | None
    set_by: str
    """The name of who gave it."""
    set_at: datetime


def credential_for(installation: "Installation", engine: str, owner: Owner | None) -> SecretStr | None:
    """See :meth:`EngineCredentials.find`."""
    return installation.credentials.find(engine, owner)


def of_service(settings: Settings) -> Mapping[str, SecretStr | None]:
    """What the service itself has for each engine, for whoever has no credential."""
    return {"reana": settings.reana_access_token, "wes": settings.wes_token}


class EngineCredentials:
    """The credentials of an installation. Safe to use from several threads."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._for_all = of_service(settings)
        self._believed: dict[_Key, tuple[float, SecretStr | None]] = {}
        self._guard = threading.Lock()
        self._made_sealer: Sealer | None = None

    def find(self, engine: str, owner: Owner | None) -> SecretStr | None:
        """What to show ``engine`` for a run of ``owner``: the person's own, else the group's, else the one for all.

        Raises:
            CredentialUnreadable: there is one that was sealed with another key.
            DatabaseUnavailable: it does not answer.
        """
        key, now = (engine, owner), time.monotonic()
        with self._guard:
            until, believed = self._believed.get(key, (0.0, None))
        if now < until:
            return believed
        found = self._look_up(engine, owner) or self._for_all.get(engine)
        with self._guard:
            if len(self._believed) >= _KEPT:
                self._believed = {each: kept for each, kept in self._believed.items() if now < kept[0]}
            if len(self._believed) < _KEPT:
                self._believed[key] = (now + BELIEVED_SECONDS, found)
        return found

    def put(self, principal: Principal, engine: str, token: SecretStr, *, group: str | None = None) -> None:
        """Keep ``token`` for the runs of ``principal``, or of their ``group``, in place of the one before.

        Raises:
            InvalidRequest: it is none.
        """
        text = token.get_secret_value().strip()
        if not text or len(text) > LONGEST or not text.isascii() or not text.isprintable():
            message = f"that is no token: it is empty, longer than {LONGEST} characters, or has signs that none has"
            raise InvalidRequest(message, [Finding(message, "engine/token")])
        scope, owner = _place(principal, group)
        sealed = self._sealer().seal(text, (engine, scope, owner))

        def write(session: Session) -> None:
            now = clock.now()
            people.remember(session, principal.person, now)
            credentials.put(session, Sealed(engine, scope, owner, sealed, principal.person, now))
            audit.record(session, principal, Deed.ENGINE_LOGIN, engine, group=group, now=now)

        self._database.write(write)
        self._forget()

    def remove(self, principal: Principal, engine: str, *, group: str | None = None) -> None:
        """Forget the credential of ``principal``, or of their ``group``.

        Raises:
            CredentialNotFound: there is none.
        """
        scope, owner = _place(principal, group)

        def write(session: Session) -> None:
            if not credentials.remove(session, engine, scope, owner):
                raise CredentialNotFound(engine, "yours" if group is None else f"group {group!r}")
            audit.record(session, principal, Deed.ENGINE_LOGOUT, engine, group=group, now=clock.now())

        self._database.write(write)
        self._forget()

    def known(self, principal: Principal) -> dict[str, list[Known]]:
        """Which credentials ``principal`` and their groups have, by engine; the person's own first."""
        with self._database.reading() as session:
            found = credentials.find(session, principal.subject, principal.groups)
        known: dict[str, list[Known]] = {}
        for each in found:
            group = each.owner if each.scope is CredentialScope.GROUP else None
            known.setdefault(each.engine, []).append(Known(each.scope, group, each.set_by.username, each.set_at))
        return known

    def is_for_all(self, engine: str) -> bool:
        """Whether the service has a credential of its own for ``engine``."""
        return self._for_all.get(engine) is not None

    def _look_up(self, engine: str, owner: Owner | None) -> SecretStr | None:
        if owner is None:
            return None
        with self._database.reading() as session:
            found = next(iter(credentials.find(session, owner.subject, (owner.group,), engine)), None)
        if found is None:
            return None
        from stemma.auth.sealing import SealBroken  # noqa: PLC0415 - see _sealer

        sealer, purpose = self._sealer(), (found.engine, found.scope, found.owner)
        try:
            token = sealer.open(found.sealed, purpose)
        except SealBroken as error:
            whose = "whoever submitted the run" if found.scope is CredentialScope.PERSON else f"group {found.owner!r}"
            raise CredentialUnreadable(engine, whose) from error
        if not sealer.is_of_today(found.sealed, purpose):
            self._seal_anew(found, sealer.seal(token, purpose))
        return SecretStr(token)

    def _seal_anew(self, found: Sealed, sealed: str) -> None:
        try:
            self._database.write(lambda session: credentials.reseal(session, found, sealed))
        except DatabaseUnavailable as error:  # it is tried again at the next use
            logger.warning("a credential for engine %r could not be sealed anew: %s", found.engine, error.reason)

    def _sealer(self) -> "Sealer":
        """Made, and its key with it, when something is first sealed or opened: most installations never do."""
        from stemma.auth.sealing import Sealer  # noqa: PLC0415 - loads what encrypts

        with self._guard:
            if self._made_sealer is None:
                self._made_sealer = Sealer(self._settings)
            return self._made_sealer

    def _forget(self) -> None:
        with self._guard:
            self._believed.clear()


def _place(principal: Principal, group: str | None) -> tuple[CredentialScope, str]:
    return (CredentialScope.PERSON, principal.subject) if group is None else (CredentialScope.GROUP, group)
