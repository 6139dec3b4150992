"""The place elsewhere of the demonstration: a server on this machine that gives files as slowly as a far one does."""

import csv
import io
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

BYTES_PER_SECOND: Final = 16_000
"""All connections together. The files of the demonstration have some 120 kB."""
SECONDS_AWAY: Final = 0.04
"""From a question to its answer."""
_PART_BYTES: Final = 1024
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")
_UNUSUAL: Final = re.compile(r"[^a-z0-9]+")


def by_city_and_year(table: Path) -> dict[str, bytes]:
    """The rows of a table of observations, as one table for each city and year."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        parts: dict[str, list[list[str]]] = {}
        for row in rows:
            city, day = row[header.index("location")], row[header.index("date")]
            parts.setdefault(f"{_UNUSUAL.sub('-', city.lower())}-{day[:4]}.csv", []).append(row)
    return {name: _written([header, *parts[name]]) for name in sorted(parts)}


def _written(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


class _Link:
    """What all connections share."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._free_at = 0.0
        self._guard = threading.Lock()

    def carry(self, count: int) -> None:
        """Return when ``count`` bytes have had their turn."""
        with self._guard:
            self._free_at = max(self._free_at, time.monotonic()) + count / self._rate
            turn = self._free_at
        time.sleep(max(0.0, turn - time.monotonic()))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        time.sleep(SECONDS_AWAY)
        content = self.server.files.get(self.path.removeprefix("/"))
        if content is None:
            self.send_error(404)
            return
        first, last = 0, len(content) - 1
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is not None:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        self.send_response(200 if asked is None else 206)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(max(0, last - first + 1)))
        self.send_header("ETag", f'"{sha256(content).hexdigest()[:16]}"')
        if asked is not None:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        for start in range(first, last + 1, _PART_BYTES):
            part = content[start : min(start + _PART_BYTES, last + 1)]
            self.server.link.carry(len(part))
            self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.link = files, _Link(BYTES_PER_SECOND)

    def handle_error(self, *_: Any) -> None:
        """Whoever hung up needs nothing more."""


@contextmanager
def far_away(files: Mapping[str, bytes]) -> Iterator[str]:
    """A server that gives ``files``; its URL."""
    server = _Server(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
