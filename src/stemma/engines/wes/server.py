"""The HTTP side of a WES server: requests with the credential, answers within limits, every failure in our words."""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx
import orjson
from pydantic import BaseModel, SecretStr, ValidationError

from stemma import __version__
from stemma.engines.wes import texts
from stemma.engines.wes.answers import RunEntry, RunLog, RunPage, ServiceInfo, TaskPage
from stemma.errors import EngineRefused, EngineUnreachable
from stemma.records import Json

NAME = "wes"
ANSWER_BYTES = 64 * 1024 * 1024
"""How large an answer may be; some servers put whole logs into it."""
_ERROR_BYTES = 64 * 1024
_SLOWEST = 4
"""An answer may take so many times the time that the server may be silent."""
_MAX_REDIRECTS = 4
_CHUNK_BYTES = 1024 * 1024
_LATER = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_LOGIN = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})

Authentication = Literal["bearer", "basic"]
Form = TypeVar("Form", bound=BaseModel)


class NotThere(EngineRefused):
    """The server knows no such thing."""


class TooMuch(EngineRefused):
    """An answer is larger than any that is needed."""


class NotSent(EngineUnreachable):
    """There was no connection, so the server has heard nothing."""


class WesServer:
    """One server, and who we are there."""

    def __init__(
        self,
        url: str,
        credential: Callable[[], SecretStr | None],
        *,
        authentication: Authentication = "bearer",
        client: httpx.Client,
        timeout_seconds: float,
    ) -> None:
        self.url = url.rstrip("/")
        self._credential = credential
        self._authentication = authentication
        self._client = client
        self._timeout_seconds = timeout_seconds

    def service_info(self, timeout_seconds: float | None = None) -> ServiceInfo:
        """What it says of itself."""
        return _read(ServiceInfo, self._json("GET", f"{self.url}/service-info", timeout_seconds=timeout_seconds))

    def run_workflow(self, fields: Mapping[str, str], attachments: list[tuple[str, Any]]) -> str:
        """Ask it to run something; the id that it gives.

        Raises:
            NotSent: it has heard nothing of it.
            EngineRefused: it will not.
            EngineUnreachable: it may have taken it, or not.
        """
        files = [("workflow_attachment", attachment) for attachment in attachments]
        try:
            answer = _read(RunEntry, self._json("POST", f"{self.url}/runs", data=dict(fields), files=files))
        except TooMuch as error:
            raise EngineUnreachable(NAME, error.reason) from error
        if answer.run_id is None:
            raise EngineUnreachable(NAME, "it took the run and gave no id")
        return answer.run_id

    def runs(self, page_token: str | None) -> RunPage:
        """A page of its runs."""
        parameters = {"page_size": "100"} | ({"page_token": page_token} if page_token else {})
        return _read(RunPage, self._json("GET", f"{self.url}/runs", params=parameters))

    def run_log(self, run_id: str) -> RunLog:
        """Everything that it says of a run."""
        return _read(RunLog, self._json("GET", self.run_url(run_id)))

    def status(self, run_id: str) -> str:
        """The state of a run, as it calls it."""
        return _read(RunEntry, self._json("GET", f"{self.run_url(run_id)}/status")).state

    def tasks(self, url: str, page_token: str | None) -> TaskPage:
        """A page of the tasks of a run."""
        return _read(TaskPage, self._json("GET", url, params={"page_token": page_token} if page_token else None))

    def cancel(self, run_id: str) -> None:
        """Ask it to end a run."""
        self._json("POST", f"{self.run_url(run_id)}/cancel", is_json=False)

    def delete(self, run_id: str) -> None:
        """Ask it to forget a run, which the standard knows nothing of."""
        self._json("DELETE", self.run_url(run_id), is_json=False)

    def run_url(self, run_id: str) -> str:
        """Where a run is."""
        return f"{self.url}/runs/{quote(run_id, safe='')}"

    def resolve(self, reference: str, base: str, run_id: str) -> str:
        """The URL that ``reference`` names, seen from ``base``. What lies in the run is asked for at the address
        that we know: a server may not know its own name.

        Raises:
            EngineRefused: it is none.
        """
        try:
            url = httpx.URL(base).join(reference)
        except (httpx.InvalidURL, ValueError) as error:
            raise EngineRefused(NAME, f"it names {texts.sentence(reference)!r}, which is no URL") from error
        path = url.raw_path.decode("ascii")
        _, found, inside = path.partition(f"/runs/{quote(run_id, safe='')}/")
        if url.scheme in {"http", "https"} and found and ".." not in inside.split("/"):
            return f"{self.run_url(run_id)}/{inside}"
        return str(url)

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        """The bytes at ``url``. The credential goes to this server alone; other servers are not asked.

        Raises:
            NotThere: nothing is there.
            EngineRefused: it is on another server, or is not given to us.
            EngineUnreachable: the server does not answer, or breaks off.
        """
        asked = url
        for _ in range(_MAX_REDIRECTS + 1):
            with self._answer("GET", asked, headers=self._headers(asked)) as response:
                if not response.has_redirect_location:
                    self._check(response)
                    yield response.iter_bytes(_CHUNK_BYTES)
                    return
                asked = str(response.url.join(response.headers["location"]))
        raise EngineRefused(NAME, f"it redirects from {texts.sentence(url)} without end")

    def clean(self, text: str) -> str:
        """``text`` without the credential and the keys to files, should the server have repeated them."""
        secret, text = self._credential(), texts.without_keys(text)
        for part in secret.get_secret_value().split(":", 1) if secret is not None else ():
            text = text.replace(part, "***") if len(part) >= len("secret") else text
        return text

    def _headers(self, url: str) -> dict[str, str]:
        """What to show at ``url``."""
        asked, own = httpx.URL(url), httpx.URL(self.url)
        if asked.scheme not in {"http", "https"}:
            raise EngineRefused(NAME, f"{texts.sentence(url)!r} is not reached by http; have it give its outputs so")
        if asked.host != own.host:
            raise EngineRefused(
                NAME, f"{texts.sentence(url)!r} is on another server than {own.host}, and is not asked for"
            )
        secret = self._credential()
        if secret is None or (asked.scheme, asked.port) != (own.scheme, own.port):
            return {}
        if self._authentication == "basic":
            user, _, password = secret.get_secret_value().partition(":")
            request = httpx.Request("GET", url)
            next(httpx.BasicAuth(user, password).auth_flow(request))
            return {"Authorization": request.headers["Authorization"]}
        return {"Authorization": f"Bearer {secret.get_secret_value()}"}

    def _json(
        self, method: str, url: str, *, is_json: bool = True, timeout_seconds: float | None = None, **more: Any
    ) -> Json:
        headers = {**self._headers(url), "Accept": "application/json"}
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        with self._answer(method, url, headers=headers, timeout=timeout, **more) as response:
            if response.has_redirect_location:
                place = texts.sentence(response.headers["location"])
                raise EngineRefused(NAME, f"it redirects to {place}; STEMMA_WES_URL has to name the place itself")
            self._check(response)
            body = _bounded(response, ANSWER_BYTES, timeout * _SLOWEST)
        if not is_json:
            return None
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise EngineUnreachable(NAME, f"what answers at {self.url} is no WES server, it speaks no JSON") from error

    @contextmanager
    def _answer(self, method: str, url: str, **more: Any) -> Iterator[httpx.Response]:
        """The answer to a request, with whatever goes wrong on the way in our words."""
        try:
            with self._client.stream(method, url, **more) as response:
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(NAME, self.clean(texts.sentence(str(error) or type(error).__name__))) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            what = self.clean(texts.sentence(str(error))) or type(error).__name__
            raise EngineUnreachable(NAME, f"the connection broke off: {what}") from error
        except httpx.InvalidURL as error:
            raise EngineRefused(NAME, f"it names {texts.sentence(url)!r}, which is no URL") from error

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        status, said = response.status_code, self.clean(_said(response, self._timeout_seconds))
        words = f"it answers {status}{f': {said}' if said else ''}"
        if status in _LOGIN:
            raise EngineRefused(NAME, f"the credential is not accepted there, {words}")
        if status in _GONE:
            raise NotThere(NAME, words)
        if status in _LATER or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED):
            raise EngineUnreachable(NAME, words)
        raise EngineRefused(NAME, words)


def new_client(ca_file: Path | None, timeout_seconds: float) -> httpx.Client:
    """What makes the connections. Nothing of the environment counts, and it follows nothing by itself."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    headers = {"User-Agent": f"stemma/{__version__}", "Accept-Encoding": "identity"}
    return httpx.Client(verify=context, timeout=timeout_seconds, headers=headers, trust_env=False)


def _bounded(response: httpx.Response, limit_bytes: int, limit_seconds: float) -> bytes:
    """The body of an answer.

    Raises:
        TooMuch: it is too large.
        EngineUnreachable: it comes too slowly.
    """
    parts, size, end = [], 0, time.monotonic() + limit_seconds
    for part in response.iter_bytes():
        size += len(part)
        if size > limit_bytes:
            raise TooMuch(NAME, f"it answers more than {limit_bytes} bytes")
        if time.monotonic() > end:
            raise EngineUnreachable(NAME, f"it did not answer in full within {limit_seconds:g} seconds")
        parts.append(part)
    return b"".join(parts)


def _said(response: httpx.Response, limit_seconds: float) -> str:
    """What an error answer says, for people; empty when it is not meant for them."""
    try:
        value = orjson.loads(_bounded(response, _ERROR_BYTES, limit_seconds))
    except (orjson.JSONDecodeError, TooMuch):
        return ""
    words = (value.get(key) for key in ("msg", "message", "detail", "title")) if isinstance(value, dict) else ()
    return texts.sentence(next((word for word in words if isinstance(word, str) and word), ""))


def _read(form: type[Form], answer: Json) -> Form:
    try:
        return form.model_validate(answer)
    except ValidationError as error:
        raise EngineUnreachable(NAME, "its answer has not the form that the standard gives it") from error
