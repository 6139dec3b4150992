"""What may be said of a remote, and what opening one loads and asks."""

import json
import subprocess
import sys

import pytest

from stemma.errors import AddressRefused, InvalidRequest, SourceUnusable
from stemma.settings import Settings
from stemma.storages.kinds import KINDS, RCLONE_TYPES, check_remote
from stemma.storages.opening import Opening, open_storage
from stemma.storages.outgoing import Outgoing
from stemma.storages.protocol import RemoteSettings

GOOD = {
    "https": ({"url": "https://data.example.org/in/"}, {"token": "abc"}),
    "s3": ({"bucket": "b", "endpoint": "https://s3.example.org"}, {"access_key_id": "a", "secret_access_key": "s"}),
    "gs": ({"bucket": "b"}, {"service_account_key": json.dumps({"private_key": "k", "client_email": "e"})}),
    "az": ({"container": "c", "account": "a"}, {"sas_token": "sv=1&sig=x"}),
    "file": ({"path": "/data"}, {}),
}
SFTP = {"type": "sftp", "host": "sftp.example.org", "user": "me", "host_keys": "ssh-ed25519 AAAA"}


@pytest.fixture
def opening():
    made = Opening(Outgoing(Settings(_env_file=None)))
    yield made
    made.close()


def remote(kind, settings, secrets=None, name="place"):
    return RemoteSettings(name, kind, settings, secrets or {})


@pytest.mark.parametrize("kind", GOOD)
def test_check_when_all_is_well_then_nothing(kind):
    check_remote(remote(kind, *GOOD[kind]))


def test_check_when_rclone_then_its_types_are_taken():
    check_remote(remote("rclone", SFTP, {"pass": "p"}))
    check_remote(remote("rclone", {"type": "webdav", "url": "https://dav.example.org"}, {"user": "u", "pass": "p"}))


@pytest.mark.parametrize("name", ["--config", "", "-x", "a b", "a:b", ":local:", "../x", "a/b", "x" * 65, "é", "a\n"])
def test_check_when_the_name_is_odd_then_refused(name):
    with pytest.raises(InvalidRequest):
        check_remote(remote("file", {"path": "/data"}, name=name))


@pytest.mark.parametrize("kind", ["local", "memory", "", "S3", "rclone:"])
def test_check_when_there_is_no_such_kind_then_refused(kind):
    with pytest.raises(InvalidRequest):
        check_remote(remote(kind, {}))


@pytest.mark.parametrize(
    "type_",
    ["local", "alias", "union", "combine", "crypt", "chunker", "cache", "compress", "hasher", "memory", "archive", "x"],
)
def test_check_when_the_type_of_rclone_leads_to_others_or_to_this_machine_then_refused(type_):
    with pytest.raises(InvalidRequest):
        check_remote(remote("rclone", {"type": type_, "remote": "/etc"}))


@pytest.mark.parametrize(
    "more",
    [
        {"ssh": "touch /tmp/x"}, {"key_file": "/etc/shadow"}, {"known_hosts_file": "/etc/passwd"}, {"md5sum_command": "id"},
        {"server_command": "id"}, {"key_use_agent": "true"}, {"set_env": "A=B"}, {"socks_proxy": "10.0.0.1:1"},
        {"http_proxy": "http://10.0.0.1"}, {"description": "x"}, {"encoding": "None"}, {"pin_host_key": "true"},
        {"root": "../x"}, {"root": "a]b"}, {"root": "x:y"}, {"port": "0"}, {"port": "65536"}, {"port": "22 "}, {"host": "a b"},
        {"host": "-oProxyCommand=id"},
    ],
)  # fmt: skip
def test_check_when_sftp_is_told_what_runs_or_reads_something_here_then_refused(more):
    with pytest.raises(InvalidRequest):
        check_remote(remote("rclone", {**SFTP, **more}, {"pass": "p"}))


@pytest.mark.parametrize(
    ("type_", "more"),
    [
        ("webdav", {"bearer_token_command": "id"}), ("webdav", {"unix_socket": "/run/x"}), ("webdav", {"headers": "a,b"}),
        ("drive", {"service_account_file": "/etc/x"}), ("drive", {"auth_url": "http://10.0.0.1"}), ("drive", {"env_auth": "true"}),
        ("box", {"box_config_file": "/etc/x"}), ("onedrive", {"tenant_url": "http://10.0.0.1"}), ("b2", {"endpoint": "http://10.0.0.1"}),
        ("smb", {"kerberos_ccache": "/etc/x"}), ("swift", {"env_auth": "true"}), ("dropbox", {"token_url": "http://10.0.0.1"}),
    ],
)  # fmt: skip
def test_types_when_compared_then_none_takes_what_leads_elsewhere(type_, more):
    assert not set(more) & (RCLONE_TYPES[type_].settings | RCLONE_TYPES[type_].secrets)


def test_types_when_compared_with_rclone_itself_then_all_names_are_known_there():
    from support.storages import rclone

    told = subprocess.run([rclone(), "config", "providers", "--config", ""], capture_output=True, check=True)
    known = {one["Name"]: {option["Name"] for option in one["Options"]} for one in json.loads(told.stdout)}
    for name, kind in RCLONE_TYPES.items():
        assert kind.settings | kind.secrets | set(kind.fixed) <= known[name], name


@pytest.mark.parametrize(
    ("kind", "settings", "secrets"),
    [
        ("https", {}, {}), ("https", {"url": "https://u:pw-x@e.org/"}, {}), ("https", {"url": "https://e.org/?key=pw-x"}, {}),
        ("https", {"url": "file:///etc"}, {}), ("https", {"url": "https://e.org"}, {"username": "pw-x"}),
        ("https", {"url": "https://e.org"}, {"token": "pw-x\r\nHost: evil"}), ("https", {"url": "https://e.org"}, {"pw": "pw-x"}),
        ("s3", {"bucket": "../x"}, {}), ("s3", {"bucket": "b", "endpoint": "10.0.0.1"}, {}), ("s3", {"bucket": ""}, {}),
        ("s3", {"bucket": "b"}, {"access_key_id": "pw-x"}), ("s3", {"bucket": "b", "prefix": "a/../b"}, {}),
        ("s3", {"bucket": "b", "metadata_endpoint": "http://10.0.0.1"}, {}), ("s3", {"bucket": "b", "etag": "sha1"}, {}),
        ("gs", {"bucket": "b"}, {"service_account_key": "pw-x"}), ("gs", {"bucket": "b"}, {"service_account_key": '"pw-x"'}),
        ("az", {"container": "c"}, {"account_key": "pw-x"}), ("file", {"path": "data"}, {}), ("file", {"path": "/a/../b"}, {}),
    ],
)  # fmt: skip
def test_check_when_something_is_wrong_then_refused_without_telling_secrets(kind, settings, secrets):
    with pytest.raises(InvalidRequest) as refused:
        check_remote(remote(kind, settings, secrets))
    assert refused.value.findings
    assert "pw-x" not in f"{refused.value} {refused.value.findings}"


@pytest.mark.parametrize(
    ("kind", "settings", "secrets"),
    [
        ("https", {"url": "https://10.0.0.7/"}, {}), ("s3", {"bucket": "b", "endpoint": "http://s3.example.org"}, {}),
        ("s3", {"bucket": "b", "endpoint": "https://169.254.169.254"}, {}), ("s3", {"bucket": "b", "endpoint": "https://localhost"}, {}),
        ("az", {"container": "c", "account": "a", "endpoint": "https://10.1.1.1"}, {}), ("file", {"path": "/etc"}, {}),
        ("rclone", {**SFTP, "host": "127.0.0.1"}, {"pass": "p"}), ("rclone", {**SFTP, "port": "25"}, {"pass": "p"}),
        ("rclone", {"type": "webdav", "url": "https://192.168.0.1"}, {}), ("rclone", {"type": "swift", "auth": "http://e.org"}, {}),
        ("rclone", {"type": "smb", "host": "smb.example.org"}, {}), ("rclone", {"type": "hdfs", "namenode": "nn.example.org:8020"}, {}),
    ],
)  # fmt: skip
def test_open_when_the_place_must_not_be_asked_then_refused(opening, kind, settings, secrets):
    with pytest.raises(AddressRefused):
        open_storage(remote(kind, settings, secrets), "", opening)


@pytest.mark.parametrize(
    "address", ["file:///etc/shadow", "rclone:x/y", "ftp://e.org/x", "x", "", ":local:/etc", "rclone::local:/etc/x"]
)
def test_open_when_nobody_has_such_a_place_then_refused(opening, address):
    with pytest.raises(AddressRefused):
        open_storage(None, address, opening)


def test_open_when_an_azure_container_is_nobodys_then_unusable(opening):
    with pytest.raises(SourceUnusable, match="account"):
        open_storage(None, "az://container/key", opening)


def test_kinds_when_shown_then_secrets_are_not_settings():
    for kind in (*KINDS.values(), *RCLONE_TYPES.values()):
        assert not kind.settings & kind.secrets


def test_settings_when_shown_then_no_secret_in_them():
    assert "pw-x" not in repr(remote("https", {"url": "https://e.org"}, {"token": "pw-x"}))


@pytest.mark.parametrize(
    "heavy", ["obstore", "stemma.storages.objects", "stemma.storages.rclone", "stemma.storages.local"]
)
def test_opening_when_imported_then_nothing_that_moves_bytes_is_loaded(heavy):
    code = f"import stemma.storages.opening, stemma.storages.kinds, sys; sys.exit({heavy!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
