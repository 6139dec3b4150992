"""A service that people start: the API in this process, a worker in a child that is started anew when it dies.

A worker whose parent is gone (SIGKILL) drains and ends: its runs go on by themselves, and the worker of the next
``stemma serve`` takes them up from their journals.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Final

from stemma.api.server import bind, run_api
from stemma.cli.announcement import announce, announced, withdraw
from stemma.cli.console import say
from stemma.database.preparation import prepare
from stemma.errors import Unavailable
from stemma.lifecycle.installation import open_installation
from stemma.settings import Settings

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0
"""A worker that lived so long starts anew without delay."""
_DRAIN_SECONDS: Final = 30.0


class PortTaken(Unavailable):
    """Somebody else listens there."""

    code, exit_code = "port-taken", 69

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port {port} of {host} is taken; choose another one with --port, or 0 for a free one")
        self.host, self.port = host, port


class WorkerKeeper:
    """Keeps one worker process alive until it is to end."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline, self._held = os.pipe()
        self._thread = threading.Thread(target=self._keep, name="worker-keeper")

    def start(self) -> None:
        """Start the worker; returns at once."""
        self._thread.start()

    def end(self) -> None:
        """Drain the worker and wait for it."""
        with self._lock:
            self._ending.set()
            if self._process is not None:
                with suppress(ProcessLookupError):
                    self._process.terminate()
        self._thread.join(_DRAIN_SECONDS)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
            self._thread.join()
        os.close(self._held)
        os.close(self._lifeline)

    def _keep(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while (process := self._started()) is not None:
            began = time.monotonic()
            code = process.wait()
            if self._ending.is_set():
                return
            pause = _FIRST_PAUSE_SECONDS if time.monotonic() - began > _STEADY_SECONDS else pause
            say(f"the worker ended ({_ending(code)}); starting another in {pause:g} s", style="yellow")
            if self._ending.wait(pause):
                return
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _started(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._ending.is_set():
                return None
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stemma.cli", "worker", "--lifeline", str(self._lifeline)],
                pass_fds=[self._lifeline],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for this process, which then drains the worker
            )
            return self._process


def run_service(settings: Settings, *, with_worker: bool) -> int:
    """Serve until Ctrl-C or SIGTERM; the exit code.

    Raises:
        PortTaken: somebody else listens there.
        Exposed: the address is not this machine alone, and the local issuer gives the tokens.
        SchemaUnfit, DatabaseUnavailable: the database will not do.
    """
    with _listening(settings) as listening:
        prepare(settings)
        port = listening.getsockname()[1]
        if port != settings.port:
            settings = settings.model_copy(update={"port": port})
        other = announced(settings.home)
        installation = open_installation(settings)
        keeper = WorkerKeeper() if with_worker else None
        url = f"http://{_shown_host(settings.host)}:{port}"
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends in order, as Ctrl-C does
        try:
            with suppress(KeyboardInterrupt):  # uvicorn, too, hands on the Ctrl-C that ended it
                if keeper is not None:
                    keeper.start()
                if other is None:
                    announce(settings.home, url)
                _welcome(settings, url, with_worker=with_worker)
                run_api(installation, listening)
        finally:
            withdraw(settings.home)
            if keeper is not None:
                keeper.end()
            installation.close()
            signal.signal(signal.SIGTERM, previous)
    say("ended; runs that were going on will be taken up at the next start" if with_worker else "ended")
    return 0


def _listening(settings: Settings) -> socket.socket:
    try:
        return bind(settings)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(settings.host, settings.port) from error
        raise Unavailable(f"cannot listen on port {settings.port} of {settings.host}: {error.strerror}") from error


def _shown_host(host: str) -> str:
    if host in {"127.0.0.1", "::1"}:
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _welcome(settings: Settings, url: str, *, with_worker: bool) -> None:
    say()
    say(f"  Stemma   {url}", style="bold")
    say(f"  API      {url}/docs   (Authorize: user_1, password_1)")
    say(f"  folder   {settings.home}")
    if not with_worker:
        say("  worker   none; start one with: stemma worker")
    say("  end      Ctrl-C")
    say()


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
