"""The child process of ``stemma.cli.embedded``: the API and a worker, on one data folder.

``python -m stemma.cli.embedded_service SOCKET LIFELINE WORDS``, three file descriptors: where to listen, what is
closed when the command has ended, and where to say why it cannot start.
"""

import fcntl
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from stemma.cli.lifeline import end_when_closed
from stemma.errors import StemmaError

if TYPE_CHECKING:
    from stemma.lifecycle.installation import Installation


def main(arguments: list[str]) -> int:
    """Serve until the lifeline is closed; the exit code."""
    listening_fd, lifeline, words = map(int, arguments)
    for number in (listening_fd, lifeline, words):
        fcntl.fcntl(
            number, fcntl.F_SETFD, fcntl.FD_CLOEXEC
        )  # run processes outlive us, and must not hold what tells of our end
    end_when_closed(lifeline)
    try:
        return _serve(socket.socket(fileno=listening_fd))
    except StemmaError as error:
        os.write(words, json.dumps({"message": str(error)}).encode())
        return error.exit_code


def _serve(listening: socket.socket) -> int:
    from stemma.settings import Settings  # noqa: PLC0415 - the lifeline is watched first

    settings = Settings()
    from stemma.lifecycle.installation import open_installation  # noqa: PLC0415 - see above

    installation = open_installation(settings)
    try:
        installation.engines.start()
        installation.validator.start()
        _work(installation, listening)
    finally:
        installation.close()
    return 0


def _work(installation: "Installation", listening: socket.socket) -> None:
    """Serve in this thread, which signals reach, and run workflows in another."""
    from stemma.api.server import run_api  # noqa: PLC0415 - loaded while the helper processes start
    from stemma.worker.loop import Worker  # noqa: PLC0415 - see above

    worker = Worker(installation)
    working = threading.Thread(target=_run_to_the_end, args=[worker.run], name="worker")
    working.start()
    # The server handles SIGTERM while it runs, and hands it on at its end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_api(installation, listening)
    except KeyboardInterrupt:
        pass  # this is how we are told to end
    finally:
        worker.drain()
        working.join()


def _run_to_the_end(work: Callable[[], None]) -> None:
    """Do ``work``; where it breaks off, end the service as well, so that nobody waits for what nobody does."""
    try:
        work()
    except BaseException:
        os.kill(os.getpid(), signal.SIGTERM)
        raise


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ended = main(sys.argv[1:])
    os._exit(ended)  # all is closed; taking the interpreter down in order would keep the command waiting
