"""The command ``stemma``: finds the subject, runs it, and turns refusals into messages and exit codes."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from stemma import __version__

INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["--version"], ["run", "--version"]):  # needs nothing loaded
        print(f"stemma {__version__}")
        return 0
    from stemma.errors import StemmaError  # noqa: PLC0415 - see above

    try:
        return _run(given)
    except StemmaError as error:
        from stemma.cli.console import report  # noqa: PLC0415 - see above

        report(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(given: list[str]) -> int:
    from stemma.cli.commands import command  # noqa: PLC0415 - loads Typer

    try:
        command().main(args=given, prog_name="stemma")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(bool(ending.code))
    return 0
