"""One connection to a service: requests with a token, envelopes opened, refusals raised."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import httpx

from stemma.client.multipart import CHUNK_BYTES, Attachment, Multipart, Progress
from stemma.client.problems import ERROR_HEADER, ServiceUnreachable, UnexpectedAnswer, problem
from stemma.client.tokens import Tokens
from stemma.errors import NotAuthenticated

_CONNECT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What came in."""

    size_bytes: int
    sha1: str
    sha256: str


class Connection:
    """Talks to the service at ``url``. Not to be used from several threads at once."""

    def __init__(self, url: str, tokens: Tokens | None, timeout_seconds: float) -> None:
        self.url = url.rstrip("/")
        self._tokens = tokens
        # The proxy settings of the environment are for the world outside; a service on loopback is not there.
        is_near = httpx.URL(self.url).host in {"localhost", "127.0.0.1", "::1"}
        self._http = httpx.Client(
            base_url=self.url,
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            trust_env=not is_near,
        )

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """What the envelope at ``path`` holds.

        Raises:
            StemmaError: as the service refused.
        """
        return self.send("GET", path, parameters)

    def send(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        fields: Mapping[str, Any] | None = None,
        files: Sequence[tuple[str, Attachment]] = (),
        progress: Progress | None = None,
    ) -> Any:
        """Make a request, with a multipart body where there are ``fields`` or ``files``; what the answer holds.

        Raises:
            StemmaError: as the service refused.
        """
        body = Multipart(_given(fields or {}), files, progress) if fields or files else None
        with self._answered(method, path, parameters, body) as answer:
            answer.read()
            return _opened(answer)

    def download(
        self,
        path: str,
        target: BinaryIO,
        parameters: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Downloaded:
        """Write the file at ``path`` into ``target``, and take its digests on the way.

        Raises:
            StemmaError: as the service refused, or the connection broke before the end.
        """
        size, sha1, sha256 = 0, hashlib.sha1(usedforsecurity=False), hashlib.sha256()
        with self._answered("GET", path, parameters) as answer, self._breaking():
            announced = answer.headers.get("content-length")
            expected = int(announced) if announced and "content-encoding" not in answer.headers else None
            for chunk in answer.iter_bytes(CHUNK_BYTES):
                target.write(chunk)
                sha1.update(chunk)
                sha256.update(chunk)
                size += len(chunk)
                if progress is not None:
                    progress(size, expected)
        return Downloaded(size, sha1.hexdigest(), sha256.hexdigest())

    @contextmanager
    def lines(
        self, path: str, parameters: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[Iterator[str]]:
        """The lines of a stream, as they come.

        Raises:
            StemmaError: as the service refused, or the connection broke.
        """
        with self._answered("GET", path, parameters, headers=headers) as answer, self._breaking():
            yield answer.iter_lines()

    @contextmanager
    def _answered(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        body: Multipart | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        """An answer that is no refusal; a token that is refused is renewed, once."""
        for is_last in (False, True):
            with self._breaking():
                answer = self._http.send(self._request(method, path, parameters, body, headers), stream=True)
            try:
                if answer.is_success:
                    yield answer
                    return
                with self._breaking():
                    answer.read()
            finally:
                answer.close()
            refusal = problem(answer.status_code, answer.headers.get(ERROR_HEADER), _json(answer))
            if is_last or not isinstance(refusal, NotAuthenticated) or not (self._tokens and self._tokens.renew()):
                raise refusal

    def _request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any] | None,
        body: Multipart | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Request:
        sent = dict(headers or {}) | (body.headers if body else {})
        if self._tokens is not None:
            sent["Authorization"] = f"Bearer {self._tokens.access_token()}"
        return self._http.build_request(method, path, params=_given(parameters or {}), content=body, headers=sent)

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        """Say in our words that there is nobody, or nobody any more."""
        try:
            yield
        except httpx.TransportError as error:
            raise ServiceUnreachable(self.url, str(error) or type(error).__name__) from error


def _given(values: Mapping[str, Any]) -> dict[str, str]:
    """Those that are not None, as text."""
    return {
        name: ("true" if value else "false") if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _json(answer: httpx.Response) -> Any:
    try:
        return json.loads(answer.content)
    except ValueError:
        return None


def _opened(answer: httpx.Response) -> Any:
    """What is in the envelope."""
    envelope = _json(answer)
    if isinstance(envelope, dict) and "success" in envelope and "data" in envelope:
        return envelope["data"]
    if envelope is not None:
        return envelope
    raise UnexpectedAnswer(f"{answer.url} answered something else than JSON; is the address right?")
