"""What the steps of a run wrote, for people."""

import json
from typing import TYPE_CHECKING, Any

from stemma.cli.console import console, print_json, visible

if TYPE_CHECKING:
    from stemma.client import Client


def print_logs(client: "Client", run_id: int, step: str | None, *, follow: bool, as_json: bool) -> None:
    """Print the logs of a run, or of one step; with ``follow``, as they grow, until the run has ended."""
    if follow:
        for line in client.runs.follow_logs(run_id, step=step):
            print(json.dumps(line, ensure_ascii=False) if as_json else visible(line), flush=True)
        return
    told = client.runs.logs(run_id, step=step)
    if as_json:
        print_json(told)
        return
    for log in told["logs"]:
        _print_log(log)


def _print_log(log: dict[str, Any]) -> None:
    out = console()
    out.print(f"── {visible(log['key'] or 'the run itself')} ({log['status']})", style="bold", markup=False)
    if log["truncated"]:
        out.print("   (the end of it; --follow prints everything)", style="dim")
    for stream in ("stdout", "stderr"):
        for line in log[stream].splitlines():
            out.print(visible(line), style="yellow" if stream == "stderr" else None, markup=False)
