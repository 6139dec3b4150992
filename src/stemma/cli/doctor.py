"""``stemma doctor``: what this machine has, and what works without."""

from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what this machine has of what Stemma can use. The exit code is 1 when something is missing that it needs."""
    from stemma.cli.console import console, print_json, print_table  # noqa: PLC0415 - commands load what they need
    from stemma.cli.examination import examine  # noqa: PLC0415 - see above
    from stemma.cli.settings import settings  # noqa: PLC0415 - see above

    found = examine(settings())
    is_fit = all(part.is_there for part in found if part.is_needed)
    if as_json:
        print_json({"fit": is_fit, "parts": [part.as_json() for part in found]})
    else:
        from rich.text import Text  # noqa: PLC0415 - loaded when something is printed

        marks = {True: Text("✓", "green"), False: Text("○", "yellow")}
        rows = [
            (
                marks[part.is_there] if part.is_there or not part.is_needed else Text("✗", "bold red"),
                part.name,
                part.found,
                part.without if not part.is_there else "",
            )
            for part in found
        ]
        print_table(("", "part", "found", "without it"), rows)
        if not is_fit:
            console().print("\nsomething is missing that is needed", style="bold red")
    raise typer.Exit(0 if is_fit else 1)
