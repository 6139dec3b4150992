"""The control calls, by ``reana-client``: its functions, with the transport that stands beneath them made ours.

They all go through one global of their module, the client of the server that an environment variable names, which
verifies no certificate and waits for ever. In its place stands :class:`_Operations`: it makes the requests of the
official API document on the connection of whoever calls, so that servers, tokens and threads do not get in each
other's way, refusals are ours before the library sees them, and nothing checks answers but ``answers``. The token does
not pass through the library at all. What is not asked this way, and why: ``docs/decisions/``.
"""

import importlib
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final
from urllib.parse import quote

import orjson

from stemma.engines.reana import answers, faults
from stemma.engines.reana.server import Received
from stemma.errors import EngineRefused, StemmaError

Exchange = Callable[[str, str, list[tuple[str, str]], bytes | None], Received]
"""Method, path, parameters, JSON: the answer, which is a success."""

_METHODS: Final = frozenset({"get", "put", "post", "delete"})
_loading = threading.Lock()
_exchange: ContextVar[Exchange] = ContextVar("reana_exchange")


def call(function: str, exchange: Exchange, **arguments: Any) -> Any:
    """What a function of ``reana_client.api.client`` returns, asked over ``exchange``.

    Raises:
        EngineUnreachable: trying again later may help.
        EngineRefused: it does not, or ``reana-client`` is not installed.
    """
    with _loading:
        client = _client()
    before = _exchange.set(exchange)
    try:
        return getattr(client, function)(access_token="", **arguments)
    except StemmaError:
        raise
    except Exception as error:  # the library raises bare exceptions for what it does not expect
        raise faults.WrongAnswer(f"what it answers is not understood ({type(error).__name__})") from error
    finally:
        _exchange.reset(before)


@cache
def _client() -> Any:
    """The module of reana-client, loaded when it is first needed: it brings much along."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses what its own dependencies would rather remove
            client = importlib.import_module("reana_client.api.client")
    except ImportError as error:
        raise EngineRefused(
            faults.ENGINE, "this installation cannot talk to it: install the package 'stemma-registry[reana]'"
        ) from error
    client.__dict__["current_rs_api_client"] = _Client(_Operations(dict(_operations())))
    return client


@dataclass(frozen=True, slots=True)
class _Operation:
    """A call of the API document."""

    method: str
    path: str
    places: dict[str, str]
    """Where each parameter goes: path, query, body."""

    def request(self, arguments: dict[str, Any]) -> tuple[str, str, list[tuple[str, str]], bytes | None]:
        """The request that it is with these arguments."""
        path, parameters, body = self.path, list[tuple[str, str]](), None
        for name, value in arguments.items():
            if value is None or name == "access_token" or name.startswith("_"):
                continue
            place = self.places[name]
            if place == "body":
                body = orjson.dumps(value)
            elif place == "path":
                path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
            else:
                several = value if isinstance(value, list | tuple) else [value]
                parameters += [(name, _text(one)) for one in several]
        return self.method, path, parameters, body


def _operations() -> Iterator[tuple[str, _Operation]]:
    """The calls of the API document that the library brings along, by their names."""
    found = resources.files("reana_commons") / "openapi_specifications" / "reana_server.json"
    for path, methods in json.loads(found.read_text())["paths"].items():
        for method, operation in methods.items():
            if method in _METHODS:
                places = {parameter["name"]: parameter["in"] for parameter in operation.get("parameters", [])}
                yield operation["operationId"], _Operation(method.upper(), path, places)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class _Operations:
    """What the library believes to be the generated client: each call is a method."""

    known: dict[str, _Operation]

    def __getattr__(self, name: str) -> Callable[..., "_Answered"]:
        operation = self.known[name]
        return lambda **arguments: _Answered(_exchange.get()(*operation.request(arguments)))


@dataclass(frozen=True, slots=True)
class _Client:
    api: _Operations


@dataclass(frozen=True, slots=True)
class _Answered:
    """What the library believes to be the future of an answer."""

    received: Received

    @property
    def status_code(self) -> int:
        """What the library looks at again."""
        return self.received.status

    def result(self) -> tuple[Any, "_Answered"]:
        """The JSON, and what it came with."""
        return answers.loaded(self.received.body, "what it answers"), self
