"""``stemma serve`` as people start it, on a fresh data folder, and short ways to talk to it."""

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

ENDED = frozenset({"finished", "failed", "stopped"})
_PATIENCE_SECONDS = 60.0


@dataclass
class RealService:
    """A service in processes of its own."""

    home: Path
    process: subprocess.Popen[bytes]
    url: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def log_in(self, username: str) -> httpx.Client:
        """A client that speaks for ``username``."""
        form = {"grant_type": "password", "username": username, "password": username.replace("user", "password")}
        answer = httpx.post(f"{self.url}/auth/token", data=form, trust_env=False)
        assert answer.status_code == 200, answer.text
        token = answer.json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def send(self, client: httpx.Client, document: str | bytes, **values: str) -> httpx.Response:
        """Register ``document``, under a name that is not taken unless one is given."""
        form = {"name": f"w{next(self._numbers)}", "version": "1", **values}
        return client.post("/workflow_registry/register", data=form, files={"spec_file": ("main.cwl", document)})

    def register(self, client: httpx.Client, document: str | bytes) -> int:
        """The number of ``document``, which must be fine."""
        answer = self.send(client, document)
        assert answer.status_code == 200, answer.text
        number: int = answer.json()["data"]["registry_id"]
        return number

    def submit(
        self, client: httpx.Client, workflow: int, inputs: Mapping[str, Any] | None = None, **files: bytes
    ) -> httpx.Response:
        """Ask for a run, and do not wait for the engine's word."""
        form = {"inputs": json.dumps(inputs or {}), "nowait": "true"}
        sent = [("files", (name, content)) for name, content in files.items()]
        return client.post(f"/workflow_execution/execute/{workflow}", data=form, files=sent or None)

    def start(self, client: httpx.Client, document: str | bytes, inputs: Mapping[str, Any] | None = None) -> int:
        """Register and submit; the number of the run."""
        answer = self.submit(client, self.register(client, document), inputs)
        assert answer.status_code == 200, answer.text
        number: int = answer.json()["data"]["execution_id"]
        return number

    def run(
        self, client: httpx.Client, document: str | bytes, inputs: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Register, submit and wait for the end."""
        return self.until(client, self.start(client, document, inputs))

    def until(self, client: httpx.Client, run: int, *states: str) -> dict[str, Any]:
        """The run, as soon as it is in one of ``states`` or has ended."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            shown: dict[str, Any] = client.get(f"/workflow_execution/{run}").json()["data"]
            if shown["status"] in {*states, *ENDED}:
                return shown
            time.sleep(0.03)
        raise AssertionError(f"execution {run} has not ended: {shown}")

    def worker(self) -> psutil.Process:
        """The worker's process, as soon as there is one."""
        found: list[psutil.Process] = []

        def is_found() -> bool:
            children = psutil.Process(self.process.pid).children()
            found.extend(child for child in children if "worker" in child.cmdline())
            return bool(found)

        wait_until(is_found)
        return found[0]


@contextmanager
def real_service(folder: Path, **settings: str) -> Iterator[RealService]:
    """``stemma serve`` with its data in ``folder``, ended in the end."""
    home = folder / "home"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STEMMA_")}  # noqa: TID251 - filtered, for a process of its own
    environment = {**kept, "STEMMA_HOME": str(home), **settings}
    command = [sys.executable, "-m", "stemma.cli", "serve", "--port", "0"]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        wait_until((home / "service.json").exists)
        yield RealService(home, process, json.loads((home / "service.json").read_text())["url"])
        assert process.poll() in {None, -signal.SIGKILL}, (folder / "serve.log").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def wait_until(holds: Callable[[], object], seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait until ``holds()``, or fail."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.03)


def sleepers(number: str) -> list[int]:
    """The processes that sleep for ``number`` seconds."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline()[:2] == ["sleep", number] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def zipped(**entries: str) -> bytes:
    """A zip archive; ``__`` in a name stands for a dot."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in entries.items():
            archive.writestr(name.replace("__", "."), text)
    return packed.getvalue()
