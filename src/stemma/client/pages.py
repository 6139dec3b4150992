"""Lists that come page by page."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stemma.client.connection import Connection, shaped

_PAGE: Final = 50


def pages(connection: Connection, path: str, limit: int | None, **filters: Any) -> Iterator[Mapping[str, Any]]:
    """Everything in the list at ``path``, ``limit`` at most; each page is fetched when it is needed."""
    cursor, left = None, limit
    while left is None or left > 0:
        told = connection.get(path, limit=_PAGE if left is None else min(left, _PAGE), cursor=cursor, **filters)
        found, cursor = shaped(lambda page: (list(page["items"]), page["next_cursor"]), told)
        yield from found
        if cursor is None or not found:
            return
        left = None if left is None else left - len(found)
