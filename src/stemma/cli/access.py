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

from stemma.errors import NotAuthenticated

if TYPE_CHECKING:
    from stemma.cli.credentials import Login
    from stemma.cli.settings import CommandLineSettings
    from stemma.client import Client, KeptTokens

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
_START_SECONDS = 120.0
"""How long a service that is just being started may take to answer."""


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

        with Client(
            url, _local_tokens(chosen, url, user), timeout_seconds=_START_SECONDS, patience_seconds=0
        ) as client:
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


def login_tokens(login: "Login", folder: Path) -> "KeptTokens":
    """The tokens of a login, renewed where it was made; a new one is made by those who can without a person."""
    from stemma.cli.credentials import shelf_of  # noqa: PLC0415 - commands load what they need
    from stemma.cli.settings import settings  # noqa: PLC0415 - see above
    from stemma.client import ClientCredentials, PasswordTokens  # noqa: PLC0415 - see above

    chosen, shelf = settings(), shelf_of(folder, login)
    if login.kind == "person":
        password = chosen.password.get_secret_value() if chosen.password else None
        return PasswordTokens(
            login.url, login.username, password, token_url=login.token_url, client_id=login.client_id, shelf=shelf
        )

    def secret() -> str:
        if chosen.client_secret is None:
            raise NotAuthenticated(
                f"the login of {login.client_id} at {login.url} has ended; set STEMMA_CLIENT_SECRET, or log in again:"
                f" stemma login {login.url}"
            )
        return chosen.client_secret.get_secret_value()

    return ClientCredentials(login.url, login.client_id, secret, token_url=login.token_url, shelf=shelf)


def _tokens(url: str, chosen: "CommandLineSettings", login: "Login | None", user: str | None) -> "KeptTokens":
    """Tokens for a configured service: a program's, those of the login unless somebody else is named, a person's."""
    from stemma.client import ClientCredentials, PasswordTokens  # noqa: PLC0415 - commands load what they need

    trusted = chosen.trusted_origins
    if user is None and chosen.client_id and chosen.client_secret:
        return ClientCredentials(
            url, chosen.client_id, chosen.client_secret.get_secret_value(), trusted_origins=trusted
        )
    username = user or chosen.username
    if login is not None and login.url == url.rstrip("/") and username in {None, login.username}:
        return login_tokens(login, config_folder())
    password = chosen.password.get_secret_value() if chosen.password else None
    return PasswordTokens(url, username, password, trusted_origins=trusted)


def _local_tokens(chosen: "CommandLineSettings", url: str, user: str | None) -> "KeptTokens":
    """Tokens of the service here: the local issuer's five people have passwords that everybody knows.

    Raises:
        NotLoggedIn: another issuer gives the tokens, and we know nobody's password there.
    """
    from stemma.client import NotLoggedIn, PasswordTokens, login_ways  # noqa: PLC0415 - commands load what they need

    ways = login_ways(url, trusted_origins=chosen.trusted_origins, timeout_seconds=_START_SECONDS)
    if not ways.is_own and (chosen.client_secret or chosen.password):
        return _tokens(url, chosen, None, user)
    if not ways.is_own:
        raise NotLoggedIn(url)
    username = user or chosen.username or _DEFAULT_USER
    known = username.replace("user_", "password_", 1)
    given = chosen.password.get_secret_value() if chosen.password else known
    return PasswordTokens(url, username, given, ways=ways)
