"""A MariaDB server of a test's own, which may be stopped and started again."""

import getpass
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_PATIENCE_SECONDS = 60.0


@dataclass
class MariaDb:
    """A server with its data in ``folder``."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of its empty database, as SQLAlchemy names it."""
        return f"mysql+mysqldb://stemma:stemma@127.0.0.1:{self.port}/stemma"

    def install(self) -> None:
        """Make the data folder, a user and a database."""
        subprocess.run(
            ["mariadb-install-db", *self._user, f"--datadir={self.folder / 'data'}",
             "--auth-root-authentication-method=normal"],
            check=True, capture_output=True,
        )  # fmt: skip
        self.start()
        statements = (
            "CREATE DATABASE stemma CHARACTER SET utf8mb4; CREATE USER 'stemma'@'%' IDENTIFIED BY 'stemma', "
            "'stemma'@'localhost' IDENTIFIED BY 'stemma'; GRANT ALL ON *.* TO 'stemma'@'%', 'stemma'@'localhost'"
        )
        command = ["mariadb", f"--socket={self._socket}", "-uroot", "-e", statements]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["mariadbd", "--no-defaults", *self._user, f"--datadir={self.folder / 'data'}",
                 f"--socket={self._socket}", f"--port={self.port}", "--bind-address=127.0.0.1"],
                stdout=log, stderr=log,
            )  # fmt: skip
        ping = ["mariadb-admin", f"--socket={self._socket}", "-uroot", "ping"]
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while subprocess.run(ping, capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(_PATIENCE_SECONDS)
            self.process = None

    def freeze(self) -> None:
        """Let it fall silent, with its connections open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    @property
    def _user(self) -> list[str]:
        return ["--user=mysql"] if os.getuid() == 0 else [f"--user={getpass.getuser()}"]


@contextmanager
def mariadb(folder: Path) -> Iterator[MariaDb]:
    """A running server; the test is skipped where MariaDB or its driver is missing, and fails for that in CI."""
    if shutil.which("mariadbd") is None or importlib.util.find_spec("MySQLdb") is None:
        if os.environ.get("CI"):  # noqa: TID251 - in CI nothing may be skipped
            pytest.fail("MariaDB or mysqlclient is not installed: in CI this test must run")
        pytest.skip("MariaDB or mysqlclient is not installed")
    folder.mkdir()
    if os.getuid() == 0:
        shutil.chown(folder, "mysql")
        for parent in folder.parents:  # the server is not root, and pytest's folders are for their owner alone
            if not parent.stat().st_mode & 0o001 and parent.owner() == "root":
                parent.chmod(parent.stat().st_mode | 0o011)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = MariaDb(folder, port)
    try:
        server.install()
        yield server
    finally:
        server.stop()
