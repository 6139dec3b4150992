"""Somebody at a terminal: commands as processes, with nothing of the tests' own surroundings."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

from conftest import Served

_SECONDS = 120


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What commands find around them where ``folder`` is somebody's home."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("STEMMA_", "XDG_"))}  # noqa: TID251 - for a process
    return {**kept, **more, "HOME": str(folder), "NO_COLOR": "1", "COLUMNS": "200", "STEMMA_ENV_FILE": os.devnull}


class Person:
    """Somebody whose commands ask a service; no command shows them ``secret``."""

    def __init__(self, served: Served, folder: Path, name: str, *commands: str, secret: str) -> None:
        password = name.replace("user", "password")
        self.environment = environment(folder, STEMMA_URL=served.url, STEMMA_USERNAME=name, STEMMA_PASSWORD=password)
        self._command = [sys.executable, "-m", "stemma.cli", *commands]
        self._secret = secret

    def __call__(self, *arguments: str, given: str | None = None, code: int = 0) -> tuple[str, str]:
        """Run it with ``arguments``; what it writes to its outputs."""
        done = subprocess.run(
            [*self._command, *arguments],
            env=self.environment,
            input=given or "",
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert self._secret not in done.stdout + done.stderr
        return done.stdout, done.stderr

    def type_in(self, *arguments: str, typed: list[str]) -> str:
        """Run it at a terminal of its own and answer its questions; all that the terminal showed."""
        here, there = pty.openpty()
        process = subprocess.Popen(
            [*self._command, *arguments],
            env=self.environment,
            stdin=there,
            stdout=there,
            stderr=there,
            start_new_session=True,
        )
        os.close(there)
        shown, answered, deadline = b"", 0, time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            try:
                piece = os.read(here, 4096)
            except OSError:  # the other side is closed
                break
            shown += piece
            if typed and shown[answered:].rstrip().endswith(b":"):
                answered = len(shown)
                os.write(here, f"{typed.pop(0)}\n".encode())
        os.close(here)
        assert process.wait(timeout=60) == 0, shown
        return shown.decode()
