"""The API as a process: a socket, and uvicorn on it.

For development: ``uvicorn --factory stemma.api.server:app``.
"""

import gc
import socket
import threading
from typing import Final

import uvicorn
from fastapi import FastAPI

from stemma.api.app import create_app
from stemma.auth.exposure import check_exposure
from stemma.lifecycle.installation import Installation, open_installation
from stemma.lifecycle.remotes_opened import load
from stemma.settings import Settings

GRACE_SECONDS: Final = 3
"""How long open streams may go on after the service was told to end."""
_BACKLOG: Final = 512
_HEADER_BYTES: Final = 256 * 1024
"""The headers that are still read: a token that is far too long gets its 401 rather than a connection cut off."""
_OBJECTS_A_COLLECTION: Final = 10_000
_READY_SECONDS: Final = 4.0
"""So long after the start what speaks with places elsewhere is loaded, if nobody has asked one by then."""


def app() -> FastAPI:
    """The service as the environment sets it up."""
    settings = Settings()
    check_exposure(settings)
    return create_app(open_installation(settings))


def bind(settings: Settings) -> socket.socket:
    """The socket to listen on. Its port is the one that was set, or a free one where that is 0.

    Raises:
        Exposed, ExampleSecrets: others could reach it with secrets that everybody knows.
        OSError: the port is taken.
    """
    check_exposure(settings)
    family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def run_api(installation: Installation, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT. The helper that checks documents is started at once, so that it is warm."""
    installation.validator.start()
    server = uvicorn.Server(configuration(installation))
    _settle()
    loading = threading.Timer(_READY_SECONDS, load)
    loading.daemon = True
    loading.start()
    server.run(sockets=[listening])
    loading.cancel()


def _settle() -> None:
    """Leave what was loaded until now out of the garbage collector's rounds, and let them be fewer.

    Its hundred thousands of objects stay anyway; looking through them took a third of the time of a request, and held
    all others up for some 0.1 s now and then.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_A_COLLECTION)


def configuration(installation: Installation) -> uvicorn.Config:
    """How uvicorn serves ``installation``."""
    proxies = installation.settings.trusted_proxies
    return uvicorn.Config(
        create_app(installation),
        access_log=False,
        forwarded_allow_ips=proxies or "",
        h11_max_incomplete_event_size=_HEADER_BYTES,
        lifespan="off",
        log_config=None,
        proxy_headers=proxies is not None,  # else where a request comes from is where its connection comes from
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ws="none",
    )
