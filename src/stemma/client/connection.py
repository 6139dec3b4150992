"""One connection to a service: requests with a token, envelopes opened, refusals raised."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

from stemma.client.addresses import service_address
from stemma.client.downloads import Arrival, Downloaded
from stemma.client.multipart import Attachment, Multipart, Progress, Raw
from stemma.client.problems import ERROR_HEADER, UnexpectedAnswer, problem
from stemma.client.tokens import Tokens
from stemma.errors import NotAuthenticated, Unavailable

if TYPE_CHECKING:
    from stemma.client.transport import Answer

T = TypeVar("T")

_RESUMPTIONS: Final = 8
"""How often a download that broke off is taken up again, in all."""
_FIRST_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 15.0


class Connection:
    """Talks to the service at ``url``. Not to be used from several threads at once."""

    def __init__(self, url: str, tokens: Tokens | None, timeout_seconds: float) -> None:
        from stemma.client.transport import Transport  # noqa: PLC0415 - loads httpx, when somebody connects

        self.url = service_address(url)
        self._tokens = tokens
        self._transport = Transport(self.url, timeout_seconds)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """What the envelope at ``path`` holds.

        Raises:
            StemmaError: as the service refused.
        """
        return self.send("GET", path, parameters)

    def text(self, path: str) -> str:
        """What is at ``path``, which has no envelope.

        Raises:
            StemmaError: as the service refused.
        """
        with self._answered("GET", path) as answer:
            return answer.body().decode("utf-8", "replace")

    def send(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        fields: Mapping[str, Any] | None = None,
        files: Sequence[tuple[str, Attachment]] = (),
        progress: Progress | None = None,
        document: Any = None,
        content: Attachment | None = None,
        silence_seconds: float | None = None,
    ) -> Any:
        """Make a request; what the answer holds.

        The body is ``document`` in JSON, multipart where there are ``fields`` or ``files``, or ``content`` as it is.
        The service may say nothing for ``silence_seconds``, where that is to be another time than usual.

        Raises:
            StemmaError: as the service refused.
        """
        body: Multipart | Raw | _Json | None = _Json(document) if document is not None else None
        if fields or files:
            body = Multipart(_given(fields or {}), files, progress)
        elif content is not None:
            body = Raw(content, progress)
        with self._answered(method, path, parameters, body, silence_seconds=silence_seconds) as answer:
            return _opened(self.url, answer)

    def download(
        self,
        path: str,
        target: BinaryIO,
        parameters: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        *,
        sha256: str | None = None,
    ) -> Downloaded:
        """Write the file at ``path`` into ``target``, and take its digests on the way.

        A stored file goes on where a connection broke; what is made while it is sent (a zip) cannot.

        Raises:
            StemmaError: as the service refused, or the connection broke once too often.
            ContentDamaged: what came has another digest than ``sha256``, or than the service says.
        """
        arrival = Arrival(target, progress, sha256)
        pause = _FIRST_PAUSE_SECONDS
        for left in reversed(range(_RESUMPTIONS + 1)):
            try:
                with self._answered("GET", path, parameters, headers=arrival.headers) as answer:
                    arrival.take(answer)
                break
            except Unavailable:
                if left == 0 or not arrival.can_go_on:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        return arrival.done()

    @contextmanager
    def lines(
        self,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        document: Any = None,
    ) -> Iterator[Iterator[str]]:
        """The lines of a stream, as they come; of what is done with ``document``, where there is one.

        Raises:
            StemmaError: as the service refused, or the connection broke.
        """
        body = _Json(document) if document is not None else None
        with self._answered("POST" if body else "GET", path, parameters, body, headers) as answer:
            yield answer.lines()

    @contextmanager
    def _answered(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        body: "Multipart | Raw | _Json | None" = None,
        headers: Mapping[str, str] | None = None,
        *,
        silence_seconds: float | None = None,
    ) -> Iterator["Answer"]:
        """An answer that is no refusal; a token that is refused is renewed, once."""
        for is_last in (False, True):
            token = self._tokens.access_token() if self._tokens is not None else None
            sent = dict(headers or {}) | (body.headers if body else {})
            if token is not None:
                sent["Authorization"] = f"Bearer {token}"
            given = _given(parameters or {})
            with self._transport.answered(
                method, path, parameters=given, headers=sent, body=body, silence_seconds=silence_seconds
            ) as answer:
                if answer.is_good:
                    yield answer
                    return
                if answer.leads_elsewhere is not None:
                    raise UnexpectedAnswer(f"{self.url} sends us to {answer.leads_elsewhere}; is its address right?")
                refusal = problem(answer.status, answer.headers.get(ERROR_HEADER), answer.json())
            is_of_the_token = isinstance(refusal, NotAuthenticated) and self._tokens is not None and token is not None
            if is_last or not (is_of_the_token and self._tokens and self._tokens.renew(token or "")):
                raise refusal


class _Json:
    """A body in JSON."""

    def __init__(self, value: Any) -> None:
        self._bytes = json.dumps(value).encode()
        self.headers = {"Content-Type": "application/json", "Content-Length": str(len(self._bytes))}

    def __iter__(self) -> Iterator[bytes]:
        yield self._bytes


def shaped(of: Callable[[Any], T], told: Any) -> T:
    """``of(told)``, where ``told`` came from outside and may be anything.

    Raises:
        UnexpectedAnswer: it is not what a service tells.
    """
    try:
        return of(told)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnexpectedAnswer(f"the service told something unknown to this client: {error!r}") from error


def _given(values: Mapping[str, Any]) -> dict[str, str]:
    """Those that are not None, as text."""
    return {
        name: ("true" if value else "false") if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _opened(url: str, answer: "Answer") -> Any:
    """What is in the envelope."""
    envelope = answer.json()
    if isinstance(envelope, dict) and "success" in envelope and "data" in envelope:
        return envelope["data"]
    if envelope is not None:
        return envelope
    raise UnexpectedAnswer(f"{url} answered something else than JSON; is the address right?")
