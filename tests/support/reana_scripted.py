"""A server at a REANA's address that does what a test says, down to the connection: for what a real one does only when
something is wrong. With TLS where a test wants it."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from stemma import clock
from stemma.engines.reana.server import ReanaServer
from stemma.engines.reana.session import ReanaSession

TOKEN = "a secret/to+ken"
RUN = "256b25f4-4cfb-4684-b7a8-73872ef455a1"


class Call(BaseHTTPRequestHandler):
    """One request, and the means to answer it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Any

    @property
    def route(self) -> str:
        """The path, decoded, without what stands behind the question mark."""
        return unquote(urlsplit(self.path).path)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def json(self, value: object, status: int = 200, **headers: str) -> None:
        self.give(json.dumps(value).encode(), status, content_type="application/json", **headers)

    def refuse(self, status: int, message: object, **headers: str) -> None:
        self.json({"message": message}, status, **headers)

    def give(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.begin(status, **{"content_length": str(len(body)), **headers})
        self.wfile.write(body)

    def begin(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()

    def _serve(self) -> None:
        script: Scripted = self.server.script
        script.calls.append((self.command, self.path))
        script.answer(self)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that the base calls

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def handle_error(self, *args: object) -> None:
        """Clients that hang up are what many tests are about."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(30)
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)


@dataclass
class Scripted:
    """Where it is, what it does, and what it was asked."""

    answer: Callable[[Call], None]
    url: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)

    def asked(self, method: str, part: str) -> int:
        """How many requests had this in their address."""
        return sum(1 for one, path in list(self.calls) if one == method and part in path)


@contextmanager
def scripted_reana(answer: Callable[[Call], None], *, identity: Path | None = None) -> Iterator[Scripted]:
    """A server on loopback; with ``identity`` (key and certificate) it speaks TLS."""
    server = _Server(("127.0.0.1", 0), Call)
    if identity is not None:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(identity)
    scheme = "http" if identity is None else "https"
    script = server.script = Scripted(answer, f"{scheme}://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(id_: str = RUN, state: str = "running", **more: Any) -> dict[str, Any]:
    """A run as REANA lists it."""
    progress = {name: {"total": 0, "job_ids": []} for name in ("total", "running", "finished", "failed")}
    progress |= {"run_started_at": None, "run_finished_at": None, "run_stopped_at": None}
    return {
        "id": id_,
        "name": "probe.6",
        "status": state,
        "created": "2026-11-21T09:52:54",
        "progress": progress,
    } | more


def job(**more: Any) -> dict[str, Any]:
    """A job as REANA's logs tell it."""
    return {
        "workflow_uuid": RUN,
        "job_name": "say",
        "compute_backend": "Kubernetes",
        "backend_job_id": "reana-run-job-1",
        "docker_img": "busybox",
        "cmd": "/bin/sh -c 'true'",
        "status": "finished",
        "logs": "job: :\n hello\n\nCompleted\n",
        "started_at": "2026-11-21T09:53:00",
        "finished_at": "2026-11-21T09:53:02",
    } | more


def certificates(folder: Path) -> tuple[Path, Path]:
    """An authority's certificate, and the identity of a server at 127.0.0.1 that it signed."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _name("a test's own authority")
    root = _begun(authority, authority, authority_key.public_key())
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    leaf = _begun(_name("127.0.0.1"), authority, key.public_key())
    leaf = leaf.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    ca_file, identity = folder / "authority.pem", folder / "server.pem"
    ca_file.write_bytes(root.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    identity.write_bytes(private + leaf.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return ca_file, identity


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = clock.now()
    begun = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    begun = begun.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
    return begun.not_valid_after(now + timedelta(days=1))


@contextmanager
def session_with(
    answer: Callable[[Call], None], *, token: str = TOKEN, identity: Path | None = None, **settings: object
) -> Iterator[tuple[ReanaSession, Scripted]]:
    """A session with a server that answers so."""
    values = {"timeout_seconds": 5.0, "requests_per_second": 1000.0} | settings
    with scripted_reana(answer, identity=identity) as script:
        server = ReanaServer(script.url, **values)  # type: ignore[arg-type]
        try:
            yield server.session(SecretStr(token)), script
        finally:
            server.close()
