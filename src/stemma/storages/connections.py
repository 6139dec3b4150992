"""Connections of the one way out: looked up once, checked, and never waited on for ever."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import httpcore

from stemma.storages.addresses import Policy
from stemma.storages.pace import Pace

_UNKNOWN_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

Resolve = Callable[[str, int], list[str]]
"""The addresses that a name leads to.

Raises:
    OSError: it cannot be looked up; ``socket.gaierror`` with ``EAI_NONAME`` when there is no such name.
"""


def resolve(host: str, port: int) -> list[str]:
    """The addresses of ``host``, as this machine looks them up."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a part of the name is longer than a name may be
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class LeadsNowhere(Exception):
    """A name that leads to nothing, or to what must not be asked: the same for who asks, told apart in the log."""


class Mistrusted(Exception):
    """A certificate that does not hold."""


class OutOfTime(Exception):
    """There is no time left to wait."""


class Patience(Protocol):
    """How long is waited on a connection."""

    read_bytes: int
    """How much is read at once."""

    def left(self, at_most: float | None = None) -> float | None:
        """The seconds to wait now, and no more than ``at_most``.

        Raises:
            OutOfTime: there are none.
        """

    def pace(self) -> Pace:
        """For a new connection: what has to come of it."""


class Deadline:
    """When a connection must be there."""

    read_bytes = 64 * 1024

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._seconds = seconds

    def pace(self) -> Pace:
        """None that the deadline does not set."""
        return Pace(self._seconds)

    def left(self, at_most: float | None = None) -> float:
        """The seconds that are left, and no more than ``at_most``."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return left if at_most is None else min(left, at_most)


class _TimedStream(httpcore.NetworkStream):
    """A connection on which nobody waits longer than patience goes, however little comes at a time."""

    def __init__(self, stream: httpcore.NetworkStream, patience: Patience) -> None:
        self._stream = stream
        self._patience = patience
        self._pace = patience.pace()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        started = time.monotonic()
        data = self._stream.read(max(max_bytes, self._patience.read_bytes), self._patience.left(timeout))
        self._pace.came(len(data), time.monotonic() - started)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._patience.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, self._patience.left(timeout))
        except httpcore.ConnectError as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise Mistrusted(error.__cause__.verify_message) from error
            raise
        return _TimedStream(stream, self._patience)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class TimedBackend(httpcore.NetworkBackend):
    """Connects to where it is told: to a proxy."""

    def __init__(self, dial: httpcore.NetworkBackend, patience: Patience) -> None:
        self._dial = dial
        self._patience = patience

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to there, within the time that there is."""
        options = list(socket_options or ())
        stream = self._dial.connect_tcp(host, port, self._patience.left(timeout), local_address, options)
        return _TimedStream(stream, self._patience)


class CheckedBackend(TimedBackend):
    """Looks names up, checks where they lead, and connects to what was checked."""

    def __init__(self, policy: Policy, resolve: Resolve, dial: httpcore.NetworkBackend, patience: Patience) -> None:
        super().__init__(dial, patience)
        self._policy = policy
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to where ``host`` leads, if all of it may be connected to."""
        addresses = self._addresses(host, port, timeout)
        if not self._policy.may_connect(host, port, addresses):
            raise LeadsNowhere(f"{host!r} leads to {', '.join(addresses) or 'nothing'}")
        failure: Exception | None = None
        for address in addresses:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or LeadsNowhere(host)

    def _addresses(self, host: str, port: int, timeout: float | None) -> list[str]:
        """What ``host`` leads to. In a thread of its own, since looking up a name knows no limit of time."""
        outcome: list[list[str] | OSError] = []

        def look_up() -> None:
            try:
                outcome.append(self._resolve(host, port))
            except OSError as error:
                outcome.append(error)

        thread = threading.Thread(target=look_up, name="look-up", daemon=True)
        thread.start()
        thread.join(self._patience.left(timeout))
        if not outcome:
            raise httpcore.ConnectTimeout("its name is not found in time")
        found = outcome[0]
        if isinstance(found, OSError):
            if found.errno in _UNKNOWN_NAME:
                return []
            raise httpcore.ConnectError(f"its name cannot be looked up: {found}") from found
        return found
