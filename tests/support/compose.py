"""The full stack of ``docker-compose.yml``, in a project and on ports of its own."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
_UP_SECONDS = 1800
_SETTINGS = ("STEMMA_", "MYSQL_", "KEYCLOAK_", "REANA_", "COMPOSE_")
_IMAGES = ("mysql:8.4", "quay.io/keycloak/keycloak:26.4", "python:3.13-slim")


@dataclass(frozen=True, slots=True)
class Project:
    """A compose project that may be up or not."""

    name: str
    environment: Path
    """Its .env file."""
    files: tuple[str, ...] = ("docker-compose.yml",)

    def compose(self, *arguments: str, check: bool = True, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """``docker compose`` on this project; fails with what it said, unless ``check`` is off."""
        files = [part for file in self.files for part in ("--file", str(ROOT / file))]
        command = ["docker", "compose", "--project-name", self.name, "--env-file", str(self.environment), *files]
        # What this process's own environment sets would go before the file.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}  # noqa: TID251 - see above
        ended = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env=kept,
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert not check or ended.returncode == 0, f"{' '.join(arguments)}:\n{ended.stdout}{ended.stderr}"
        return ended

    def up(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Bring it up and wait until it is healthy; what came of it."""
        return self.compose("up", "--detach", "--build", "--wait", *arguments, check=False, seconds=_UP_SECONDS)

    def logs(self, *services: str) -> str:
        """What its containers said."""
        ended = self.compose("logs", "--no-color", "--tail", "100", *services)
        return ended.stdout + ended.stderr

    def containers(self, service: str) -> list[str]:
        """The identifiers of the running containers of ``service``."""
        return self.compose("ps", "--quiet", service).stdout.split()


@dataclass(frozen=True, slots=True)
class Stack(Project):
    """A project that is up."""

    url: str = ""
    """Of the API, without a slash at its end."""
    keycloak_url: str = ""

    def log_in(self, username: str) -> httpx.Client:
        """A client that speaks for ``username``, who has logged in at Keycloak."""
        form = {
            "grant_type": "password",
            "client_id": "api",
            "username": username,
            "password": username.replace("user", "password"),
        }
        token_url = f"{self.keycloak_url}/realms/prov/protocol/openid-connect/token"
        answer = httpx.post(token_url, data=form, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)


def why_not() -> str | None:
    """Why no stack can be started here; None when one can."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        return "docker compose is not installed"
    for image in _IMAGES:
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode != 0:
            return f"the image {image} is not here"
    return None


@contextmanager
def project(
    *, files: tuple[str, ...] = ("docker-compose.yml",), settings: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """A project that is not up yet, with ports of its own; taken down in the end, with its volumes."""
    api, keycloak, mysql = _free_ports(3)
    url, keycloak_url = f"http://localhost:{api}", f"http://localhost:{keycloak}"
    values = {
        **_example(),
        "STEMMA_PUBLIC_URL": url,
        "STEMMA_PUBLISH_PORT": str(api),
        "STEMMA_PUBLISH_KEYCLOAK_PORT": str(keycloak),
        "STEMMA_PUBLISH_MYSQL_PORT": str(mysql),
        "STEMMA_KEYCLOAK_URL": keycloak_url,
        "KEYCLOAK_AUTHORIZATION_URL": f"{keycloak_url}/realms/prov/protocol/openid-connect/auth",
        "KEYCLOAK_TOKEN_URL": f"{keycloak_url}/realms/prov/protocol/openid-connect/token",
        **(settings or {}),
    }
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder, ".env")
        environment.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        started = Stack(f"stemma-test-{secrets.token_hex(4)}", environment, files, url, keycloak_url)
        try:
            yield started
        finally:
            started.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", seconds=300)


@contextmanager
def stack(
    workers: int = 1,
    *,
    files: tuple[str, ...] = ("docker-compose.yml",),
    settings: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """The full stack with its example secrets, healthy, on free ports; taken down in the end, with its volumes."""
    with project(files=files, settings=settings) as started:
        ended = started.up("--scale", f"prov-worker={workers}")
        assert ended.returncode == 0, f"{ended.stderr}\n{started.logs()}"
        yield started


def _example() -> dict[str, str]:
    """What ``.env.example`` sets."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, each another one."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
