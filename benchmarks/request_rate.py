"""How many authenticated requests a second does one API process answer, against a bare FastAPI route?

Over 10,000 registered workflows and 50,000 executions, with ids and pages drawn at random. The bare server gives the
same bytes from one ``def`` route, without login and database. Both are processes of their own with the same uvicorn
configuration; a round asks one after the other, in alternating order, over kept connections, from ``wrk``
(``apt-get install wrk``), or from ``generator.py`` where there is none. Requests per second of CPU that the server's
process used are told as well: others on the machine hardly move that figure. With ``--paced`` both are asked at one
rate, half of what ours can, for their p99 without a queue in front of them.

    python benchmarks/request_rate.py                        # SQLite, and MariaDB where STEMMA_TEST_MYSQL_URL names it
    python benchmarks/request_rate.py --kind sqlite --home /tmp/bench --only execution --rounds 3 --seconds 2
    python benchmarks/request_rate.py --kind mysql --database mysql+mysqldb://user:password@host/empty_database

A folder or database that is named is kept and filled once, so that the next run begins at once.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

import databases
from bare import bare
from common import started
from population import ids_of, populate
from stemma.api.dependencies import cursor_of
from stemma.database.connection import Database

HERE = Path(__file__).parent
PATHS = 20_000
P99_GOAL = 3.0
KINDS = ("sqlite", "mysql")


@dataclass(frozen=True, slots=True)
class Question:
    """A kind of request, and how much of the bare server's rate it should reach on each database."""

    name: str
    application: str
    goals: dict[str, float]

    def paths(self, workflows: Sequence[int], runs: Sequence[int]) -> list[str]:
        """Requests drawn at random."""
        kind = "registry" if self.name.startswith("workflow") else "execution"
        ids = random.Random(5).choices(workflows if kind == "registry" else runs, k=PATHS)
        earliest = sorted(workflows if kind == "registry" else runs)[:100][-1]  # so that every page is full
        if self.application == "single":
            return [f"/workflow_{kind}/{one}" for one in ids]
        return [f"/workflow_{kind}?limit=50&cursor={cursor_of(max(one, earliest))}" for one in ids]


QUESTIONS = (
    Question("workflow", "single", {"sqlite": 0.25, "mysql": 0.2}),
    Question("execution", "single", {"sqlite": 0.25, "mysql": 0.2}),
    Question("workflows", "listing", {"sqlite": 0.1, "mysql": 0.1}),
    Question("executions", "listing", {"sqlite": 0.1, "mysql": 0.1}),
)


@dataclass(frozen=True, slots=True)
class Load:
    """Where requests come from: a command, and what it is told."""

    token: Path
    paths: Path
    connections: int

    def run(self, server: "Server", seconds: float, *, pause: float = 0.0) -> "Answered":
        """Ask for ``seconds``; each connection pauses for ``pause`` milliseconds in the mean between two requests."""
        url, used = server.url, server.cpu_seconds()
        arguments = [str(self.paths), str(self.token), str(random.randrange(2**30)), str(int(pause))]
        wrk = shutil.which("wrk")
        if wrk:
            program = [wrk, "-t1", f"-c{self.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
            command = [*program, "-s", str(HERE / "load.lua"), url, "--", *arguments]
        else:
            command = [sys.executable, str(HERE / "generator.py"), url, str(self.connections), str(seconds), *arguments]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        told = json.loads(said.splitlines()[-1])
        if told["failed"] or not told["requests"]:
            raise RuntimeError(f"{url}: {told}")
        per_cpu_second = told["requests"] / max(server.cpu_seconds() - used, 0.01)
        return Answered(told["requests"] / told["seconds"], per_cpu_second, told["p99"])


@dataclass(frozen=True, slots=True)
class Server:
    """Who is asked."""

    url: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """CPU that the process has used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class Answered:
    """What one round of one server gave."""

    rate: float
    per_cpu_second: float
    p99: float
    """Milliseconds."""


Pairs = Sequence[tuple[Answered, Answered]]
"""Rounds: ours, and the bare server's."""


def main() -> None:
    """Measure on every database that there is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", choices=KINDS, action="append", help="SQLite or MariaDB/MySQL; both where possible")
    parser.add_argument("--home", type=Path, help="a data folder to keep, with its SQLite database")
    parser.add_argument("--database", help="the URL of a MySQL database to fill and keep")
    parser.add_argument("--only", choices=[one.name for one in QUESTIONS], action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--paced", action="store_true", help="p99 at an equal rate as well")
    parser.add_argument("--workflows", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=50_000)
    given = parser.parse_args()
    questions = [one for one in QUESTIONS if not given.only or one.name in given.only]
    for kind in given.kind or KINDS:
        if kind == "mysql" and not (given.database or databases.mysql_server()):
            print("MariaDB/MySQL: not measured, STEMMA_TEST_MYSQL_URL names no server")
            continue
        with _installed(kind, given) as (home, url):
            _measure(kind, home, url, questions, given)


@contextmanager
def _installed(kind: str, given: argparse.Namespace) -> Iterator[tuple[Path, str]]:
    """A data folder and the URL of its database, filled."""
    with ExitStack() as stack:
        if given.home and kind == "sqlite":
            home = given.home
            home.mkdir(parents=True, exist_ok=True)
        else:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stemma-bench-")))
        if kind == "sqlite":
            url = databases.sqlite_in(home)
        elif given.database:
            url = given.database
            databases.with_tables(url)
        else:
            url = stack.enter_context(databases.fresh_mysql(databases.mysql_server() or ""))
        yield home, url


def _measure(kind: str, home: Path, url: str, questions: Sequence[Question], given: argparse.Namespace) -> None:
    database = Database(url)
    try:
        populate(database, given.workflows, given.runs)
        ids = ids_of(database, "group1")
    finally:
        database.close()
    with (
        started(home, "--no-worker", STEMMA_DATABASE_URL=url) as (address, process),
        tempfile.TemporaryDirectory(prefix="stemma-bench-") as folder,
    ):
        ours = Server(address.replace("localhost", "127.0.0.1"), psutil.Process(process.pid))
        token = _log_in(ours.url)
        (Path(folder) / "token").write_text(token)
        print(f"{kind}: {given.rounds} rounds of {given.seconds:g} s, {given.connections} connections", flush=True)
        for question in questions:
            _compare(question, kind, ours, token, paths=question.paths(*ids), folder=Path(folder), given=given)


def _log_in(url: str) -> str:
    form = {"grant_type": "password", "username": "user_1", "password": "password_1"}
    return str(httpx.post(f"{url}/auth/token", data=form, trust_env=False).raise_for_status().json()["access_token"])


def _compare(
    question: Question,
    kind: str,
    ours: Server,
    token: str,
    *,
    paths: Sequence[str],
    folder: Path,
    given: argparse.Namespace,
) -> None:
    (folder / "paths").write_text("\n".join(paths) + "\n")
    body = _typical(ours.url, token, paths[:60])
    (folder / "body").write_bytes(body)
    load = Load(folder / "token", folder / "paths", given.connections)
    with bare(question.application, folder) as (url, process):
        peer = Server(url, process)
        for server in (ours, peer):
            load.run(server, 1)  # warm, not counted
        pairs = _rounds(load, ours, peer, given)
        print(f"  {question.name} ({len(body)} bytes)")
        _report(question, kind, pairs)
        if given.paced:
            rate = min(own.rate for own, _ in pairs) / 2
            calm = _rounds(load, ours, peer, given, pause=1000 * given.connections / rate)
            _line(f"p99 ms, both at some {rate:.0f}/s", calm, "p99")


def _typical(url: str, token: str, paths: Sequence[str]) -> bytes:
    """The answer of middle length."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:
        answers = [client.get(path).raise_for_status().content for path in paths]
    return sorted(answers, key=len)[len(answers) // 2]


def _rounds(load: Load, ours: Server, peer: Server, given: argparse.Namespace, *, pause: float = 0.0) -> Pairs:
    pairs = []
    for number in range(given.rounds):
        order = (ours, peer) if number % 2 == 0 else (peer, ours)
        found = {server.url: load.run(server, given.seconds, pause=pause) for server in order}
        pairs.append((found[ours.url], found[peer.url]))
    return pairs


def _report(question: Question, kind: str, pairs: Pairs) -> None:
    goal = question.goals[kind]
    ratio = _line("requests/s", pairs, "rate")
    print(f"      goal: at least {goal:g} - {'met' if ratio >= goal else 'NOT MET'}")
    _line("requests per second of CPU", pairs, "per_cpu_second")
    ratio = _line("p99 ms", pairs, "p99")
    if question.application == "single":
        print(f"      goal: at most {P99_GOAL:g} - {'met' if ratio <= P99_GOAL else 'NOT MET'}", flush=True)


def _line(what: str, pairs: Pairs, attribute: str) -> float:
    """Print medians of an attribute with the ratio of neighbours, and return the ratio."""
    values = [(getattr(own, attribute), getattr(other, attribute)) for own, other in pairs]
    ratios = [own / other for own, other in values]
    own, other = (statistics.median(one) for one in zip(*values, strict=True))
    ratio: float = statistics.median(ratios)
    spread = f"[{min(ratios):.2f}-{max(ratios):.2f}]"
    print(f"    {what:28} stemma {own:8.1f}   bare {other:8.1f}   ratio {ratio:.2f} {spread}", flush=True)
    return ratio


if __name__ == "__main__":
    main()
