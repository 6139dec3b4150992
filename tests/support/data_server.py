"""A server of data on loopback: ETags and ranges as servers have them, and files that come when the test says so."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PART = 64 * 1024
_LOOK = "bytes=0-0"


@dataclass
class Held:
    """A file, and whether it may be read."""

    content: bytes
    version: int = 1
    open: threading.Event = field(default_factory=threading.Event)
    cut_at: int | None = None
    """After so many bytes of an answer the connection breaks, once."""

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha1(self.content, usedforsecurity=False).hexdigest()[:12]}-{self.version}"'


@dataclass
class DataServer:
    """What it holds, and what was asked of it."""

    url: str = ""
    files: dict[str, Held] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and range of each."""
    sent_bytes: int = 0
    pause_seconds: float = 0.0
    """Between two parts of an answer."""
    guard: threading.Lock = field(default_factory=threading.Lock)

    def put(self, name: str, content: bytes, *, is_open: bool = True) -> str:
        """Hold a file; its URL."""
        held = self.files.get(name)
        self.files[name] = new = Held(content, held.version + 1 if held else 1)
        if is_open:
            new.open.set()
        return f"{self.url}/{name}"

    def let_go(self, name: str) -> None:
        """Answer those who wait for it."""
        self.files[name].open.set()

    def reads(self, name: str) -> int:
        """How often its bytes were asked for; the first byte alone is how one looks at a file."""
        return sum(method == "GET" and path == f"/{name}" and asked != _LOOK for method, path, asked in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        owner: DataServer = self.server.owner
        asked = self.headers.get("Range")
        with owner.guard:
            owner.requests.append((self.command, self.path, asked))
        held = owner.files.get(self.path.removeprefix("/"))
        if held is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first, last = 0, len(held.content) - 1
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
        if match:
            first, last = int(match[1]), min(int(match[2] or last), last)
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", held.etag)
        self.send_header("Last-Modified", formatdate(1_700_000_000 + held.version, usegmt=True))
        if match:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(held.content)}")
        self.end_headers()
        if with_body:
            self._send(owner, held, first, last + 1)

    def _send(self, owner: DataServer, held: Held, first: int, end: int) -> None:
        if end > 1:
            held.open.wait(60)
        for start in range(first, end, _PART):
            part = held.content[start : min(start + _PART, end)]
            if held.cut_at is not None and start - first + len(part) > held.cut_at:
                held.cut_at = None
                self.close_connection = True
                self.connection.close()
                return
            time.sleep(owner.pause_seconds)
            self.wfile.write(part)
            with owner.guard:
                owner.sent_bytes += len(part)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: DataServer

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are what some tests are about."""


@contextmanager
def data_server() -> Iterator[DataServer]:
    """One that answers until the end of the block."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.owner = DataServer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.owner
    finally:
        for held in server.owner.files.values():
            held.open.set()
        server.shutdown()
        thread.join()
        server.server_close()
