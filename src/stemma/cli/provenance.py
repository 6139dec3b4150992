"""``stemma prov``: where results came from."""

from pathlib import Path
from typing import Annotated

import typer

from stemma.cli.access import Access, asking
from stemma.cli.console import print_json, say
from stemma.errors import InvalidRequest

app = typer.Typer(help="Seal, draw and read the provenance of runs.", no_args_is_help=True)

RunArgument = Annotated[int, typer.Argument(metavar="RUN", help="The number of the execution.", min=1)]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - is standard output.")
]
_PICTURES = ("png", "svg")
_DOCUMENTS = ("provn", "json")


@app.command("capture")
@asking
def capture(
    way: Access, run_id: RunArgument, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Seal the record of a run that has ended, so that it never changes."""
    sealed = way.client.provenance.capture(run_id)
    if as_json:
        print_json(sealed)
        return
    say(f"the provenance of execution {run_id} is sealed: sha256 {sealed['sha256']}")


@app.command("draw")
@asking
def draw(
    way: Access,
    run_id: RunArgument,
    output: OutputOption = None,
    picture_format: Annotated[
        str | None, typer.Option("--format", help="png or svg; without it, as the file's name ends.")
    ] = None,
) -> None:
    """Draw the provenance of a run."""
    from stemma.cli.files import written  # noqa: PLC0415 - commands load what they need

    ending = output.suffix.lstrip(".").lower() if output else ""
    chosen = (picture_format or (ending if ending in _PICTURES else "png")).lower()
    if chosen not in _PICTURES:
        raise InvalidRequest(f"pictures are png or svg, not {chosen}")
    target = output or Path(f"execution-{run_id}-provenance.{chosen}")
    written(target, lambda file: way.client.provenance.draw(run_id, file, picture_format=chosen))
    say(f"{target} written")


@app.command("show")
@asking
def show(
    way: Access,
    run_id: RunArgument,
    document_format: Annotated[str, typer.Option("--format", help="provn or json.")] = "provn",
    output: OutputOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Print the provenance of a run, as PROV-N (to read) or PROV-JSON (for programs)."""
    from stemma.cli.files import written  # noqa: PLC0415 - commands load what they need

    chosen = "json" if as_json else document_format.lower()
    if chosen not in _DOCUMENTS:
        raise InvalidRequest(f"records are shown as provn or json, not {chosen}")
    records = way.client.provenance
    target = output or Path("-")
    if chosen == "json":
        written(target, lambda file: records.prov_json(run_id, file))
    else:
        written(target, lambda file: records.export(run_id, file))
