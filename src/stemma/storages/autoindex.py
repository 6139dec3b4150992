"""Folders on servers of the web, as the pages list them that servers make of folders (Apache, nginx, rclone, …)."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from stemma.errors import SourceNotFound, SourceUnusable, TooLarge
from stemma.storages import haste
from stemma.storages.addresses import Target
from stemma.storages.paths import MAX_DEPTH, checked_path
from stemma.storages.protocol import Listed, SourceInfo
from stemma.storages.sessions import Session

_MAX_PAGE_BYTES: Final = 16 * 1024 * 1024
_LOOKED_AT_ONCE: Final = 16


class HtmlListing:
    """What lies below addresses that end with ``/``."""

    def __init__(self, session: Session, info: Callable[[str], SourceInfo]) -> None:
        self._session = session
        self._info = info

    def files(self, folder: Target, limit: int) -> Iterator[Listed]:
        """The files at any depth, each looked at, several at a time.

        Raises:
            TooLarge: there are more than ``limit``.
            SourceUnusable: the server does not list folders.
        """
        base = folder.url.partition("?")[0]
        base = base if base.endswith("/") else f"{base}/"
        found = sorted(self._below(base, folder.shown, limit))
        if not found:
            raise SourceNotFound(folder.shown)
        end = haste.end()

        def looked_at(one: tuple[str, str]) -> Listed:
            with haste.over_by(end):
                return Listed(one[0], self._info(one[1]))

        with ThreadPoolExecutor(_LOOKED_AT_ONCE) as pool:
            yield from pool.map(looked_at, found)

    def _below(self, base: str, what: str, limit: int) -> list[tuple[str, str]]:
        """Path and address of each file; folders are asked level by level."""
        files: list[tuple[str, str]] = []
        waiting = [("", base)]
        asked = 0
        while waiting:
            path, url = waiting.pop()
            asked += 1
            for name, address in self._page(url, what).items():
                below = f"{path}{name}"
                if "/" in name.removesuffix("/"):  # it was written as %2F
                    raise SourceUnusable(what, "it holds a file with a name that cannot be taken")
                checked_path(below.removesuffix("/"), what)
                if not name.endswith("/"):
                    files.append((below, address))
                elif below.count("/") < MAX_DEPTH:
                    waiting.append((below, address))
                if len(files) + len(waiting) + asked > 2 * limit or len(files) > limit:
                    raise TooLarge(what, limit, "files")
        return files

    def _page(self, url: str, what: str) -> dict[str, str]:
        """Name and address of what a folder has; names of folders end with ``/``."""
        target = self._session.checked(url, what)
        with self._session.asked("GET", target, what) as answer:
            kind = (answer.header("content-type") or "").partition(";")[0].strip().lower()
            if kind not in {"text/html", "application/xhtml+xml"}:
                raise SourceUnusable(what, "its server does not list folders as pages")
            page = bytearray()
            while part := answer.read():
                page += part
                if len(page) > _MAX_PAGE_BYTES:
                    raise TooLarge(f"the list of {what}", _MAX_PAGE_BYTES)
        links = _Links()
        links.feed(page.decode("utf-8", "replace"))
        links.close()
        return _directly_below(url, links.found)


class _Links(HTMLParser):
    """Where the links of a page lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _directly_below(base: str, links: list[str]) -> dict[str, str]:
    """The links that lead to something in this very folder: not upwards, not elsewhere, not to another order of it."""
    found: dict[str, str] = {}
    for link in links:
        try:
            parts = urlsplit(urljoin(base, link))
        except ValueError:
            continue
        address = parts._replace(fragment="").geturl()
        rest = address.removeprefix(base)
        if parts.query or rest == address or not rest or "/" in rest.rstrip("/"):
            continue
        found[unquote(rest.rstrip("/"), errors="surrogateescape") + ("/" if rest.endswith("/") else "")] = address
    return found
