"""Tells which version the container engine of this machine has, and does nothing else with it.

The API has to know whether an engine answers: it refuses at submission what could not run. Everybody reaches the API,
so it does not get the engine's socket, with which it could do anything. It asks here.
"""

import http.client
import re
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SOCKET = "/var/run/docker.sock"
PORT = 2375
_ALLOWED = re.compile(r"/_ping|(/v[0-9]+\.[0-9]+)?/(_ping|version)")
_SECONDS = 5


class Engine(http.client.HTTPConnection):
    """A connection to the engine's socket."""

    def connect(self) -> None:
        """Connect to the socket rather than to a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(SOCKET)


class Handler(BaseHTTPRequestHandler):
    """Hands on the two questions that are allowed."""

    timeout = _SECONDS

    def do_GET(self) -> None:
        """Answer as the engine does."""
        if not _ALLOWED.fullmatch(self.path):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        engine = Engine("engine", timeout=_SECONDS)
        try:
            engine.request(self.command, self.path, headers={"Host": "engine"})
            answer = engine.getresponse()
            body = answer.read()
        except OSError as error:
            self.send_error(HTTPStatus.BAD_GATEWAY, explain=str(error))
            return
        finally:
            engine.close()
        self.send_response(answer.status)
        for name in ("Content-Type", "Api-Version", "Ostype"):
            if value := answer.getheader(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name that the library looks for

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
