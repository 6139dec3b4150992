"""A nudge from who wrote down some work to the workers of the same data folder, so that they need not poll fast.

Each worker keeps a named pipe in ``wake/``; a nudge is a byte into each. It is a hint and nothing more: a
worker that misses it finds the work at its next look into the database.
"""

import contextlib
import os
import select
from pathlib import Path


class Bell:
    """A worker's pipe: waits for a nudge or for the time to pass. Close it at the end."""

    def __init__(self, home: Path, worker: str) -> None:
        folder = home / "wake"
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{worker}.pipe"
        os.mkfifo(self._path, 0o600)
        # Opened for writing too, or it would read as closed whenever nobody else has it open.
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)

    def wait(self, timeout_seconds: float) -> bool:
        """Return True at a nudge, False after ``timeout_seconds``. Several nudges count as one."""
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, timeout_seconds))
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._descriptor, 4096)
        return bool(ready)

    def ring(self) -> None:
        """Nudge this worker itself, from another thread or a signal handler."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._descriptor, b"x")

    def close(self) -> None:
        """Take the pipe away."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def wake_workers(home: Path) -> None:
    """Nudge every worker of this data folder; pipes of dead ones are taken away."""
    for pipe in (home / "wake").glob("*.pipe"):
        try:
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        except OSError:  # nobody reads it: its worker died
            pipe.unlink(missing_ok=True)
            continue
        try:
            with contextlib.suppress(BlockingIOError):  # full: it has been nudged already
                os.write(descriptor, b"x")
        finally:
            os.close(descriptor)
