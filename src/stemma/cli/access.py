"""Finds the service that a command asks: the one that is configured, the one that runs here, or one made for it.

1. ``--url``, ``STEMMA_URL``, or where ``stemma login`` logged in: that one, or an error when it does not answer.
2. Else the service that ``stemma serve`` runs on this data folder, found by its ``service.json``.
3. Else a service of our own on this data folder, ended when the command is.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeVar

import typer

if TYPE_CHECKING:
    from stemma.cli.credentials import Login
    from stemma.cli.settings import CommandLineSettings
    from stemma.client import Client, PasswordTokens

P = ParamSpec("P")
R = TypeVar("R")

_PANEL = "Service"
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The service to ask.", rich_help_panel=_PANEL, show_default=False),
]
UserOption = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help="Who asks.", rich_help_panel=_PANEL, show_default=False),
]
_DEFAULT_USER = "user_1"


@dataclass(frozen=True, slots=True)
class Access:
    """A way to a service."""

    client: "Client"
    is_embedded: bool
    """Whether it was made for this command and ends with it."""


def asking(command: Callable[Concatenate[Access, P], R]) -> Callable[..., R]:
    """Make ``command``, which takes an :class:`Access` first, one that takes ``--url`` and ``--user`` last."""

    @functools.wraps(command)
    def found(*args: Any, url: str | None = None, user: str | None = None, **kwargs: Any) -> R:
        with access(url, user) as way:
            return command(way, *args, **kwargs)

    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter("url", keyword, default=None, annotation=UrlOption),
        inspect.Parameter("user", keyword, default=None, annotation=UserOption),
    ]
    found.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    found.__annotations__ = {one.name: one.annotation for one in [*own, *added]}
    return found


@contextmanager
def access(url: str | None = None, user: str | None = None) -> Iterator[Access]:
    """A way to the service that is to be asked.

    Raises:
        StemmaError: none can be reached or started.
    """
    from stemma.cli.announcement import announced  # noqa: PLC0415 - commands load what they need
    from stemma.cli.settings import settings  # noqa: PLC0415 - see above

    chosen = settings()
    login = _login()
    configured = url or chosen.url or (login.url if login else None)
    if configured is not None:
        from stemma.client import Client  # noqa: PLC0415 - see above

        with Client(configured, _tokens(configured, chosen, login, user)) as client:
            yield Access(client, is_embedded=False)
        return
    here = announced(chosen.home)
    with _here(chosen, here.url, user) if here else _embedded(chosen, user) as way:
        yield way


@contextmanager
def _here(chosen: "CommandLineSettings", url: str, user: str | None) -> Iterator[Access]:
    from stemma.client import Client  # noqa: PLC0415 - commands load what they need

    with Client(url, _local_tokens(chosen, url, user)) as client:
        yield Access(client, is_embedded=False)


@contextmanager
def _embedded(chosen: "CommandLineSettings", user: str | None) -> Iterator[Access]:
    from stemma.cli.embedded import started  # noqa: PLC0415 - first, so that it starts while the client is loaded

    with started() as url:
        from stemma.client import Client  # noqa: PLC0415 - see above

        with Client(url, _local_tokens(chosen, url, user), timeout_seconds=120, patience_seconds=0) as client:
            yield Access(client, is_embedded=True)


def config_folder() -> Path:
    """Where a login is kept."""
    return Path(typer.get_app_dir("stemma"))


def _login() -> "Login | None":
    path = config_folder()
    if not (path / "login.json").exists():
        return None
    from stemma.cli.credentials import load_login  # noqa: PLC0415 - commands load what they need

    return load_login(path)


def _tokens(url: str, chosen: "CommandLineSettings", login: "Login | None", user: str | None) -> "PasswordTokens":
    """Tokens for a configured service: those of the login, unless somebody else is named."""
    from stemma.cli.credentials import FileShelf  # noqa: PLC0415 - commands load what they need
    from stemma.client import PasswordTokens  # noqa: PLC0415 - see above

    username = user or chosen.username
    is_logged_in = login is not None and login.url == url.rstrip("/") and username in {None, login.username}
    return PasswordTokens(
        url,
        username or (login.username if login else None),
        chosen.password.get_secret_value() if chosen.password else None,
        token_url=login.token_url if login else None,
        shelf=FileShelf(config_folder() / "token.json") if is_logged_in else None,
    )


def _local_tokens(chosen: "CommandLineSettings", url: str, user: str | None) -> "PasswordTokens":
    """Tokens of the local issuer, whose five people have passwords that everybody knows."""
    from stemma.client import PasswordTokens  # noqa: PLC0415 - commands load what they need

    username = user or chosen.username or _DEFAULT_USER
    known = username.replace("user_", "password_", 1)
    return PasswordTokens(url, username, chosen.password.get_secret_value() if chosen.password else known)
