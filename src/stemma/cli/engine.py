"""``stemma engine``: what runs the workflows, and what it is shown for somebody's runs."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from stemma.cli.access import Access, asking
from stemma.cli.console import ask_secret, print_json, print_table, say, visible
from stemma.errors import InvalidRequest

if TYPE_CHECKING:
    from stemma.client import Engine

app = typer.Typer(help="Look at engines, and log in at them.", no_args_is_help=True)

EngineArgument = Annotated[str, typer.Argument(metavar="ENGINE", help="Its name; stemma engine list shows them.")]
GroupOption = Annotated[
    str | None, typer.Option(metavar="GROUP", help="For all runs of this group; its admins may do that.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
@asking
def list_(way: Access, as_json: JsonOption = False) -> None:
    """List the engines of the service, and whose credentials there are for them."""
    found = way.client.engines.list()
    if as_json:
        print_json([one.raw for one in found])
        return
    rows = [
        (
            one.name,
            one.version or "",
            "yes" if one.is_default else "",
            "elsewhere" if one.is_remote else "here",
            _told(one),
        )
        for one in found
    ]
    print_table(("engine", "version", "default", "runs are", "credentials"), rows)
    for one in found:
        if one.problem:
            say(visible(f"{one.name} does not work: {one.problem}"), style="yellow")


@app.command("login")
@asking
def login(
    way: Access,
    *,
    engine: EngineArgument,
    group: GroupOption = None,
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Read the token from standard input; else it is asked for.")
    ] = False,
) -> None:
    """Give the service what it is to show an engine for your runs, in place of what it had; it keeps that sealed.

    The token is one of the engine's server, as its own pages or commands show it. It is not shown while it is typed.
    """
    from stemma.client.addresses import is_loopback  # noqa: PLC0415 - commands load what they need

    service = way.client.url
    if service.startswith("http:") and not is_loopback(service):
        say(f"the way to {service} is not encrypted: others on it can read along", style="yellow")
    token = sys.stdin.read() if token_stdin else ask_secret(f"token for {engine}: ", "--token-stdin")
    if not token.strip():
        raise InvalidRequest("that is no token: it is empty")
    way.client.engines.login(engine, token.strip(), group=group)
    say(visible(f"runs of {_whose(group)} on {engine} are done with that token from now on"))


@app.command("logout")
@asking
def logout(way: Access, engine: EngineArgument, group: GroupOption = None) -> None:
    """Let the service forget what it shows an engine for your runs. At the engine itself it stays what it was."""
    way.client.engines.logout(engine, group=group)
    say(visible(f"the token for runs of {_whose(group)} on {engine} is gone"))


def _whose(group: str | None) -> str:
    return "yours" if group is None else f"group {group}"


def _told(engine: "Engine") -> str:
    """Whose credentials there are, the one that is taken first."""
    if not engine.takes_credentials:
        return "needs none" if not engine.problem else ""
    own = ["yours" if group is None else group for group in engine.credentials]
    return ", ".join([*own, *(["the service's"] if engine.has_service_credential else [])]) or "none"
