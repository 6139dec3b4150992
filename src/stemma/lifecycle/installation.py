"""What every station needs of the machine it works on, made once from the settings."""

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stemma import clock
from stemma.cwl.helper import Validator
from stemma.database.connection import Database
from stemma.database.preparation import prepare
from stemma.engines.entry_points import EngineContext, installed
from stemma.engines.registry import EngineRegistry
from stemma.lifecycle.credentials import EngineCredentials
from stemma.lifecycle.remotes import Remotes, remotes_of
from stemma.settings import Settings
from stemma.storages.archive import Archive
from stemma.store.content import ContentStore
from stemma.store.lending import place_in

if TYPE_CHECKING:
    from stemma.storages.outgoing import Outgoing


@dataclass(frozen=True, slots=True)
class Installation:
    """Settings and the parts that they name."""

    settings: Settings
    database: Database
    store: ContentStore
    validator: Validator
    engines: EngineRegistry
    credentials: EngineCredentials
    """What people show engines elsewhere."""
    remotes: Remotes
    """Places elsewhere that people and groups registered, and the storages that are open."""
    outgoing: Callable[[], "Outgoing"]
    """The way out, made when the first URL is asked for: a start need not load what speaks HTTP."""
    home_id: str
    """Identifies the data folder among others that share the database."""
    archive: Archive | None = None
    """Where outputs and uploads are kept for good."""

    def close(self) -> None:
        """Let go of connections and helper processes. Runs go on."""
        self.validator.close()
        self.engines.close()
        self.remotes.close()
        if self.archive is not None:
            self.archive.close()
        self.database.close()


def open_installation(settings: Settings) -> Installation:
    """The installation that ``settings`` describe; its data folder is made when it is missing.

    An embedded database gets its tables here; any other is left to ``stemma db upgrade``.

    Raises:
        SchemaUnfit: the database has another schema than this version works with.
        DatabaseUnavailable: it does not answer.
    """
    prepare(settings)
    database = Database(settings.effective_database_url, timeout_seconds=settings.database_timeout_seconds)
    store = ContentStore(settings.store_folder)

    validator = Validator(
        settings.validation_timeout_seconds,
        settings.validation_memory_bytes,
        document_bytes=settings.max_document_bytes,
    )
    credentials = EngineCredentials(settings, database)

    def context(name: str) -> EngineContext:
        return EngineContext(
            name=name,
            settings=settings,
            runs_folder=settings.runs_folder,
            store_path=place_in(store),
            validator=validator,
            credential=functools.partial(credentials.find, name),
        )

    making = threading.Lock()

    @functools.cache
    def outgoing_once() -> "Outgoing":
        from stemma.storages.outgoing import Outgoing  # noqa: PLC0415 - see Installation.outgoing

        return Outgoing(settings)

    def outgoing() -> "Outgoing":
        with making:  # two would let twice as many out
            return outgoing_once()

    return Installation(
        settings=settings,
        database=database,
        store=store,
        validator=validator,
        engines=EngineRegistry(installed(settings, context), default=settings.chosen_engine),
        credentials=credentials,
        remotes=remotes_of(settings, database, outgoing),
        outgoing=outgoing,
        home_id=_home_id(settings.home),
        archive=None if settings.archive is None else Archive(settings),
    )


def _home_id(home: Path) -> str:
    """The identifier kept in the data folder; the first who asks makes it."""
    path = home / "home-id"
    try:
        with path.open("x") as file:
            file.write(str(clock.new_uuid()))
    except FileExistsError:
        pass
    return path.read_text().strip()
