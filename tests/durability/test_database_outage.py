"""The database goes away in the middle of a load: nothing is lost, and all is well afterwards without a restart."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx
import pytest

from stemma.database import schema
from stemma.database.connection import Database
from support.mariadb import MariaDb, mariadb
from support.real_service import RealService, real_service, wait_until

SECONDS = float(os.environ.get("STEMMA_TEST_OUTAGE_SECONDS", "8"))  # noqa: TID251 - set by who wants the long form
QUICK = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: 'true'
inputs: {}
outputs: {}
"""
SLOW = f"""
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sleep, '{SECONDS + 6:.0f}']
inputs: {{}}
outputs: {{}}
"""


@dataclass
class Load:
    """Somebody who reads, somebody who registers, somebody who runs; what each was told."""

    service: RealService
    workflow: int
    told: Counter[int] = field(default_factory=Counter)
    registered: list[int] = field(default_factory=list)
    submitted: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def read(self, client: httpx.Client) -> None:
        self._note(client.get(f"/workflow_registry/{self.workflow}"))

    def register(self, client: httpx.Client) -> None:
        answer = self.service.send(client, QUICK)
        if self._note(answer):
            self.registered.append(answer.json()["data"]["registry_id"])

    def submit(self, client: httpx.Client) -> None:
        answer = self.service.submit(client, self.workflow)
        if self._note(answer):
            self.submitted.append(answer.json()["data"]["execution_id"])

    def _note(self, answer: httpx.Response) -> bool:
        self.told[answer.status_code] += 1
        is_refused = answer.status_code == 503
        if answer.status_code != 200 and not (is_refused and int(answer.headers["retry-after"]) > 0):
            self.wrong.append(answer.text)
        if is_refused:
            time.sleep(0.1)
        return answer.status_code == 200

    def _repeat(self, work: object) -> None:
        with self.service.log_in("user_1") as client:
            while not self._over.is_set():
                try:
                    work(client)
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    self.wrong.append(repr(error))
                    return
                time.sleep(0.02)

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._repeat, args=[work]) for work in (self.read, self.register, self.submit)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MariaDb]:
    with mariadb(tmp_path / "mariadb") as started:
        yield started


@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", ["stopped", "silent"])
def test_service_when_the_database_is_away_then_503_and_nothing_is_lost(
    how: str, server: MariaDb, tmp_path: Path
) -> None:
    database = Database(server.url)
    schema.upgrade(database)
    database.close()
    settings = {"STEMMA_DATABASE_URL": server.url, "STEMMA_CONTAINERS": "never", "STEMMA_DATABASE_TIMEOUT_SECONDS": "3"}
    with real_service(tmp_path, **settings) as service, service.log_in("user_1") as client:
        slow = service.start(client, SLOW)
        service.until(client, slow, "running")
        with Load(service, service.register(client, QUICK)) as load:
            wait_until(lambda: load.submitted and load.registered)
            if how == "stopped":
                server.stop()
            else:
                server.freeze()
            time.sleep(SECONDS)
            assert load.told[503] > 0, load.told
            if how == "stopped":
                server.start()
            else:
                server.thaw()
            before = len(load.submitted), len(load.registered)
            wait_until(lambda: len(load.submitted) > before[0] + 2 and len(load.registered) > before[1] + 2)
        assert load.wrong == []
        assert client.get("/readyz").status_code == 200
        shown = service.until(client, slow)
        assert (shown["status"], shown["attempt"]) == ("finished", 1)
        ended = [service.until(client, run) for run in load.submitted]
        assert {(run["status"], run["attempt"]) for run in ended} == {("finished", 1)}
        for number in load.registered:
            assert client.get(f"/workflow_registry/{number}").status_code == 200
