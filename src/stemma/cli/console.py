"""What the command line prints: results on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from stemma.errors import InvalidRequest, StemmaError

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_FINDINGS: Final = 20
_MINUTE: Final = 60
_HOUR: Final = 3600
_KILO: Final = 1000
_UNBOUNDED: Final = 1000
STATE_COLOURS: Final = {
    "finished": "green",
    "failed": "red",
    "stopped": "yellow",
    "running": "cyan",
    "skipped": "dim",
    "deleted": "dim",
}


@cache
def console() -> "Console":
    """Standard output; colours only on a terminal, and never where NO_COLOR is set."""
    from rich.console import Console  # noqa: PLC0415 - loaded when something is printed

    # Where nobody looks, lines are as long as they are.
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _UNBOUNDED)


@cache
def error_console() -> "Console":
    """Standard error, in the same way."""
    from rich.console import Console  # noqa: PLC0415 - loaded when something is printed

    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str = "", style: str | None = None) -> None:
    """A line for people, on standard error. ``text`` is printed as it is."""
    error_console().print(text, style=style, markup=False)


def print_json(value: Any) -> None:
    """``value`` on standard output, and nothing else there."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def report(error: StemmaError) -> None:
    """What was refused, thing by thing."""
    findings = error.findings
    summary = str(error)
    if findings:
        summary = summary.removesuffix(f" (and {len(findings) - 1} more)").removesuffix(f": {findings[0]}")
    err = error_console()
    err.print("error:", style="bold red", end=" ", markup=False)
    err.print(visible(summary), markup=False)
    for finding in findings[:_SHOWN_FINDINGS]:
        err.print(f"  {visible(str(finding))}", markup=False)
    if len(findings) > _SHOWN_FINDINGS:
        err.print(f"  and {len(findings) - _SHOWN_FINDINGS} more", markup=False)


def visible(text: str) -> str:
    """``text`` without what would steer the terminal; lines stay lines."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else f"\\x{ord(sign):02x}" for sign in text)


def print_table(titles: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """A table for people on standard output; cells are text, or text with a style."""
    from rich.table import Table  # noqa: PLC0415 - loaded when something is printed
    from rich.text import Text  # noqa: PLC0415 - see above

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left", overflow="fold")
    for row in rows:
        table.add_row(
            *(cell if isinstance(cell, Text) else Text(visible("" if cell is None else str(cell))) for cell in row)
        )
    console().print(table, soft_wrap=False)


def state_text(state: str) -> Any:
    """A state in its colour."""
    from rich.text import Text  # noqa: PLC0415 - loaded when something is printed

    return Text(state, style=STATE_COLOURS.get(state, ""))


def ask_password(prompt: str) -> str:
    """A password: unseen at a terminal, else a line of standard input.

    Raises:
        InvalidRequest: there is none.
    """
    if sys.stdin.isatty():
        return _typed(prompt)
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise InvalidRequest("give the password on standard input, or in STEMMA_PASSWORD")
    return line


def ask_secret(prompt: str, option: str) -> str:
    """A secret, unseen at a terminal.

    Raises:
        InvalidRequest: nobody can type; ``option`` is another way to give it.
    """
    if not sys.stdin.isatty():
        raise InvalidRequest(f"nobody is there to be asked; give it on standard input with {option}")
    return _typed(prompt)


def _typed(prompt: str) -> str:
    import getpass  # noqa: PLC0415 - rarely needed

    return getpass.getpass(prompt, stream=sys.stderr)


def short_time(moment: datetime | None) -> str:
    """A time as people here read it: local, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def lasting(duration: timedelta | float | None) -> str:
    """A duration as people read it: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if duration is None:
        return ""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if seconds < 10:  # noqa: PLR2004 - below, a tenth of a second tells something
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def sized(size_bytes: float) -> str:
    """A size as people read it: ``83 B``, ``2.8 kB``, ``1.4 GB``."""
    if size_bytes < _KILO:
        return f"{size_bytes:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size_bytes /= _KILO
        if size_bytes < _KILO:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes / _KILO:.1f} TB"
