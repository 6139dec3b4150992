"""The one way out: every request that this service makes on somebody's behalf.

A name is looked up once, everything that it leads to is checked (:mod:`stemma.storages.addresses`), and the connection
goes to an address that was checked: a name that leads elsewhere a moment later changes nothing. Certificates are
checked for the name. What is asked of it, and where redirects lead: :mod:`stemma.storages.sessions`.
"""

import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import httpcore
import httpx

from stemma.errors import SourceNotFound, SourceUnavailable, SourceUnusable
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

    def read(self) -> bytes:
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
        self.policy = Policy(
            settings.allow_plain_http, listed(settings.outgoing_hosts), listed(settings.allow_private_hosts)
        )

    @property
    def silence_seconds(self) -> float:
        """How long a server may say nothing."""
        return self._settings.fetch_silence_seconds

    @property
    def answer_seconds(self) -> float:
        """How long it may take until an answer has begun."""
        return self._settings.fetch_timeout_seconds

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

    def pool(self, patience: Patience, *, connections: int) -> httpcore.ConnectionPool:
        """For many requests, over ``connections`` at most, which are kept.

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
            max_connections=connections,
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
