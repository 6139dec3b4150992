"""A service of our own, for one command: started in a child process, spoken to over HTTP, ended with the command.

The socket that it listens on is made here, so that its address is known at once and requests wait in the queue
until it is ready. It ends when the pipe from here is closed, which happens even when this process is killed.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from stemma.errors import StemmaError, Unavailable

_END_SECONDS: Final = 15.0
_LOOPBACK: Final = "127.0.0.1"


class ServiceDidNotStart(Unavailable):
    """The service of our own ended before its work was done."""

    code = "service-did-not-start"


class ServiceRefused(StemmaError):
    """The service of our own said why it cannot start."""

    code, exit_code = "service-refused", 78


@contextlib.contextmanager
def started() -> Iterator[str]:
    """The address of a service on this data folder, for as long as the context lasts.

    Raises:
        ServiceRefused, ServiceDidNotStart: it could not do its work.
    """
    with socket.create_server((_LOOPBACK, 0), backlog=128) as listening:
        url = f"http://{_LOOPBACK}:{listening.getsockname()[1]}"
        lifeline, ours = os.pipe()
        told, words = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "stemma.cli.embedded_service", str(listening.fileno()), str(lifeline), str(words)],
            pass_fds=[listening.fileno(), lifeline, words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for this process, which then ends the other in order
        )
        os.close(lifeline)
        os.close(words)
    try:
        yield url
    except Unavailable as error:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
        if process.returncode is not None:
            raise _explained(told, process.returncode) from error
        raise
    finally:
        os.close(ours)
        os.close(told)
        _end(process)


def _explained(told: int, returncode: int) -> StemmaError:
    """Why the child ended, in its own words."""
    words = os.read(told, 1 << 16).decode()
    if words:
        reason = json.loads(words)
        return ServiceRefused(reason["message"])
    return ServiceDidNotStart(f"the service on this data folder ended unexpectedly (exit code {returncode})")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the child, which ends since its lifeline is closed."""
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
