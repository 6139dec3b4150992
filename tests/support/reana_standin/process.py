"""The stand-in as a process of its own, for tests."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

_TESTS = Path(__file__).resolve().parents[2]


class ReanaStandin:
    """Starts the server, and ends it.

    Attributes:
        url: where it is (without ``/api``).
        token: of the first user.
        tokens: of all users, by name.
        folder: where its workspaces are.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: tuple[str, ...] = ("alice", "bob", "carol"),
        jobs: int | None = None,
        runs: int | None = None,
        no_run: float | None = None,
        port: int = 0,
        **faults: Any,
    ) -> None:
        self.folder = folder.resolve()
        given = {"--jobs": jobs, "--runs": runs, "--no-run": no_run}
        self._command = [
            *(sys.executable, "-m", "support.reana_standin"),
            *("--port", str(port), "--folder", str(self.folder)),
            *("--users", ",".join(users), "--faults", json.dumps(faults)),
            *(word for name, value in given.items() if value is not None for word in (name, str(value))),
        ]
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        self.tokens: dict[str, str] = {}
        self.token = ""

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STEMMA_")}  # noqa: TID251 - filtered, for a process of its own
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder,
                env={**kept, "PYTHONPATH": str(_TESTS)},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the stand-in did not start: {(self.folder / 'server.log').read_text()}")
        said = json.loads(line)
        self.url, self.tokens = said["url"], said["tokens"]
        self.token = next(iter(self.tokens.values()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, and all that it has started."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def faults(self, **switches: Any) -> dict[str, Any]:
        """Set some switches; all of them."""
        return self._told(httpx.post(f"{self.url}/standin/faults", json=switches, trust_env=False))

    def requests(self, *, anew: bool = False) -> dict[str, Any]:
        """What was asked so far: ``requests`` by route, ``answers`` by status, ``total``, ``seconds``."""
        return self._told(httpx.request("DELETE" if anew else "GET", f"{self.url}/standin/requests", trust_env=False))

    def lose_workspace(self, workflow_id: str) -> None:
        """Delete a workspace behind the back of everybody."""
        self._told(httpx.delete(f"{self.url}/standin/workspaces/{workflow_id}", trust_env=False))

    @staticmethod
    def _told(answer: httpx.Response) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told
