"""The one way out: every request that this service makes on somebody's behalf.

A name is looked up once, everything that it leads to is checked (:mod:`stemma.storages.addresses`), and the connection
goes to an address that was checked: a name that leads elsewhere a moment later changes nothing. Certificates are
checked for the name. Redirects are followed by hand, each checked anew. Nothing of the caller goes along.
"""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final
from urllib.parse import urljoin

import httpcore
import httpx

from stemma import __version__
from stemma.errors import (
    AddressRefused,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    TooLarge,
    TooManyFetches,
)
from stemma.settings import Settings
from stemma.storages.addresses import Policy, Target, listed

logger = logging.getLogger(__name__)

MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GOOD: Final = frozenset({200, 203})
_GONE: Final = frozenset({404, 410})
_LATER: Final = frozenset({408, 421, 425, 429})
_SERVERS_FAULT: Final = 500
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


class Answer:
    """What a server sends."""

    def __init__(self, response: httpcore.Response, asked: Target, target: Target, what: str) -> None:
        self.asked = asked
        self.target = target
        """The address that it came from: ``asked``, or where redirects led to."""
        self._what = what
        self._response = response
        self._chunks: Iterator[bytes] | None = None

    def header(self, name: str) -> str | None:
        """A header's first value."""
        wanted = name.lower().encode()
        for key, value in self._response.headers:
            if key.lower() == wanted:
                return value.decode("utf-8", "replace")
        return None

    def read(self, _size: int, /) -> bytes:
        """The next part, of whatever size it comes in (64 KiB at most); empty at the end.

        Raises:
            SourceUnavailable: it breaks off, or takes too long.
        """
        with _telling(self._what):
            if self._chunks is None:
                self._chunks = iter(self._response.iter_stream())
            return next((chunk for chunk in self._chunks if chunk), b"")


class Outgoing:
    """The way out of this process, by the rules of the settings. ``resolve`` and ``dial`` are what it goes out with."""

    def __init__(
        self, settings: Settings, *, resolve: Resolve = resolve, dial: httpcore.NetworkBackend | None = None
    ) -> None:
        self._settings = settings
        self._resolve = resolve
        self._dial = dial or httpcore.SyncBackend()
        self._slots = threading.BoundedSemaphore(settings.fetches_at_once)
        self._policy = Policy(
            settings.allow_plain_http, listed(settings.outgoing_hosts), listed(settings.allow_private_hosts)
        )

    @contextmanager
    def errand(self) -> Iterator["Errand"]:
        """A few requests in a row, which share one limit of time.

        Raises:
            TooManyFetches: as many as may be are under way.
        """
        if not self._slots.acquire(blocking=False):
            raise TooManyFetches
        try:
            deadline = _Deadline(self._settings.fetch_timeout_seconds)
            yield Errand(self._policy, lambda: self._pool(deadline), self._settings.fetch_silence_seconds)
        finally:
            self._slots.release()

    def _pool(self, deadline: "_Deadline") -> httpcore.ConnectionPool:
        """A pool for one request: what was checked for one address is not used for another."""
        backend: httpcore.NetworkBackend
        proxy = None
        if self._settings.outgoing_proxy is None:
            backend = _CheckedBackend(self._policy, self._resolve, self._dial, deadline)
        else:
            named = httpx.Proxy(self._settings.outgoing_proxy.get_secret_value())
            backend, proxy = _TimedBackend(self._dial, deadline), httpcore.Proxy(str(named.url), auth=named.raw_auth)
        return httpcore.ConnectionPool(
            ssl_context=self._certificates,
            proxy=proxy,
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=backend,
        )

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        """Whom we believe: what the system and Mozilla do, and whom the settings name."""
        context = httpcore.default_ssl_context()
        if self._settings.outgoing_ca_file is not None:
            context.load_verify_locations(self._settings.outgoing_ca_file)
        return context


class Errand:
    """Requests in a row."""

    def __init__(self, policy: Policy, pool: Callable[[], httpcore.ConnectionPool], silence_seconds: float) -> None:
        self._policy = policy
        self._pool = pool
        self._silence_seconds = silence_seconds

    @contextmanager
    def get(self, url: str, what: str, *, limit_bytes: int) -> Iterator[Answer]:
        """What lies at ``url``, redirects followed; ``what`` it is, for messages.

        ``limit_bytes`` is held against what the server says of the size; who reads counts too.

        Raises:
            AddressRefused: ``url``, or one that it redirects to, must not be asked.
            SourceNotFound: nothing lies there, or the name leads to nothing that may be asked.
            SourceUnusable: it is not given to everybody, or not in a form that can be taken.
            SourceUnavailable: the server does not answer, or says that it cannot now.
            TooLarge: it says that it has more than ``limit_bytes``.
        """
        asked = target = self._policy.checked(url, what)
        for _ in range(MAX_REDIRECTS + 1):
            with self._requested(target, what) as response:
                answer = Answer(response, asked, target, what)
                if response.status not in _REDIRECTS:
                    _check(response.status, answer, what, limit_bytes)
                    yield answer
                    return
                location = answer.header("location")
            target = self._redirected(target, location, what)
        raise SourceUnusable(what, f"its server redirects more than {MAX_REDIRECTS} times")

    def _redirected(self, target: Target, location: str | None, what: str) -> Target:
        if location is None:
            raise SourceUnusable(what, "its server redirects without saying where to")
        try:
            following = urljoin(target.url, location)
        except ValueError as error:
            raise AddressRefused(what) from error
        return self._policy.checked(following, what)

    @contextmanager
    def _requested(self, target: Target, what: str) -> Iterator[httpcore.Response]:
        address = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path
        )
        headers = {
            "Host": target.authority,
            "User-Agent": f"stemma/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        silence = self._silence_seconds
        timeouts = {"connect": silence, "read": silence, "write": silence, "pool": silence}
        request = httpcore.Request("GET", address, headers=list(headers.items()), extensions={"timeout": timeouts})
        with self._pool() as pool:
            with _telling(what):
                response = pool.handle_request(request)
            try:
                yield response
            finally:
                response.close()


def _check(status: int, answer: Answer, what: str, limit_bytes: int) -> None:
    if status in _GONE:
        raise SourceNotFound(what)
    if status in _LATER or status >= _SERVERS_FAULT:
        raise SourceUnavailable(what, f"its server answers {status}")
    if status not in _GOOD:
        raise SourceUnusable(what, f"its server answers {status}: it must be given to everybody, without login")
    encoding = answer.header("content-encoding")
    if encoding is not None and encoding.strip().lower() not in {"", "identity"}:
        raise SourceUnusable(what, "its server sends it compressed, though asked for it as it is")
    length = answer.header("content-length") or ""
    if length.isascii() and length.isdigit() and int(length[:20]) > limit_bytes:
        raise TooLarge(what, limit_bytes)


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Say what went wrong on the way in our own words."""
    try:
        yield
    except _LeadsNowhere as error:
        logger.info("not fetched, %s: %s", what, error)
        raise SourceNotFound(what) from error
    except _Mistrusted as error:
        raise SourceUnusable(what, f"the certificate of its server does not hold ({error})") from error
    except (_OutOfTime, httpcore.TimeoutException) as error:
        raise SourceUnavailable(what, "it takes too long") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError) as error:
        raise SourceUnavailable(what, str(error) or type(error).__name__) from error


class _LeadsNowhere(Exception):
    """A name that leads to nothing, or to what must not be asked: the same for who asks, told apart in the log."""


class _Mistrusted(Exception):
    """A certificate that does not hold."""


class _OutOfTime(Exception):
    """The time for the errand is over."""


class _Deadline:
    """When the errand must be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, at_most: float | None = None) -> float:
        """The seconds that are left, and no more than ``at_most``."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise _OutOfTime
        return left if at_most is None else min(left, at_most)


class _TimedStream(httpcore.NetworkStream):
    """A connection on which nothing waits beyond the deadline, however little comes at a time."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        except httpcore.ConnectError as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise _Mistrusted(error.__cause__.verify_message) from error
            raise
        return _TimedStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _TimedBackend(httpcore.NetworkBackend):
    """Connects to where it is told: to a proxy."""

    def __init__(self, dial: httpcore.NetworkBackend, deadline: _Deadline) -> None:
        self._dial = dial
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        options = list(socket_options or ())
        stream = self._dial.connect_tcp(host, port, self._deadline.left(timeout), local_address, options)
        return _TimedStream(stream, self._deadline)


class _CheckedBackend(_TimedBackend):
    """Looks names up, checks where they lead, and connects to what was checked."""

    def __init__(self, policy: Policy, resolve: Resolve, dial: httpcore.NetworkBackend, deadline: _Deadline) -> None:
        super().__init__(dial, deadline)
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
        addresses = self._addresses(host, port, timeout)
        if not self._policy.may_connect(host, port, addresses):
            raise _LeadsNowhere(f"{host!r} leads to {', '.join(addresses) or 'nothing'}")
        failure: Exception | None = None
        for address in addresses:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or _LeadsNowhere(host)

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
        thread.join(self._deadline.left(timeout))
        if not outcome:
            raise httpcore.ConnectTimeout("its name is not found in time")
        found = outcome[0]
        if isinstance(found, OSError):
            if found.errno in _UNKNOWN_NAME:
                return []
            raise httpcore.ConnectError(f"its name cannot be looked up: {found}") from found
        return found
