"""``stemma serve`` and ``stemma worker``."""

from typing import Annotated

import typer


def serve(
    port: Annotated[int | None, typer.Option(help="Where to listen; 0 takes a free port.", min=0, max=65535)] = None,
    with_worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Start a worker as well, and anew when it dies.")
    ] = True,
) -> None:
    """Serve the API and run workflows, until Ctrl-C or SIGTERM."""
    from stemma.cli.serving import run_service  # noqa: PLC0415 - the command loads what it needs
    from stemma.cli.settings import settings  # noqa: PLC0415 - see above

    chosen = settings()
    if port is not None:
        chosen = chosen.model_copy(update={"port": port})
    raise typer.Exit(run_service(chosen, with_worker=with_worker))


def worker(
    lifeline: Annotated[int | None, typer.Option(hidden=True, help="A pipe; end when it is closed.")] = None,
) -> None:
    """Run workflows, beside those that other workers run, until Ctrl-C or SIGTERM."""
    import logging  # noqa: PLC0415 - the command loads what it needs

    from stemma.cli.settings import settings  # noqa: PLC0415 - see above
    from stemma.worker.loop import run_worker  # noqa: PLC0415 - see above

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every look at an engine elsewhere
    if lifeline is not None:
        from stemma.cli.lifeline import end_when_closed  # noqa: PLC0415 - see above

        end_when_closed(lifeline)
    raise typer.Exit(run_worker(settings()))
