"""Does supervising runs on REANA cost the server or us much, and are files streamed at the speed of the line?

Against the stand-in of the tests (``tests/support/reana_standin``), which says of itself that it is one: our side is
measured. Three questions:

* *supervision*: so many runs go on at once (the stand-in executes nothing then, and runs end by the clock). How many
  requests a second do we make, how late is a change of status seen, how large does the worker get?
* *bytes*: so many gigabytes into a workspace and out of it, beside ``curl`` to the same server in the same run.
* *between*: what we add to a run, from its inputs being there to its start, and from its end there to its end here.

    python benchmarks/reana.py
    python benchmarks/reana.py --runs 50 --gigabytes 1
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil
from pydantic import SecretStr

from common import await_answer, started
from large_files import Watch
from stemma.engines.reana.server import ReanaServer
from stemma.engines.reana.session import ReanaSession

TESTS = Path(__file__).parent.parent / "tests"
SECONDS_A_RUN = 150
WATCHED_SECONDS = 20
GOAL_REQUESTS, GOAL_LATE_SECONDS, GOAL_WORKER = 5.0, 10.0, 300e6
GOAL_RATIO, GOAL_GROWTH, GOAL_BETWEEN_SECONDS = 0.7, 100e6, 3.0
DOCUMENT = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, "cat \\"$0\\" > out.txt"]
inputs: {text: {type: File, inputBinding: {}}}
outputs: {out: {type: File, outputBinding: {glob: out.txt}}}
"""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where the files lie meanwhile")
    chosen = parser.parse_args()
    if find_spec("reana_client") is None:
        print("reana: left out, since reana-client is not installed (the extra `reana`)")
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        _between(Path(folder, "between"), 10)
        _supervision(Path(folder, "supervision"), chosen.runs)
        _bytes(Path(folder, "bytes"), chosen.gigabytes, chosen.repetitions)


def _tell(what: str, found: str, goal: str, *, good: bool) -> None:
    verdict = f"   goal: {goal} - {'met' if good else 'NOT MET'}" if goal else ""
    print(f"  {what:32} {found:26}{verdict}", flush=True)


@contextmanager
def _standin(folder: Path, *options: str) -> Iterator[dict[str, Any]]:
    """The stand-in, and what it says of itself."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "support.reana_standin", "--port", "0", "--folder", str(folder), *options]
    process = subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said: dict[str, Any] = json.loads(process.stdout.readline())
        yield said | {"pid": process.pid}
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _service(home: Path, standin: dict[str, Any]) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """A service whose default engine is the stand-in: a client that may do all, and its process."""
    home.mkdir(parents=True)
    token = next(iter(standin["tokens"].values()))
    variables = {"REANA_SERVER_URL": standin["url"], "REANA_ACCESS_TOKEN": token, "STEMMA_ENV_FILE": os.devnull}
    variables["STEMMA_REANA_REQUESTS_PER_SECOND"] = "18"  # as many as REANA takes: the goal is what we make of it
    with started(home, **variables) as (url, process):
        await_answer(url)
        form = {"grant_type": "password", "username": "user_1", "password": "password_1"}
        access = httpx.post(f"{url}/auth/token", data=form, trust_env=False).json()["access_token"]
        headers = {"Authorization": f"Bearer {access}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            yield client, psutil.Process(process.pid)


def _registered(client: httpx.Client) -> int:
    answer = client.post(
        "/workflow_registry/register",
        data={"name": "copy", "version": "1"},
        files={"spec_file": ("main.cwl", DOCUMENT)},
    ).raise_for_status()
    return int(answer.json()["data"]["registry_id"])


def _submitted(client: httpx.Client, workflow: int, *, wait: bool = False) -> dict[str, Any]:
    answer = client.post(
        f"/workflow_execution/execute/{workflow}",
        data={"inputs": json.dumps({"text": {"class": "File", "location": "a.txt"}}), "nowait": str(not wait).lower()},
        files=[("files", ("a.txt", b"some text"))],
    )
    if answer.is_error:
        sys.exit(answer.text)
    found: dict[str, Any] = answer.json()["data"]
    return found


def _ended(client: httpx.Client, run: int) -> dict[str, Any]:
    while True:
        shown: dict[str, Any] = client.get(f"/workflow_execution/{run}").json()["data"]
        if shown["status"] in {"finished", "failed", "stopped"}:
            return shown
        time.sleep(0.1)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _rows(standin: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What REANA says of all runs, by id."""
    token = next(iter(standin["tokens"].values()))
    given = {"type": "batch", "include_progress": "true", "size": "1000", "access_token": token}
    answer = httpx.get(f"{standin['url']}/api/workflows", params=given, trust_env=False).raise_for_status()
    return {row["id"]: row for row in answer.json()["items"]}


def _between(folder: Path, times: int) -> None:
    """What we add before a run starts, and after it has ended."""
    before, after = [], []
    unlimited = "--faults", '{"rate_limit": 0}'
    with _standin(folder / "reana", *unlimited) as standin, _service(folder / "home", standin) as (client, _):
        workflow = _registered(client)
        for _ in range(times):
            began = time.time()
            run = _submitted(client, workflow, wait=True)
            shown = _ended(client, run["execution_id"])
            seen = time.time()
            if shown["status"] != "finished":
                sys.exit(f"a run is {shown['status']}: {shown.get('reason')}")
            progress = _rows(standin)[shown["reana_id"]]["progress"]
            # Its times have whole seconds: each is right to one, their mean to half of it.
            before.append(max(0.0, _moment(progress["run_started_at"] + "+00:00") + 0.5 - began))
            after.append(max(0.0, seen - _moment(progress["run_finished_at"] + "+00:00") - 0.5))
    print(f"between ({times} runs of one step; REANA tells whole seconds)")
    for name, found in (("submission to its start there", before), ("its end there to its end here", after)):
        middle, spread = statistics.median(found), f"[{min(found):.2f}-{max(found):.2f}]"
        _tell(name, f"{middle:.2f} s {spread}", "under 3", good=middle < GOAL_BETWEEN_SECONDS)


def _supervision(folder: Path, count: int) -> None:
    """Many runs that go on at once."""
    options = ["--no-run", str(SECONDS_A_RUN), "--runs", str(count), "--faults", '{"rate_limit": 20}']
    with _standin(folder / "reana", *options) as standin, _service(folder / "home", standin) as (client, process):
        workflow = _registered(client)
        runs = [_submitted(client, workflow)["execution_id"] for _ in range(count)]
        while sum(row["status"] == "running" for row in _rows(standin).values()) < count:
            time.sleep(1)
        httpx.delete(f"{standin['url']}/standin/requests", trust_env=False)
        began = time.monotonic()
        worker = _worker_of(process)
        sizes = []
        while time.monotonic() - began < WATCHED_SECONDS:
            sizes.append(worker.memory_info().rss)
            time.sleep(1)
        counted = httpx.get(f"{standin['url']}/standin/requests", trust_env=False).json()
        rate = counted["total"] / (time.monotonic() - began)
        late = _lateness(client, standin, runs)
        sizes.append(worker.memory_info().rss)
    print(f"supervision ({count} runs at once)")
    _tell("requests to the server", f"{rate:.2f} /s", f"under {GOAL_REQUESTS:g}", good=rate < GOAL_REQUESTS)
    middle, spread = statistics.median(late), f"[{min(late):.2f}-{max(late):.2f}]"
    _tell("an end is seen here after", f"{middle:.2f} s {spread}", "within 10", good=max(late) < GOAL_LATE_SECONDS)
    _tell("the worker takes", f"{max(sizes) / 1e6:.0f} MB", "under 300", good=max(sizes) < GOAL_WORKER)


def _lateness(client: httpx.Client, standin: dict[str, Any], runs: list[int]) -> list[float]:
    """How long after its end there each run has ended here."""
    found = {}
    while len(found) < len(runs):
        for page in _pages(client):
            for run in page:
                if run["execution_id"] not in found and run["status"] in {"finished", "failed", "stopped"}:
                    found[run["execution_id"]] = (time.time(), run["reana_id"])
        time.sleep(0.5)
    rows = _rows(standin)
    return [
        max(0.0, seen - _moment(rows[name]["progress"]["run_finished_at"] + "+00:00") - 0.5)
        for seen, name in found.values()
    ]


def _pages(client: httpx.Client) -> Iterator[list[dict[str, Any]]]:
    cursor = None
    while True:
        given = {"limit": 200} | ({"cursor": cursor} if cursor else {})
        shown = client.get("/workflow_execution", params=given).raise_for_status().json()["data"]
        yield shown["items"]
        cursor = shown.get("next_cursor")
        if not cursor:
            return


def _worker_of(service: psutil.Process) -> psutil.Process:
    return next(child for child in service.children(recursive=True) if "worker" in child.cmdline())


def _bytes(folder: Path, gigabytes: float, repetitions: int) -> None:
    """Into a workspace and out of it."""
    with _standin(folder / "reana", "--faults", '{"rate_limit": 0}') as standin:
        token = next(iter(standin["tokens"].values()))
        server = ReanaServer(standin["url"], requests_per_second=100)
        session = server.session(SecretStr(token))
        workflow = {"type": "cwl", "specification": {}, "file": "x.cwl"}
        run = session.create("bytes", {"version": "0.9.4", "workflow": workflow})
        source, size = folder / "source", int(gigabytes * 1e9)
        _fill(source, size)
        address = f"{standin['url']}/api/workflows/{run.id}/workspace"

        def curl(*options: str) -> Callable[[], None]:
            return lambda: subprocess.run(["curl", "-sSf", "-o", os.devnull, *options], check=True)

        as_bytes = "-X", "POST", "-H", "Content-Type: application/octet-stream", "-T", str(source)
        up = curl(*as_bytes, f"{address}?file_name=curl&access_token={token}")
        down = curl(f"{address}/curl?preview=false&access_token={token}")
        _race("up", size, repetitions, lambda: session.upload(run.id, "data/ours", source, size), up)
        _race("down", size, repetitions, lambda: _drain(session, run.id, size), down)
        server.close()


def _race(name: str, size: int, repetitions: int, ours: Callable[[], None], theirs: Callable[[], None]) -> None:
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    growth = 0
    for number in range(repetitions):
        for who, move in (("ours", ours), ("theirs", theirs))[:: 1 if number % 2 else -1]:
            with Watch(psutil.Process()) as watch:
                began = time.monotonic()
                move()
                rates[who].append(size / (time.monotonic() - began) / 1e6)
            growth = max(growth, watch.growth if who == "ours" else 0)
    ratios = [own / other for own, other in zip(rates["ours"], rates["theirs"], strict=True)]
    ratio = statistics.median(ratios)
    own, other = statistics.median(rates["ours"]), statistics.median(rates["theirs"])
    spread = f"[{min(ratios):.2f}-{max(ratios):.2f}]"
    print(f"bytes {name} ({size / 1e9:g} GB)")
    _tell("ours and curl's", f"{own:.0f} and {other:.0f} MB/s", "", good=True)
    _tell("ratio", f"{ratio:.2f} {spread}", f"at least {GOAL_RATIO:g}", good=ratio >= GOAL_RATIO)
    _tell("memory grew by", f"{growth / 1e6:.0f} MB", "less than 100", good=growth < GOAL_GROWTH)


def _drain(session: ReanaSession, run: str, size: int) -> None:
    found = sum(len(chunk) for chunk in session.download(run, "curl", size))
    if found != size:
        sys.exit(f"{found} of {size} bytes came")


def _fill(path: Path, size: int) -> None:
    block = os.urandom(16 * 1024 * 1024)
    with path.open("wb") as target:
        while size > 0:
            size -= target.write(block[: min(size, len(block))])


if __name__ == "__main__":
    main()
