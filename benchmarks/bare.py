"""What people would compare with: FastAPI with one ``def`` route, without login and database, on the same uvicorn."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import psutil
import uvicorn
from fastapi import FastAPI, File, UploadFile
from fastapi.responses import FileResponse, Response

HERE = Path(__file__).parent
_CHUNK_BYTES = 1024 * 1024


def single(folder: Path) -> FastAPI:
    """Gives the bytes of ``folder/body``, whatever number is asked for."""
    app, body = FastAPI(openapi_url=None), (folder / "body").read_bytes()

    @app.get("/{what}/{number}")
    def give(what: str, number: int) -> Response:  # noqa: ARG001
        return Response(body, media_type="application/json")

    return app


def listing(folder: Path) -> FastAPI:
    """Gives the bytes of ``folder/body``, whatever part of a list is asked for."""
    app, body = FastAPI(openapi_url=None), (folder / "body").read_bytes()

    @app.get("/{what}")
    def give(what: str, limit: int = 50, cursor: str | None = None) -> Response:  # noqa: ARG001
        return Response(body, media_type="application/json")

    return app


def download(folder: Path) -> FastAPI:
    """Gives the files of ``folder``."""
    app = FastAPI(openapi_url=None)

    @app.get("/{name}")
    def give(name: str) -> FileResponse:
        return FileResponse(folder / name)

    return app


def upload(folder: Path) -> FastAPI:
    """Takes a form with a file: into ``folder`` where its copy is asked for, else wherever the framework leaves it."""
    app = FastAPI(openapi_url=None)

    @app.post("/take")
    def take(files: Annotated[UploadFile, File()], copy: bool = False) -> int:
        if copy:
            with (folder / "copy").open("wb") as kept:
                shutil.copyfileobj(files.file, kept, _CHUNK_BYTES)
        return files.size or 0

    return app


APPLICATIONS = {one.__name__: one for one in (single, listing, download, upload)}


def serve(name: str, folder: str, descriptor: str) -> None:
    """Serve until SIGTERM, as ``stemma.api.server.run_api`` does."""
    configuration = uvicorn.Config(
        APPLICATIONS[name](Path(folder)),
        access_log=False,
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        ws="none",
    )
    uvicorn.Server(configuration).run(sockets=[socket.socket(fileno=int(descriptor))])


@contextmanager
def bare(name: str, folder: Path, **variables: str) -> Iterator[tuple[str, psutil.Process]]:
    """One of these in a process of its own, with its address. Ended afterwards."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    with listening:
        code = "import sys; from bare import serve; serve(*sys.argv[1:])"
        process = subprocess.Popen(
            [sys.executable, "-c", code, name, str(folder), str(listening.fileno())],
            env={**os.environ, **variables, "PYTHONPATH": str(HERE)},  # noqa: TID251 - handed on to a child process
            pass_fds=[listening.fileno()],
        )
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        httpx.get(url, trust_env=False, timeout=60)  # the socket listens, so this waits until it serves
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)
