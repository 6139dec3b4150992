"""A preloaded process that forks one child a request, so that heavy imports are paid once.

Reading CWL and running it need cwltool, whose import and schema cost half a second of CPU; a child of a
process that has both costs milliseconds. The server is started with a chosen environment (no credentials),
in a session of its own (a Ctrl-C at the terminal does not reach it), is single-threaded (so forking
is safe), and ends when the process that started it does. Its children may outlive it.

    client ── control socket: one byte and the child's end of a channel ──> server ── fork ──> child
    client <──────────── channel: length-prefixed JSON, both ways ───────────────────────────> child
"""

import argparse
import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import orjson

from stemma.records import Json

_LENGTH = struct.Struct("!I")
_OVER = object()
_IDLE_SECONDS = 0.25
"""How long no request comes before what is less likely to be needed is prepared."""
_PASSED_ON = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "DOCKER_HOST", "USER")
"""What of our environment the server may see: nothing in it is a secret."""


class ForkServerGone(Exception):
    """The server or the child does not answer."""


class Channel:
    """One end of the talk between a client and the child that serves it. A context manager that closes it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, message: Json) -> None:
        """Send one message.

        Raises:
            ForkServerGone: the other end is closed.
        """
        body = orjson.dumps(message)
        try:
            self._connection.sendall(_LENGTH.pack(len(body)) + body)
        except OSError as error:
            raise ForkServerGone(str(error)) from error

    def receive(self, timeout_seconds: float | None = None) -> Json:
        """The next message.

        Raises:
            ForkServerGone: the other end closed without one.
            TimeoutError: none came within ``timeout_seconds`` (for each part of it).
        """
        self._connection.settimeout(timeout_seconds)
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return orjson.loads(self._exactly(length))

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            try:
                part = self._connection.recv(min(count - len(parts), 1 << 20))
            except TimeoutError:
                raise
            except OSError as error:
                raise ForkServerGone(str(error)) from error
            if not part:
                raise ForkServerGone("the child ended without an answer")
            parts += part
        return bytes(parts)

    def close(self) -> None:
        """Close this end."""
        self._connection.close()


class ForkServer:
    """Starts the server on first use, and anew when it has died. Safe to use from several threads.

    ``target`` is ``module:function``; the function is called in the child with its end of the channel. Where the
    module has a generator ``preload``, its first step is done before the first fork, and the others as soon as no
    request waits.
    ``detached`` children lead a session (and so a process group) of their own.
    """

    def __init__(self, target: str, *, detached: bool = False) -> None:
        self._target = target
        self._detached = detached
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Start the server now rather than at the first request; returns before it is ready."""
        with self._lock:
            self._ensure()

    def request(self, message: Json) -> Channel:
        """Fork a child, send it ``message``, and return the channel to it.

        Raises:
            ForkServerGone: the server cannot be started.
        """
        for last in (False, True):
            ours, theirs = socket.socketpair()
            try:
                with self._lock:
                    socket.send_fds(self._ensure(), [b"x"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                self.close()
                if last:
                    raise ForkServerGone(f"{self._target}: {error}") from error
                continue
            finally:
                theirs.close()
            channel = Channel(ours)
            channel.send(message)
            return channel
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the server. Detached children go on."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None
            if self._process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(5)
                if self._process.returncode is None:
                    self._process.kill()
                    self._process.wait()
                self._process = None

    def _ensure(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        if self._control is not None:
            self._control.close()
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "stemma.forkserver", "--control", str(theirs.fileno()), self._target]
        if self._detached:
            command.append("--detached")
        environment = {
            name: value
            for name, value in os.environ.items()  # noqa: TID251 - filtered, to start a process with less
            if name in _PASSED_ON or name.startswith("LC_")
        }
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        self._control = ours
        return ours


def _serve(
    control: socket.socket, serve_one: Callable[[Channel], None], preparing: Iterator[None], *, detached: bool
) -> None:
    """Fork a child for each channel that comes, until the client is gone; go on preparing while none does."""

    def reap(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    signal.signal(signal.SIGCHLD, reap)
    is_prepared = False
    while True:
        while not is_prepared and not select.select([control], [], [], _IDLE_SECONDS)[0]:
            is_prepared = next(preparing, _OVER) is _OVER
            gc.freeze()
        byte, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not byte:
            return
        channel = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            control.close()
            _child(channel, serve_one, detached=detached)
        channel.close()


def _child(connection: socket.socket, serve_one: Callable[[Channel], None], *, detached: bool) -> None:
    """Serve one request and end, never returning into the server's loop."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if detached:
            os.setsid()
        serve_one(Channel(connection))
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the last frame of a process: nobody above could report it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Load what the children need, then serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--detached", action="store_true")
    parser.add_argument("target")
    arguments = parser.parse_args()
    module, _, function = arguments.target.partition(":")
    loaded = importlib.import_module(module)
    preparing: Iterator[None] = iter(getattr(loaded, "preload", tuple)())
    next(preparing, None)  # what the first request will most likely need
    gc.freeze()
    control = socket.socket(fileno=arguments.control)
    control.setblocking(True)  # noqa: FBT003 - the library's own signature
    _serve(control, getattr(loaded, function), preparing, detached=arguments.detached)
    os._exit(0)  # nothing is left to be tidied up, and doing so would keep the client waiting


if __name__ == "__main__":
    # As the module that its targets import, not as a twin of it whose exceptions nobody could catch by name.
    importlib.import_module("stemma.forkserver").main()
