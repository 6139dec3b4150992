"""Files elsewhere that an engine's server reads by itself: handed over as URLs that open them.

Which these are is settled when a run is submitted. The URLs are made when the run is given to the server, each time
anew, and written down nowhere here: they open the files to whoever has them, for as long as they are good.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import Session

from stemma.database.queries import demand, replicas
from stemma.database.queries.replicas import Replica
from stemma.engines.protocol import Engine
from stemma.errors import SourceUnusable, StemmaError, Unavailable
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.replicate.places import Places
from stemma.lifecycle.sources import kind_of, shown
from stemma.records import RevisionRecord


class NotSigned(StemmaError):
    """A file that was to be read where it lies cannot be opened to others any more. It has to be fetched."""

    code = "not-signed"

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no URL any more that opens {what}")
        self.what = what


def url_kinds(engine: Engine) -> frozenset[str]:
    """The kinds of places whose files the server of ``engine`` reads by itself; none for most."""
    kinds: frozenset[str] = getattr(engine, "url_kinds", frozenset())
    return kinds


def sent_ports(engine: Engine, revision: RevisionRecord) -> set[str]:
    """The inputs whose files are brought here and sent in any case."""
    ask = getattr(engine, "sent_ports", None)
    return set() if ask is None else ask(revision)


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The files of a run that its server reads where they lie."""

    installation: Installation
    places: Places
    copies: Mapping[UUID, Replica]
    """What is known of each, by its occurrence."""
    kinds: frozenset[str]
    """The kinds of places that it reads at."""
    seconds: int
    """How long a URL is good."""

    @property
    def occurrences(self) -> Collection[UUID]:
        """Which they are."""
        return self.copies.keys()

    def url_of(self, occurrence: UUID) -> str:
        """A URL that opens the file to whoever has it, from now on for ``seconds``.

        Raises:
            NotSigned: there is none any more: the remote is gone, or has other credentials, or the settings are others.
            Unavailable: it cannot be said now.
        """
        copy = self.copies[occurrence]
        what = shown(copy.address)
        if kind_of(copy.address) not in self.kinds:
            raise NotSigned(what)
        try:
            storage, address = self.places.reach(copy)
            url = storage.signed(address, self.seconds)
            if url is not None:
                return self.installation.outgoing().policy.checked(url, what).url
        except Unavailable:
            raise
        except StemmaError as error:
            raise NotSigned(what) from error
        raise NotSigned(what)


def handed_over(installation: Installation, engine: Engine, run_id: int) -> HandedOver:
    """What of a run is handed over to the server of ``engine``."""
    kinds, seconds = url_kinds(engine), getattr(engine, "url_seconds", 0)
    copies: Mapping[UUID, Replica] = {}
    if kinds:
        with installation.database.reading() as session:
            copies = demand.handed(session, run_id)
    return HandedOver(installation, Places(installation), copies, kinds, seconds)


def take_back(installation: Installation, run_id: int) -> None:
    """Have fetched what was to be handed over.

    Raises:
        SourceUnusable: all that the run needs cannot lie in the store together, which nobody looked at when it was
            submitted.
    """
    limit = installation.settings.store_bytes
    with installation.database.reading() as session:
        rows = replicas.of_run(session, run_id)
    sizes = {row.replica_id: row.replica_size_bytes or 0 for row in rows}
    if limit is not None and sum(sizes.values()) > limit:
        reason = f"{sum(sizes.values())} bytes have to be fetched for the run, and the store takes {limit} in all"
        raise SourceUnusable("the inputs", reason)

    def write(session: Session) -> None:
        demand.take_back(session, run_id)

    installation.database.write(write)
