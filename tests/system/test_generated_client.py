"""Clients that nobody here wrote: one generated from the OpenAPI document by a public generator, and curl.

The generator is openapi-python-client, at the path ``STEMMA_TEST_GENERATOR``. With ``STEMMA_TEST_STACK_URL`` and
``STEMMA_TEST_STACK_TOKEN`` its client talks to that service, else to one that is started here.
"""

import importlib
import io
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.real_service import real_service

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "first"
PATIENCE_SECONDS = 120.0
PACKAGE = "generated_stemma_client"


def told(name: str) -> str | None:
    """What the environment says; empty is as good as unset."""
    return os.environ.get(name) or None  # noqa: TID251 - tests are told of programs and servers by the environment


def missing(what: str) -> None:
    """Skip; where nothing may be skipped, fail."""
    if told("CI"):
        pytest.fail(f"{what}: in CI this test must run")
    pytest.skip(what)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Where the service is."""
    stack = told("STEMMA_TEST_STACK_URL")
    if stack:
        yield stack.rstrip("/")
        return
    with real_service(tmp_path) as service:
        yield service.url


@pytest.fixture
def generated(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The package that the generator makes of the service's document; imports its modules by name."""
    generator = told("STEMMA_TEST_GENERATOR")
    if generator is None:
        missing("STEMMA_TEST_GENERATOR names no openapi-python-client")
    document, folder = tmp_path / "openapi.json", tmp_path / "client"
    document.write_bytes(httpx.get(f"{url}/openapi.json", trust_env=False).content)
    configuration = ROOT / "tests" / "support" / "generator.yml"
    programs = f"{Path(str(generator)).parent}{os.pathsep}{told('PATH')}"  # what formats its code lies beside it
    made = subprocess.run(
        [str(generator), "generate", "--path", document, "--config", configuration, "--meta", "none",
         "--output-path", folder / PACKAGE, "--fail-on-warning"],
        env={**os.environ, "PATH": programs}, capture_output=True, text=True, check=False,  # noqa: TID251 - handed on
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    assert "WARNING" not in made.stdout + made.stderr
    monkeypatch.syspath_prepend(folder)
    yield lambda module: importlib.import_module(f"{PACKAGE}.{module}")
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def zipped_example() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(EXAMPLE.glob("*.cwl")):
            archive.write(path, path.name)
    return packed.getvalue()


def test_generated_client_when_used_for_a_whole_run_then_everything_comes(url: str, generated: Any) -> None:
    token = told("STEMMA_TEST_STACK_TOKEN")
    if token is None:
        form = generated("models").LoginTokenForm("password", "user_1", "password_1", client_id="api")
        with generated("client").Client(url, httpx_args={"trust_env": False}) as nobody:
            token = generated("api.login.login_token").sync(client=nobody, body=form).access_token
    with generated("client").AuthenticatedClient(url, token, timeout=60, httpx_args={"trust_env": False}) as client:
        run_the_example(client, generated)


def run_the_example(client: Any, generated: Any) -> None:
    models, files = generated("models"), generated("types")

    me = generated("api.service.service_whoami").sync(client=client).data
    assert "reprov_user" in me.roles

    document = files.File(io.BytesIO(zipped_example()), "first.zip", "application/zip")
    registered = generated("api.registry.registry_register").sync(
        client=client, body=models.RegistryRegisterForm(document), name=f"first-{time.time_ns()}", version="1.0",
        group=me.groups[0],
    )  # fmt: skip
    assert isinstance(registered, models.RegisteredAnswer), registered
    inputs = files.File(io.BytesIO((EXAMPLE / "inputs.yml").read_bytes()), "inputs.yml", "application/yaml")
    text = files.File(io.BytesIO((EXAMPLE / "origin.txt").read_bytes()), "origin.txt", "text/plain")
    submitted = generated("api.execution.execution_execute").sync(
        registered.data.registry_id, client=client, body=models.ExecutionExecuteForm(input_file=inputs, files=[text])
    )
    assert isinstance(submitted, models.SubmittedAnswer), submitted

    number = submitted.data.execution_id
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (run := generated("api.execution.execution_show").sync(number, client=client).data).end_time is None:
        assert time.monotonic() < deadline, run
        time.sleep(0.2)
    assert run.status is models.RunState.FINISHED
    assert {step.status for step in run.steps} == {models.StepState.FINISHED}

    outputs = generated("api.execution.execution_outputs").sync(number, client=client)
    with zipfile.ZipFile(outputs.payload) as archive:
        assert b"forms,4" in archive.read("ranking/ranking.csv")
    picture = generated("api.provenance.provenance_draw").sync(number, client=client)
    assert picture.payload.read().startswith(b"\x89PNG\r\n")
    captured = generated("api.provenance.provenance_capture").sync(number, client=client)
    assert captured.data.execution_id == number
    again = generated("api.provenance.provenance_capture").sync(number, client=client)
    assert isinstance(again, models.ErrorEnvelope)
    assert again.code == 403
    listed = generated("api.execution.execution_list_executions").sync(client=client, status=models.RunState.FINISHED)
    assert number in [each.execution_id for each in listed.data.items]


def commands(page: Path, heading: str) -> str:
    """The commands under a heading of a page."""
    section = page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```(?:sh|bash)?\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return "\n".join(block for block in blocks if "curl" in block)


@pytest.mark.parametrize(
    ("page", "heading"),
    [(ROOT / "README.md", "By HTTP"), (ROOT / "docs" / "http-api.md", "With curl")],
    ids=["README", "http-api"],
)
def test_curl_when_used_by_the_words_of_a_page_then_all_goes_well(page: Path, heading: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        missing("there is no curl")
    said = commands(page, heading)
    assert "localhost:8000" in said
    place = tmp_path / "checkout"
    place.mkdir()
    (place / "examples").symlink_to(ROOT / "examples")
    strict = "set -euo pipefail\ncurl() { command curl --noproxy '*' --fail-with-body \"$@\"; }\n"
    with real_service(tmp_path) as service:
        script = strict + said.replace("localhost:8000", service.url.removeprefix("http://"))
        done = subprocess.run(["bash", "-c", script], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"success":true' in done.stdout.replace(" ", "")
    for picture in place.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    for packed in place.glob("*.zip"):
        assert zipfile.is_zipfile(packed)
