"""The only door through which cwltool gets documents while one is checked: the bundle, under a made-up root.

Imports schema-salad; for the checking process alone.
"""

import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from schema_salad.exceptions import ValidationException
from schema_salad.fetcher import MemoryCachingFetcher

from stemma.cwl.nodes import Unreadable, decode, with_pairs_joined

ROOT: Final = "file:///stemma-bundle/"
"""No such folder exists: whatever cwltool says of a place holds no path of this machine."""
_ROOT_PATH: Final = "stemma-bundle/"


class BundleFiles:
    """The files of the bundle being checked, and what else was asked for."""

    def __init__(self, files: Mapping[str, bytes | Path]) -> None:
        self._files = files
        self.refused: list[str] = []

    def fetcher(self) -> Callable[[Any, Any], "BundleFetcher"]:
        """What cwltool makes its fetchers with."""
        return lambda cache, _session: BundleFetcher(cache, self)

    def exists(self, url: str) -> bool:
        """Whether ``url`` names a file of the bundle."""
        return bundle_name(url) in self._files

    def text(self, url: str) -> str:
        """The text of the file that ``url`` names.

        Raises:
            ValidationException: it names none, or one that is no text.
        """
        name = bundle_name(url)
        if name is None or name not in self._files:
            self.refused.append(url)
            raise ValidationException(f"{url} is not part of the bundle")
        content = self._files[name]
        try:
            text = decode(content if isinstance(content, bytes) else content.read_bytes(), name)
        except Unreadable as error:
            raise ValidationException(str(error)) from error
        return with_pairs_joined(text)


class BundleFetcher(MemoryCachingFetcher):
    """Serves the files of a bundle and nothing else: reads no other file, makes no request."""

    def __init__(self, cache: Any, files: BundleFiles) -> None:
        super().__init__(cache)
        self._bundle = files

    def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:  # noqa: ARG002 - the library's
        """The text at ``url``, from the bundle or from what schema-salad brings with it."""
        cached = self.cache.get(url)
        return cached if isinstance(cached, str) else self._bundle.text(url)

    def check_exists(self, url: str) -> bool:
        """Whether ``url`` is in the bundle."""
        return url in self.cache or self._bundle.exists(url)

    def urljoin(self, base_url: str, url: str) -> str:
        """``url`` as seen from ``base_url``."""
        return url if url.startswith("_:") else urljoin(base_url, url)


def bundle_url(path: str) -> str:
    """The URL under which the bundle's file ``path`` (with or without ``#id``) is known while it is checked."""
    file, mark, fragment = path.partition("#")
    return f"{ROOT}{quote(file)}{mark}{fragment}"


def bundle_name(url: str) -> str | None:
    """The path of the file that ``url`` names, whether or not there is one; None when it is outside."""
    if not url.startswith(ROOT):
        return None
    name = unquote(urlsplit(url).path.removeprefix("/" + _ROOT_PATH))
    return name if posixpath.normpath(name) == name else None


def without_root(text: str) -> str:
    """``text`` with the made-up root taken out of every address in it."""
    return text.replace(ROOT, "").replace("/" + _ROOT_PATH, "").replace(_ROOT_PATH, "")
