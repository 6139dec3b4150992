"""The command line: reads the options, opens a socket, says where, and serves."""

import argparse
import asyncio
import json
import os
import shlex
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from support.reana_standin import engines
from support.reana_standin.app import application
from support.reana_standin.clock import Clock
from support.reana_standin.cluster import Cluster
from support.reana_standin.context import Site
from support.reana_standin.faults import Faults
from support.reana_standin.gate import Line
from support.reana_standin.registry import Registry
from support.reana_standin.rows import User
from support.reana_standin.scheduler import Scheduler
from support.reana_standin.waiting import until

_MANY = 100_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal."""
    options = _options(arguments)
    folder = Path(options.folder or tempfile.mkdtemp(prefix="reana-standin-")).resolve()
    if shlex.quote(str(folder)) != str(folder):
        raise SystemExit(f"REANA does not quote paths in its commands, so the folder may not be called {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_serve(options, folder, _bound(options.host, options.port)))


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket. Only where it is said to be TCP does asyncio send small answers at once."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(2048)
    return listening


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="reana_standin", description="A stand-in for a REANA server. Jobs run on this machine, without containers."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any")
    parser.add_argument("--folder", help="for workspaces; a new temporary one by default")
    parser.add_argument("--users", default="alice,bob,carol", help="names; the token of NAME is NAME-token")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="so many jobs run at a time")
    parser.add_argument("--runs", type=int, help="so many runs are active at a time (30; with --no-run no limit)")
    parser.add_argument(
        "--no-run", type=float, metavar="SECONDS", help="execute nothing: each run is running for so long"
    )
    parser.add_argument("--faults", type=json.loads, default={}, help="JSON, see support/reana_standin/faults.py")
    return parser.parse_args(arguments)


async def _serve(options: argparse.Namespace, folder: Path, listening: socket.socket) -> None:
    faults = Faults.model_validate(options.faults)
    clock = Clock(faults)
    users = [User(name, f"{name}-token") for name in options.users.split(",")]
    if options.no_run is None:
        engines.prepare()
    scheduler = Scheduler(
        Cluster(folder, options.jobs, faults, clock),
        faults,
        clock,
        folder,
        places=options.runs or (30 if options.no_run is None else _MANY),
        pretend=options.no_run,
    )
    site = Site(Registry(users, folder, clock), scheduler, faults, clock, folder)
    configuration = uvicorn.Config(
        application(site),
        http=Line,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,  # the gate says what time it is here
        headers=[("server", "stand-in for reana")],
        timeout_graceful_shutdown=1,
        backlog=2048,
    )
    server = uvicorn.Server(configuration)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, lambda: setattr(server, "should_exit", True))
    serving = asyncio.create_task(server._serve([listening]))
    await until(lambda: server.started or serving.done())
    url = f"http://{options.host}:{listening.getsockname()[1]}"
    tokens = {user.name: user.token for user in users}
    print(json.dumps({"stand_in_for": "REANA", "url": url, "tokens": tokens, "folder": str(folder)}), flush=True)
    await serving
