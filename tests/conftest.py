"""Fixtures that more than one kind of test uses.

``served`` is a whole service: an installation on each kind of database, the API on a loopback socket, and a worker,
all in this process and all real. It lives as long as the test process, so tests take names of their own
(``Served.name``) and never count what others may have made. ``idle`` is one without a worker, for what must stay queued.
"""

import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from stemma.api import server
from stemma.auth.policy import USER
from stemma.database import schema
from stemma.database.connection import Database
from stemma.database.queries.audit import AuditEntry, Wanted, entries
from stemma.lifecycle.installation import Installation, open_installation
from stemma.settings import Settings
from stemma.worker.loop import Worker
from support.databases import KINDS, fresh_database_url
from support.documents import ECHO
from support.tokens import token

_numbers = itertools.count(1)


@dataclass
class Served:
    """A service that answers at ``url``."""

    installation: Installation
    url: str
    tokens: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def name(what: str = "workflow") -> str:
        """A name that no other test has."""
        return f"{what}-{os.getpid()}-{next(_numbers)}"

    def client(self, **headers: str) -> httpx.Client:
        """Somebody who says nothing of themselves."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def client_as(self, username: str) -> httpx.Client:
        """Somebody who has logged in."""
        if username not in self.tokens:
            form = {"grant_type": "password", "username": username, "password": username.replace("user", "password")}
            with self.client() as nobody:
                answer = nobody.post("/auth/token", data=form)
            assert answer.status_code == 200, answer.text
            self.tokens[username] = answer.json()["access_token"]
        return self.client(Authorization=f"Bearer {self.tokens[username]}")

    def client_of(self, name: str, *groups: str, roles: tuple[str, ...] = (USER,)) -> httpx.Client:
        """Somebody whom the local issuer does not know, in ``groups``."""
        signed = token(self.installation.settings, name, groups=groups, roles=roles)
        return self.client(Authorization=f"Bearer {signed}")

    def audited(self, answer: httpx.Response) -> list[AuditEntry]:
        """What the audit has of a request."""
        number = answer.headers["stemma-request"]
        return [entry for entry in entries(self.installation.database, Wanted()) if str(entry.request) == number]

    @staticmethod
    def group_of(client: httpx.Client) -> str:
        """The only group that somebody is in."""
        [group] = client.get("/whoami").json()["data"]["groups"]
        return str(group)

    @staticmethod
    def run_to_end(client: httpx.Client, execution_id: int, seconds: float = 60) -> dict[str, Any]:
        """The execution, once it has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            shown: dict[str, Any] = client.get(f"/workflow_execution/{execution_id}").json()["data"]
            if shown["status"] in {"finished", "failed", "stopped"}:
                return shown
            time.sleep(0.05)
        raise AssertionError(f"execution {execution_id} has not ended: {shown}")


@contextmanager
def opened_installation(kind: str, folder: Path, **values: Any) -> Iterator[Installation]:
    """An installation on an empty database of ``kind``, with its data in ``folder``."""
    with fresh_database_url(kind, folder) as url:
        settings = Settings(
            _env_file=None, home=folder, database_url=url, containers="never", cores=2, port=0, **values
        )
        if kind == "mysql":
            database = Database(url)
            schema.upgrade(database)
            database.close()
        installation = open_installation(settings)
        try:
            yield installation
        finally:
            installation.close()


@contextmanager
def served_installation(installation: Installation) -> Iterator[Served]:
    """The API of ``installation`` on a loopback socket, in a thread."""
    listening = server.bind(installation.settings)
    configuration = server.configuration(installation)
    configuration.timeout_graceful_shutdown = 1
    running = uvicorn.Server(configuration)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Served(installation, f"http://localhost:{listening.getsockname()[1]}")
    finally:
        running.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def working(installation: Installation) -> Iterator[None]:
    """A worker of ``installation``, in a thread."""
    installation.engines.start()
    worker = Worker(installation)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.drain()
        thread.join()


@pytest.fixture(scope="session", params=KINDS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a worker, on each kind of database."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp(f"served-{request.param}")
        installation = stack.enter_context(opened_installation(request.param, folder))
        stack.enter_context(working(installation))
        yield stack.enter_context(served_installation(installation))


@pytest.fixture(scope="session")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service without a worker: whatever is submitted stays queued."""
    with (
        opened_installation("sqlite", tmp_path_factory.mktemp("idle"), max_document_bytes=20_000) as installation,
        served_installation(installation) as service,
    ):
        yield service


@pytest.fixture
def user(served: Served) -> Iterator[httpx.Client]:
    """``user_1``: of group1, and an admin."""
    with served.client_as("user_1") as client:
        yield client


@pytest.fixture
def ended_run(served: Served, user: httpx.Client) -> int:
    """The number of a run of ``user`` that has ended."""
    files = {"spec_file": ("main.cwl", ECHO), "input_file": ("inputs.yml", b"words: hi")}
    made = user.post("/workflow_registry/register", data={"name": served.name(), "version": "1.0"}, files=files)
    started = user.post(f"/workflow_execution/execute/{made.json()['data']['registry_id']}")
    number: int = started.json()["data"]["execution_id"]
    assert served.run_to_end(user, number)["status"] == "finished"
    return number


@pytest.fixture
def stranger(served: Served) -> Iterator[httpx.Client]:
    """``user_4``: of another group, with the same roles."""
    with served.client_as("user_4") as client:
        yield client
