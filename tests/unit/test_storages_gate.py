"""The gate, and obstore behind it: whom it lets through, and what of this machine never gets out."""

import base64
import contextlib
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from stemma.errors import SourceForbidden, SourceNotFound, SourceUnavailable, SourceUnusable
from stemma.settings import Settings
from stemma.storages import haste
from stemma.storages.gate import Gate
from stemma.storages.opening import Opening, open_storage
from stemma.storages.outgoing import Outgoing
from stemma.storages.protocol import RemoteSettings
from support.scripted_http import Answered, scripted
from support.speaking import speaking

KEYS = {"access_key_id": "own-key", "secret_access_key": "own-secret"}
HEADERS = {"ETag": '"1"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}


def host_of(url):
    return url.partition("//")[2]


def way_out(*hosts, **values):
    settings = Settings(_env_file=None, allow_private_hosts=",".join(hosts), allow_plain_http=True, **values)
    return Outgoing(settings)


@contextmanager
def gate_to(*hosts, **values):
    gate = Gate(way_out(*hosts, **values))
    try:
        yield gate
    finally:
        gate.close()


@contextmanager
def bucket_at(url, *hosts, secrets=KEYS, **values):
    opening = Opening(way_out(host_of(url), *hosts, **values))
    storage = open_storage(RemoteSettings("r", "s3", {"bucket": "b", "endpoint": url}, secrets), "s3://b/", opening)
    try:
        yield storage
    finally:
        storage.close()
        opening.close()


def said(gate_pass, request):
    """What the gate answers to these bytes."""
    login, _, place = gate_pass.url.partition("//")[2].rpartition("@")
    host, _, port = place.partition(":")
    shown = base64.b64encode(login.encode())
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.settimeout(10)
        connection.sendall(request.replace(b"LOGIN", b"Proxy-Authorization: Basic " + shown))
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_gate_when_shown_a_pass_then_the_request_gets_there_without_it():
    with scripted(lambda _: Answered(body=b"hello")) as server, gate_to(host_of(server.url)) as gate:
        one = gate.way(gate._outgoing.policy.checked(server.url, "x"))
        host = host_of(server.url).encode()
        body = b"5\r\nabcde\r\n0\r\n\r\n"
        answer = said(
            one,
            b"PUT http://%b/p?q HTTP/1.1\r\nHost: %b\r\nLOGIN\r\nTransfer-Encoding: chunked\r\n\r\n%b"
            % (host, host, body),
        )
    assert answer.endswith(b"hello")
    assert server.asked[0].path == "/p?q"
    assert "proxy-authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://HOST/ HTTP/1.1\r\n\r\n",
        b"GET http://HOST/ HTTP/1.1\r\nProxy-Authorization: Basic c3RlbW1hOng=\r\n\r\n",
        b"GET http://127.0.0.1:1/ HTTP/1.1\r\nLOGIN\r\n\r\n",
        b"GET http://localhost/ HTTP/1.1\r\nLOGIN\r\n\r\n",
        b"CONNECT 169.254.169.254:443 HTTP/1.1\r\nLOGIN\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nLOGIN\r\n\r\n",
        b"CONNECT example.org:22 HTTP/1.1\r\nLOGIN\r\n\r\n",
    ],
)
def test_gate_when_there_is_no_pass_for_it_then_nobody_gets_through(request_):
    with scripted(lambda _: Answered()) as server, gate_to(host_of(server.url)) as gate:
        one = gate.way(gate._outgoing.policy.checked(server.url, "x"))
        answer = said(one, request_.replace(b"HOST", host_of(server.url).encode()))
        assert answer.startswith(b"HTTP/1.1 403")
    assert server.asked == []


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nLOGIN\r\n\r\n", b"GET file:///etc/passwd HTTP/1.1\r\nLOGIN\r\n\r\n",
        b"GET http://u:p@HOST/ HTTP/1.1\r\nLOGIN\r\n\r\n", b"CONNECT HOST:x HTTP/1.1\r\nLOGIN\r\n\r\n", b"x" * 70_000,
        b"GET http://HOST/ HTTP/1.1\r\nLOGIN\r\n folded: x\r\n\r\n",
    ],
)  # fmt: skip
def test_gate_when_it_is_no_request_then_nothing_is_asked(request_):
    with scripted(lambda _: Answered()) as server, gate_to(host_of(server.url)) as gate:
        one = gate.way(gate._outgoing.policy.checked(server.url, "x"))
        with contextlib.suppress(ConnectionError):  # it hung up before all was said
            said(one, request_.replace(b"HOST", host_of(server.url).encode()))
    assert server.asked == []


@pytest.mark.parametrize(
    "extra", [b"Content-Length: 1\r\nContent-Length: 2", b"Content-Length: x", b"Transfer-Encoding: gzip"]
)
def test_gate_when_it_is_unclear_where_a_request_ends_then_what_follows_is_not_taken_for_one(extra):
    with scripted(lambda _: Answered()) as server, gate_to(host_of(server.url)) as gate:
        one = gate.way(gate._outgoing.policy.checked(server.url, "x"))
        host = host_of(server.url).encode()
        second = b"GET http://%b/second HTTP/1.1\r\nHost: x\r\nLOGIN\r\n\r\n" % host
        said(one, b"PUT http://%b/first HTTP/1.1\r\nHost: x\r\nLOGIN\r\n%b\r\n\r\n" % (host, extra) + second)
    assert "/second" not in [asked.path for asked in server.asked]


def test_gate_when_a_pass_has_ended_then_it_is_good_for_nothing():
    with scripted(lambda _: Answered()) as server, gate_to(host_of(server.url)) as gate:
        one = gate.way(gate._outgoing.policy.checked(server.url, "x"))
        one.end()
        answer = said(one, b"GET http://%b/ HTTP/1.1\r\nLOGIN\r\n\r\n" % host_of(server.url).encode())
    assert answer.startswith(b"HTTP/1.1 403")


def test_gate_when_a_name_leads_to_a_private_address_then_nobody_gets_through():
    outgoing = Outgoing(Settings(_env_file=None, allow_plain_http=True), resolve=lambda *_: ["10.0.0.7"])
    gate = Gate(outgoing)
    answer = said(gate.way(), b"CONNECT data.example.org:443 HTTP/1.1\r\nLOGIN\r\n\r\n")
    gate.close()
    assert answer.startswith(b"HTTP/1.1 403")


def test_bucket_when_its_server_redirects_elsewhere_then_nothing_goes_there():
    """Also where that one may be asked by others."""
    with scripted(lambda _: Answered(body=b"stolen", headers=HEADERS)) as other:
        away = {"Location": f"{other.url}/b/k"}
        with (
            scripted(lambda _: Answered(307, headers=away)) as server,
            bucket_at(server.url, host_of(other.url)) as storage,
            pytest.raises(SourceNotFound),
        ):
            storage.info("s3://b/k")
        assert server.asked
    assert other.asked == []


@pytest.mark.parametrize("secrets", [KEYS, {}])
def test_bucket_when_the_environment_holds_credentials_and_proxies_then_they_stay_here(monkeypatch, secrets):
    with scripted(lambda _: Answered(502)) as trap:
        environment = {
            "AWS_ACCESS_KEY_ID": "env-key", "AWS_SECRET_ACCESS_KEY": "env-secret", "AWS_SESSION_TOKEN": "env-token",
            "AWS_ENDPOINT_URL": trap.url, "AWS_ENDPOINT_URL_S3": trap.url, "AWS_METADATA_ENDPOINT": trap.url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": trap.url, "AWS_SKIP_SIGNATURE": "true", "AWS_S3_EXPRESS": "true",
            "AWS_REQUEST_PAYER": "true", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true", "AWS_REGION": "mars-1",
            "HTTP_PROXY": trap.url, "http_proxy": trap.url, "HTTPS_PROXY": trap.url, "ALL_PROXY": trap.url,
        }  # fmt: skip
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        one = Answered(206, b"x", {**HEADERS, "Content-Range": "bytes 0-0/1"})
        with scripted(lambda _: one) as server, bucket_at(server.url, secrets=secrets) as storage:
            assert storage.info("s3://b/k").size_bytes == 1
        (asked,) = server.asked
    assert trap.asked == []
    assert asked.path == "/b/k"
    assert ("own-key" in asked.headers.get("authorization", "")) == bool(secrets)
    assert not any(word in str(asked) for word in ("env-", "mars-1", "requester"))


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", SourceForbidden), (400, "ExpiredToken", SourceForbidden), (404, "NoSuchKey", SourceNotFound),
        (404, "XAdminUserNotFound", SourceForbidden), (401, "", SourceForbidden),
    ],
)  # fmt: skip
def test_bucket_when_its_server_refuses_then_the_error_that_says_why_and_no_secret(status, code, error):
    body = f"<Error><Code>{code}</Code><Message>own-secret</Message></Error>".encode()
    with scripted(lambda _: Answered(status, body)) as server, bucket_at(server.url) as storage:
        with pytest.raises(error) as refused:
            storage.info("s3://b/k")
        with pytest.raises(error):
            list(storage.list("s3://b/", limit=5))
    assert "own-secret" not in f"{refused.value} {refused.value.__dict__}"
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("key", ["../../etc/passwd", "a//b", "a/./b", "bell&#7;", "d/../../x"])
def test_bucket_when_it_lists_a_key_that_leads_out_then_refused(key):
    entry = f'<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"1"</ETag><Size>1</Size></Contents>'
    body = f'<?xml version="1.0"?><ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated>{entry}</ListBucketResult>'
    refused = pytest.raises((SourceUnusable, SourceUnavailable))
    with scripted(lambda _: Answered(body=body.encode())) as server, bucket_at(server.url) as storage, refused:
        list(storage.list("s3://b/", limit=5))


@pytest.mark.parametrize(
    ("told", "body"),
    [("bytes 0-9/100", b"x" * 10), ("bytes 10-14/100", b"x" * 5), ("bytes 10-19/100", b"x" * 4), ("x", b"x" * 10)],
)
def test_bucket_when_its_server_lies_about_a_part_then_noticed(told, body):
    lie = Answered(206, body, {**HEADERS, "Content-Range": told})
    with (
        scripted(lambda _: lie) as server,
        bucket_at(server.url) as storage,
        pytest.raises((SourceUnusable, SourceUnavailable)),
        storage.read("s3://b/k", version='"1"', offset=10, length=10) as chunks,
    ):
        list(chunks)


def test_bucket_when_slower_than_a_byte_a_second_then_unavailable_in_time():
    head = (
        b'HTTP/1.1 200 OK\r\nETag: "1"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 1000\r\n\r\n'
    )
    dripping = speaking(head, *[b"x"] * 1000, pause=1.3)
    with dripping as host, bucket_at(f"http://{host}", fetch_silence_seconds=2.0) as storage:
        started = datetime.now(UTC)
        with pytest.raises(SourceUnavailable), storage.read("s3://b/k", version="") as chunks:
            list(chunks)
        assert (datetime.now(UTC) - started).total_seconds() < 20


DRIPPED_HEAD = b'HTTP/1.1 206 Partial\r\nETag: "1"\r\nX-Long: ' + b"x" * 10_000
DRIPPED_LIST = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: 9000\r\n\r\n" + b" " * 9000


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        (lambda storage: storage.info("s3://b/k"), DRIPPED_HEAD),
        (lambda storage: list(storage.list("s3://b/", limit=5)), DRIPPED_LIST),
        (lambda storage: storage.delete("s3://b/k"), DRIPPED_HEAD),
    ],
    ids=["info", "list", "delete"],
)
@pytest.mark.parametrize("is_in_haste", [True, False])
def test_look_when_the_server_of_a_bucket_drips_then_over_in_time_and_its_connection_with_it(deed, said, is_in_haste):
    steadily = [said[at : at + 1] for at in range(len(said))]
    values = {} if is_in_haste else {"fetch_timeout_seconds": 0.2}
    gone = threading.Event()
    with speaking(*steadily, pause=0.05, on_gone=gone.set) as host, bucket_at(f"http://{host}", **values) as storage:
        started = time.monotonic()
        end = started + 1 if is_in_haste else None
        with pytest.raises(SourceUnavailable) as caught, haste.over_by(end):
            deed(storage)
        assert caught.value.reason == "it takes too long"
        assert time.monotonic() - started < 15
        assert gone.wait(15)


def test_bucket_when_its_server_falls_silent_then_unavailable_in_time():
    silent = threading.Event()

    def answer(_):
        silent.wait(20)
        return Answered()

    with scripted(answer) as server, bucket_at(server.url, fetch_silence_seconds=0.5) as storage:
        started = datetime.now(UTC)
        with pytest.raises(SourceUnavailable):
            storage.info("s3://b/k")
        silent.set()
    assert (datetime.now(UTC) - started).total_seconds() < 15


def test_gate_when_connections_have_ended_then_their_threads_have_too():
    one = Answered(206, b"x", {**HEADERS, "Content-Range": "bytes 0-0/1"})
    with scripted(lambda _: one) as server, bucket_at(server.url) as storage:
        for _ in range(50):
            storage.info("s3://b/k")
        gates = [one for one in threading.enumerate() if one.name.startswith("gate")]
        assert len(gates) < 20
