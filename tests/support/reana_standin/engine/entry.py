"""Where the process of a run begins. The server imports this, and not cwltool."""

from multiprocessing.connection import Connection
from typing import Any


def run(pipe: Connection, log_file: str, task: dict[str, Any]) -> None:
    """Do ``task`` in this process."""
    from support.reana_standin.engine import main

    main.run(pipe, log_file, task)
