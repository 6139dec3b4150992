"""HTTP beneath everything else. The one module that knows httpx, which takes a while to load: loaded when it is used.

Redirects are never followed: a token or a password goes to the address that it is meant for, or nowhere. Proxies and
certificates are those of the environment (``HTTPS_PROXY``, ``SSL_CERT_FILE``), except for this machine itself.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx

from stemma.client.addresses import is_loopback
from stemma.client.problems import ServiceUnreachable, UnexpectedAnswer

_CONNECT_SECONDS: Final = 10.0
_LARGEST_ANSWER: Final = 1 << 28
"""What is held in memory at once, whoever answers."""
_LONGEST_LINE: Final = 1 << 24


class Answer:
    """An answer whose body has not been read yet."""

    def __init__(self, url: str, response: httpx.Response) -> None:
        self._url, self._response = url, response
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    @property
    def is_good(self) -> bool:
        """Whether it is what was asked for."""
        return self._response.is_success

    def chunks(self, size: int | None = None) -> Iterator[bytes]:
        """The body: in chunks of ``size``, or as it comes.

        Raises:
            ServiceUnreachable: the connection broke before its end.
        """
        with _breaking(self._url):
            yield from self._response.iter_bytes(size)

    def lines(self) -> Iterator[str]:
        """The body by lines, which a newline ends and nothing else does.

        Raises:
            ServiceUnreachable: the connection broke before its end.
            UnexpectedAnswer: a line has no end.
        """
        rest = bytearray()
        for chunk in self.chunks():
            whole, newline, begun = chunk.rpartition(b"\n")
            if newline:
                yield from (_text(line) for line in (bytes(rest) + whole).split(b"\n"))
                rest.clear()
            rest += begun
            if len(rest) > _LONGEST_LINE:
                raise UnexpectedAnswer(f"{self._url} sends a line that has no end")
        if rest:
            yield _text(bytes(rest))

    def body(self) -> bytes:
        """All of it.

        Raises:
            ServiceUnreachable: the connection broke before its end.
            UnexpectedAnswer: it is larger than any answer is.
        """
        found = bytearray()
        for chunk in self.chunks():
            found += chunk
            if len(found) > _LARGEST_ANSWER:
                raise UnexpectedAnswer(f"{self._url} answers with more than {_LARGEST_ANSWER} bytes")
        return bytes(found)

    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body())
        except (ValueError, RecursionError):
            return None

    @property
    def leads_elsewhere(self) -> str | None:
        """Where it sends us, if it does; nobody goes there."""
        return self.headers.get("location", "elsewhere") if self._response.is_redirect else None


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")


class Transport:
    """Requests to addresses below ``base_url``, over connections that are kept."""

    def __init__(self, base_url: str, timeout_seconds: float) -> None:
        self._base_url = base_url
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS), trust_env=not is_loopback(base_url)
        )

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _timeout(self, silence_seconds: float | None) -> httpx.Timeout:
        usual = self._http.timeout
        return usual if silence_seconds is None else httpx.Timeout(silence_seconds, connect=_CONNECT_SECONDS)

    @contextmanager
    def answered(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes] | None = None,
        silence_seconds: float | None = None,
    ) -> Iterator[Answer]:
        """The answer to a request, open as long as the context. None of ``silence_seconds`` is as long as usual.

        Raises:
            ServiceUnreachable: nobody answers.
        """
        url = f"{self._base_url}{path}"
        with _breaking(self._base_url):
            request = self._http.build_request(
                method, url, params=parameters, headers=headers, content=body, timeout=self._timeout(silence_seconds)
            )
            response = self._http.send(request, stream=True)
        try:
            yield Answer(self._base_url, response)
        finally:
            response.close()


def ask(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    basic: tuple[str, str] | None = None,
    timeout_seconds: float = 30.0,
) -> tuple[int, Any]:
    """One request on a connection of its own: status and JSON of what answers (None where that is none).

    Raises:
        ServiceUnreachable: nobody answers.
        UnexpectedAnswer: it sends us elsewhere.
    """
    timeout = httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS)
    with _breaking(url), httpx.Client(timeout=timeout, trust_env=not is_loopback(url)) as http:
        method, auth = ("GET" if form is None else "POST"), (httpx.BasicAuth(*basic) if basic else None)
        with http.stream(method, url, data=form, auth=auth, headers={"Accept": "application/json"}) as response:
            answer = Answer(url, response)
            if answer.leads_elsewhere is not None:
                raise UnexpectedAnswer(f"{url} sends us to {answer.leads_elsewhere}; if that is right, name it instead")
            return answer.status, answer.json()


@contextmanager
def _breaking(url: str) -> Iterator[None]:
    """Say in our words that there is nobody, or nobody any more."""
    try:
        yield
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise ServiceUnreachable(url, str(error) or type(error).__name__) from error
