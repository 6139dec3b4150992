"""A way to a server that can be cut: connections go through it, and end when a test says so."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Cutter:
    """Passes on what comes, until so many bytes have come back."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._left: int | None = None
        self._is_down = False
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self.connections = 0
        """How many were made."""
        threading.Thread(target=self._admit, daemon=True).start()

    def cut_after(self, count: int | None) -> None:
        """Let so many bytes of answers through, and then hang up; None for all."""
        with self._guard:
            self._left = count

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody gets through meanwhile; who is connected is no more."""
        with self._guard:
            self._is_down = True
            ends = list(self._open)
        for end in ends:
            self._hang_up(end)
        try:
            yield
        finally:
            with self._guard:
                self._is_down = False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._guard:
            ends = list(self._open)
        for end in ends:
            self._hang_up(end)

    def _admit(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self._is_down:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._guard:
                self._open |= {client, server}
            threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, True), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(256 * 1024):
                allowed = self._allowed(len(part)) if is_answer else len(part)
                sink.sendall(part[:allowed])
                if allowed < len(part):
                    break
        self._hang_up(source)
        self._hang_up(sink)

    def _allowed(self, count: int) -> int:
        with self._guard:
            if self._left is None:
                return count
            allowed = min(count, self._left)
            self._left -= allowed
            return allowed

    def _hang_up(self, end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        with self._guard:
            self._open.discard(end)
        end.close()


@contextmanager
def cutting(to: int) -> Iterator[Cutter]:
    cutter = Cutter(to)
    try:
        yield cutter
    finally:
        cutter.close()
