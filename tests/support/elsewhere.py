"""Servers of others: real HTTP and HTTPS on loopback, reached under public names and addresses.

Names are looked up in a table and connections to public addresses end at these servers; all between is what the
service itself does.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from stemma import clock
from stemma.settings import Settings
from stemma.storages.outgoing import Outgoing

ADDRESS, ADDRESS_6 = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
NAMES = ("data.example.org", "other.example.org")


class Handler(BaseHTTPRequestHandler):
    """Answers as the test says for the path."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        self.close_connection = True
        owner: Elsewhere = self.server.owner
        owner.requests.append((self.path, dict(self.headers)))
        page = owner.pages.get(self.path.partition("?")[0])
        if page is None:
            self.give(status=404)
        else:
            page(self)

    def give(self, body: bytes = b"", *, status: int = 200, **headers: str) -> None:
        """A plain answer."""
        self.send_response(status)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are what many tests are about."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(30)
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as secured:
            secured.do_handshake()
            super().finish_request(secured, client_address)

    context: ssl.SSLContext | None = None


class Elsewhere(httpcore.SyncBackend):
    """Other people's servers, and the network that leads to them."""

    def __init__(self, folder: Path) -> None:
        self.pages: dict[str, Callable[[Handler], None]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.names: dict[str, list[str]] = {name: [ADDRESS] for name in NAMES}
        self.looked_up: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.ca_file = folder / "ca.pem"
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secure.load_cert_chain(_certificates(folder, self.ca_file))
        self._servers = {443: self._serve(secure), 80: self._serve(None)}

    def _serve(self, context: ssl.SSLContext | None) -> _Server:
        server = _Server(("127.0.0.1", 0), Handler)
        server.context = context
        server.owner = self  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def port_of(self, port: int) -> int:
        """Where the server for ``port`` really listens."""
        return self._servers[port].server_address[1]

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of the table; those that are written as such lead to themselves."""
        self.looked_up.append(host)
        try:
            return [str(ip_address(host))]
        except ValueError:
            if host not in self.names:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
            return self.names[host]

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        self.dialled.append((host, port))
        return super().connect_tcp("127.0.0.1", self.port_of(port), timeout, local_address, socket_options)

    def outgoing(self, **values: Any) -> Outgoing:
        """The way out to these servers."""
        settings = Settings(_env_file=None, **{"outgoing_ca_file": self.ca_file, **values})
        return Outgoing(settings, resolve=self.resolve, dial=self)

    def close(self) -> None:
        """Stop the servers."""
        for server in self._servers.values():
            server.shutdown()
            server.server_close()


@contextmanager
def elsewhere(folder: Path) -> Iterator[Elsewhere]:
    """Servers of others, as long as they are needed."""
    servers = Elsewhere(folder)
    try:
        yield servers
    finally:
        servers.close()


def page(body: bytes = b"", **more: Any) -> Callable[[Handler], None]:
    """A page that is always the same."""
    return lambda handler: handler.give(body, **more)


def redirect(location: str) -> Callable[[Handler], None]:
    """A page that leads elsewhere."""
    return lambda handler: handler.give(status=302, location=location, set_cookie="a=b")


def _certificates(folder: Path, ca_file: Path) -> Path:
    """An authority, and one certificate of it for all the servers; where that one lies."""
    now = clock.now()
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority of tests")])
    shown = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAMES[0])])
    names = [x509.DNSName(name) for name in NAMES] + [x509.IPAddress(ip_address(one)) for one in (ADDRESS, ADDRESS_6)]

    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    identified = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id)

    # All that RFC 5280 wants of each: from Python 3.13 on, whoever checks them insists on it.
    def signed(
        subject: x509.Name, public: ec.EllipticCurvePublicKey, extensions: Iterable[tuple[x509.ExtensionType, bool]]
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(authority, subject, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        builder = builder.add_extension(identified, critical=False)
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        return builder.sign(authority_key, hashes.SHA256())

    ca = signed(
        authority,
        authority_key.public_key(),
        [(x509.BasicConstraints(ca=True, path_length=0), True), (_usage(key_cert_sign=True), True)],
    )
    leaf = signed(
        shown,
        key.public_key(),
        [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(digital_signature=True), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.SubjectAlternativeName(names), False),
        ],
    )
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    served = folder / "server.pem"
    served.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
    return served


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    """What a key may be used for, and nothing else."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
