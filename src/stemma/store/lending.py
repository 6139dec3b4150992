"""Contents that are looked at and not kept: they lie in a folder of their own for as long as somebody looks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from stemma.store.content import ContentStore

_LENT: Final[ContextVar[ContentStore | None]] = ContextVar("lent", default=None)


@contextmanager
def lending() -> Iterator[ContentStore]:
    """A store that is gone afterwards. Who asks meanwhile, in this thread, finds what is in it (:func:`place_in`)."""
    with TemporaryDirectory(prefix="stemma-look-") as folder:
        store = ContentStore(Path(folder))
        before = _LENT.set(store)
        try:
            yield store
        finally:
            _LENT.reset(before)


def place_in(store: ContentStore) -> Callable[[str], Path]:
    """Says where the content of a digest lies: with what is lent at the moment, else in ``store``."""

    def path(sha256: str) -> Path:
        lent = _LENT.get()
        return lent.path(sha256) if lent is not None and lent.has(sha256) else store.path(sha256)

    return path
