"""``stemma login``, ``logout`` and ``whoami``."""

from typing import Annotated

import typer

from stemma.cli.access import Access, asking, config_folder
from stemma.cli.console import ask_password, console, print_json, say

_FIRST_TRY = "http://localhost:8000"


def login(
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="The service; without it, the one that runs here.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Who you are; asked for without it.")] = None,
    token_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where tokens are given, where that is not the service itself.")
    ] = None,
    client_id: Annotated[str, typer.Option(help="What the command line is called there.")] = "api",
) -> None:
    """Log in at a service; all commands ask it from then on, until `stemma logout`."""
    from stemma.cli.announcement import announced  # noqa: PLC0415 - commands load what they need
    from stemma.cli.credentials import FileShelf, Login, save_login  # noqa: PLC0415 - see above
    from stemma.cli.settings import settings  # noqa: PLC0415 - see above
    from stemma.client import Client, PasswordTokens  # noqa: PLC0415 - see above

    chosen = settings()
    here = announced(chosen.home)
    address = (url or chosen.url or (here.url if here else _FIRST_TRY)).rstrip("/")
    username = user or chosen.username or typer.prompt("user name", err=True)
    given = chosen.password.get_secret_value() if chosen.password else ask_password(f"password of {username}: ")
    shelf = FileShelf(config_folder() / "token.json")
    shelf.keep(None)
    tokens = PasswordTokens(address, username, given, token_url=token_url, client_id=client_id, shelf=shelf)
    with Client(address, tokens) as client:
        told = client.whoami()
    save_login(config_folder(), Login(address, username, token_url, client_id))
    groups = ", ".join(told["groups"]) or "no group"
    say(f"logged in at {address} as {told['username']} ({groups})")


def logout() -> None:
    """Forget service and token; commands work on this machine's data folder again."""
    from stemma.cli.credentials import forget_login  # noqa: PLC0415 - commands load what they need

    say("logged out" if forget_login(config_folder()) else "nobody was logged in")


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
