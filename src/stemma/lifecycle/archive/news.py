"""What is to be archived and was not noted yet: outputs of runs that have ended, inputs that came with submissions."""

import logging
import time
from collections.abc import Callable
from typing import Final

from sqlmodel import Session

from stemma.database.queries import archiving
from stemma.database.queries.archive import Route
from stemma.lifecycle.installation import Installation
from stemma.records import Content

logger = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 60.0
"""How soon to look again behind what was seen then: a transaction that took its number early may end late."""
_WHOLE_SECONDS: Final = 3600.0
"""How often to look at everything."""


class News:
    """Goes on from where it stopped. For one thread."""

    def __init__(self, installation: Installation, route: Route) -> None:
        self._installation, self._route = installation, route
        self._seen = self._settled = (0, 0)
        self._next_again = self._next_whole = 0.0

    def note(self) -> None:
        """Note what is new, as far as the store has it."""
        now = time.monotonic()
        with self._installation.database.reading() as session:
            newest = archiving.newest(session)
        is_whole, is_again = now >= self._next_whole, now >= self._next_again
        if not (is_whole or is_again or newest != self._seen):
            return
        after = (0, 0) if is_whole else self._settled if is_again else self._seen
        self._note_pages(archiving.outputs_after, after[0])
        self._note_pages(archiving.uploads_after, after[1])
        if is_whole:
            self._adopt()
            self._next_whole = now + _WHOLE_SECONDS
        if is_whole or is_again:
            self._settled, self._next_again = self._seen, now + _AGAIN_SECONDS
        self._seen = newest

    def _note_pages(self, page_after: Callable[[Session, str, int], archiving.Page], after: int) -> None:
        """Note what is here, page by page."""
        while True:
            with self._installation.database.reading() as session:
                page = page_after(session, self._route.archive, after)
            if not page:
                return
            self._note({content for _, content in page if self._installation.store.has(content.sha256)})
            after = page[-1][0]

    def _note(self, here: set[Content]) -> None:
        if here:
            self._installation.database.write(lambda session: archiving.note(session, self._route, here))

    def _adopt(self) -> None:
        """Take over what another data folder noted and does not copy, where it lies here as well."""
        after = ""
        while True:
            with self._installation.database.reading() as session:
                left = archiving.deserted(session, self._route, after)
            if not left:
                return
            after = left[-1]
            self._take_over([digest for digest in left if self._installation.store.has(digest)])

    def _take_over(self, here: list[str]) -> None:
        if here:
            self._installation.database.write(lambda session: archiving.adopt(session, self._route, here))
