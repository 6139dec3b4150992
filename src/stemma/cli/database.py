"""``stemma db``: the schema of the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from stemma.cli.console import print_json, say

if TYPE_CHECKING:
    from stemma.database.connection import Database

app = typer.Typer(help="Look after the database.", no_args_is_help=True)


@app.command("upgrade")
def upgrade() -> None:
    """Bring the schema to what this version works with. Make a backup first.

    Refuses where others are to reach the service and a secret is still the example's.
    """
    from stemma.auth.exposure import check_secrets  # noqa: PLC0415 - commands load what they need
    from stemma.cli.settings import settings  # noqa: PLC0415 - see above
    from stemma.database import guard, schema  # noqa: PLC0415 - see above

    check_secrets(settings())  # the first step of the full stack, and the only one that sees all secrets
    with opened_database() as database:
        before = schema.found_revision(database)
        schema.upgrade(database)
        after = schema.found_revision(database)
        refusal = guard.restore(database)
    say(
        f"the schema is {after} already" if before == after else f"the schema is {after} now; it was {before or 'none'}"
    )
    if refusal is not None:
        say(guard.advice(refusal), style="yellow")


@app.command("check")
def check(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say whether the schema is what this version works with. The exit code is 78 when it is not.

    Warns where the triggers are missing that keep the audit from being changed; the service works without them.
    """
    from stemma.database import guard, schema  # noqa: PLC0415 - commands load what they need

    with opened_database() as database:
        found = schema.found_revision(database)
        fits = found == schema.HEAD
        is_guarded = fits and not guard.missing(database)
        if as_json:
            print_json({"found": found, "wanted": schema.HEAD, "fits": fits, "audit_guarded": is_guarded})
        schema.check(database)
        if not as_json:
            say(f"the schema of {database.shown_url} is {found}, as it must be")
            if not is_guarded:
                say(guard.advice(), style="yellow")


@contextmanager
def opened_database() -> "Iterator[Database]":
    """The database of this installation, whatever its schema."""
    from stemma.cli.settings import settings  # noqa: PLC0415 - commands load what they need
    from stemma.database.connection import Database  # noqa: PLC0415 - see above

    chosen = settings()
    chosen.home.mkdir(parents=True, exist_ok=True)
    database = Database(chosen.effective_database_url)
    try:
        yield database
    finally:
        database.close()
