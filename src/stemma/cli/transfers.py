"""A bar for bytes that move, on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stemma.cli.console import error_console, visible

if TYPE_CHECKING:
    from stemma.client import Progress


@contextmanager
def moving(title: str) -> "Iterator[Progress | None]":
    """What to tell how far it is; None where nobody looks."""
    if not error_console().is_terminal:
        yield None
        return
    from rich.markup import escape  # noqa: PLC0415 - a terminal pays for it
    from rich.progress import (  # noqa: PLC0415 - see above
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(28), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=error_console(), transient=True) as bar:
        task = bar.add_task(escape(visible(title)), total=None)
        yield lambda through, total: bar.update(task, completed=through, total=total)


@contextmanager
def counting(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """What to tell of each part that is through, of so many bytes in all."""
    through = 0
    with moving(title) as progress:

        def add(size_bytes: int) -> None:
            nonlocal through
            through += size_bytes
            if progress is not None:
                progress(through, total)

        yield add
