"""The places that copies lie at, reached as whoever wanted the copies could reach them."""

from stemma.database.queries import remotes
from stemma.database.queries.remotes import Remote
from stemma.database.queries.replicas import Replica
from stemma.engines.protocol import Owner
from stemma.errors import RemoteNotFound
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.remotes import storage_for
from stemma.lifecycle.replicate.sealed_addresses import opened
from stemma.lifecycle.sources import shown
from stemma.storages.protocol import Storage


class Places:
    """Registered places and others. Each registered one is looked up once: thousands of files lie at few."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._remotes: dict[int, Remote | None] = {}

    def forget(self) -> None:
        """Look each up anew from now on."""
        self._remotes.clear()

    def reach(self, copy: Replica) -> tuple[Storage, str]:
        """What opens the source of ``copy``, and the address that it is asked at.

        Raises:
            RemoteNotFound: the registered place is gone, or is another by now.
            SourceUnusable: the address was sealed with another key.
            RemoteUnreadable, AddressRefused: see :meth:`stemma.lifecycle.remotes.Remotes.storage`.
        """
        copy = opened(self._installation, copy)
        remote = None
        if copy.remote_id is not None:
            remote = self._remote(copy.remote_id)
            if remote is None or not copy.is_of(remote.uuid):
                raise RemoteNotFound(shown(copy.address))
        # Whoever wanted it could reach it through that place; which is somebody's own, or the group's.
        subject = remote.owner if remote is not None and remote.group is None else ""
        return storage_for(self._installation, remote, copy.address, Owner(subject, copy.group)), copy.address

    def _remote(self, remote_id: int) -> Remote | None:
        if remote_id not in self._remotes:
            with self._installation.database.reading() as session:
                self._remotes[remote_id] = remotes.get(session, remote_id)
        return self._remotes[remote_id]
