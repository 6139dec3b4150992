"""Brings the bytes of outputs here: each is read once, and on its way hashed and written down.

They come from the server itself, or, where the operator shares a folder with it, from below that folder.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from stemma.engines.wes import texts
from stemma.engines.wes.server import NAME, NotThere, WesServer
from stemma.errors import EngineRefused
from stemma.records import Content, Json

_CHUNK_BYTES = 1024 * 1024
_RELATIVE = re.compile(r"(?![A-Za-z][A-Za-z0-9+.-]*:|/)")
_SHARE = (
    "the file lies on the server's own disk; set STEMMA_WES_FILES_ROOT to a folder that both share, or have the server "
    "give its outputs by http"
)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is here now."""

    path: Path
    content: Content


def path_in(location: str) -> str:
    """The path that a URL names.

    Raises:
        EngineRefused: it is no URL.
    """
    try:
        return unquote(urlsplit(location).path)
    except ValueError as error:
        raise EngineRefused(NAME, f"it names {texts.sentence(location)!r}, which is no URL") from error


class Bytes:
    """Where the bytes of one run's outputs come from."""

    def __init__(
        self, server: WesServer, run_id: str, folder: Path, *, files_root: Path | None, limit_bytes: int
    ) -> None:
        self._server = server
        self._run_id = run_id
        self._folder = folder
        self._files_root = files_root.resolve() if files_root is not None else None
        self._left_bytes = limit_bytes

    def fetch(self, location: str, told: dict[str, Json]) -> Fetched:
        """The file at ``location``, which must be what the server ``told`` of it (``size``, ``checksum``).

        Raises:
            EngineRefused: it cannot be had, or is another one.
            EngineUnreachable: the server does not answer, or breaks off; call again.
        """
        # A name of its own for each place: what was fetched before an interruption is found again.
        target = self._folder / hashlib.sha256(location.encode()).hexdigest()
        hashes = _Hashes()
        if target.exists():
            hashes.read(target)
        else:
            with self._chunks(location) as chunks:
                self._write(chunks, target, hashes)
        difference = hashes.difference(told)
        if difference is not None:
            target.unlink()
            raise EngineRefused(NAME, f"{texts.sentence(location)!r} is not what the server says: {difference}")
        return Fetched(target, hashes.content)

    def write(self, text: str) -> Fetched:
        """A file whose text the server told."""
        encoded, hashes = text.encode(), _Hashes()
        target = self._folder / f"text-{hashlib.sha256(encoded).hexdigest()}"
        self._write([encoded], target, hashes)
        return Fetched(target, hashes.content)

    def listing(self, location: str) -> list[tuple[str, str, bool]]:
        """What lies in a folder that both share: names, places, and whether each is a folder.

        Raises:
            EngineRefused: nothing is shared, or it is no folder below that.
        """
        real = self._shared(location)
        if not real.is_dir():
            raise EngineRefused(NAME, f"{texts.sentence(location)!r} is no folder")
        try:
            with os.scandir(real) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise EngineRefused(NAME, f"{texts.sentence(location)!r} cannot be read: {error.strerror}") from error
        return [(entry.name, f"file://{quote(os.fsencode(entry.path))}", entry.is_dir()) for entry in found]

    def is_shared(self, location: str) -> bool:
        """Whether it is a place on a disk, rather than one that the server gives by HTTP."""
        return location.startswith("file:") or (
            location.startswith("/") and f"/runs/{quote(self._run_id, safe='')}/" not in location
        )

    @contextmanager
    def _chunks(self, location: str) -> Iterator[Iterable[bytes]]:
        if self.is_shared(location):
            with _opened(self._shared(location)) as chunks:
                yield chunks
            return
        base = f"{self._server.run_url(self._run_id)}/"
        url = self._server.resolve(location, base, self._run_id)
        if _RELATIVE.match(location) and not self._is_there(url):
            url = self._server.resolve(f"outputs/{location}", base, self._run_id)  # where Sapporo has them
        with self._server.stream(url) as chunks:
            yield chunks

    def _is_there(self, url: str) -> bool:
        try:
            with self._server.stream(url):
                return True
        except NotThere:
            return False

    def _shared(self, location: str) -> Path:
        """The real path of a file on a disk that both share."""
        path = path_in(location) if location.startswith("file:") else location
        if self._files_root is None:
            raise EngineRefused(NAME, _SHARE)
        try:
            real = Path(path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise EngineRefused(NAME, f"{texts.sentence(path)!r} is not there") from error
        if not real.is_relative_to(self._files_root):
            raise EngineRefused(NAME, f"{texts.sentence(path)!r} is not below STEMMA_WES_FILES_ROOT")
        return real

    def _write(self, chunks: Iterable[bytes], target: Path, hashes: "_Hashes") -> None:
        aside = target.with_suffix(".part")
        with aside.open("wb") as file:
            for chunk in chunks:
                self._left_bytes -= len(chunk)
                if self._left_bytes < 0:
                    raise EngineRefused(NAME, "its outputs are larger than may be")
                hashes.update(chunk)
                file.write(chunk)
        aside.replace(target)


class _Hashes:
    """The digests and the size of what passes by."""

    def __init__(self) -> None:
        self._digests = {"sha256": hashlib.sha256(), "sha1": hashlib.sha1(usedforsecurity=False)}
        self._size = 0

    def update(self, chunk: bytes) -> None:
        """Let ``chunk`` pass."""
        for digest in self._digests.values():
            digest.update(chunk)
        self._size += len(chunk)

    def read(self, path: Path) -> None:
        """Let a file pass."""
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                self.update(chunk)

    @property
    def content(self) -> Content:
        """Our name of what passed."""
        return Content(self._digests["sha256"].hexdigest(), self._size)

    def difference(self, told: dict[str, Json]) -> str | None:
        """How it differs from what the server told; None when it does not."""
        size, checksum = told.get("size"), told.get("checksum")
        if isinstance(size, int) and not isinstance(size, bool) and size != self._size:
            return f"it should have {size} bytes and has {self._size}"
        if isinstance(checksum, str):
            kind, _, digest = checksum.replace(":", "$", 1).partition("$")
            found = self._digests.get(kind.lower())
            if found is not None and digest.lower() != found.hexdigest():
                return f"it should have the {kind} {texts.sentence(digest)} and has {found.hexdigest()}"
        return None


@contextmanager
def _opened(path: Path) -> Iterator[Iterable[bytes]]:
    """The bytes of a regular file, which is not followed elsewhere any more."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise EngineRefused(NAME, f"{texts.sentence(str(path))!r} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise EngineRefused(NAME, f"{texts.sentence(str(path))!r} is no regular file")
        yield iter(lambda: file.read(_CHUNK_BYTES), b"")
