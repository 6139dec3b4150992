"""``stemma realm``: the realm of Keycloak."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stemma.cli.console import print_json, print_table, say

if TYPE_CHECKING:
    from stemma.auth.realm_check import Flaw, RealmCheck

app = typer.Typer(help="Look after the realm of Keycloak.", no_args_is_help=True)
_UNFIT = 78


@app.command("check")
def check(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say whether the realm is what the service works with. Nothing is changed; the exit code is 78 when it is not."""
    held = _open()
    flaws = held.flaws()
    if as_json:
        print_json({"fits": not flaws, "findings": [flaw.as_json() for flaw in flaws]})
    elif flaws:
        _show(flaws)
    else:
        say("the realm is as it must be")
    raise typer.Exit(_UNFIT if flaws else 0)


@app.command("apply")
def apply(
    disable_example_users: Annotated[
        bool,
        typer.Option(
            "--disable-example-users", help="Let `user_1` to `user_5` log in no more where their passwords are known."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put the realm right; make it when it is missing. The exit code is 78 when something is left for a person.

    People, groups, and what belongs to other services stay as they are.
    """
    done = _open(disables_examples=disable_example_users).apply()
    if as_json:
        changed = [flaw.as_json() for flaw in done.changed]
        print_json({"fits": not done.left, "changed": changed, "findings": [flaw.as_json() for flaw in done.left]})
    else:
        for flaw in done.changed:
            say(f"{flaw.subject}, {flaw.aspect}: {flaw.wanted} (before: {flaw.found})")
        if done.left:
            _show(done.left)
        else:
            say("the realm is as it must be" if done.changed else "the realm is as it must be already")
    raise typer.Exit(_UNFIT if done.left else 0)


def _open(*, disables_examples: bool = False) -> "RealmCheck":
    from stemma.auth.realm import RealmNeeds  # noqa: PLC0415 - commands load what they need
    from stemma.auth.realm_check import RealmCheck  # noqa: PLC0415 - see above
    from stemma.auth.realm_server import RealmServer  # noqa: PLC0415 - see above
    from stemma.cli.settings import settings  # noqa: PLC0415 - see above

    chosen = settings()
    return RealmCheck(RealmServer(chosen), RealmNeeds.of(chosen), disables_examples=disables_examples)


def _show(flaws: Sequence["Flaw"]) -> None:
    rows = [(flaw.subject, flaw.aspect, flaw.found, flaw.wanted, flaw.remedy) for flaw in flaws]
    print_table(("where", "what", "is", "should be", "what to do"), rows)
