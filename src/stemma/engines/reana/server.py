"""One REANA server: its address, whom to believe that it is the one, and how it may be asked.

Requests go to that address and nowhere else; redirects are not followed. The token is put into the address below the
place where requests are logged, so that it stands in no log and in no error.
"""

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import httpcore
import httpx
from pydantic import SecretStr

from stemma import __version__, clock
from stemma.engines.reana import faults
from stemma.engines.reana.limiter import Limiter

if TYPE_CHECKING:
    from stemma.engines.reana.session import ReanaSession

MIB: Final = 1 << 20
LARGEST_ANSWER: Final = 64 * MIB
_LARGEST_REFUSAL: Final = 64 * 1024
_CONNECT_SECONDS: Final = 10.0
_TRIES: Final = 6
"""How often a request is made that is refused for being one too many."""
_SLOW: Final = 4
"""So many times the allowed silence may a whole answer take, and may there be silence while bytes are moved."""
_CLOCK_TOLERANCE: Final = timedelta(seconds=5)
_SECRET_EXTENSION: Final = "stemma.token"  # noqa: S105 - the name of a place, not a secret
_NOBODY: Final = SecretStr("")


@dataclass(frozen=True, slots=True)
class Received:
    """A whole answer."""

    status: int
    headers: httpx.Headers
    body: bytes


class ReanaServer:
    """A server, for every token, thread and forked child of this process.

    Args:
        url: where it is: ``https://reana.example.org``.
        ca_file: certificates to be believed beside those of the system.
        timeout_seconds: how long it may say nothing.
        requests_per_second: how often it is asked at most, all tokens together.
        proxy: the address of a proxy on the way.
    """

    def __init__(
        self,
        url: str,
        *,
        ca_file: Path | None = None,
        timeout_seconds: float = 60.0,
        requests_per_second: float = 10.0,
        proxy: str | None = None,
    ) -> None:
        self.url = _address(url)
        self.timeout_seconds = timeout_seconds
        self.clock_ahead = timedelta(0)
        """How far its clock is ahead of ours."""
        self._per_second, self._proxy = requests_per_second, proxy
        self._certificates = httpcore.default_ssl_context()
        if ca_file is not None:
            self._certificates.load_verify_locations(ca_file)
        self._process = self._begun()

    def __repr__(self) -> str:
        return f"ReanaServer({self.url!r})"

    def session(self, token: SecretStr) -> "ReanaSession":
        """What the owner of ``token`` may do there: the same object each time."""
        from stemma.engines.reana.session import ReanaSession  # noqa: PLC0415 - the two know each other

        here = self._here()
        key = sha256(token.get_secret_value().encode()).digest()
        with here.lock:
            if key not in here.sessions:
                here.sessions[key] = ReanaSession(self, token)
            return here.sessions[key]

    def close(self) -> None:
        """Hang up."""
        self._here().http.close()

    @property
    def limiter(self) -> Limiter:
        """What all that ask this server wait for."""
        return self._here().limiter

    def watched(self) -> int:
        """Of how many tokens somebody watches runs."""
        here = self._here()
        with here.lock:
            sessions = list(here.sessions.values())
        return sum(session.watch.is_in_use for session in sessions)

    def ping(self) -> None:
        """Return when it answers, without a token.

        Raises:
            EngineUnreachable: it does not.
        """
        self.exchange(_NOBODY, "GET", "/api/ping", limit=_LARGEST_REFUSAL)

    def exchange(
        self,
        token: SecretStr,
        method: str,
        path: str,
        *,
        parameters: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        limit: int = LARGEST_ANSWER,
    ) -> Received:
        """The whole answer to a request, which is a success and JSON.

        Args:
            token: who asks.
            method: GET, POST, PUT.
            path: from ``/api`` on, quoted.
            parameters: what goes behind the question mark.
            body: JSON.
            limit: how many bytes the answer may have.

        Raises:
            EngineUnreachable: trying again later may help.
            EngineRefused: it does not.
        """
        headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": "application/json"})
        silence = self.timeout_seconds
        with self.answered(
            token, method, path, parameters=parameters, headers=headers, content=body, silence_seconds=silence
        ) as response:
            answer = self._whole(response, limit, f"the answer to {method} {path}", silence)
        if not answer.headers.get("content-type", "").lower().startswith("application/json"):
            raise faults.WrongAnswer(
                "what answers at its address does not speak as REANA does: it sends a page, not JSON"
            )
        return answer

    @contextmanager
    def answered(
        self,
        token: SecretStr,
        method: str,
        path: str,
        *,
        parameters: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
        silence_seconds: float | None = None,
    ) -> Iterator[httpx.Response]:
        """A success, whose body is read in the context; bytes may take their time.

        A request that is one too many is made again when the server wants it, unless its content can be read only
        once.

        Raises:
            EngineUnreachable: trying again later may help.
            EngineRefused: it does not.
        """
        here = self._here()
        silence = silence_seconds or _SLOW * self.timeout_seconds
        is_repeatable = content is None or isinstance(content, bytes)
        for attempt in range(1, _TRIES + 1):
            request = here.http.build_request(
                method,
                f"{self.url}{path}",
                params=list(parameters) or None,
                headers=headers,
                content=content,
                timeout=httpx.Timeout(silence, connect=min(_CONNECT_SECONDS, silence)),
                extensions={_SECRET_EXTENSION: token},
            )
            response = self._sent(here, request, silence, may_repeat=method == "GET")
            try:
                if response.is_success:
                    here.limiter.answered()
                    with faults.translating(silence):
                        yield response
                    return
                refusal = self._refusal(response, token, silence)
            finally:
                response.close()
            if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                here.limiter.refused(_seconds(response.headers.get("retry-after")))
                if is_repeatable and attempt < _TRIES:
                    continue
            raise refusal

    def _sent(self, here: "_Process", request: httpx.Request, silence: float, *, may_repeat: bool) -> httpx.Response:
        """The beginning of the answer. A kept connection that the server has just closed is no answer: ask again."""
        here.limiter.wait()
        with faults.translating(silence):
            began = clock.now()
            try:
                response = here.http.send(request, stream=True)
            except (httpx.RemoteProtocolError, httpx.ReadError):
                if not may_repeat:
                    raise
                here.limiter.wait()
                began = clock.now()
                response = here.http.send(request, stream=True)
        self._note_clock(response.headers.get("date"), began + (clock.now() - began) / 2)
        return response

    def _refusal(self, response: httpx.Response, token: SecretStr, silence: float) -> Exception:
        try:
            body = self._whole(response, _LARGEST_REFUSAL, "an error", silence).body
        except faults.AnswerTooLarge:
            body = b""
        return faults.refusal(response.status_code, response.headers, body, token.get_secret_value())

    def _whole(self, response: httpx.Response, limit: int, what: str, silence: float) -> Received:
        """The answer, read within limits of size and time."""
        found = bytearray()
        deadline = time.monotonic() + _SLOW * silence
        with faults.translating(silence):
            for chunk in response.iter_raw():
                found += chunk
                if len(found) > limit:
                    raise faults.AnswerTooLarge(what, limit)
                if time.monotonic() > deadline:
                    raise faults.unreachable("it answers too slowly")
        return Received(response.status_code, response.headers, bytes(found))

    def _note_clock(self, date: str | None, our_time: datetime) -> None:
        try:
            ahead = parsedate_to_datetime(date or "") + timedelta(seconds=0.5) - our_time
        except (ValueError, TypeError):  # no date, or one without a zone
            return
        self.clock_ahead = ahead if abs(ahead) > _CLOCK_TOLERANCE else timedelta(0)

    def _here(self) -> "_Process":
        """Connections, locks and turns of this process: none of them outlives a fork."""
        if self._process.pid != os.getpid():
            self._process = self._begun()
        return self._process

    def _begun(self) -> "_Process":
        way = httpx.HTTPTransport(
            verify=self._certificates,
            trust_env=False,
            proxy=self._proxy,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=8, keepalive_expiry=4.0),
        )
        agent = {"User-Agent": f"stemma/{__version__}", "Accept-Encoding": "identity"}
        http = httpx.Client(transport=_WithToken(way), trust_env=False, follow_redirects=False, headers=agent)
        return _Process(os.getpid(), http, Limiter(self._per_second), threading.Lock(), {})


@dataclass(slots=True)
class _Process:
    """What belongs to one process."""

    pid: int
    http: httpx.Client
    limiter: Limiter
    lock: threading.Lock
    sessions: dict[bytes, "ReanaSession"]


class _WithToken(httpx.BaseTransport):
    """Puts the token into the address, below everything that logs addresses."""

    def __init__(self, way: httpx.HTTPTransport) -> None:
        self._way = way

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        token: SecretStr = request.extensions.get(_SECRET_EXTENSION, _NOBODY)
        extensions = {name: value for name, value in request.extensions.items() if name != _SECRET_EXTENSION}
        url = request.url
        if token.get_secret_value():
            query = [url.query] if url.query else []
            secret = b"access_token=" + quote(token.get_secret_value(), safe="").encode()
            url = url.copy_with(query=b"&".join([*query, secret]))
        sent = httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)
        return self._way.handle_request(sent)

    def close(self) -> None:
        self._way.close()


class _Masking(logging.Filter):
    """Takes tokens out of what the HTTP libraries tell of a server's answers: one may send our address back."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "access_token=" in message:
            record.msg, record.args = faults.masked(message), ()
        return True


for _name in ("httpx", "httpcore.http11", "httpcore.connection", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_Masking())


def _address(url: str) -> str:
    """``url`` without what does not belong to it.

    Raises:
        ValueError: it is not the address of a server.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("the address of a REANA server is like https://reana.example.org, with no password or query")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _seconds(retry_after: str | None) -> float | None:
    try:
        return float(retry_after or "")
    except ValueError:
        return None
