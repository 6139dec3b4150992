"""The one way out: every request that this service makes on somebody's behalf.

A name is looked up once, everything that it leads to is checked (:mod:`stemma.storages.addresses`), and the connection
goes to an address that was checked: a name that leads elsewhere a moment later changes nothing. Certificates are
checked for the name. Redirects are followed by hand, each checked anew. Nothing of the caller goes along.
"""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

import httpcore
import httpx

from stemma import __version__
from stemma.errors import (
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    TooLarge,
    TooManyFetches,
)
from stemma.settings import Settings
from stemma.storages.addresses import Policy, Target, listed
from stemma.storages.connections import (
    CheckedBackend,
    Deadline,
    LeadsNowhere,
    Mistrusted,
    OutOfTime,
    Patience,
    Resolve,
    TimedBackend,
    resolve,
)
from stemma.storages.pace import TooSlow

logger = logging.getLogger(__name__)

MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GOOD: Final = frozenset({200, 203})
_GONE: Final = frozenset({404, 410})
_LATER: Final = frozenset({408, 421, 425, 429})
_SERVERS_FAULT: Final = 500


class Answer:
    """What a server sends."""

    def __init__(self, response: httpcore.Response, asked: Target, target: Target, what: str) -> None:
        self.asked = asked
        self.target = target
        """The address that it came from: ``asked``, or where redirects led to."""
        self._what = what
        self._response = response
        self._chunks: Iterator[bytes] | None = None

    @property
    def status(self) -> int:
        """What kind of answer it is."""
        return self._response.status

    def header(self, name: str) -> str | None:
        """A header's first value."""
        wanted = name.lower().encode()
        for key, value in self._response.headers:
            if key.lower() == wanted:
                return value.decode("utf-8", "replace")
        return None

    def read(self, _size: int, /) -> bytes:
        """The next part, of whatever size it comes in (1 MiB at most); empty at the end.

        Raises:
            SourceUnavailable: it breaks off, or takes too long.
        """
        with telling(self._what):
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
        self.policy = Policy(
            settings.allow_plain_http, listed(settings.outgoing_hosts), listed(settings.allow_private_hosts)
        )

    @property
    def silence_seconds(self) -> float:
        """How long a server may say nothing."""
        return self._settings.fetch_silence_seconds

    @property
    def errand_seconds(self) -> float:
        """How long an errand may take, or the beginning of one answer."""
        return self._settings.fetch_timeout_seconds

    @contextmanager
    def errand(self) -> Iterator["Errand"]:
        """A few requests in a row, which share one limit of time.

        Raises:
            TooManyFetches: as many as may be are under way.
        """
        if not self._slots.acquire(blocking=False):
            raise TooManyFetches
        try:
            deadline = Deadline(self._settings.fetch_timeout_seconds)
            yield Errand(self.policy, lambda: self.pool(deadline), self._settings.fetch_silence_seconds)
        finally:
            self._slots.release()

    @property
    def proxy_url(self) -> str | None:
        """The proxy that all goes through, where there is one."""
        proxy = self._settings.outgoing_proxy
        return None if proxy is None else proxy.get_secret_value()

    @property
    def ca_file(self) -> Path | None:
        """Whose certificates are believed beside those of the system."""
        return self._settings.outgoing_ca_file

    def connected(self, host: str, port: int) -> socket.socket:
        """A bare connection to a server that may be asked, for who speaks with it in other words.

        Raises:
            LeadsNowhere: the name leads to nothing, or to what must not be asked.
            httpcore.NetworkError, httpcore.TimeoutException, OutOfTime: it does not answer.
        """
        backend = CheckedBackend(self.policy, self._resolve, self._dial, Deadline(self.silence_seconds))
        stream = backend.connect_tcp(host, port, self.silence_seconds)
        connection: socket.socket = stream.get_extra_info("socket")
        connection.settimeout(None)
        return connection

    def pool(self, patience: Patience, *, connections: int = 0) -> httpcore.ConnectionPool:
        """For one request; or for many, of ``connections`` at most that are kept.

        What was checked for one address is not used for another.
        """
        backend: httpcore.NetworkBackend
        proxy = None
        if self._settings.outgoing_proxy is None:
            backend = CheckedBackend(self.policy, self._resolve, self._dial, patience)
        else:
            named = httpx.Proxy(self._settings.outgoing_proxy.get_secret_value())
            backend, proxy = TimedBackend(self._dial, patience), httpcore.Proxy(str(named.url), auth=named.raw_auth)
        return httpcore.ConnectionPool(
            ssl_context=self._certificates,
            proxy=proxy,
            max_connections=max(1, connections),
            max_keepalive_connections=connections,
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
                if response.status not in REDIRECTS:
                    _check(response.status, answer, what, limit_bytes)
                    yield answer
                    return
                location = answer.header("location")
            target = self._policy.redirected(target, location, what)
        raise SourceUnusable(what, f"its server redirects more than {MAX_REDIRECTS} times")

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
            with telling(what):
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
def telling(what: str) -> Iterator[None]:
    """Say what went wrong on the way in our own words."""
    try:
        yield
    except LeadsNowhere as error:
        logger.info("not fetched, %s: %s", what, error)
        raise SourceNotFound(what) from error
    except Mistrusted as error:
        raise SourceUnusable(what, f"the certificate of its server does not hold ({error})") from error
    except (OutOfTime, TooSlow, httpcore.TimeoutException) as error:
        raise SourceUnavailable(what, "it takes too long") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError) as error:
        raise SourceUnavailable(what, str(error) or type(error).__name__) from error
