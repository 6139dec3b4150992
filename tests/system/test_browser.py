"""A person with a browser: opens Swagger, logs in with the Authorize button, registers, runs, sees the picture."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SHOTS = os.environ.get("STEMMA_SCREENSHOTS")  # noqa: TID251 - where to leave pictures for people to look at

if not (CHROMIUM and DRIVER):
    if os.environ.get("CI"):  # noqa: TID251 - in CI nothing may be skipped
        pytest.fail("chromium and chromedriver are not installed: in CI the browser test must run")
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as expected
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE_SECONDS = 20
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


class Person:
    """Somebody in front of Chromium."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1300,1500",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        self.browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.wait = WebDriverWait(self.browser, PATIENCE_SECONDS)

    def find(self, selector: str) -> WebElement:
        """The element, once it can be seen."""
        return self.wait.until(expected.visibility_of_element_located((By.CSS_SELECTOR, selector)))

    def click(self, selector: str) -> None:
        """Click, once it can be clicked."""
        element = self.wait.until(expected.element_to_be_clickable((By.CSS_SELECTOR, selector)))
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def type(self, selector: str, text: str) -> None:
        """Replace what stands in a field."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def choose(self, block: str, field: str, file: Path) -> None:
        """Choose a file in a form."""
        self.find(f"{block} [data-property-name={field}] input[type=file]").send_keys(str(file))

    def look(self, name: str) -> None:
        """Leave a screenshot where one is asked for."""
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.browser.save_screenshot(str(Path(SHOTS) / f"{name}.png"))

    def addresses(self) -> set[str]:
        """The hosts that the pages asked."""
        entries = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        sent = [
            entry["params"]["request"]["url"] for entry in entries if entry["method"] == "Network.requestWillBeSent"
        ]
        return {url.split("/")[2] for url in sent if url.startswith("http")}

    def open_operation(self, operation: str) -> str:
        """Unfold an operation and make it editable; its selector."""
        block = f"[id$='-{operation}']"
        self.click(f"{block} .opblock-summary-control")
        self.click(f"{block} .try-out__btn")
        return block

    def execute(self, block: str) -> None:
        """Send it, and wait for the answer."""
        self.click(f"{block} .execute")
        self.find(f"{block} .live-responses-table tr.response .response-col_status")

    def answer(self, block: str) -> tuple[str, str]:
        """Status and body that Swagger shows."""
        status = self.find(f"{block} .live-responses-table tr.response .response-col_status").text.split()[0]
        body = self.find(f"{block} .live-responses-table tr.response .response-col_description")
        return status, body.text


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    somebody = Person(tmp_path / "profile")
    yield somebody
    somebody.look("at-the-end")
    somebody.browser.quit()


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


def fill(person: Person, block: str, **fields: str) -> None:
    """Type into parameters and form fields."""
    for name, text in fields.items():
        person.type(f"{block} tr[data-param-name={name}] input", text)


def test_swagger_when_used_by_hand_registers_runs_and_shows_the_picture(
    service: str, person: Person, tmp_path: Path
) -> None:
    document = tmp_path / "greet.cwl"
    document.write_text(GREETING)
    (tmp_path / "whom.txt").write_text("world")
    (tmp_path / "inputs.yml").write_text("whom: {class: File, location: whom.txt}")
    log_in(person, service)

    block = person.open_operation("register")
    fill(person, block, name="greet", version="1.0")
    person.choose(block, "spec_file", document)
    person.execute(block)
    status, body = person.answer(block)
    person.look("5-registered")
    assert status == "200", body

    block = person.open_operation("execute")
    fill(person, block, registry_id="1")
    person.choose(block, "input_file", tmp_path / "inputs.yml")
    person.click(f"{block} [data-property-name=files] .json-schema-form-item-add")
    person.choose(block, "files", tmp_path / "whom.txt")
    person.execute(block)
    status, body = person.answer(block)
    person.look("6-executed")
    assert status == "200", body

    block = person.open_operation("draw")
    fill(person, block, execution_id="1")
    person.execute(block)
    picture = person.find(f"{block} .live-responses-table tr.response img")
    person.wait.until(lambda _: picture.get_property("naturalWidth") > 300)
    person.look("7-drawn")
