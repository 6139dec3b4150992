"""``stemma db``: the schema of the database."""

from typing import TYPE_CHECKING, Annotated

import typer

from stemma.cli.console import print_json, say

if TYPE_CHECKING:
    from stemma.database.connection import Database

app = typer.Typer(help="Look after the database.", no_args_is_help=True)


@app.command("upgrade")
def upgrade() -> None:
    """Bring the schema to what this version works with. Make a backup first."""
    from stemma.database import schema  # noqa: PLC0415 - commands load what they need

    database = _open()
    try:
        before = schema.found_revision(database)
        schema.upgrade(database)
        after = schema.found_revision(database)
    finally:
        database.close()
    say(
        f"the schema is {after} already" if before == after else f"the schema is {after} now; it was {before or 'none'}"
    )


@app.command("check")
def check(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say whether the schema is what this version works with. The exit code is 78 when it is not."""
    from stemma.database import schema  # noqa: PLC0415 - commands load what they need

    database = _open()
    try:
        found = schema.found_revision(database)
        if as_json:
            print_json({"found": found, "wanted": schema.HEAD, "fits": found == schema.HEAD})
        schema.check(database)
        if not as_json:
            say(f"the schema of {database.shown_url} is {found}, as it must be")
    finally:
        database.close()


def _open() -> "Database":
    from stemma.cli.settings import settings  # noqa: PLC0415 - commands load what they need
    from stemma.database.connection import Database  # noqa: PLC0415 - see above

    chosen = settings()
    chosen.home.mkdir(parents=True, exist_ok=True)
    return Database(chosen.effective_database_url)
