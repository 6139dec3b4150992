"""Shows a run while it goes: a picture that changes on a terminal, one line per change everywhere else."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from stemma.cli.awaiting import Follower, bars
from stemma.cli.board import Board, Line
from stemma.cli.console import STATE_COLOURS, error_console, lasting, visible
from stemma.client.models import Event, Run
from stemma.errors import NotFound
from stemma.states import RunState, StepState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from stemma.client import Client

_MARKS: Final = {
    StepState.RUNNING: "●",
    StepState.FINISHED: "✓",
    StepState.FAILED: "✗",
    StepState.STOPPED: "■",
    StepState.SKIPPED: "○",
}
_BAR_WIDTH: Final = 28
_LINES_BESIDE_STEPS: Final = 4


def watch(client: "Client", run: Run, *, quiet: bool = False, steps: Iterable[Any] | None = None) -> Run:
    """Show ``run`` until it has ended; as it is then.

    Raises:
        StemmaError: as the service refused.
    """
    board = Board.of_steps(steps or ())
    if quiet:
        for event in client.runs.watch(run.id):
            board.take(event)
    elif error_console().is_terminal:
        _live(client, run, board)
    else:
        _plain(client, run, board)
    return client.runs.get(run.id)


def _plain(client: "Client", run: Run, board: Board) -> None:
    err = error_console()
    with Follower(client, run.id, on_news=lambda line: err.print(line, markup=False)).following():
        for event in client.runs.watch(run.id):
            board.take(event)
            err.print(line_of(run, board, event), markup=False)


def line_of(run: Run, board: Board, event: Event) -> str:
    """One change as one line."""
    at = event.at.astimezone().strftime("%H:%M:%S") if event.at else ""
    who = f"execution {run.id}" if event.step_key is None else event.step_key
    duration = None
    if event.step_key is None and RunState(event.state).is_terminal and event.at and board.started_at:
        duration = (event.at - board.started_at).total_seconds()
    elif event.step_key is not None and event.state in {StepState.FINISHED, StepState.FAILED}:
        duration = board.duration_of(event.step_key, event)
    took = f" ({lasting(duration)})" if duration is not None else ""
    # A run fails for what its steps told just before, and the report at the end says it whole.
    is_told = event.step_key is None and event.state == RunState.FAILED
    why = f": {event.message}" if event.message and not is_told else ""
    return visible(f"{at} {who} {event.state}{took}{why}").replace("\n", " ")


def _live(client: "Client", run: Run, board: Board) -> None:
    from rich.live import Live  # noqa: PLC0415 - a terminal alone pays for it

    follower = Follower(client, run.id)

    class Picture:
        """Drawn anew at every refresh, so that times go on between events."""

        def __rich_console__(self, console: "Console", options: Any) -> Iterable["RenderableType"]:
            yield picture(run, board, console.size.height, bars(follower.latest, follower.speeds))

    # Events come rarely, and each is drawn when it comes; the refreshes in between let the clocks go on.
    live = Live(Picture(), console=error_console(), refresh_per_second=4)
    with live if error_console().is_terminal else nullcontext(), follower.following():
        for event in client.runs.watch(run.id):
            board.take(event)
            live.refresh()


def picture(run: Run, board: Board, height: int, awaited: Sequence["RenderableType"] = ()) -> "RenderableType":
    """The board as a table over a bar; steps that have ended are left out where there is no room. Below it is what
    is waited for."""
    from rich.console import Group  # noqa: PLC0415 - a terminal alone pays for it
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    lines, hidden = _fitting(board.shown, height - _LINES_BESIDE_STEPS - len(awaited))
    for line in lines:
        table.add_row(*_row(line))
    ended, known = board.progress
    filled = round(_BAR_WIDTH * ended / known) if known else 0
    colour = STATE_COLOURS.get(board.state, "cyan")
    bar = Text.assemble(("━" * filled, colour), ("━" * (_BAR_WIDTH - filled), "dim"))
    took = _elapsed(board.started_at, None if not board.state.is_terminal else _last(board))
    foot = Text.assemble(bar, f"  {ended}/{known} steps  ", (board.state.value, colour), f"  {took}".rstrip())
    head = Text.assemble((f"execution {run.id}", "bold"), f"  {visible(run.name)}  {run.engine or ''}".rstrip())
    more = [Text(f"  and {hidden} more that have ended or not started", style="dim")] if hidden else []
    return Group(head, table, *more, foot, *awaited)


def _row(line: Line) -> tuple["RenderableType", ...]:
    from rich.text import Text  # noqa: PLC0415 - a terminal alone pays for it

    state = line.state
    if state is None:
        return Text("·", style="dim"), Text(visible(line.path), style="dim"), Text(), Text(), Text()
    colour = STATE_COLOURS.get(state, "")
    times = f"x{len(line.states)}" if len(line.states) > 1 else ""
    words = ", ".join(f"{count} {one.value}" for one, count in sorted(line.counts.items())) if times else state.value
    took = _elapsed(line.started_at, line.ended_at if line.ended == len(line.states) else None)
    return Text(_MARKS[state], colour), Text(visible(line.path)), Text(times), Text(words, colour), Text(took, "dim")


def _fitting(lines: list[Line], room: int) -> tuple[list[Line], int]:
    """The lines that fit, those that go on or went wrong first of all; and how many do not."""
    if len(lines) <= room:
        return lines, 0
    urgent = sorted(lines, key=lambda line: line.state not in {StepState.RUNNING, StepState.FAILED})
    kept = {line.path for line in urgent[: max(1, room - 1)]}
    return [line for line in lines if line.path in kept], len(lines) - len(kept)


def _elapsed(start: datetime | None, end: datetime | None) -> str:
    return lasting((end or datetime.now(UTC)) - start) if start else ""


def _last(board: Board) -> datetime | None:
    return max((line.ended_at for line in board.lines.values() if line.ended_at), default=board.started_at)


def report_failure(run: Run) -> None:
    """Say which step failed, why, and the last lines of what it wrote to its standard error."""
    err = error_console()
    last = max((step.attempt for step in run.steps), default=0)
    failed = [step for step in run.steps if step.state == StepState.FAILED and step.attempt == last]
    inner = [step for step in failed if step.raw.get("kind") != "workflow"]
    err.print(f"execution {run.id} {run.state.value}", style="bold red", end="", markup=False)
    # Where a step tells why, the run's own reason is the same words once more.
    err.print(f": {visible(run.reason)}" if run.reason and not failed else "", markup=False)
    for step in inner or failed:
        why = step.error or f"exit code {step.exit_code}"
        said = f"step {step.key!r} failed: "
        err.print(visible(said + why.removeprefix(said)), markup=False)
        for line in (step.stderr_tail or "").rstrip().splitlines()[-10:]:
            err.print(f"  | {visible(line)}", style="dim", markup=False)


def steps_of(client: "Client", run: Run) -> Iterable[Any]:
    """The steps of the document that ``run`` runs; none where its registry entry is gone."""
    try:
        told = client.workflows.structure(run.workflow_id or 0, revision=run.raw.get("revision"))
    except NotFound:
        return ()
    steps: list[Any] = told["structure"]["steps"]
    return steps
