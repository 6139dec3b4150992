"""A person with a browser: opens Swagger, logs in with the Authorize button, registers, runs, sees the picture."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.browser import PATIENCE_SECONDS, Person, needs_a_browser, somebody

needs_a_browser()

GREETING = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs: {whom: {type: File, inputBinding: {}}}
stdout: greeting.txt
outputs: {greeting: stdout}
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    environment = {**os.environ, "STEMMA_HOME": str(tmp_path / "home")}  # noqa: TID251 - handed on
    command = [sys.executable, "-m", "stemma.cli", "serve", "--port", "0"]
    with (tmp_path / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            announcement = tmp_path / "home" / "service.json"
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not announcement.exists():
                assert process.poll() is None, (tmp_path / "serve.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield json.loads(announcement.read_text())["url"]
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    with somebody(tmp_path / "profile") as person:
        yield person


def log_in(person: Person, url: str) -> None:
    person.browser.get(f"{url}/docs")
    person.find(".swagger-ui .info")
    person.look("1-docs")
    person.click(".swagger-ui .btn.authorize")
    person.type("#oauth_username, input[name=username]", "user_1")
    person.type("#oauth_password, input[name=password]", "password_1")
    person.look("2-authorize")
    person.click(".auth-btn-wrapper .authorize")
    person.find(".auth-btn-wrapper .btn-done")
    person.look("3-authorized")
    person.click(".auth-btn-wrapper .btn-done")


def test_swagger_when_logged_in_knows_who_asks(service: str, person: Person) -> None:
    log_in(person, service)
    block = person.open_operation("whoami")
    person.execute(block)
    status, body = person.answer(block)
    assert status == "200"
    assert "user_1" in body
    person.look("4-whoami")
    assert person.addresses() == {service.split("/")[2]}


def test_swagger_when_used_by_hand_registers_runs_and_shows_the_picture(
    service: str, person: Person, tmp_path: Path
) -> None:
    document = tmp_path / "greet.cwl"
    document.write_text(GREETING)
    (tmp_path / "whom.txt").write_text("world")
    (tmp_path / "inputs.yml").write_text("whom: {class: File, location: whom.txt}")
    log_in(person, service)

    block = person.open_operation("register")
    person.fill(block, name="greet", version="1.0")
    person.choose(block, "spec_file", document)
    person.execute(block)
    status, body = person.answer(block)
    person.look("5-registered")
    assert status == "200", body

    block = person.open_operation("execute")
    person.fill(block, registry_id="1")
    person.choose(block, "input_file", tmp_path / "inputs.yml")
    person.click(f"{block} [data-property-name=files] .json-schema-form-item-add")
    person.choose(block, "files", tmp_path / "whom.txt")
    person.execute(block)
    status, body = person.answer(block)
    person.look("6-executed")
    assert status == "200", body

    block = person.open_operation("draw")
    person.fill(block, execution_id="1")
    person.execute(block)
    assert person.picture(block).startswith(b"\x89PNG")
    person.look("7-drawn")
