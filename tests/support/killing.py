"""A service in processes that are killed, and started anew."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import psutil

from stemma.database.queries import runs
from stemma.engines.cwltool import journal_reader
from stemma.lifecycle.installation import Installation
from stemma.settings import Settings
from stemma.states import RunState

_SEED, _SECONDS = "STEMMA_KILL_TEST_SEED", "STEMMA_KILL_TEST_SECONDS"


def chance() -> random.Random:
    """What decides who is killed when; what it began with is printed, so that a failure can be repeated."""
    seed = int(os.environ.get(_SEED, str(random.randrange(10**6))))  # noqa: TID251 - to repeat a failure
    print(f"{_SEED}={seed}")
    return random.Random(seed)


def killing_seconds(short: float = 12.0) -> float:
    """For how long there is killing: ``short``, unless somebody wants the long form."""
    return float(os.environ.get(_SECONDS, short))  # noqa: TID251 - set by who wants the long form


class Service:
    """Two workers and an API, as processes that can be killed and are started anew."""

    def __init__(self, settings: Settings, **more: str) -> None:
        self._environment = {
            **os.environ,  # noqa: TID251 - handed on to child processes
            **more,
            "STEMMA_HOME": str(settings.home),
            "STEMMA_DATABASE_URL": settings.effective_database_url,
            "STEMMA_LEASE_SECONDS": str(settings.lease_seconds),
            "STEMMA_WORKER_SLOTS": str(settings.worker_slots),
        }
        self._home = settings.home
        self._log = (settings.home / "service.log").open("ab")
        self.commands = {
            "worker 1": ["worker"],
            "worker 2": ["worker"],
            "api": ["serve", "--no-worker", "--port", "0"],
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.keep_alive()

    def keep_alive(self) -> None:
        """Start what does not run."""
        for name, arguments in self.commands.items():
            process = self.processes.get(name)
            if process is None or process.poll() is not None:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "stemma.cli", *arguments],
                    env=self._environment,
                    stdout=self._log,
                    stderr=self._log,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )

    def run_processes(self) -> list[psutil.Process]:
        """The processes of the embedded engine that live."""
        found = []
        for journal in (self._home / "runs").glob("*/*/journal.jsonl"):
            beginning = journal_reader.beginning(journal)
            if beginning is not None and beginning.process.is_alive:
                found.append(psutil.Process(beginning.process.pid))
        return found

    def kill(self, victim: str, chance: random.Random) -> None:
        """SIGKILL to one kind of process, or to all."""
        if victim in {"run process", "all"}:
            living = self.run_processes()
            for process in living if victim == "all" else chance.sample(living, min(1, len(living))):
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue  # it was quicker
        for name, process in self.processes.items():
            if victim in {name, "all"}:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End everything."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()


def run_states(installation: Installation, ids: list[int]) -> list[RunState]:
    """Where the runs with these numbers are, which are of group1."""
    with installation.database.reading() as session:
        return [runs.get(session, run_id, ("group1",)).state for run_id in ids]


def kill_until_ended(
    service: Service,
    states: Callable[[], list[RunState]],
    victims: list[str],
    chance: random.Random,
    *,
    seconds: float,
    patience: float,
) -> Counter[str]:
    """Kill at random moments for ``seconds``, then wait for the runs; who was killed how often."""
    killed: Counter[str] = Counter()
    began = time.monotonic()
    while time.monotonic() - began < patience + seconds:
        time.sleep(chance.uniform(0.3, 2.0))
        if time.monotonic() - began < seconds:
            victim = chance.choice(victims)
            service.kill(victim, chance)
            killed[victim] += 1
        service.keep_alive()
        if all(state.is_terminal for state in states()):
            return killed
    raise AssertionError(f"runs did not end: {states()}")
