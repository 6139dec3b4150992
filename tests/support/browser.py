"""A person in front of Chromium."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as expected
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SHOTS = os.environ.get("STEMMA_SCREENSHOTS")  # noqa: TID251 - where to leave pictures for people to look at
PATIENCE_SECONDS = 20
SAVE = "Object.assign(document.createElement('a'), {href: arguments[0].src, download: 'picture.png'}).click()"
"""What *Save image* does."""


def needs_a_browser() -> None:
    """Skip, or fail where nothing may be skipped, when there is none."""
    if CHROMIUM and DRIVER:
        return
    if os.environ.get("CI"):  # noqa: TID251 - in CI nothing may be skipped
        pytest.fail("chromium and chromedriver are not installed: in CI the browser test must run")
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)


class Person:
    """Somebody in front of Chromium."""

    def __init__(self, profile: Path, album: str = "") -> None:
        self.album = album
        self.downloads = profile / "downloads"
        self.downloads.mkdir(parents=True)
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
        options.add_experimental_option("prefs", {"download.default_directory": str(self.downloads)})
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
            self.browser.save_screenshot(str(Path(SHOTS) / f"{self.album}{name}.png"))

    def addresses(self) -> set[str]:
        """The hosts that the pages asked."""
        sent = [entry["params"]["request"]["url"] for entry in self._network("Network.requestWillBeSent")]
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

    def fill(self, block: str, **fields: str) -> None:
        """Type into parameters and form fields."""
        for name, text in fields.items():
            self.type(f"{block} tr[data-param-name={name}] input", text)

    def picture(self, block: str) -> bytes:
        """The very bytes of the picture that Swagger shows as the answer, as the browser saves them."""
        shown = self.find(f"{block} .live-responses-table tr.response img")
        self.wait.until(lambda _: shown.get_property("naturalWidth") > 300)
        self.browser.execute_script(SAVE, shown)
        saved = self.downloads / "picture.png"
        self.wait.until(lambda _: saved.exists())
        return saved.read_bytes()

    def _network(self, method: str) -> list[dict[str, Any]]:
        """What the browser's network did since the last look."""
        entries = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return [entry for entry in entries if entry["method"] == method]


@contextmanager
def somebody(profile: Path, album: str = "") -> Iterator[Person]:
    """A person, who closes the browser at the end."""
    person = Person(profile, album)
    try:
        yield person
    finally:
        person.look("at-the-end")
        person.browser.quit()
