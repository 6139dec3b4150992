"""Requests as they come to the gate: where one begins, where it is to go, and where its body ends."""

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_LINE_BYTES: Final = 4096
_AT_ONCE: Final = 256 * 1024
_LINE: Final = re.compile(rb"([A-Z]{1,20}) (\S+) HTTP/1\.[01]")
_NUMBER: Final = re.compile(rb"[0-9]{1,18}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_FOR_THE_GATE: Final = frozenset({b"proxy-authorization", b"proxy-connection"})


class Unreadable(Exception):
    """It is no request."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case, with the whole line that each is on."""

    def header(self, name: bytes) -> bytes | None:
        """What the header says."""
        values = [line.partition(b":")[2].strip() for key, line in self.headers if key == name]
        if len(values) > 1:
            raise Unreadable("a header is there twice")
        return values[0] if values else None

    def place(self) -> tuple[str, int]:
        """The server that a plain request is for."""
        parts = urlsplit(self.target.decode("latin-1"))
        if parts.scheme != "http" or not parts.hostname or parts.username is not None:
            raise Unreadable("no server is named")
        try:
            return parts.hostname, parts.port or 80
        except ValueError as error:
            raise Unreadable("no server is named") from error

    def forwarded(self) -> bytes:
        """As the server is to see it: without its own name in the first line, and without what is said to the gate."""
        rest = b"/" + self.target.partition(b"://")[2].partition(b"/")[2]
        lines = [line for key, line in self.headers if key not in _FOR_THE_GATE]
        return b"\r\n".join([b"%s %s HTTP/1.1" % (self.method, rest), *lines]) + b"\r\n\r\n"


class ReadAhead:
    """What comes over a connection, request by request."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = bytearray()

    def head(self) -> Head | None:
        """The next request; None where no more comes.

        Raises:
            Unreadable: it is none.
        """
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > _MAX_HEAD_BYTES:
                raise Unreadable("its head has no end")
            if not self._more():
                return None
        lines = bytes(self._held[:end]).split(b"\r\n")
        del self._held[: end + 4]
        first = _LINE.fullmatch(lines[0])
        if first is None or any(b":" not in line or line[:1] in b" \t" for line in lines[1:]):
            raise Unreadable("it is no request")
        headers = tuple((line.partition(b":")[0].strip().lower(), line) for line in lines[1:])
        return Head(first[1], first[2], headers)

    def body(self, head: Head) -> Iterator[bytes]:
        """The body of that request, as it is written."""
        encoding = head.header(b"transfer-encoding")
        length = head.header(b"content-length")
        if encoding is not None:
            if encoding.lower() != b"chunked" or length is not None:
                raise Unreadable("its body is of an unknown kind")
            yield from self._chunked()
        elif length is not None:
            if not _NUMBER.fullmatch(length):
                raise Unreadable("its length is no number")
            yield from self._exactly(int(length))

    def rest(self) -> Iterator[bytes]:
        """All that comes."""
        while True:
            if self._held:
                part = bytes(self._held)
                self._held.clear()
                yield part
            if not self._more():
                return

    def _exactly(self, count: int) -> Iterator[bytes]:
        while count:
            if not self._held and not self._more():
                raise Unreadable("it breaks off")
            part = bytes(self._held[:count])
            del self._held[: len(part)]
            count -= len(part)
            yield part

    def _chunked(self) -> Iterator[bytes]:
        while True:
            line = self._line()
            found = _CHUNK.fullmatch(line)
            if found is None:
                raise Unreadable("a part of its body has no length")
            yield line
            count = int(found[1], 16)
            if not count:
                break
            yield from self._exactly(count + 2)
        while True:  # what stands behind the last chunk, up to an empty line
            line = self._line()
            yield line
            if line == b"\r\n":
                return

    def _line(self) -> bytes:
        while (end := self._held.find(b"\n")) < 0:
            if len(self._held) > _MAX_LINE_BYTES or not self._more():
                raise Unreadable("a line has no end")
        line = bytes(self._held[: end + 1])
        del self._held[: end + 1]
        return line

    def _more(self) -> bool:
        part = self._connection.recv(_AT_ONCE)
        self._held += part
        return bool(part)
