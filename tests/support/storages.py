"""Places elsewhere, one of each kind: real servers on loopback that serve a folder, and storages that ask them."""

import contextlib
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stemma.settings import Settings
from stemma.storages.local import FileRoot
from stemma.storages.opening import Opening, open_storage
from stemma.storages.outgoing import Outgoing
from stemma.storages.protocol import RemoteSettings, Storage
from support.cutting import Cutter, cutting

USER, PASSWORD = "keeper-of-data", "the-secret-of-the-keeper"
WRONG = "not-the-secret-of-anybody"
REMOTE = "place"
_START_SECONDS = 30.0


def rclone() -> str:
    """The program."""
    return str(Path(sysconfig.get_path("scripts")) / "rclone")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, **environment: str) -> Iterator[int]:
    """A server that ``command`` starts, once it listens."""
    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}  # noqa: TID251 - for programs
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=known | environment)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert process.poll() is None, command
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline, command
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def rclone_serving(what: str, folder: Path, *options: str) -> Iterator[int]:
    """``rclone serve``: s3, http, webdav, ftp or sftp; the port that it listens on."""
    port = free_port()
    login = {"s3": ["--auth-key", f"{USER},{PASSWORD}"]}.get(what, ["--user", USER, "--pass", PASSWORD])
    fresh = ["--dir-cache-time", "0s", "--vfs-cache-mode", "writes", "--cache-dir", f"{folder}.cache"]
    command = [rclone(), "serve", what, "--config", "", "--addr", f"127.0.0.1:{port}", *login, *fresh, *options]
    with running([*command, str(folder)], port) as listening:
        yield listening


def versitygw() -> str:
    """Another S3 server: ``go install github.com/versity/versitygw/cmd/versitygw@v1.8.0``."""
    named = os.environ.get("STEMMA_TEST_VERSITYGW")  # noqa: TID251 - of the tests alone
    found = named or shutil.which("versitygw") or shutil.which("versitygw", path=str(Path.home() / "go" / "bin"))
    if found is None:
        if os.environ.get("CI"):  # noqa: TID251 - in CI nothing may be skipped
            pytest.fail("versitygw is not installed")
        pytest.skip("versitygw is not installed")
    return found


@contextmanager
def versitygw_serving(folder: Path) -> Iterator[int]:
    port = free_port()
    command = [versitygw(), "--port", f"127.0.0.1:{port}", "--keep-alive", "posix", str(folder)]
    with running(command, port, ROOT_ACCESS_KEY=USER, ROOT_SECRET_KEY=PASSWORD) as listening:
        yield listening


@dataclass
class Place:
    """A place elsewhere, and how it is reached."""

    kind: str
    folder: Path
    """What it serves, as it lies on this machine."""
    base: str
    """Addresses begin with it."""
    settings: dict[str, str]
    secrets: dict[str, str]
    opening: Opening
    wrong: dict[str, str] = field(default_factory=dict)
    """Secrets that it does not accept; empty where it wants none."""
    is_writable: bool = True
    takes_files_put_aside: bool = True
    """Whether files that lie in its folder are there for it."""
    cutter: Cutter | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def storage(self, **secrets: str) -> Storage:
        """A storage, with its secrets or others."""
        return open_storage(self.remote(**secrets), self.base, self.opening)

    def remote(self, **secrets: str) -> RemoteSettings:
        kind = self.kind.partition("-")[0]
        return RemoteSettings(REMOTE, kind, self.settings, {**self.secrets, **secrets})

    def put(self, path: str, content: bytes) -> None:
        """Let a file lie there."""
        if self.takes_files_put_aside:
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            aside = file.with_name(f"{file.name}.aside")
            aside.write_bytes(content)
            aside.rename(file)
        else:
            storage = self.storage()
            storage.write(f"{self.base}{path}", iter([content]), len(content))
            storage.close()


def _bucket(port: int, **more: str) -> dict[str, str]:
    return {"bucket": "bucket", "endpoint": f"http://127.0.0.1:{port}", **more}


_S3 = {"access_key_id": USER, "secret_access_key": PASSWORD}


@contextmanager
def place(kind: str, folder: Path) -> Iterator[Place]:
    """A place of one of :data:`KINDS`, with nothing in it."""
    with ExitStack() as stack:
        yield _MAKERS[kind](kind, folder, stack)


def _opening(stack: ExitStack, *ports: int, roots: tuple[FileRoot, ...] = (), **values: Any) -> Opening:
    private = ",".join(f"127.0.0.1:{port}" for port in ports)
    settings = Settings(_env_file=None, allow_private_hosts=private, allow_plain_http=True, **values)
    opening = Opening(Outgoing(settings), file_roots=roots)
    stack.callback(opening.close)
    return opening


def _file(kind: str, folder: Path, stack: ExitStack) -> Place:
    folder.mkdir()
    opening = _opening(stack, roots=(FileRoot(folder, is_writable=True),))
    return Place(kind, folder, f"file://{folder}/", {"path": str(folder)}, {}, opening)


def _s3(kind: str, folder: Path, stack: ExitStack) -> Place:
    (folder / "bucket").mkdir(parents=True)
    is_rclone = kind == "s3-rclone"
    port = stack.enter_context(rclone_serving("s3", folder) if is_rclone else versitygw_serving(folder))
    cutter = stack.enter_context(cutting(port))
    return Place(
        kind, folder / "bucket", "s3://bucket/", _bucket(cutter.port), dict(_S3), _opening(stack, cutter.port),
        wrong={"secret_access_key": WRONG}, takes_files_put_aside=is_rclone, cutter=cutter,
    )  # fmt: skip


def _web(what: str) -> Callable[[str, Path, ExitStack], Place]:
    def made(kind: str, folder: Path, stack: ExitStack) -> Place:
        folder.mkdir()
        cutter = stack.enter_context(cutting(stack.enter_context(rclone_serving(what, folder))))
        url, opening = f"http://127.0.0.1:{cutter.port}/", _opening(stack, cutter.port)
        names = ("username", "password") if kind.startswith("https") else ("user", "pass")
        secrets, wrong = dict(zip(names, (USER, PASSWORD), strict=True)), {names[1]: WRONG}
        if kind.startswith("https"):
            return Place(kind, folder, url, {"url": url}, secrets, opening, wrong, what == "webdav", cutter=cutter)
        settings = {"type": what, "url": url}
        if what == "http":  # that type has no login of its own
            folder.rmdir()
            return _open_http(kind, folder, stack)
        return Place(kind, folder, f"rclone:{REMOTE}/", settings, secrets, opening, wrong, cutter=cutter)

    return made


def _open_http(kind: str, folder: Path, stack: ExitStack) -> Place:
    folder.mkdir()
    port = free_port()
    command = [rclone(), "serve", "http", "--config", "", "--addr", f"127.0.0.1:{port}", "--dir-cache-time", "0s"]
    stack.enter_context(running([*command, str(folder)], port))
    cutter = stack.enter_context(cutting(port))
    settings = {"type": "http", "url": f"http://127.0.0.1:{cutter.port}/"}
    opening = _opening(stack, cutter.port)
    return Place(kind, folder, f"rclone:{REMOTE}/", settings, {}, opening, is_writable=False, cutter=cutter)


def _sftp(kind: str, folder: Path, stack: ExitStack) -> Place:
    folder.mkdir()
    key = folder.with_name("host_key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    cutter = stack.enter_context(cutting(stack.enter_context(rclone_serving("sftp", folder, "--key", str(key)))))
    shown = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    settings = {"type": "sftp", "host": "127.0.0.1", "port": str(cutter.port), "user": USER, "host_keys": shown}
    opening = _opening(stack, cutter.port)
    return Place(
        kind, folder, f"rclone:{REMOTE}/", settings, {"pass": PASSWORD}, opening, {"pass": WRONG}, cutter=cutter
    )


_MAKERS: Mapping[str, Callable[[str, Path, ExitStack], Place]] = {
    "file": _file,
    "s3-rclone": _s3,
    "s3-versitygw": _s3,
    "https-webdav": _web("webdav"),
    "https-http": _web("http"),
    "rclone-webdav": _web("webdav"),
    "rclone-http": _open_http,
    "rclone-sftp": _sftp,
}
KINDS = tuple(_MAKERS)
