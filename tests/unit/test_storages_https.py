"""Servers of the web that are not what they seem: what is believed of them, and where a credential goes."""

import gzip
import re
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from stemma.errors import (
    AddressRefused,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    TooLarge,
)
from stemma.settings import Settings
from stemma.storages import haste
from stemma.storages.https import HttpsStorage
from stemma.storages.outgoing import Outgoing
from support.elsewhere import ADDRESS, elsewhere, page, redirect
from support.scripted_http import Answered, scripted
from support.speaking import speaking

BASE = "https://data.example.org"
URL = f"{BASE}/file"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with elsewhere(tmp_path_factory.mktemp("elsewhere")) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(servers):
    servers.pages = {"/file": page(b"hello", etag='"1"')}
    servers.names = {name: [ADDRESS] for name in ("data.example.org", "other.example.org")}
    for record in (servers.requests, servers.looked_up, servers.dialled):
        record.clear()


@contextmanager
def storage(servers, **values):
    opened = HttpsStorage(servers.outgoing(), **values)
    try:
        yield opened
    finally:
        opened.close()


def read(storage, url=URL, version="", **part):
    with storage.read(url, version=version, **part) as chunks:
        return b"".join(chunks)


@contextmanager
def answering(answer, **values):
    """A storage, and the base of a server on loopback that answers as ``answer`` says."""
    with scripted(answer) as server:
        host = server.url.partition("//")[2]
        settings = Settings(_env_file=None, allow_private_hosts=host, allow_plain_http=True, **values)
        opened = HttpsStorage(Outgoing(settings))
        try:
            yield opened, server
        finally:
            opened.close()


def opened(host, **values):
    return HttpsStorage(Outgoing(Settings(_env_file=None, allow_private_hosts=host, allow_plain_http=True, **values)))


@pytest.mark.parametrize("size", [5, 5_000_000_000])
def test_requests_when_several_then_one_connection_and_one_look_up_however_large_the_file(size):
    served = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        client, _ = listener.accept()
        with client:
            while (asked := client.recv(65536)).endswith(b"\r\n\r\n"):
                served.append(asked)
                client.sendall(
                    b'HTTP/1.1 206 Partial\r\nETag: "1"\r\nContent-Range: bytes 0-0/%d\r\nContent-Length: 1\r\n\r\nh'
                    % size
                )

    thread = threading.Thread(target=serve)
    thread.start()
    host = f"127.0.0.1:{listener.getsockname()[1]}"
    storage = opened(host)
    for _ in range(3):
        assert storage.info(f"http://{host}/file").size_bytes == size
        assert read(storage, f"http://{host}/file", '"1"', length=1) == b"h"
    storage.close()
    thread.join()
    listener.close()
    assert len(served) == 6


def test_info_when_told_then_size_version_name_and_digests(servers):
    digest = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"
    more = {"repr_digest": digest, "last_modified": "Sat, 21 Nov 2026 21:11:13 GMT"}
    servers.pages["/file"] = page(b"hello", etag='"1"', content_disposition="attachment; filename=data.csv", **more)
    with storage(servers) as opened:
        info = opened.info(URL)
    assert (info.size_bytes, info.version, info.basename, info.takes_ranges) == (5, '"1"', "data.csv", False)
    assert info.sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert info.told == {"etag": '"1"', "last_modified": "Sat, 21 Nov 2026 21:11:13 GMT"}


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"etag": '"strong"'}, '"strong"'),
        ({"etag": 'W/"weak"'}, ""),
        ({"etag": 'W/"weak"', "last_modified": "yesterday"}, 'yesterday 5 W/"weak"'),
        ({"last_modified": "yesterday"}, "yesterday 5"),
        ({}, ""),
    ],
)
def test_version_when_told_less_then_all_that_there_is(servers, headers, version):
    servers.pages["/file"] = page(b"hello", **headers)
    with storage(servers) as opened:
        assert opened.info(URL).version == version
        assert read(opened, version=version) == b"hello"


def test_read_when_the_server_sends_the_whole_then_the_part_of_it(servers):
    with storage(servers) as opened:
        assert read(opened, offset=1, length=3) == b"ell"
        assert servers.requests[-1][1]["Range"] == "bytes=1-3"


def test_read_when_at_another_version_then_changed_whether_the_server_says_so_or_not(servers):
    with storage(servers) as opened:
        with pytest.raises(SourceChanged):
            read(opened, version='"0"')
        assert servers.requests[-1][1]["If-Match"] == '"0"'
        servers.pages["/file"] = page(b"", status=412)
        with pytest.raises(SourceChanged):
            read(opened, version='"1"')


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, SourceNotFound), (410, SourceNotFound), (401, SourceForbidden), (403, SourceForbidden),
        (408, SourceUnavailable), (429, SourceUnavailable), (500, SourceUnavailable), (503, SourceUnavailable),
        (202, SourceUnusable), (204, SourceUnusable), (302, SourceUnusable), (304, SourceUnusable),
        (405, SourceUnusable), (418, SourceUnusable),
    ],
)  # fmt: skip
def test_anything_when_the_server_refuses_then_the_error_that_says_why(servers, status, error):
    servers.pages["/file"] = page(b"no", status=status)
    with storage(servers) as opened:
        with pytest.raises(error):
            opened.info(f"{URL}?key=secret")
        with pytest.raises(error) as refused:
            read(opened, f"{URL}?key=secret")
    assert "secret" not in f"{refused.value} {refused.value.__dict__}"


def test_read_when_compressed_then_refused_and_asked_for_as_it_is(servers):
    servers.pages["/file"] = page(gzip.compress(b"hello"), content_encoding="gzip", etag='"1"')
    with storage(servers) as opened, pytest.raises(SourceUnusable, match="compressed"):
        read(opened)
    assert servers.requests[-1][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "url",
    ["http://data.example.org/file", "https://user:pw@data.example.org/file", "https://127.0.0.1/file",
     "https://data.example.org:8443/file", "ftp://data.example.org/file", "https://169.254.169.254/latest"],
)  # fmt: skip
def test_anything_when_the_address_is_not_for_us_then_refused_without_asking(servers, url):
    with storage(servers) as opened:
        with pytest.raises(AddressRefused) as refused:
            opened.info(url)
        with pytest.raises(AddressRefused):
            list(opened.list(url, limit=1))
    assert "pw" not in str(refused.value)
    assert servers.dialled == []


def test_read_when_redirected_for_ever_then_refused(servers):
    servers.pages["/file"] = redirect(URL)
    with storage(servers) as opened, pytest.raises(SourceUnusable, match="redirects more than"):
        read(opened)


def test_read_when_redirected_elsewhere_then_the_credential_stays(servers):
    servers.pages |= {
        "/in/file": redirect("https://other.example.org/there?key=1"),
        "/there": page(b"hello", etag='"1"'),
    }
    with storage(servers, url=f"{BASE}/in", login={"username": "me", "password": "secret"}) as opened:
        info = opened.info(f"{BASE}/in/file")
        assert read(opened, f"{BASE}/in/file", info.version) == b"hello"
    assert info.told["served_from"] == "https://other.example.org/there"
    shown = {
        (path.partition("?")[0], headers["Host"]): headers.get("Authorization") for path, headers in servers.requests
    }
    assert shown == {
        ("/in/file", "data.example.org"): "Basic bWU6c2VjcmV0", ("/there", "other.example.org"): None
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/other", "/inside", "/in/../other", "/in%2f../other"])
def test_anything_when_outside_the_remote_then_refused_or_without_the_credential(servers, path):
    remote = storage(servers, url=f"{BASE}/in/", login={"token": "secret"})
    with remote as opened, pytest.raises((AddressRefused, SourceNotFound)):
        opened.info(f"{BASE}{path}")
    assert all("secret" not in str(headers) for _, headers in servers.requests)


def test_remote_when_its_credential_would_go_in_the_clear_then_refused(servers):
    with pytest.raises(AddressRefused):
        HttpsStorage(servers.outgoing(allow_plain_http=True), url="http://data.example.org/", login={"token": "secret"})


@pytest.mark.parametrize("deed", [lambda s: s.write(URL, iter([b"x"]), 1), lambda s: s.delete(URL)])
def test_change_when_not_at_a_remote_then_refused(servers, deed):
    with storage(servers) as opened, pytest.raises(SourceUnusable):
        deed(opened)
    assert servers.requests == []


PART = b'HTTP/1.1 206 Partial\r\nETag: "1"\r\nContent-Range: bytes %b\r\nContent-Length: %d\r\n\r\n%b'


@pytest.mark.parametrize(
    ("told", "body", "error"),
    [
        (b"0-9/100", b"x" * 10, SourceUnusable),  # another part than the one asked for
        (b"10-15/100", b"x" * 6, SourceUnusable),  # less than asked for, in the middle
        (b"10-200/100", b"x" * 10, SourceUnusable),  # ends behind its end
        (b"10-19/100", b"x" * 4, SourceUnavailable),  # promises more than it sends
        (b"nonsense", b"x" * 10, SourceUnusable),
    ],
)
def test_read_when_the_server_lies_about_the_part_then_noticed(told, body, error):
    with speaking(PART % (told, len(body), body)) as host:
        storage = opened(host)
        with pytest.raises(error):
            read(storage, f"http://{host}/file", '"1"', offset=10, length=10)
        storage.close()


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "a part of it (206) and does not say which"),
        (b"Content-Range: nonsense\r\n", "another part"),
        (b"Content-Range: bytes 7-7/100\r\n", "another part"),
        (b"Content-Range: bytes 0-100/100\r\n", "behind its end"),
    ],
)
def test_info_when_the_server_does_not_say_which_part_it_sends_then_unusable(head, reason):
    answer = b'HTTP/1.1 206 Partial\r\nETag: "1"\r\n%bContent-Length: 1\r\n\r\nh' % head
    with speaking(answer) as host:
        storage = opened(host)
        with pytest.raises(SourceUnusable, match=re.escape(reason)):
            storage.info(f"http://{host}/file")
        storage.close()


def test_info_when_the_server_knows_the_part_and_not_the_whole_then_its_size_is_not_known():
    with speaking(PART % (b"0-0/*", 1, b"h")) as host:
        storage = opened(host)
        info = storage.info(f"http://{host}/file")
        storage.close()
    assert (info.size_bytes, info.takes_ranges) == (None, True)


def test_read_when_more_comes_than_asked_for_then_only_what_was_asked_for():
    with speaking(PART % (b"10-99/100", 90, b"x" * 90)) as host:
        storage = opened(host)
        assert read(storage, f"http://{host}/file", '"1"', offset=10, length=10) == b"x" * 10
        storage.close()


def test_read_when_endless_then_no_more_than_asked_for():
    with answering(lambda _: Answered(body=b"x" * 5_000_000, headers={"ETag": '"1"'})) as (storage, server):
        assert len(read(storage, f"{server.url}/file", '"1"', length=1000)) == 1000


def test_read_when_cut_then_unavailable_after_what_came():
    with answering(lambda _: Answered(body=b"x" * 300_000, cut_after=100_000)) as (storage, server):
        came = []
        with pytest.raises(SourceUnavailable), storage.read(f"{server.url}/file", version="") as chunks:
            came.extend(chunks)
        assert len(b"".join(came)) == 100_000


def test_read_when_slower_than_a_byte_a_second_then_unavailable_in_time():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    with speaking(head, *[b"x"] * 1000, pause=1.3) as host:
        storage = opened(host, fetch_silence_seconds=2.0)
        started = time.monotonic()
        with pytest.raises(SourceUnavailable):
            read(storage, f"http://{host}/file")
        assert time.monotonic() - started < 20
        storage.close()


def test_info_when_a_small_file_comes_slowly_then_told_without_waiting_for_it():
    with speaking(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", *[b"x"] * 1000, pause=0.2) as host:
        storage = opened(host)
        assert storage.info(f"http://{host}/file").size_bytes == 1000
        storage.close()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\n\r\n1;"


@pytest.mark.parametrize("deed", [read, lambda s, url: list(s.list(url, limit=5))])
def test_anything_when_it_has_to_be_over_then_unavailable_in_time_however_steadily_it_drips(deed):
    with speaking(CHUNKED, *[b"x"] * 1000, pause=0.1) as host:
        storage = opened(host)
        started = time.monotonic()
        with pytest.raises(SourceUnavailable), haste.over_by(started + 1):
            deed(storage, f"http://{host}/d/")
        assert time.monotonic() - started < 10
        storage.close()


@pytest.mark.parametrize("said", [[b""], [b"H"] * 100, [b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 100])
def test_read_when_no_answer_begins_then_unavailable_in_time(said):
    with speaking(*said, pause=0.4) as host:
        storage = opened(host, fetch_silence_seconds=1.0, fetch_timeout_seconds=1.5)
        started = time.monotonic()
        with pytest.raises(SourceUnavailable):
            read(storage, f"http://{host}/file")
        assert time.monotonic() - started < 10
        storage.close()


def listing(*links, kind="text/html"):
    body = "".join(f'<a href="{link}">x</a>' for link in links).encode()
    return page(body, content_type=kind)


def test_list_when_a_page_leads_everywhere_then_only_what_lies_below(servers):
    servers.pages |= {
        "/d/": listing(
            "?C=N", "../", "/", "/other", "a%20b.txt", "#top", "sub/", "https://other.example.org/d/x", "x/../../file",
            "javascript:alert(1)", "//evil.example/d/y", "http://data.example.org/d/z", "sub/deep.txt",
        ),
        "/d/sub/": listing("c.txt", "../", "./"),
        "/d/a%20b.txt": page(b"ab", etag='"ab"'),
        "/d/sub/c.txt": page(b"c", etag='"c"'),
    }  # fmt: skip
    with storage(servers) as opened:
        found = {one.path: (one.info.version, one.info.size_bytes) for one in opened.list(f"{BASE}/d", limit=10)}
    assert found == {"a b.txt": ('"ab"', 2), "sub/c.txt": ('"c"', 1)}


@pytest.mark.parametrize("name", ["a%2fb", "%2e%2e%2fx", "new%0aline", "%ff%fe", "x" * 300, "nul%00"])
def test_list_when_a_name_cannot_be_taken_then_refused(servers, name):
    servers.pages["/d/"] = listing(name)
    with storage(servers) as opened, pytest.raises(SourceUnusable):
        list(opened.list(f"{BASE}/d/", limit=10))


def test_list_when_folders_have_no_end_then_too_large_or_refused(servers):
    def deeper(handler):
        handler.give(b'<a href="on/">x</a><a href="off/">x</a>', content_type="text/html")

    class Everywhere(dict):
        def get(self, path, default=None):
            return deeper

    servers.pages = Everywhere()
    with storage(servers) as opened, pytest.raises((TooLarge, SourceUnusable)):
        list(opened.list(f"{BASE}/d/", limit=20))


def test_list_when_it_is_no_page_then_unusable(servers):
    servers.pages["/d/"] = listing("a", kind="application/json")
    with storage(servers) as opened, pytest.raises(SourceUnusable, match="list folders"):
        list(opened.list(f"{BASE}/d/", limit=10))
