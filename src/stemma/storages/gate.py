"""A gate to the outside for libraries that connect by themselves: a proxy on loopback, for this process alone.

Who goes through it has a pass, which names the servers that it is for: redirects to others end here. Where a name
leads is looked up once and checked, as for all that goes out, and the connection goes to what was checked.

Plain requests are read as far as it takes to know where each begins, so that connections can be kept; what servers
answer, and all that is encrypted, is passed on unread.
"""

import contextlib
import fcntl
import hmac
import logging
import os
import re
import secrets
import socket
import threading
from base64 import b64encode
from typing import Final

import httpcore

from stemma.errors import AddressRefused
from stemma.storages.addresses import Target
from stemma.storages.connections import LeadsNowhere, OutOfTime
from stemma.storages.gate_requests import Head, ReadAhead, Unreadable
from stemma.storages.outgoing import Outgoing

logger = logging.getLogger(__name__)

REFUSED: Final = "StemmaRefused"
"""What the gate calls it when it lets nobody through, as an error code of S3."""
_BODY: Final = f"<Error><Code>{REFUSED}</Code></Error>"
_REFUSAL: Final = (
    f"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: {len(_BODY)}\r\n"
    f"Connection: close\r\n\r\n{_BODY}"
).encode()
_USER: Final = "stemma"
_AT_ONCE: Final = 1024 * 1024
_LINGER_SECONDS: Final = 60.0
_AUTHORITY: Final = re.compile(rb"(.+):([0-9]{1,5})")


class Pass:
    """The right to go to some servers. ``url`` is the proxy that it is shown to."""

    def __init__(
        self,
        gate: "Gate",
        url: str,
        token: str,
        targets: frozenset[tuple[str, int]],
        *,
        usual_port: int | None = None,
    ) -> None:
        self.url = url
        self.token = token
        self.usual_port = usual_port
        """For one server that is not of the web: any of its ports may follow the first (FTP opens more of them)."""
        self._targets = targets
        self._gate = gate

    def covers(self, host: str, port: int) -> bool:
        """Whether it is for that server. One that names none is for all that the rules allow."""
        if self.usual_port is not None:
            return host in {known for known, _ in self._targets}
        return not self._targets or (host, port) in self._targets

    def end(self) -> None:
        """Nobody is let through with it any more."""
        self._gate.forget(self)


class Gate:
    """The gate of a process. It is opened when the first pass is asked for."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._passes: dict[str, Pass] = {}
        self._guard = threading.Lock()
        self._listener: socket.socket | None = None

    def way(self, *targets: Target) -> Pass:
        """A pass to ``targets``; where the settings name a proxy, that one is the way."""
        return self._way(frozenset((target.host, target.port) for target in targets), None)

    def bare_way(self, host: str, port: int, *, usual_port: int) -> Pass:
        """A pass to one server, which the caller has checked, for what is not of the web."""
        return self._way(frozenset({(host, port)}), usual_port)

    def _way(self, places: frozenset[tuple[str, int]], usual_port: int | None) -> Pass:
        token = secrets.token_urlsafe(24)
        if self._outgoing.proxy_url is not None:
            return Pass(self, self._outgoing.proxy_url, token, places, usual_port=usual_port)
        with self._guard:
            if self._listener is None:
                self._listener = self._opened()
            port = self._listener.getsockname()[1]
            made = Pass(self, f"http://{_USER}:{token}@127.0.0.1:{port}", token, places, usual_port=usual_port)
            self._passes[_shown(token)] = made
            return made

    def forget(self, one: Pass) -> None:
        """``one`` is good for nothing any more."""
        with self._guard:
            self._passes.pop(_shown(one.token), None)

    def close(self) -> None:
        """Let nobody through any more."""
        with self._guard:
            self._passes.clear()
            listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):  # it wakes up who waits
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _opened(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        threading.Thread(target=self._admit, args=(listener,), name="gate", daemon=True).start()
        return listener

    def _admit(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # it was closed
                return
            threading.Thread(target=self._attend, args=(client,), name="gate", daemon=True).start()

    def _attend(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client:
            try:
                _Passage(self, client).go()
            except _Refused as error:
                logger.info("not let through: %s", error)
                with contextlib.suppress(OSError):  # who asked may be gone
                    client.sendall(_REFUSAL)
            except (Unreadable, OSError, OutOfTime, httpcore.NetworkError, httpcore.TimeoutException) as error:
                logger.debug("a connection through the gate ends: %s", error)

    def admitted(self, head: Head) -> Pass:
        """The pass that a request shows."""
        shown = head.header(b"proxy-authorization") or b""
        with self._guard:
            passes = list(self._passes.items())
        for known, one in passes:
            if hmac.compare_digest(known.encode(), shown):
                return one
        raise _Refused("no pass")

    def connected(self, one: Pass, scheme: str, host: str, port: int) -> socket.socket:
        """A connection to a server, when the pass and the rules are for it."""
        name = host.lower().removesuffix(".") if one.usual_port is not None else self._named(scheme, host, port)
        if not one.covers(name, port):
            raise _Refused(f"{host!r} is not what the pass is for")
        try:
            found = self._outgoing.connected(name, port)
        except LeadsNowhere as error:
            raise _Refused(str(error)) from error
        return found

    def _named(self, scheme: str, host: str, port: int) -> str:
        """The name of a server of the web that the rules allow."""
        written = f"[{host}]" if ":" in host else host
        try:
            return self._outgoing.policy.checked(f"{scheme}://{written}:{port}/", "a passage").host
        except AddressRefused as error:
            raise _Refused(f"{host!r} must not be asked") from error


class _Refused(Exception):
    """Somebody is not let through."""


class _Passage:
    """What comes over one connection to the gate, on its way to servers."""

    def __init__(self, gate: Gate, client: socket.socket) -> None:
        self._gate = gate
        self._client = client
        self._ahead = ReadAhead(client)
        self._server: socket.socket | None = None
        self._place: tuple[str, int] | None = None
        self._back: threading.Thread | None = None

    def go(self) -> None:
        """Attend to all requests that come."""
        try:
            while (head := self._ahead.head()) is not None:
                if head.method == b"CONNECT":
                    self._tunnel(head)
                    break
                self._forward(head)
            if self._server is not None and self._back is not None:  # who asked may still listen
                with contextlib.suppress(OSError):  # the server may have hung up
                    self._server.shutdown(socket.SHUT_WR)
                self._back.join(_LINGER_SECONDS)
        finally:
            self._leave()

    def _tunnel(self, head: Head) -> None:
        one = self._gate.admitted(head)
        found = _AUTHORITY.fullmatch(head.target)
        if found is None:
            raise Unreadable("no server is named")
        host = found[1].decode("latin-1").strip("[]")
        self._server = self._gate.connected(one, "https", host, int(found[2]))
        self._client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        self._answering(self._server)
        for part in self._ahead.rest():
            self._server.sendall(part)

    def _forward(self, head: Head) -> None:
        one = self._gate.admitted(head)
        place = head.place()
        if self._server is None or place != self._place:
            self._leave()
            self._server = self._gate.connected(one, "http", *place)
            self._place = place
            self._answering(self._server)
        elif not one.covers(*place):
            raise _Refused("another pass on the same connection")
        self._server.sendall(head.forwarded())
        for part in self._ahead.body(head):
            self._server.sendall(part)

    def _answering(self, server: socket.socket) -> None:
        """Pass on what the server sends, from now on."""
        self._back = threading.Thread(target=self._copy_back, args=(server,), name="gate-back", daemon=True)
        self._back.start()

    def _copy_back(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):  # one of both ends hung up, and the other is told
            _spliced(server, self._client)
        if server is self._server:
            with contextlib.suppress(OSError):  # see above
                self._client.shutdown(socket.SHUT_RDWR)

    def _leave(self) -> None:
        """Hang up where we are connected to."""
        server, self._server = self._server, None
        if server is None:
            return
        with contextlib.suppress(OSError):  # it may have hung up itself
            server.shutdown(socket.SHUT_RDWR)
        if self._back is not None:
            self._back.join()
        server.close()


def _spliced(source: socket.socket, sink: socket.socket) -> None:
    """Pass on all that comes, within the kernel."""
    end, beginning = os.pipe2(os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # it is as large as it is
            fcntl.fcntl(beginning, fcntl.F_SETPIPE_SZ, _AT_ONCE)
        while count := os.splice(source.fileno(), beginning, _AT_ONCE):
            while count:
                count -= os.splice(end, sink.fileno(), count)
    finally:
        os.close(end)
        os.close(beginning)


def _shown(token: str) -> str:
    return f"Basic {b64encode(f'{_USER}:{token}'.encode()).decode()}"
