"""Remotes at servers that are really there: what is registered, tried, put, fetched, copied, and what becomes of it when
the credentials are wrong. Nothing of these is in any answer or log."""

import io
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Served, opened_installation, served_installation
from stemma.client import Attachment, Client, GivenToken
from stemma.errors import InvalidRequest, RemoteNotFound, SourceForbidden, SourceNotFound, StemmaError
from support.storages import PASSWORD, USER, WRONG, rclone_serving

BUCKET = "rain"
AT_ONCE = ("--vfs-write-back", "10ms")
"""These servers keep what they are sent aside for a while, and write it down then."""
KEYS = {"access_key_id": USER, "secret_access_key": PASSWORD}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the servers serve; a bucket is a folder in it."""
    made = tmp_path_factory.mktemp("elsewhere")
    (made / BUCKET / "2014").mkdir(parents=True)
    return made


@pytest.fixture(scope="module")
def ports(folder: Path) -> Iterator[dict[str, int]]:
    with rclone_serving("s3", folder, *AT_ONCE) as s3, rclone_serving("webdav", folder, *AT_ONCE) as webdav:
        yield {"s3": s3, "webdav": webdav}


@pytest.fixture(scope="module")
def service(ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    allowed = ", ".join(f"127.0.0.1:{port}" for port in ports.values())
    values = {"allow_private_hosts": allowed, "allow_plain_http": True}
    home = tmp_path_factory.mktemp("remotes-elsewhere")
    with opened_installation("sqlite", home, **values) as installation, served_installation(installation) as served:
        yield served


@pytest.fixture
def client(service: Served) -> Iterator[Client]:
    service.client_as("user_1").close()
    with Client(service.url, GivenToken(service.tokens["user_1"])) as made:
        yield made
        for remote in made.remotes.list():
            made.remotes.delete(remote.name, group=remote.group)


def add_s3(client: Client, ports: dict[str, int], name: str = "rain", secret: str = PASSWORD) -> None:
    settings = {"bucket": BUCKET, "endpoint": f"http://127.0.0.1:{ports['s3']}", "addressing": "path"}
    client.remotes.add(name, "s3", settings, {**KEYS, "secret_access_key": secret})


def add_webdav(client: Client, ports: dict[str, int], name: str = "cloud") -> None:
    settings = {"type": "webdav", "url": f"http://127.0.0.1:{ports['webdav']}/", "root": BUCKET}
    client.remotes.add(name, "rclone", settings, {"user": USER, "pass": PASSWORD})


def lies_at(path: Path, content: bytes) -> None:
    """Return when it does."""
    deadline = time.monotonic() + 30
    while not path.is_file() or path.read_bytes() != content:
        assert time.monotonic() < deadline, path
        time.sleep(0.05)


def test_files_when_they_go_through_a_bucket_and_a_webdav_server_then_are_what_they_were(
    client: Client, ports: dict[str, int], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    add_s3(client, ports)
    add_webdav(client, ports)
    content = os.urandom(9_000_000)
    put = client.remotes.put("rain", "2014/january 1.bin", Attachment("x", content))
    lies_at(folder / BUCKET / "2014" / "january 1.bin", content)
    copied = client.remotes.copy(("rain", "2014/january 1.bin"), ("cloud", "back/b.bin"))
    assert (copied.sha256, copied.size_bytes) == (put.sha256, len(content))
    lies_at(folder / BUCKET / "back" / "b.bin", content)
    for name, path in (("rain", "2014/january 1.bin"), ("cloud", "back/b.bin")):
        target = io.BytesIO()
        client.remotes.fetch(name, path, target)
        assert target.getvalue() == content
        tested = client.remotes.test(name)
        assert (tested.works, tested.problem) == (True, None)
        listed = {file.path: file.size_bytes for file in client.remotes.files(name).files}
        sizes = {"2014/january 1.bin": len(content), "back/b.bin": len(content)}
        assert listed.items() >= sizes.items()
        with pytest.raises(SourceNotFound):
            client.remotes.fetch(name, "none.bin", io.BytesIO())
    assert PASSWORD not in caplog.text


def test_login_when_the_credentials_were_wrong_then_it_works_with_the_right_ones(
    client: Client, ports: dict[str, int], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (folder / BUCKET / "a.txt").write_bytes(b"abc")
    add_s3(client, ports, "wrong", WRONG)
    tested = client.remotes.test("wrong", path="a.txt")
    assert (tested.works, tested.raw["problem_code"]) == (False, SourceForbidden.code)
    with pytest.raises(SourceForbidden):
        client.remotes.put("wrong", "b.txt", Attachment("b", b"abc"))
    client.remotes.change("wrong", credentials=KEYS)
    assert client.remotes.test("wrong", path="a.txt").works
    client.remotes.change("wrong", credentials={**KEYS, "secret_access_key": WRONG})
    assert not client.remotes.test("wrong", path="a.txt").works
    assert WRONG not in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("s3", {"bucket": BUCKET, "endpoint": "http://127.0.0.1:1"}),
        ("s3", {"bucket": BUCKET, "endpoint": "https://169.254.169.254"}),
        ("https", {"url": "https://localhost/"}),
        ("https", {"url": "https://user:x@data.example.org/"}),
        ("rclone", {"type": "webdav", "url": "http://10.0.0.1/"}),
        ("rclone", {"type": "sftp", "host": "127.0.0.1", "user": "x", "host_keys": "127.0.0.1 ssh-ed25519 AAAA"}),
        ("rclone", {"type": "local"}),
        ("rclone", {"type": "alias", "root": "/etc"}),
        ("file", {"path": "/etc"}),
    ],
)
def test_add_when_it_leads_where_nobody_may_ask_then_refused(
    client: Client, kind: str, settings: dict[str, str]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.remotes.add("odd", kind, settings)
    assert isinstance(caught.value, StemmaError)
    with pytest.raises(RemoteNotFound):
        client.remotes.get("odd")


def test_copy_when_the_target_refuses_half_way_then_says_why_and_the_source_stays(
    client: Client, ports: dict[str, int], folder: Path
) -> None:
    add_s3(client, ports)
    add_s3(client, ports, "wrong", WRONG)
    (folder / BUCKET / "c.bin").write_bytes(os.urandom(3_000_000))
    with pytest.raises(SourceForbidden):
        client.remotes.copy(("rain", "c.bin"), ("wrong", "d.bin"))
    assert not (folder / BUCKET / "d.bin").exists()
    assert client.remotes.test("rain", path="c.bin").works
