"""``stemma login``, ``logout`` and ``whoami``."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from stemma.cli.access import Access, asking, config_folder, login_tokens
from stemma.cli.console import ask_password, console, error_console, print_json, say, visible
from stemma.errors import InvalidRequest, StemmaError

if TYPE_CHECKING:
    from stemma.cli.settings import CommandLineSettings
    from stemma.client import DevicePrompt, KeptTokens, LoginWays

_FIRST_TRY = "http://localhost:8000"


def login(
    *,
    address: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="The service; without it, the one that runs here.", show_default=False),
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="The same, as other commands take it.")] = None,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Log in with a password, as this person; STEMMA_PASSWORD has it.")
    ] = None,
    client_id: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Log in as a program; STEMMA_CLIENT_SECRET has its secret."),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser", help="Open the page to log in at.")] = False,
    trust: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where tokens may be got although it is neither https nor the service."),
    ] = None,
) -> None:
    """Log in at a service; all commands ask it from then on, until `stemma logout`.

    Where the service has a login with a browser, a page and a code are shown, and no password is typed here. Else, or
    with --user, it is a name and a password, which is asked for, read from standard input, or from STEMMA_PASSWORD.
    """
    from stemma.cli.announcement import announced  # noqa: PLC0415 - commands load what they need
    from stemma.cli.credentials import Login, save_login  # noqa: PLC0415 - see above
    from stemma.cli.settings import settings  # noqa: PLC0415 - see above
    from stemma.client import Client, login_ways  # noqa: PLC0415 - see above
    from stemma.client.addresses import is_loopback, service_address  # noqa: PLC0415 - see above

    if address and url and address.rstrip("/") != url.rstrip("/"):
        raise InvalidRequest("name one service, not two")
    chosen = settings()
    here = announced(chosen.home)
    service = service_address(address or url or chosen.url or (here.url if here else _FIRST_TRY))
    if service.startswith("http:") and not is_loopback(service):
        say(f"the way to {service} is not encrypted: others on it can read along", style="yellow")
    trusted = [trust] if trust else chosen.trusted_origins
    ways = login_ways(service, trusted_origins=trusted)
    is_program = bool((client_id or (user is None and chosen.client_id)) and chosen.client_secret)
    with ExitStack() as waiting:
        prompt = _Prompt(waiting, opens_browser=browser)
        tokens = _means(chosen, ways, user=user, client_id=client_id, trusted=trusted, prompt=prompt)
        with Client(service, tokens) as client:
            told = client.whoami()
    kept = Login(
        service,
        told["username"],
        ways.token_url,
        client_id or (chosen.client_id if is_program else None) or ways.client_id,
        None if ways.is_own else ways.issuer,
        "program" if is_program else "person",
    )
    save_login(config_folder(), kept, tokens.current)
    groups = ", ".join(told["groups"]) or "no group"
    say(visible(f"logged in at {service} as {told['username']} ({groups})"))


def _means(
    chosen: "CommandLineSettings",
    ways: "LoginWays",
    *,
    user: str | None,
    client_id: str | None,
    trusted: list[str],
    prompt: "_Prompt",
) -> "KeptTokens":
    """How to log in: as a program where it has a secret, with a browser where that goes, else with a password."""
    from stemma.client import ClientCredentials, DeviceTokens, PasswordTokens  # noqa: PLC0415 - commands load what they need

    program = client_id or (chosen.client_id if user is None else None)
    if program and chosen.client_secret:
        return ClientCredentials(ways.url, program, chosen.client_secret.get_secret_value(), ways=ways)
    username = user or chosen.username
    if username is None and ways.device_authorization_url:
        return DeviceTokens(ways.url, prompt.show, ways=ways, client_id=client_id, trusted_origins=trusted)
    username = username or typer.prompt("user name", err=True)
    password = chosen.password.get_secret_value() if chosen.password else ask_password(f"password of {username}: ")
    return PasswordTokens(ways.url, username, password, ways=ways, client_id=client_id)


class _Prompt:
    """Shows a person where to log in."""

    def __init__(self, waiting: ExitStack, *, opens_browser: bool) -> None:
        self._waiting, self._opens_browser = waiting, opens_browser

    def show(self, prompt: "DevicePrompt") -> None:
        """Say it, open it where that was wished, and wait."""
        page = prompt.whole_url or prompt.url
        say(visible(f"to log in, open  {page}"))
        say(visible(f"and check that it shows the code  {prompt.code}"), style="bold")
        if self._opens_browser:
            import webbrowser  # noqa: PLC0415 - rarely needed

            if not webbrowser.open(page):
                say("no browser could be opened here")
        if error_console().is_terminal:
            self._waiting.enter_context(error_console().status("waiting for you to log in"))


def logout() -> None:
    """Forget service and token, and end the login at its issuer; commands work on this machine's data folder again."""
    from stemma.cli.credentials import forget_login, load_login  # noqa: PLC0415 - commands load what they need

    folder = config_folder()
    known = load_login(folder)
    if known is None:
        say("logged out" if forget_login(folder) else "nobody was logged in")
        return
    try:
        is_over = known.issuer is not None and login_tokens(known, folder).revoke(known.issuer)
        say("logged out, here and at the issuer of the login" if is_over else "logged out")
    except StemmaError as error:
        say(visible(f"logged out here; the issuer could not be told, so the login ends there by itself: {error}"))
    finally:
        forget_login(folder)


@asking
def whoami(way: Access, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say who the service takes you for, and what you may do there."""
    told = way.client.whoami()
    where = "this machine's data folder" if way.is_embedded else way.client.url
    if as_json:
        print_json({**told, "service": None if way.is_embedded else way.client.url})
        return
    console().print(f"{told['username']} at {where}", markup=False)
    console().print(f"groups: {', '.join(told['groups']) or 'none'}", markup=False)
    console().print(f"roles:  {', '.join(told['roles']) or 'none'}", markup=False)
