"""A person with a browser before the full stack: logs in at Keycloak from Swagger, registers, runs, saves the picture."""

from pathlib import Path

import pytest

from support.browser import Person, needs_a_browser, somebody
from support.compose import ROOT, Stack
from support.real_service import zipped

needs_a_browser()
pytestmark = pytest.mark.timeout(2400)


def log_in_at_keycloak(person: Person, url: str) -> None:
    person.browser.get(f"{url}/docs")
    person.find(".swagger-ui .info")
    person.look("1-docs")
    person.click(".swagger-ui .btn.authorize")
    assert person.find("[id^=client_id]").get_property("value") == "api"
    person.look("2-authorize")
    page = person.browser.current_window_handle
    person.click(".auth-btn-wrapper .authorize")
    person.wait.until(lambda browser: len(browser.window_handles) == 2)
    person.browser.switch_to.window(next(name for name in person.browser.window_handles if name != page))
    person.type("#username", "user_1")
    person.type("#password", "password_1")
    person.look("3-keycloak")
    person.click("#kc-login")
    person.wait.until(lambda browser: len(browser.window_handles) == 1)  # it closes by itself
    person.browser.switch_to.window(page)
    person.find(".auth-btn-wrapper .btn-done")
    person.look("4-authorized")
    person.click(".auth-btn-wrapper .btn-done")


def test_swagger_when_logged_in_at_keycloak_registers_runs_and_saves_the_picture(up: Stack, tmp_path: Path) -> None:
    example = ROOT / "examples/first"
    archive = tmp_path / "first.zip"
    archive.write_bytes(zipped(**{path.name.replace(".", "__"): path.read_text() for path in example.glob("*.cwl")}))
    with somebody(tmp_path / "profile", album="stack-") as person:
        log_in_at_keycloak(person, up.url)

        block = person.open_operation("register")
        person.fill(block, name="by-hand", version="1.0", main="main.cwl")
        person.choose(block, "spec_file", archive)
        person.execute(block)
        status, body = person.answer(block)
        person.look("5-registered")
        assert status == "200", body
        with up.log_in("user_1") as client:  # the number that Swagger showed
            entry = client.get("/workflow_registry", params={"name": "by-hand"}).json()["data"]["items"][0]
        assert f'"registry_id": {entry["registry_id"]}' in body

        block = person.open_operation("execute")
        person.fill(block, registry_id=str(entry["registry_id"]))
        person.choose(block, "input_file", example / "inputs.yml")
        person.click(f"{block} [data-property-name=files] .json-schema-form-item-add")
        person.choose(block, "files", example / "origin.txt")
        person.execute(block)
        status, body = person.answer(block)
        person.look("6-executed")
        assert status == "200", body
        with up.log_in("user_1") as client:
            run = client.get("/workflow_execution", params={"registry_id": entry["registry_id"]}).json()["data"]
            number = run["items"][0]["execution_id"]
            with client.stream("GET", f"/workflow_execution/{number}/events") as events:
                assert 'event: end\ndata: {"status":"finished"}' in "".join(events.iter_text())

        block = person.open_operation("draw")
        person.fill(block, execution_id=str(number))
        person.execute(block)
        picture = person.picture(block)
        person.look("7-drawn")
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 10_000
        assert person.addresses() == {address.split("/")[2] for address in (up.url, up.keycloak_url)}
