"""Clients that nobody here wrote, against the full stack: a generated one, curl, and our own with its command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.compose import ROOT, Stack

pytestmark = pytest.mark.timeout(2400)
EXAMPLE = ROOT / "examples/first"


def token(up: Stack) -> str:
    with up.log_in("user_1") as client:
        return client.headers["authorization"].removeprefix("Bearer ")


def test_generated_client_when_it_talks_to_the_stack_then_a_whole_run_comes(up: Stack) -> None:
    told = {"STEMMA_TEST_STACK_URL": up.url, "STEMMA_TEST_STACK_TOKEN": token(up), "PYTEST_ADDOPTS": ""}
    test = "test_generated_client.py::test_generated_client_when_used_for_a_whole_run_then_everything_comes"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/system/{test}"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True, check=False  # noqa: TID251 - handed on
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_curl_when_used_by_the_words_of_the_page_then_a_whole_run_comes(up: Stack, tmp_path: Path) -> None:
    page = (ROOT / "docs/deployment.md").read_text()
    said = page.partition("\n## With curl\n")[2].partition("```\n")[2].partition("```")[0]
    assert "localhost:8080" in said
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    script = said.replace("localhost:8080", up.keycloak_url.removeprefix("http://"))
    script = script.replace("localhost:8000", up.url.removeprefix("http://"))
    strict = "set -euo pipefail\ncurl() { command curl --noproxy '*' --fail-with-body \"$@\"; }\n"
    done = subprocess.run(["bash", "-c", strict + script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "provenance.png").read_bytes().startswith(b"\x89PNG")


def test_command_line_when_logged_in_as_a_service_then_is_told_that_it_is_in_no_group(
    up: Stack, tmp_path: Path
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STEMMA_")}  # noqa: TID251 - handed on
    environment = {**kept, "HOME": str(tmp_path), "STEMMA_CLIENT_SECRET": "example-service-secret"}
    stemma = [sys.executable, "-m", "stemma.cli"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*stemma, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    logged_in = run("login", up.url, "--client-id", "service")
    assert logged_in.returncode == 0, logged_in.stderr
    assert "no group" in logged_in.stderr
    refused = run("workflow", "register", str(EXAMPLE / "main.cwl"), "--name", "n", "--version", "1")
    assert refused.returncode == 64, refused.stderr
    assert "you are in no group" in refused.stderr
