"""The one way out: what it asks, whom it connects to, and what it does not put up with."""

import contextlib
import socket
import threading

import httpcore
import pytest

from stemma.errors import AddressRefused, SourceNotFound, SourceUnavailable, SourceUnusable
from stemma.settings import Settings
from stemma.storages.addresses import is_institutes, is_public, listed
from stemma.storages.https import HttpsStorage
from support.elsewhere import ADDRESS, ADDRESS_6, elsewhere, page, redirect

URL = "https://data.example.org/file"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with elsewhere(tmp_path_factory.mktemp("elsewhere")) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(servers):
    servers.pages = {"/file": page(b"hello")}
    servers.names = {name: [ADDRESS] for name in ("data.example.org", "other.example.org", "wrong.example.org")}
    for record in (servers.requests, servers.looked_up, servers.dialled):
        record.clear()


def read(storage, url=URL):
    """All that is there."""
    with storage.read(url, version="") as chunks:
        return b"".join(chunks)


def fetched(servers, url=URL, **values):
    """All that is there, asked by a storage of its own with these settings."""
    with contextlib.closing(HttpsStorage(servers.outgoing(**values))) as storage:
        return read(storage, url)


def test_get_when_a_public_server_has_it_then_it_comes_from_the_checked_address(servers):
    assert fetched(servers, "https://DATA.example.org.:443/file?a=1#part") == b"hello"
    assert (servers.looked_up, servers.dialled) == (["data.example.org"], [(ADDRESS, 443)])
    ((path, headers),) = servers.requests
    assert path == "/file?a=1"
    assert (headers["Host"], headers["Accept-Encoding"]) == ("data.example.org", "identity")


@pytest.mark.parametrize("host", [ADDRESS, f"[{ADDRESS_6}]"])
def test_get_when_the_address_is_public_and_written_out_then_it_is_asked(servers, host):
    assert fetched(servers, f"https://{host}/file") == b"hello"
    assert servers.dialled == [(host.strip("[]"), 443)]


@pytest.mark.parametrize(
    "url",
    [
        "http://data.example.org/file",
        "ftp://data.example.org/file",
        "file:///etc/passwd",
        "//data.example.org/file",
        "https:///file",
        "https://user@data.example.org/file",
        "https://user:secret@data.example.org/file",
        "https://data.example.org:8443/file",
        "https://data.example.org:80/file",
        "https://127.0.0.1/file",
        "https://127.1/file",
        "https://2130706433/file",
        "https://0177.0.0.1/file",
        "https://0x7f.0.0.1/file",
        "https://0x7f000001/file",
        "https://10.0.0.1./file",
        "https://127。0。0。1/file",
        "https://169.254.169.254/latest/meta-data",
        "https://0.0.0.0/file",
        "https://100.64.0.1/file",
        "https://255.255.255.255/file",
        "https://224.0.0.1/file",
        "https://[::1]/file",
        "https://[::]/file",
        "https://[::ffff:127.0.0.1]/file",
        "https://[::ffff:93.184.215.14]/file",
        "https://[64:ff9b::7f00:1]/file",
        "https://[2002:7f00:1::1]/file",
        "https://[2001:0:5ef5:79fd::1]/file",
        "https://[fe80::1]/file",
        "https://[fe80::1%25eth0]/file",
        "https://[fd00::1]/file",
        "https://[ff02::1]/file",
        "https://localhost/file",
        "https://localhost./file",
        "https://db/file",
        "https://metadata.google.internal/file",
        "https://printer.local/file",
        "https://a..example.org/file",
        "https://data.example.org\\@127.0.0.1/file",
        "https://data example.org/file",
        "https://data.example.org/" + "a" * 5000,
        "https://\ud800.example.org/file",
        "https://[::1/file",
        "https://data.example.org:99999/file",
    ],
)
def test_get_when_the_address_itself_is_unfit_then_nothing_is_looked_up(servers, url):
    with pytest.raises(AddressRefused) as refused:
        fetched(servers, url)
    assert (refused.value.status, refused.value.findings[0].rule) == (422, "inputs/address-refused")
    assert str(refused.value) == str(AddressRefused(refused.value.what))
    assert "secret" not in str(refused.value)
    assert (servers.looked_up, servers.dialled) == ([], [])


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.1.2.3"],
        [ADDRESS, "192.168.0.1"],
        ["127.0.0.1", ADDRESS],
        ["169.254.169.254"],
        ["100.100.100.200"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::a00:1"],
        ["2002:a00:1::"],
        ["fe80::1%2"],
        ["fd12::1", ADDRESS_6],
        ["0.0.0.0"],
        [],
    ],
)
def test_get_when_the_name_leads_inside_then_it_is_as_if_there_were_no_such_name(servers, addresses):
    servers.names["data.example.org"] = addresses
    with pytest.raises(SourceNotFound) as inside:
        fetched(servers)
    del servers.names["data.example.org"]
    with pytest.raises(SourceNotFound) as unknown:
        fetched(servers)
    assert str(inside.value) == str(unknown.value)
    assert servers.dialled == []


def test_get_when_the_name_changes_its_mind_then_only_what_was_checked_is_connected_to(servers):
    answers = iter([[ADDRESS], ["127.0.0.1"]])
    outgoing = servers.outgoing()
    outgoing._resolve = lambda *_: next(answers)
    with contextlib.closing(HttpsStorage(outgoing)) as storage:
        assert read(storage) == b"hello"
        assert servers.dialled == [(ADDRESS, 443)]
        with pytest.raises(SourceNotFound):
            read(storage)
    assert servers.dialled == [(ADDRESS, 443)]


def test_get_when_redirected_then_nothing_of_the_first_answer_goes_along(servers):
    servers.pages |= {"/a": redirect("/b?x=1"), "/b": redirect("https://other.example.org/file")}
    assert fetched(servers, "https://data.example.org/a") == b"hello"
    assert servers.looked_up == ["data.example.org", "data.example.org", "other.example.org"]
    assert [path for path, _ in servers.requests] == ["/a", "/b?x=1", "/file"]
    wanted = {"Host", "User-Agent", "Accept", "Accept-Encoding", "Range"}
    assert all(set(headers) == wanted for _, headers in servers.requests)


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("https://127.0.0.1/file", AddressRefused),
        ("https://10.0.0.7/file", AddressRefused),
        ("https://[::1]/file", AddressRefused),
        ("http://data.example.org/file", AddressRefused),
        ("//user:secret@data.example.org/file", AddressRefused),
        ("file:///etc/passwd", AddressRefused),
        ("https://[broken/file", AddressRefused),
        ("https://inside.example.org/file", SourceNotFound),
    ],
)
def test_get_when_redirected_to_what_is_unfit_then_it_is_not_asked(servers, location, error):
    servers.names["inside.example.org"] = ["10.0.0.1"]
    servers.pages["/a"] = redirect(location)
    with pytest.raises(error):
        fetched(servers, "https://data.example.org/a")
    assert servers.dialled == [(ADDRESS, 443)]
    assert [path for path, _ in servers.requests] == ["/a"]


def test_get_when_plain_http_is_allowed_then_it_is_asked(servers):
    servers.pages["/a"] = redirect("http://data.example.org/file")
    assert fetched(servers, "https://data.example.org/a", allow_plain_http=True) == b"hello"
    assert servers.dialled == [(ADDRESS, 443), (ADDRESS, 80)]


@pytest.mark.parametrize(
    ("settings", "url", "is_asked"),
    [
        ({"outgoing_hosts": "other.example.org, data.example.org"}, URL, True),
        ({"outgoing_hosts": "*.example.org"}, URL, True),
        ({"outgoing_hosts": "other.example.org"}, URL, False),
        ({"outgoing_hosts": "*.data.example.org"}, URL, False),
        ({"outgoing_hosts": "data.example.org:8443"}, URL, False),
        ({"outgoing_hosts": "inside.example.org"}, "https://inside.example.org/file", False),
        ({"allow_private_hosts": "inside.example.org"}, "https://inside.example.org/file", True),
        ({"allow_private_hosts": "inside"}, "https://inside/file", True),
        ({"allow_private_hosts": "inside", "outgoing_hosts": "data.example.org"}, "https://inside/file", True),
        ({"allow_private_hosts": "inside:8443"}, "https://inside/file", False),
        ({"allow_private_hosts": "inside"}, "https://inside:22/file", False),
        ({"allow_private_hosts": "metadata"}, "https://metadata/file", False),
    ],
)
def test_get_when_servers_are_listed_then_those_and_no_others_are_asked(servers, settings, url, is_asked):
    servers.names |= {"inside": ["10.0.0.1"], "inside.example.org": ["10.0.0.1"], "metadata": ["169.254.169.254"]}
    with contextlib.suppress(AddressRefused, SourceNotFound, SourceUnusable):  # the last: names without a certificate
        fetched(servers, url, **settings)
    assert bool(servers.dialled) == is_asked


@pytest.mark.parametrize("written", ["data.example.org/path", "https://data.example.org", "a b", "[::1]", "a:port"])
def test_settings_when_a_list_of_servers_is_none_then_they_are_refused(written):
    with pytest.raises(ValueError, match="outgoing_hosts"):
        Settings(_env_file=None, outgoing_hosts=written)


def test_listed_when_written_loosely_then_it_is_read():
    assert [(one.name, one.port) for one in listed(" A.example.org , *.b:81,")] == [
        ("a.example.org", None),
        ("*.b", 81),
    ]


@pytest.mark.parametrize("address", ["8.8.8.8", ADDRESS, ADDRESS_6, "2001:4860:4860::8888"])
def test_address_when_public_is_no_ones_own(address):
    assert is_public(address)
    assert not is_institutes(address)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "::1", "fd00::1"]
)
def test_address_when_of_an_institute_is_not_public(address):
    assert is_institutes(address)
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["169.254.1.1", "fe80::1", "224.0.0.1", "240.0.0.1", "0.0.0.0", "::", "192.0.2.1", "192.88.99.1", "::ffff:8.8.8.8",
     "::8.8.8.8", "64:ff9b::808:808", "2002:808:808::", "2001:0:808:808::", "ff02::1", "fec0::1", "name", "fe80::1%1"],
)  # fmt: skip
def test_address_when_special_is_neither(address):
    assert not is_public(address)
    assert not is_institutes(address)


def test_get_when_the_name_is_not_found_in_time_then_it_is_not_waited_for(servers):
    outgoing, go_on = servers.outgoing(fetch_timeout_seconds=0.2), threading.Event()
    outgoing._resolve = lambda *_: go_on.wait(30) and []
    try:
        with pytest.raises(SourceUnavailable) as late:
            read(HttpsStorage(outgoing))
    finally:
        go_on.set()
    assert late.value.reason == "it takes too long"


def test_get_when_names_cannot_be_looked_up_then_it_is_no_refusal(servers):
    def unwell(*_):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    outgoing = servers.outgoing()
    outgoing._resolve = unwell
    with pytest.raises(SourceUnavailable) as unable:
        read(HttpsStorage(outgoing))
    assert "looked up" in unable.value.reason


def test_get_when_the_headers_never_end_then_they_are_not_all_kept(servers):
    def endless(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            handler.wfile.write(b"X-A: " + b"a" * 1000 + b"\r\n")

    servers.pages["/file"] = endless
    with pytest.raises(SourceUnavailable) as error:
        fetched(servers)
    assert error.value.reason != "it takes too long"


def test_get_when_the_certificate_is_of_another_name_then_it_is_not_believed(servers):
    with pytest.raises(SourceUnusable, match="certificate"):
        fetched(servers, "https://wrong.example.org/file")
    with pytest.raises(SourceUnusable, match="certificate"):
        fetched(servers, outgoing_ca_file=None)
    assert servers.requests == []


def test_get_when_an_address_does_not_answer_then_the_next_is_tried_and_with_none_left_it_is_unavailable(servers):
    class Halved(type(servers)):
        def __init__(self):
            self.dialled = []

        def connect_tcp(self, host, port, *more):
            if host == ADDRESS_6:
                self.dialled.append((host, port))
                raise httpcore.ConnectError("refused")
            return servers.connect_tcp(host, port, *more)

    servers.names["data.example.org"] = [ADDRESS_6, ADDRESS]
    outgoing = servers.outgoing()
    outgoing._dial = halved = Halved()
    with contextlib.closing(HttpsStorage(outgoing)) as storage:
        assert read(storage) == b"hello"
    assert (halved.dialled, servers.dialled) == ([(ADDRESS_6, 443)], [(ADDRESS, 443)])
    servers.names["data.example.org"] = [ADDRESS_6]
    with pytest.raises(SourceUnavailable):
        read(HttpsStorage(outgoing))


def test_get_when_the_environment_names_a_proxy_then_it_is_not_asked(servers, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetched(servers) == b"hello"


class Proxy:
    """A proxy that knows one way, to the HTTPS server of the tests."""

    def __init__(self, servers):
        self.heard, self._servers = [], servers
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        """Connections to the proxy are real ones."""
        assert (host, port) == ("proxy", 3128)
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self.port, timeout)

    def _serve(self):
        with self._listening:
            near, _ = self._listening.accept()
        with near, socket.create_connection(("127.0.0.1", self._servers.port_of(443))) as far:
            self.heard = near.recv(65536).decode().split("\r\n")
            near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=self._pipe, args=(far, near))
            back.start()
            self._pipe(near, far)
            back.join()

    @staticmethod
    def _pipe(source, target):
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                target.sendall(part)
            target.shutdown(socket.SHUT_WR)


def test_get_when_the_settings_name_a_proxy_then_all_goes_through_it(servers):
    proxy = Proxy(servers)
    outgoing = servers.outgoing(outgoing_proxy="http://me:secret@proxy:3128")
    outgoing._dial = proxy
    with contextlib.closing(HttpsStorage(outgoing)) as storage:
        assert read(storage) == b"hello"
        with pytest.raises(AddressRefused):
            read(storage, "https://127.0.0.1/file")
    proxy.thread.join(10)
    assert proxy.heard[0] == "CONNECT data.example.org:443 HTTP/1.1"
    assert any(line.startswith("Proxy-Authorization: Basic") for line in proxy.heard)
    assert servers.looked_up == []
    assert "Proxy-Authorization" not in servers.requests[0][1]
