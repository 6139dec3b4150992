"""One rclone for this process: it listens on a socket in a folder of ours, and keeps what it is told in memory alone.

It gets no environment of ours, no configuration file and no name or address that a user wrote: remotes are made by
calls, under names that we choose. Its own words are never passed on, since they show what it was told.
"""

import shutil
import socket
import ssl
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpcore
import orjson

from stemma.errors import SourceUnavailable
from stemma.records import Json
from stemma.storages import rclone_guardian
from stemma.storages.addresses import Policy
from stemma.storages.gate import Gate, Pass
from stemma.storages.outgoing import Outgoing

CONNECTIONS: Final = 128
_START_SECONDS: Final = 15.0
CALL_SECONDS: Final = 600.0
_YEAR: Final = "8760h"
_HOST: Final = b"rclone"


class Answered:
    """What rclone answers to a call."""

    def __init__(self, status: int, value: Json) -> None:
        self.status = status
        self.value = value

    @property
    def error(self) -> str | None:
        """What went wrong, in its words: to find out what it means, not to be shown."""
        if self.status == 200:  # noqa: PLR2004 - all is well
            return None
        return str(self.value.get("error", "")) if isinstance(self.value, dict) else ""


class TooLong(Exception):
    """Its answer is longer than may be."""


class RcloneDaemon:
    """The rclone of a process, started when it is first called. Used by several threads at once."""

    def __init__(self, outgoing: Outgoing, gate: Gate) -> None:
        self.gate = gate
        self._outgoing = outgoing
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._pool: httpcore.ConnectionPool | None = None
        self._way: Pass | None = None
        self._ways: dict[tuple[str, int, int], Pass] = {}
        self.generation = 0
        """Counts the starts: what an earlier one was told is gone."""

    def call(
        self,
        command: str,
        parameters: Mapping[str, Json],
        *,
        most_bytes: int = 1024 * 1024,
        seconds: float = CALL_SECONDS,
    ) -> Answered:
        """Do ``command``, and give it up after so long: then rclone does too. It answers all at once.

        Raises:
            SourceUnavailable: rclone does not answer.
            TooLong: it answers more than ``most_bytes``.
        """
        headers = {"Content-Type": "application/json"}
        content = orjson.dumps(dict(parameters))
        asked = self.asked("POST", f"/{command}", headers, [content], length=len(content), seconds=seconds)
        with asked as response:
            read = bytearray()
            with _telling():
                for part in response.iter_stream():
                    read += part
                    if len(read) > most_bytes:
                        raise TooLong
            try:
                return Answered(response.status, orjson.loads(read))
            except orjson.JSONDecodeError as error:
                raise SourceUnavailable("a remote", "rclone does not answer as it should") from error

    @contextmanager
    def asked(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: Iterable[bytes] | None = None,
        *,
        length: int | None = None,
        seconds: float = CALL_SECONDS,
    ) -> Iterator[httpcore.Response]:
        """Its answer to a request, before its body is read."""
        pool = self._running()
        sized = {} if length is None else {"Content-Length": str(length)}
        request = httpcore.Request(
            method,
            httpcore.URL(scheme=b"http", host=_HOST, port=None, target=path.encode("ascii")),
            headers=list({"Host": "rclone", **headers, **sized}.items()),
            content=content,
            extensions={"timeout": {"connect": _START_SECONDS, "read": seconds, "write": seconds, "pool": seconds}},
        )
        with _telling():
            response = pool.handle_request(request)
        try:
            yield response
        finally:
            response.close()

    @property
    def policy(self) -> Policy:
        """Whom it may ask."""
        return self._outgoing.policy

    def ready(self) -> int:
        """How often it was started, after this time if it did not run.

        Raises:
            SourceUnavailable: it does not start.
        """
        self._running()
        return self.generation

    def way_to(self, host: str, port: int, *, usual_port: int) -> str:
        """The proxy that leads to a server that is not one of the web; the same for all who ask for it."""
        with self._guard:
            key = (host, port, usual_port)
            if key not in self._ways:
                self._ways[key] = self.gate.bare_way(host, port, usual_port=usual_port)
            return self._ways[key].url

    def close(self) -> None:
        """End it."""
        with self._guard:
            self._end()
            for way in self._ways.values():
                way.end()
            self._ways.clear()

    def _running(self) -> httpcore.ConnectionPool:
        """The connections to it; it is started where it does not run."""
        with self._guard:
            if self._pool is not None and self._process is not None and self._process.poll() is None:
                return self._pool
            self._end()
            self._folder = Path(tempfile.mkdtemp(prefix="stemma-rclone-"))
            self._way = self.gate.way()
            self._process = self._started(self._folder, self._way)
            self._pool = httpcore.ConnectionPool(
                uds=str(self._folder / "socket"), max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS
            )
            self.generation += 1
            return self._pool

    def _started(self, folder: Path, way: Pass) -> "subprocess.Popen[bytes]":
        rclone = _program()
        place, ready = folder / "socket", time.monotonic() + _START_SECONDS
        options = [
            "rcd", "--config", "", "--rc-addr", f"unix://{place}", "--rc-no-auth", "--rc-serve",
            "--rc-server-read-timeout", _YEAR, "--rc-server-write-timeout", _YEAR, "--temp-dir", str(folder),
            "--cache-dir", str(folder / "cache"), "--low-level-retries", "3", "--retries", "1", "--contimeout", "15s",
            "--timeout", f"{max(1, round(self._outgoing.silence_seconds))}s", "--log-level", "EMERGENCY",
        ]  # fmt: skip
        if self._outgoing.ca_file is not None:
            options += ["--ca-cert", str(_believed(folder, self._outgoing.ca_file))]
        # The proxy stands in the environment: whoever may list processes sees their arguments.
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "RCLONE_HTTP_PROXY": way.url}
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", rclone_guardian.__file__, str(folder), rclone, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        while not _listens(place):
            if process.poll() is not None or time.monotonic() > ready:
                _over(process)
                raise SourceUnavailable("a remote", "rclone does not start")
            time.sleep(0.01)
        return process

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.close()
        if self._process is not None:
            _over(self._process)
        if self._way is not None:
            self._way.end()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._pool = self._process = self._folder = self._way = None


def _listens(place: Path) -> bool:
    """Whether somebody listens at a socket: its name is there a moment before."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(place))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _over(process: "subprocess.Popen[bytes]") -> None:
    """End the guardian, and rclone with it."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _program() -> str:
    """Where rclone is: beside Python, as its package puts it there, or on the path."""
    beside = Path(sysconfig.get_path("scripts")) / "rclone"
    found = str(beside) if beside.is_file() else shutil.which("rclone")
    if found is None:
        raise SourceUnavailable("a remote", "rclone is not installed here")
    return found


def _believed(folder: Path, own: Path) -> Path:
    """The certificates of the system and our own, in one file."""
    system = ssl.get_default_verify_paths().cafile
    file = folder / "certificates.pem"
    parts = [Path(system).read_text()] if system and Path(system).is_file() else []
    file.write_text("\n".join([*parts, own.read_text()]))
    return file


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
        raise SourceUnavailable("a remote", "rclone does not answer, or breaks off") from error
