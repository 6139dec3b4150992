"""Does a whole service bear fifty clients at once for a minute, and does its memory stay where it is?

Thirty mix reads, registrations and submissions; twenty submit a run each and follow its events to the end, again and
again. The service is one API process and one worker, on SQLite, and on MariaDB where STEMMA_TEST_MYSQL_URL names it.

    python benchmarks/clients.py
    python benchmarks/clients.py --kind sqlite --seconds 300     # whether memory stays where it is for longer
"""

import argparse
import asyncio
import collections
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

import databases
from common import await_answer, started

KINDS = ("sqlite", "mysql")
MIXED, FOLLOWING = 30, 20
SECONDS = 60.0
SETTLED_SECONDS = 20.0
WINDOW_SECONDS = 8
GROWTH_GOAL = 0.02
"""How much of its size the API may seem to grow: what samples differ by anyway."""
PAUSE_SECONDS = 0.2
PEOPLE = 5
DOCUMENT = """\
cwlVersion: v1.2
class: CommandLineTool
label: {label}
baseCommand: [echo, hello]
inputs: []
outputs: []
"""
READS = (
    "/workflow_registry?limit=50",
    "/workflow_registry/{workflow}",
    "/workflow_execution?limit=50",
    "/workflow_execution/{run}",
    "/workflow_execution/{run}/logs",
    "/whoami",
)
REGISTERS, SUBMITS = 0.06, 0.06
"""How much of what the mixed clients do."""
_TIMEOUT_SECONDS = 60


@dataclass
class Group:
    """What people of one group have made so far."""

    workflows: list[int] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)


@dataclass
class Seen:
    """What came back: how often, how fast."""

    statuses: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    latencies: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))
    refusals: collections.Counter[str] = field(default_factory=collections.Counter)
    """What was said where something was refused."""
    streams: int = 0
    """Open now."""
    open_streams: list[int] = field(default_factory=list)
    """How many were open, every second."""
    sizes: list[tuple[float, int]] = field(default_factory=list)
    """The API's resident bytes, every second."""

    def note(self, what: str, outcome: str, seconds: float | None = None) -> None:
        """Count an answer."""
        self.statuses[what, outcome] += 1
        if seconds is not None:
            self.latencies[what].append(seconds)

    def errors(self) -> dict[tuple[str, str], int]:
        """What should not be: everything but success and 429."""
        return {key: count for key, count in self.statuses.items() if key[1] not in {"200", "429", "finished"}}


@dataclass
class Person:
    """One client, with a connection of its own."""

    client: httpx.AsyncClient
    group: Group
    seen: Seen
    until: float
    random: random.Random
    number: int
    made: int = 0

    async def mix(self) -> None:
        """Read, register and submit, with pauses, until the time is over."""
        while time.monotonic() < self.until:
            chance = self.random.random()
            if chance < REGISTERS:
                await self.register()
            elif chance < REGISTERS + SUBMITS:
                await self.submit(nowait=self.random.random() < 0.5)
            else:
                await self.read()
            await asyncio.sleep(self.random.uniform(0, 2 * PAUSE_SECONDS))

    async def follow(self) -> None:
        """Submit, follow the run to its end, and do it again."""
        while time.monotonic() < self.until:
            run = await self.submit(nowait=True)
            if run is None:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self.seen.streams += 1
            try:
                self.seen.note("events", await self._end_of(run))
            except (httpx.HTTPError, asyncio.CancelledError) as error:
                if time.monotonic() < self.until:
                    self.seen.note("events", type(error).__name__)
                if isinstance(error, asyncio.CancelledError):
                    raise
            finally:
                self.seen.streams -= 1

    async def _end_of(self, run: int) -> str:
        """How the run ended, by its stream of events."""
        last = ""
        async with self.client.stream("GET", f"/workflow_execution/{run}/events") as answer:
            if answer.status_code != 200:
                return str(answer.status_code)
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    last = line.removeprefix("event: ")
                elif last == "end" and line.startswith("data: "):
                    return line.partition('"status":"')[2].partition('"')[0]
        return "no end"

    async def read(self) -> None:
        """Something of one's own group."""
        template = self.random.choice(READS)
        path = template.format(workflow=self.random.choice(self.group.workflows), run=self._some_run())
        await self._ask("read", "GET", path)

    def _some_run(self) -> int:
        return self.random.choice(self.group.runs[-200:])

    async def register(self) -> None:
        """A document that nobody has registered yet."""
        self.made += 1
        name = f"hello-{self.number}-{self.made}"
        files = {"spec_file": ("main.cwl", DOCUMENT.format(label=name))}
        data = await self._ask(
            "register", "POST", "/workflow_registry/register", data={"name": name, "version": "1"}, files=files
        )
        if data is not None:
            self.group.workflows.append(data["registry_id"])

    async def submit(self, *, nowait: bool) -> int | None:
        """A run of any workflow of the group; its number."""
        workflow = self.random.choice(self.group.workflows)
        what = "submit" if nowait else "submit, first word"
        data = await self._ask(
            what, "POST", f"/workflow_execution/execute/{workflow}", json={"inputs": {}, "nowait": nowait}
        )
        if data is None:
            return None
        self.group.runs.append(data["execution_id"])
        return int(data["execution_id"])

    async def _ask(self, what: str, method: str, path: str, **body: Any) -> Any:
        """The answer's data; None where it was refused."""
        began = time.perf_counter()
        try:
            answer = await self.client.request(method, path, **body)
        except httpx.HTTPError as error:
            self.seen.note(what, type(error).__name__)
            return None
        self.seen.note(what, str(answer.status_code), time.perf_counter() - began)
        if answer.status_code not in {200, 429}:
            self.seen.refusals[f"{what} {answer.status_code}: {answer.json().get('message')}"] += 1
        if answer.status_code == 429:
            await asyncio.sleep(float(answer.headers.get("retry-after", 1)))
        return answer.json()["data"] if answer.status_code == 200 else None


def main() -> None:
    """Measure on every database that there is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", choices=KINDS, action="append", help="SQLite or MariaDB/MySQL; both where possible")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    given = parser.parse_args()
    for kind in given.kind or KINDS:
        if kind == "mysql" and not databases.mysql_server():
            print("MariaDB/MySQL: not measured, STEMMA_TEST_MYSQL_URL names no server")
            continue
        with _service(kind) as (url, api):
            seen = asyncio.run(_load(url, api, given.seconds))
        _report(kind, seen, given.seconds)


@contextmanager
def _service(kind: str) -> Iterator[tuple[str, psutil.Process]]:
    """API and worker on an empty database: the address, and the API's process."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stemma-bench-")))
        if kind == "sqlite":
            database = databases.sqlite_in(home)
        else:
            database = stack.enter_context(databases.fresh_mysql(databases.mysql_server() or ""))
        url, process = stack.enter_context(started(home, STEMMA_DATABASE_URL=database))
        await_answer(url)
        yield url.replace("localhost", "127.0.0.1"), psutil.Process(process.pid)


async def _load(url: str, api: psutil.Process, seconds: float) -> Seen:
    seen, groups = Seen(), [Group(), Group()]
    async with httpx.AsyncClient(base_url=url, trust_env=False) as nobody:
        tokens = [await _log_in(nobody, number + 1) for number in range(PEOPLE)]
    people = []
    for number in range(MIXED + FOLLOWING):
        who = number % PEOPLE
        headers = {"Authorization": f"Bearer {tokens[who]}"}
        client = httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False)
        group = groups[0 if who < 3 else 1]
        people.append(Person(client, group, seen, 0.0, random.Random(number), number))
    for first in (people[0], people[PEOPLE - 1]):  # one of each group, so that there is something to read
        await first.register()
        await first.submit(nowait=True)
    began = time.monotonic()
    for person in people:
        person.until = began + seconds
    tasks = [asyncio.create_task(person.mix()) for person in people[:MIXED]]
    tasks += [asyncio.create_task(person.follow()) for person in people[MIXED:]]
    while (passed := time.monotonic() - began) < seconds:
        seen.sizes.append((passed, api.memory_info().rss))
        seen.open_streams.append(seen.streams)
        await asyncio.sleep(1)
    _, late = await asyncio.wait(tasks, timeout=10)  # streams of runs that are still queued are let go
    for task in late:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    for person in people:
        await person.client.aclose()
    for one in ended:
        if isinstance(one, Exception):
            raise one
    return seen


async def _log_in(nobody: httpx.AsyncClient, number: int) -> str:
    form = {"grant_type": "password", "username": f"user_{number}", "password": f"password_{number}"}
    return str((await nobody.post("/auth/token", data=form)).raise_for_status().json()["access_token"])


def _report(kind: str, seen: Seen, seconds: float) -> None:
    total = sum(len(times) for times in seen.latencies.values())
    print(f"{kind}: {MIXED + FOLLOWING} clients, {seconds:g} s, {total / seconds:.0f} requests/s", end="")
    print(f", {statistics.median(seen.open_streams):.0f} streams open (median)")
    for what, times in sorted(seen.latencies.items()):
        cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
        shown = f"median {1000 * cuts[49]:7.1f}   p99 {1000 * cuts[98]:7.1f}   max {1000 * max(times):7.1f} ms"
        print(f"    {what:20} {len(times):6}   {shown}")
    print("    answers: " + ", ".join(f"{what} {how}: {count}" for (what, how), count in sorted(seen.statuses.items())))
    errors = seen.errors()
    print(f"      goal: no error but 429 - {f'NOT MET: {errors}' if errors else 'met'}")
    for said, count in seen.refusals.most_common(5):
        print(f"        {count} times {said}")
    _report_memory(seen.sizes)


def _report_memory(sizes: Sequence[tuple[float, int]]) -> None:
    settled = [size for passed, size in sizes if passed >= SETTLED_SECONDS]
    shown = " ".join(f"{size / 1e6:.0f}" for _, size in sizes[:: max(1, len(sizes) // 12)])
    print(f"    API's memory, MB, over the time: {shown}")
    if len(settled) < 2 * WINDOW_SECONDS:
        print(f"      goal: no growth after {SETTLED_SECONDS:g} s - not measured, too short")
        return
    before, after = statistics.median(settled[:WINDOW_SECONDS]), statistics.median(settled[-WINDOW_SECONDS:])
    growth = after / before - 1
    verdict = "met" if growth <= GROWTH_GOAL else "NOT MET"
    print(f"    grown since {SETTLED_SECONDS:g} s by {(after - before) / 1e6:.1f} MB, {growth:.1%}")
    print(f"      goal: no growth (under {GROWTH_GOAL:.0%}) - {verdict}", flush=True)


if __name__ == "__main__":
    main()
