"""Many requests to servers elsewhere, over connections that are kept: each by the rules of the one way out."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import httpcore

from stemma import __version__
from stemma.errors import (
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
)
from stemma.storages import haste
from stemma.storages.addresses import Policy, Target
from stemma.storages.connections import OutOfTime
from stemma.storages.outgoing import Answer, Outgoing, telling
from stemma.storages.pace import Pace
from stemma.storages.protocol import CHUNK_BYTES

_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GIVEN: Final = frozenset({200, 203, 206})
"""Of what is read: the answers that hold it. Others of their like say that it comes later, or that there is none."""
_GONE: Final = frozenset({404, 410})
_CLOSED: Final = frozenset({401, 403, 407})
_LATER: Final = frozenset({408, 421, 423, 425, 429})
_NOT_TAKEN: Final = frozenset({405, 501})
_SERVERS_FAULT: Final = 500
_CHANGED: Final = 412
_SAFE: Final = frozenset({"GET", "HEAD"})

Credential = Callable[[Target], Mapping[str, str]]
"""The headers that say who we are, for the servers that are to know; none for others."""


class Calm:
    """The patience of a session: so long until an answer begins, and no silence longer than allowed after that.

    Where the thread itself has to be done by some time (:mod:`stemma.storages.haste`), it goes no further than that.
    """

    read_bytes = CHUNK_BYTES

    def __init__(self, silence_seconds: float, answer_seconds: float) -> None:
        self._silence_seconds = silence_seconds
        self._answer_seconds = answer_seconds
        self._of_thread = threading.local()

    def left(self, at_most: float | None = None) -> float:
        """The seconds to wait now."""
        end: float | None = getattr(self._of_thread, "end", None)
        usual = self._silence_seconds if at_most is None else at_most
        left = min(usual if end is None else end - time.monotonic(), haste.within(usual))
        if left <= 0:
            raise OutOfTime
        return left

    def pace(self) -> Pace:
        """A byte a second, over the time that may pass in silence."""
        return Pace(self._silence_seconds)

    def renew(self) -> None:
        """Something went on: the time until the answer begins anew."""
        self._of_thread.end = time.monotonic() + self._answer_seconds

    @contextmanager
    def until_answered(self) -> Iterator[None]:
        """Within this, the answer of a server has to begin."""
        self.renew()
        try:
            yield
        finally:
            self._of_thread.end = None


class Session:
    """Connections to servers elsewhere. Used by several threads at once."""

    def __init__(self, outgoing: Outgoing, *, connections: int, credential: Credential = lambda _: {}) -> None:
        self._policy: Policy = outgoing.policy
        self._credential = credential
        self._silence_seconds = outgoing.silence_seconds
        self._calm = Calm(outgoing.silence_seconds, outgoing.answer_seconds)
        self._pool = outgoing.pool(self._calm, connections=connections)

    def close(self) -> None:
        """Let go of all connections."""
        self._pool.close()

    def checked(self, url: str, what: str) -> Target:
        """See :meth:`Policy.checked`."""
        return self._policy.checked(url, what)

    @contextmanager
    def asked(
        self,
        method: str,
        target: Target,
        what: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: Iterable[bytes] | None = None,
        accepted: frozenset[int] = frozenset(),
    ) -> Iterator[Answer]:
        """What the server answers, where that is good, or one of ``accepted``; redirects of what is read are followed.

        Raises:
            AddressRefused: a redirect leads to what must not be asked.
            StemmaError: it answers something else; which error says what (``SourceNotFound``, …).
        """
        asked = target
        for _ in range(_MAX_REDIRECTS + 1):
            with self._requested(method, target, what, headers or {}, content) as response:
                answer = Answer(response, asked, target, what)
                if response.status not in _REDIRECTS or method not in _SAFE:
                    if response.status not in accepted:
                        _check(method, response.status, what)
                    _refuse_encoded(answer, what)
                    yield answer
                    return
                location = answer.header("location")
            target = self._policy.redirected(target, location, what)
        raise SourceUnusable(what, f"its server redirects more than {_MAX_REDIRECTS} times")

    @contextmanager
    def _requested(
        self, method: str, target: Target, what: str, headers: Mapping[str, str], content: Iterable[bytes] | None
    ) -> Iterator[httpcore.Response]:
        request = httpcore.Request(
            method,
            httpcore.URL(
                scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path
            ),
            headers=list({**self._usual(target), **headers}.items()),
            content=None if content is None else self._renewing(content),
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), self._silence_seconds)},
        )
        with telling(what):
            response = self._answered(request, may_repeat=content is None and method in _SAFE)
        try:
            yield response
        finally:
            response.close()

    def _answered(self, request: httpcore.Request, *, may_repeat: bool) -> httpcore.Response:
        with self._calm.until_answered():
            try:
                return self._pool.handle_request(request)
            except (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError):
                if not may_repeat:
                    raise
            return self._pool.handle_request(request)  # a kept connection may end just when it is used again

    def _renewing(self, content: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in content:
            self._calm.renew()
            yield chunk
        self._calm.renew()

    def _usual(self, target: Target) -> dict[str, str]:
        return {
            "Host": target.authority,
            "User-Agent": f"stemma/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **self._credential(target),
        }


def _check(method: str, status: int, what: str) -> None:
    if status in (_GIVEN if method in _SAFE else range(200, 300)):
        return
    if status in _GONE:
        raise SourceNotFound(what)
    if status in _CLOSED:
        raise SourceForbidden(what)
    if status == _CHANGED:
        raise SourceChanged(what)
    if status in _NOT_TAKEN:
        raise SourceUnusable(what, f"its server does not do this ({status})")
    if status in _LATER or status >= _SERVERS_FAULT:
        raise SourceUnavailable(what, f"its server answers {status}")
    raise SourceUnusable(what, f"its server answers {status}")


def _refuse_encoded(answer: Answer, what: str) -> None:
    encoding = answer.header("content-encoding")
    if encoding is not None and encoding.strip().lower() not in {"", "identity"}:
        raise SourceUnusable(what, "its server sends it compressed, though asked for it as it is")
