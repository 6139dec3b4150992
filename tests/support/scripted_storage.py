"""A storage in memory that does what a test says: the faults of sources elsewhere, one by one."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from stemma.errors import SourceChanged, SourceNotFound
from stemma.storages.protocol import Listed, SourceInfo


@dataclass
class Source:
    """A file there."""

    content: bytes
    version: str = "1"
    takes_ranges: bool = True
    told_size: int | None = None
    """What it says, where that is not so."""
    is_size_told: bool = True
    md5: str | None = None


@dataclass
class Request:
    """What was asked for."""

    address: str
    offset: int
    length: int | None
    given: int = 0


Before = Callable[[Request, int], None]


@dataclass
class ScriptedStorage:
    """Files by address. ``before`` is called before each chunk with the request and the chunk's offset: it may raise,
    wait, or change the files."""

    files: dict[str, Source] = field(default_factory=dict)
    before: Before | None = None
    chunk_bytes: int = 64 * 1024
    requests: list[Request] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def info(self, address: str) -> SourceInfo:
        self.looks.append(address)
        source = self._source(address)
        told = len(source.content) if source.told_size is None else source.told_size
        size = told if source.is_size_told else None
        return SourceInfo(
            address, address.rpartition("/")[2], size, source.version, None, source.md5, source.takes_ranges,
            told={"etag": source.version},
        )  # fmt: skip

    @contextmanager
    def read(
        self, address: str, *, version: str, offset: int = 0, length: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        request = Request(address, offset, length)
        with self._lock:
            self.requests.append(request)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield self._chunks(request, version)
        finally:
            with self._lock:
                self.at_once -= 1

    def _chunks(self, request: Request, version: str) -> Iterator[bytes]:
        position, left = request.offset, request.length
        while left is None or left > 0:
            if self.before is not None:
                self.before(request, position)
            source = self._source(request.address)
            if version and source.version != version:
                raise SourceChanged(request.address)
            chunk = source.content[position : position + min(self.chunk_bytes, left or self.chunk_bytes)]
            if not chunk:
                return
            request.given += len(chunk)
            yield chunk
            position += len(chunk)
            left = None if left is None else left - len(chunk)

    def _source(self, address: str) -> Source:
        if address not in self.files:
            raise SourceNotFound(address)
        return self.files[address]

    def list(self, address: str, *, limit: int) -> Iterator[Listed]:
        raise NotImplementedError

    def write(self, address: str, chunks: Iterable[bytes], size_bytes: int) -> SourceInfo:
        raise NotImplementedError

    def delete(self, address: str) -> None:
        raise NotImplementedError

    def signed(self, address: str, seconds: int) -> str | None:
        return None

    def close(self) -> None:
        """Nothing is open."""
