"""The engine's side of the pipe to the server: jobs go out, and their ends come in."""

import queue
import threading
from multiprocessing.connection import Connection
from typing import Any

from cwltool.errors import WorkflowException

ENDED = frozenset({"finished", "failed", "stopped"})


class Desk:
    """Submits jobs and hears of their ends."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.ends: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        """Numbers of jobs and what became of them."""
        threading.Thread(target=self._listen, daemon=True).start()

    def submit(self, job: dict[str, Any]) -> str:
        """Hand in a job; its number."""
        self._pipe.send({"kind": "submit", "job": job})
        answer = self._answers.get()
        if answer["kind"] == "refused":
            raise WorkflowException(answer["message"])
        number: str = answer["job_id"]
        return number

    def progress(self, **news: dict[str, Any]) -> None:
        """Publish how far the run is; the first word of it makes the run ``running``."""
        self._pipe.send({"kind": "progress", "progress": news})

    def end(self, status: str, logs: str) -> None:
        """The last word."""
        self._pipe.send({"kind": "end", "status": status, "logs": logs})

    def _listen(self) -> None:
        while True:
            try:
                said = self._pipe.recv()
            except EOFError:
                return
            if said["kind"] == "ended":
                self.ends.put((said["job_id"], said["status"]))
            else:
                self._answers.put(said)
