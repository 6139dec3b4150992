"""The rclone of a process: what it sees of us, and how it ends."""

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from stemma.errors import SourceForbidden, SourceNotFound, SourceUnavailable, SourceUnusable
from stemma.settings import Settings
from stemma.storages import haste
from stemma.storages.gate import Gate
from stemma.storages.opening import Opening, open_storage
from stemma.storages.outgoing import Outgoing
from stemma.storages.protocol import RemoteSettings
from stemma.storages.rclone_daemon import RcloneDaemon, _listens
from stemma.storages.rclone_remotes import refusal_of
from support.speaking import speaking
from support.storages import place

WAIT_SECONDS = 20


@pytest.fixture
def daemon():
    outgoing = Outgoing(Settings(_env_file=None))
    gate = Gate(outgoing)
    made = RcloneDaemon(outgoing, gate)
    yield made
    made.close()
    gate.close()


def gone(process):
    try:
        process.wait(WAIT_SECONDS)
    except psutil.TimeoutExpired:
        return False
    return True


def family(daemon):
    """The guardian, and rclone itself."""
    guardian = psutil.Process(daemon._process.pid)
    deadline = time.monotonic() + WAIT_SECONDS
    while not (children := guardian.children()) or "rclone" not in children[0].name():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return guardian, children[0]


def test_daemon_when_not_called_then_not_started(daemon):
    assert daemon._process is None
    assert daemon.generation == 0


def test_daemon_when_called_then_it_knows_nothing_of_us_and_nobody_else_reaches_it(daemon, monkeypatch):
    monkeypatch.setenv("RCLONE_CONFIG_EVIL_TYPE", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    assert (
        daemon.call("config/listremotes", {}).value == {"remotes": None}
        or not daemon.call("config/listremotes", {}).value["remotes"]
    )
    _, rclone = family(daemon)
    assert set(rclone.environ()) <= {"PATH", "HOME", "RCLONE_HTTP_PROXY", "LC_CTYPE"}
    assert daemon._way.token not in " ".join(rclone.cmdline())
    assert [one for one in rclone.net_connections("inet") if one.status == psutil.CONN_LISTEN] == []
    folder = daemon._folder
    assert folder.stat().st_mode & 0o777 == 0o700
    daemon.close()
    assert not folder.exists()


def test_daemon_when_it_was_killed_then_another_one_answers(daemon):
    first = daemon.ready()
    guardian, rclone = family(daemon)
    rclone.kill()
    assert gone(guardian)
    assert daemon.call("rc/noop", {"a": 1}).value == {"a": 1}
    assert daemon.generation == first + 1


def test_daemon_when_its_guardian_is_killed_then_it_ends_too(daemon):
    daemon.ready()
    guardian, rclone = family(daemon)
    guardian.kill()
    assert gone(rclone)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_daemon_when_the_process_that_wants_it_is_killed_then_it_ends(how):
    code = (
        "import time\n"
        "from stemma.settings import Settings\n"
        "from stemma.storages.gate import Gate\n"
        "from stemma.storages.outgoing import Outgoing\n"
        "from stemma.storages.rclone_daemon import RcloneDaemon\n"
        "outgoing = Outgoing(Settings(_env_file=None))\n"
        "daemon = RcloneDaemon(outgoing, Gate(outgoing))\n"
        "daemon.ready()\n"
        "print(daemon._process.pid, daemon._folder, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        guardian, folder = process.stdout.readline().split()
        whole = [psutil.Process(int(guardian)), *psutil.Process(int(guardian)).children()]
        process.send_signal(how)
    assert all(gone(one) for one in whole)
    assert not Path(folder).exists()


def test_daemon_when_rclone_is_not_there_then_unavailable(daemon, monkeypatch):
    monkeypatch.setattr("stemma.storages.rclone_daemon._program", lambda: "/nowhere/rclone")
    with pytest.raises(SourceUnavailable):
        daemon.ready()


def test_storage_when_rclone_was_killed_in_between_then_it_is_told_anew(tmp_path):
    with place("rclone-webdav", tmp_path / "served") as there:
        there.put("file.txt", b"hello")
        storage = there.storage()
        assert storage.info(f"{there.base}file.txt").size_bytes == 5
        guardian, rclone = family(there.opening.rclone())
        rclone.kill()
        assert gone(guardian)
        assert storage.info(f"{there.base}file.txt").size_bytes == 5
        storage.close()


def test_storage_when_the_host_key_is_another_then_unusable(tmp_path):
    with place("rclone-sftp", tmp_path / "served") as there:
        other = tmp_path / "other"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
        there.settings["host_keys"] = " ".join(Path(f"{other}.pub").read_text().split()[:2])
        storage = there.storage()
        with pytest.raises(SourceUnusable, match="host key"):
            storage.info(f"{there.base}file.txt")
        storage.close()


def test_storage_when_the_server_redirects_to_a_private_address_then_nothing_goes_there(tmp_path):
    from support.scripted_http import Answered, scripted

    with scripted(lambda _: Answered(body=b"stolen")) as other:
        away = {"Location": f"{other.url}/file.txt"}
        with scripted(lambda _: Answered(302, headers=away)) as server:
            host = server.url.partition("//")[2]
            opening = Opening(Outgoing(Settings(_env_file=None, allow_private_hosts=host, allow_plain_http=True)))
            remote = RemoteSettings("r", "rclone", {"type": "http", "url": server.url, "no_head": "true"})
            storage = open_storage(remote, "rclone:r/", opening)
            refused = pytest.raises((SourceNotFound, SourceForbidden, SourceUnavailable))
            with refused, storage.read("rclone:r/file.txt", version="") as chunks:
                list(chunks)
            storage.close()
            opening.close()
            assert server.asked
    assert other.asked == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("object not found", SourceNotFound), ("directory not found", SourceNotFound), ("401 Unauthorized", SourceForbidden),
        ("ssh: unable to authenticate, attempted methods [none password]", SourceForbidden),
        ("dial tcp 10.0.0.1: connect: connection refused", SourceUnavailable), ("", SourceUnavailable),
        ("NewFs: known_hosts: key mismatch", SourceUnusable), ("405 Method Not Allowed", SourceUnusable),
    ],
)  # fmt: skip
def test_refusal_when_rclone_says_something_then_its_meaning_and_not_its_words(text, error):
    refused = refusal_of(f"{text} secret-of-somebody", "x")
    assert type(refused) is error
    assert "secret" not in f"{refused} {refused.__dict__}"


def test_guardian_when_it_is_not_wanted_then_it_ends_what_it_started(tmp_path):
    from stemma.storages import rclone_guardian

    folder = tmp_path / "folder"
    (folder / "with").mkdir(parents=True)
    command = [sys.executable, "-I", "-S", rclone_guardian.__file__, str(folder), "/bin/sleep", "600"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + WAIT_SECONDS
        while not (children := psutil.Process(process.pid).children()):
            assert time.monotonic() < deadline
        process.stdin.close()
        assert process.wait(WAIT_SECONDS) == 0
    assert gone(children[0])
    assert not folder.exists()


@pytest.mark.parametrize(
    "deed",
    [lambda storage: storage.info("rclone:r/k"), lambda storage: list(storage.list("rclone:r/", limit=5))],
    ids=["info", "list"],
)
def test_look_when_the_server_of_a_remote_drips_then_over_in_time_and_its_connection_with_it(deed):
    head = b"HTTP/1.1 207 Multi-Status\r\nContent-Type: application/xml\r\nContent-Length: 9000\r\n\r\n"
    gone = threading.Event()
    with speaking(head, *[b" "] * 9000, pause=0.05, on_gone=gone.set) as host:
        opening = Opening(Outgoing(Settings(_env_file=None, allow_private_hosts=host, allow_plain_http=True)))
        remote = RemoteSettings("r", "rclone", {"type": "webdav", "url": f"http://{host}/"}, {})
        storage = open_storage(remote, "rclone:r/", opening)
        opening.rclone().ready()
        started = time.monotonic()
        with pytest.raises(SourceUnavailable), haste.over_by(started + 2):
            deed(storage)
        assert time.monotonic() - started < 15
        assert gone.wait(15)
        storage.close()
        opening.close()


def test_rclone_when_its_socket_has_a_name_and_nobody_listens_yet_then_it_is_not_asked(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        assert not _listens(tmp_path / "socket")
        server.bind(str(tmp_path / "socket"))
        assert not _listens(tmp_path / "socket")
        server.listen()
        assert _listens(tmp_path / "socket")
