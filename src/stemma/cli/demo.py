"""``stemma demo``: the weather example, run and compared with what it must give."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    outdir: Annotated[Path, typer.Option(help="Where to put the outputs and the picture.")] = Path("demo"),
    example: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Another example, with main.cwl, inputs.yml, expected.json.")
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="The service to ask.", show_default=False)] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Who asks.", show_default=False)] = None,
) -> None:
    """Run the weather example and check every result. The exit code is 0 when all of them are as expected."""
    from stemma.cli.demonstration import demonstrate  # noqa: PLC0415 - commands load what they need

    raise typer.Exit(demonstrate(example, outdir, url, user))
