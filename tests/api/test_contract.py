"""The contract: what the OpenAPI document says of it, and every line of docs/http-api.md against the running service."""

import copy
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from conftest import Served
from stemma.api.contract import tidied
from stemma.auth import policy
from support.contract import Operation, operations
from support.documents import ECHO, SLOW
from support.tokens import token

PAGE = Path(__file__).parents[2] / "docs" / "http-api.md"


@pytest.fixture(scope="session")
def document(idle: Served) -> dict[str, Any]:
    with idle.client() as client:
        answer: dict[str, Any] = client.get("/openapi.json").json()
    return answer


# What the document says


def test_forms_when_they_take_files_are_multipart(document: dict[str, Any]) -> None:
    for path in (
        "/workflow_registry/register",
        "/workflow_registry/validate",
        "/workflow_execution/execute/{registry_id}",
    ):
        assert "multipart/form-data" in document["paths"][path]["post"]["requestBody"]["content"]


def test_fields_when_they_are_query_parameters_are_not_asked_for_twice(document: dict[str, Any]) -> None:
    forms = [operation for operation in operations(document) if operation.form]
    assert len(forms) >= 4
    for operation in forms:
        asked = {name for place in ("path", "query") for name in operation.parameters(place)}
        assert not asked & set(operation.form)
        assert all("anyOf" not in field for field in operation.form.values())


def test_parameters_when_optional_are_not_unions_with_null(document: dict[str, Any]) -> None:
    for operation in operations(document):
        for parameter in operation.described.get("parameters", []):
            assert {"type": "null"} not in parameter["schema"].get("anyOf", [])


def test_tidied_when_a_union_has_several_types_leaves_it() -> None:
    union = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}
    operation = {"parameters": [{"name": "x", "schema": dict(union)}], "responses": {}}
    document = {"components": {"schemas": {}}, "paths": {"/x": {"get": operation}}}
    assert tidied(document)["paths"]["/x"]["get"]["parameters"][0]["schema"] == union


def test_tidied_when_two_schemas_would_have_one_name_then_says_so() -> None:
    document = {"components": {"schemas": {"Ship": {}, "ShipShown": {}}}, "paths": {}}
    with pytest.raises(AssertionError, match="one name"):
        tidied(document)


def test_operations_when_listed_then_each_is_summed_up_in_its_own_words(document: dict[str, Any]) -> None:
    summaries = [operation.described["summary"] for operation in operations(document)]
    for operation in operations(document):
        assert operation.described["description"].startswith(operation.described["summary"])
        assert 5 < len(operation.described["summary"]) <= 110, operation
    assert len(set(summaries)) >= len(summaries) - 2  # capture by GET and by POST is the same


def answers(document: dict[str, Any]) -> Iterator[tuple[Operation, str, str, dict[str, Any]]]:
    """Every answer of every operation: its status, its kind of content, and what is said of that."""
    for operation in operations(document):
        for status, answer in operation.described["responses"].items():
            for kind, content in answer.get("content", {}).items():
                yield operation, status, kind, content


def test_answers_when_in_json_then_have_an_example_that_fits(document: dict[str, Any]) -> None:
    checked = 0
    for operation, status, kind, content in answers(document):
        if kind != "application/json" or content["schema"].get("$ref", "").endswith("/JsonObject"):
            continue  # a document, which may have anything in it
        whole = {**content["schema"], "components": document["components"]}
        jsonschema.validate(content["example"], whole, cls=jsonschema.Draft202012Validator)
        if status == "200" and operation.tag != "login":
            assert set(content["example"]) == {"success", "code", "message", "data", "error_code"}
        checked += 1
    assert checked > 200


def test_answers_when_refusals_then_are_all_of_one_shape(document: dict[str, Any]) -> None:
    shapes = {
        (content["schema"]["$ref"].rpartition("/")[2], status == "400" and operation.tag == "login")
        for operation, status, _, content in answers(document)
        if status >= "400"
    }
    assert shapes == {("ErrorEnvelope", False), ("TokenRefusal", True)}


def test_operations_when_they_write_then_say_that_a_body_may_be_too_large(document: dict[str, Any]) -> None:
    for operation in operations(document):
        assert ("413" in operation.described["responses"]) == (operation.method != "GET"), operation


def test_downloads_when_described_then_are_files(document: dict[str, Any]) -> None:
    kinds = {"application/zip", "image/png", "image/svg+xml", "application/octet-stream", "application/cwl"}
    found = [content["schema"] for _, _, kind, content in answers(document) if kind in kinds]
    assert len(found) >= 10
    assert all(schema == {"type": "string", "format": "binary"} for schema in found)


def inline(schema: Any, place: str) -> Iterator[str]:
    """Where a class would have to be made of something that has no name: objects and choices inside of others."""
    if isinstance(schema, list):
        for element in schema:
            yield from inline(element, place)
    if not isinstance(schema, dict):
        return
    if "properties" in schema or len(schema.get("enum", [])) > 1 or schema.get("additionalProperties") is True:
        yield place
    for key, value in schema.items():
        if key not in {"example", "examples"}:
            yield from inline(value, f"{place}/{key}")


def test_schemas_when_generators_read_them_then_each_has_a_name(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", name) for name in schemas), list(schemas)
    assert not list(inline(document["paths"], "paths"))
    for name, schema in schemas.items():
        inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
        assert not list(inline(inner, name))
    for name, states in (("RunState", "finished"), ("StepState", "skipped"), ("PartState", "ready")):
        assert states in schemas[name]["enum"]
    assert schemas["Run"]["properties"]["status"]["$ref"].endswith("/RunState")


def test_document_when_read_by_a_validator_then_is_openapi(document: dict[str, Any]) -> None:
    references = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(document)))
    assert references <= set(document["components"]["schemas"])
    assert set(document["components"]["schemas"]) - references <= {
        "Event"
    }  # what streams send, of which OpenAPI is silent
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(copy.deepcopy(schema))


# What the page says


def test_page_when_it_shows_the_policy_then_it_is_the_table() -> None:
    shown = re.search(r"<!-- policy -->\n(.*?)<!-- /policy -->", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    assert shown[1] == policy.as_markdown(), "the table lags behind; put there what policy.as_markdown() says"


def test_page_when_it_lists_codes_then_these_are_the_ones_of_the_document(document: dict[str, Any]) -> None:
    listed = set(re.findall(r"^\| (\d{3}) \|", PAGE.read_text(), re.MULTILINE))
    described = {status for _, status, _, _ in answers(document) if status >= "400"}
    assert described - listed == {"500"}
    assert listed - described == {"405", "421"}  # of methods and names that no operation has


def test_page_when_it_groups_routes_then_none_is_left_out(document: dict[str, Any]) -> None:
    groups = set(re.findall(r"`(/\w+)", PAGE.read_text()))
    assert {"/" + path.split("/")[1] for path in document["paths"]} <= groups


def test_page_when_it_shows_the_generator_s_settings_then_they_are_those_that_are_tested() -> None:
    tested = (Path(__file__).parents[1] / "support" / "generator.yml").read_text()
    assert tested.partition("\n")[2] in PAGE.read_text()


# What the service does


@dataclass
class Things:
    """An entry with a finished run and one that goes on, as they can be named."""

    client: httpx.Client
    values: dict[str, Any]

    def ask(self, method: str, path: str) -> httpx.Response:
        """Call a path in which ``{run}`` and the like stand for things."""
        return self.client.request(method, path.format(**self.values))


@pytest.fixture(scope="session")
def things(served: Served) -> Iterator[Things]:
    with served.client_as("user_1") as client:
        name = served.name()
        files = {"spec_file": ("main.cwl", ECHO), "input_file": ("inputs.yml", b"words: hi")}
        made = client.post("/workflow_registry/register", data={"name": name, "version": "1.0"}, files=files)
        entry = made.json()["data"]["registry_id"]
        slow_files = {"spec_file": ("main.cwl", SLOW), "input_file": ("inputs.yml", b"pause: 30")}
        slow = client.post("/workflow_registry/register", data={"name": f"{name}-s", "version": "1"}, files=slow_files)
        going = client.post(f"/workflow_execution/execute/{slow.json()['data']['registry_id']}").json()["data"]
        run = client.post(f"/workflow_execution/execute/{entry}").json()["data"]
        assert served.run_to_end(client, run["execution_id"])["status"] == "finished"
        named = f"reana_name={run['reana_name']}&reana_run_number={run['reana_run_number']}"
        going_named = f"reana_name={going['reana_name']}&reana_run_number={going['reana_run_number']}"
        yield Things(client, {
            "entry": entry, "name": name, "run": run["execution_id"], "named": named, "going": going["execution_id"],
            "going_named": going_named, "reana_name": run["reana_name"],
        })  # fmt: skip
        client.post(f"/workflow_execution/{going['execution_id']}/stop")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/workflow_registry?name={name}", 200), ("GET", "/workflow_registry/{entry}", 200),
        ("GET", "/workflow_registry/777777", 404), ("GET", "/workflow_registry/{entry}/spec?revision=1", 200),
        ("GET", "/workflow_registry/{entry}/spec?revision=2", 404), ("GET", "/workflow_registry/{entry}/inputs", 200),
        ("GET", "/workflow_registry/{entry}/inputs?revision=2", 404),
        ("GET", "/workflow_registry/{entry}/revisions", 200), ("GET", "/workflow_registry/{entry}/structure", 200),
        ("GET", "/workflow_registry/{entry}/diagram", 200),
        ("GET", "/workflow_registry/{entry}/diagram?format=svg&revision=1", 200),
        ("GET", "/workflow_registry/{entry}/diagram?revision=9", 404),
        ("POST", "/workflow_registry/register", 422), ("POST", "/workflow_registry/validate", 422),
        ("PUT", "/workflow_registry/update/{entry}", 200), ("PUT", "/workflow_registry/update/777777", 404),
        ("DELETE", "/workflow_registry/delete/777777", 404),
        ("GET", "/workflow_execution?registry_id={entry}&status=finished", 200),
        ("GET", "/workflow_execution/{run}", 200), ("GET", "/workflow_execution/777777", 404),
        ("POST", "/workflow_execution/execute/777777", 404), ("POST", "/workflow_execution/{run}/stop", 409),
        ("POST", "/workflow_execution/777777/stop", 404), ("DELETE", "/workflow_execution/delete", 403),
        ("DELETE", "/workflow_execution/delete?registry_id={entry}&reana_name={reana_name}", 403),
        ("DELETE", "/workflow_execution/delete?registry_id=777777", 404),
        ("DELETE", "/workflow_execution/delete?reana_name=no-such:1", 404),
        ("GET", "/workflow_execution/inputs?{named}", 200), ("GET", "/workflow_execution/inputs/{run}", 200),
        ("GET", "/workflow_execution/outputs?{named}", 200), ("GET", "/workflow_execution/outputs/{run}", 200),
        ("GET", "/workflow_execution/inputs/{going}", 200), ("GET", "/workflow_execution/outputs/{going}", 409),
        ("GET", "/workflow_execution/outputs?{going_named}", 409), ("GET", "/workflow_execution/outputs/777777", 404),
        ("GET", "/workflow_execution/outputs?reana_name=no-such:1&reana_run_number=1", 404),
        ("GET", "/workflow_execution/outputs?reana_name={reana_name}&reana_run_number=9", 404),
        ("GET", "/workflow_execution/outputs?reana_name={reana_name}", 422), ("GET", "/workflow_execution/outputs", 422),
        ("GET", "/workflow_execution/{run}/logs", 200), ("GET", "/workflow_execution/{run}/logs?step=nothing", 404),
        ("GET", "/workflow_execution/{run}/logs?follow=true", 200), ("GET", "/workflow_execution/{run}/events", 200),
        ("GET", "/workflow_execution/777777/events", 404), ("GET", "/provenance/capture/{going}", 409),
        ("POST", "/provenance/capture?{going_named}", 409), ("POST", "/provenance/capture/777777", 404),
        ("POST", "/provenance/capture", 422), ("GET", "/provenance/draw?{named}", 200),
        ("GET", "/provenance/draw/{run}?format=svg", 200), ("GET", "/provenance/draw/{going}", 200),
        ("GET", "/provenance/draw?{going_named}&format=svg", 200), ("GET", "/provenance/draw/{run}?format=gif", 422),
        ("GET", "/provenance/json/{run}", 200), ("GET", "/provenance/json/{going}", 200),
        ("GET", "/provenance/export/{run}?format=json", 200), ("GET", "/provenance/export/{run}?format=provn", 200),
        ("GET", "/provenance/export/777777", 404), ("GET", "/whoami", 200), ("GET", "/no/such/path", 404),
        ("PATCH", "/workflow_registry", 405), ("POST", "/workflow_execution", 405),
        ("GET", "/workflow_execution?limit=0", 422), ("GET", "/workflow_execution?cursor=nonsense", 422),
        ("GET", "/workflow_execution?status=nonsense", 422),
    ],
)  # fmt: skip
def test_contract_when_a_line_of_it_is_called_then_it_holds(
    things: Things, method: str, path: str, status: int
) -> None:
    answer = things.ask(method, path)
    assert answer.status_code == status, answer.text
    bare, _, query = path.partition("?")
    slashed = things.ask(method, f"{bare}/{'?' if query else ''}{query}")
    assert slashed.status_code == status, slashed.text
    assert "location" not in slashed.headers
    if status != 200 or ("json" in answer.headers["content-type"] and not path.startswith("/provenance")):
        envelope = answer.json()
        assert set(envelope) == {"success", "code", "message", "data", "error_code"}
        assert envelope["success"] is (status == 200)
        assert envelope["code"] == status
        assert envelope["error_code"] == (None if status == 200 else status)
        assert envelope["message"]


def test_capture_when_asked_again_in_any_way_then_403_each_time(served: Served, things: Things) -> None:
    ways = [("POST", "/provenance/capture/{run}"), ("GET", "/provenance/capture/{run}"),
            ("POST", "/provenance/capture?{named}"), ("GET", "/provenance/capture?{named}")]  # fmt: skip
    for first in ways:
        answer = things.client.post(f"/workflow_execution/execute/{things.values['entry']}").json()["data"]
        served.run_to_end(things.client, answer["execution_id"])
        named = f"reana_name={answer['reana_name']}&reana_run_number={answer['reana_run_number']}"
        fresh = Things(things.client, {"run": answer["execution_id"], "named": named})
        captured = fresh.ask(*first)
        assert (captured.status_code, captured.json()["data"]["execution_id"]) == (200, answer["execution_id"])
        for again in ways:
            assert fresh.ask(*again).status_code == 403
            assert "captured before" in fresh.ask(*again).json()["message"]


def test_names_when_an_execution_is_named_either_way_then_it_is_the_same(things: Things) -> None:
    for plain, named in (
        ("/workflow_execution/inputs/{run}", "/workflow_execution/inputs?{named}"),
        ("/workflow_execution/outputs/{run}", "/workflow_execution/outputs?{named}"),
        ("/provenance/draw/{run}?format=svg", "/provenance/draw?{named}&format=svg"),
    ):
        assert things.ask("GET", plain).content == things.ask("GET", named).content


def test_outputs_when_downloaded_then_are_a_zip_with_a_name(things: Things) -> None:
    answer = things.ask("GET", "/workflow_execution/outputs/{run}")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert set(archive.namelist()) == {"outputs.json", "said/said.txt"}


def test_execution_when_shown_then_has_every_field_of_the_contract(things: Things) -> None:
    run = things.ask("GET", "/workflow_execution/{run}").json()["data"]
    assert {"registry_id", "start_time", "end_time", "status", "reana_id", "reana_name", "reana_run_number"} <= set(run)
    step = run["steps"][0]
    assert {
        "step_id", "name", "status", "start_time", "end_time", "exit_code", "command", "error_message",
        "resource_usage", "backend_job_id",
    } <= set(step)  # fmt: skip
    assert set(step["resource_usage"]) == {
        "cpu_time_seconds", "memory_peak_mb", "disk_read_bytes", "disk_write_bytes",
    }  # fmt: skip
    for time in (run["start_time"], run["end_time"], run["submitted_at"], step["start_time"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time)
    assert re.fullmatch(r"[\w-]+:1-0", run["reana_name"])


def test_pages_when_entries_are_added_meanwhile_then_nothing_is_twice_or_left_out(served: Served) -> None:
    with served.client_as("user_1") as client:

        def add(name: str, version: int) -> int:
            form, files = {"name": name, "version": str(version)}, {"spec_file": ("main.cwl", ECHO)}
            number: int = client.post("/workflow_registry/register", data=form, files=files).json()["data"][
                "registry_id"
            ]
            return number

        name = served.name()
        made = [add(name, version) for version in range(5)]
        seen, query = [], {"name": name, "limit": 2}
        while True:
            page = client.get("/workflow_registry", params=query).json()["data"]
            seen += [entry["registry_id"] for entry in page["items"]]
            add(name, 100 + len(seen))
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
    assert seen == made[::-1]


def test_filters_when_given_then_only_these_are_listed(things: Things) -> None:
    finished = things.ask("GET", "/workflow_execution?registry_id={entry}&status=finished").json()["data"]["items"]
    assert {(run["registry_id"], run["status"]) for run in finished} == {(things.values["entry"], "finished")}
    assert things.values["run"] in [run["execution_id"] for run in finished]
    failed = things.ask("GET", "/workflow_execution?registry_id={entry}&status=failed").json()["data"]["items"]
    assert failed == []


def test_lists_when_the_caller_is_in_no_group_then_are_empty_and_say_why(served: Served) -> None:
    with served.client_of("nobody") as nobody:
        for path in ("/workflow_registry", "/workflow_execution"):
            answer = nobody.get(path).json()
            assert answer["data"] == {"items": [], "next_cursor": None}
            assert "you are in no group" in answer["message"]
        assert "you are in no group" in nobody.get("/whoami").json()["message"]
        refused = nobody.post(
            "/workflow_registry/register", data={"name": "x", "version": "1"}, files={"spec_file": ("m.cwl", ECHO)}
        )
    assert refused.status_code == 422
    assert "you are in no group" in refused.json()["message"]


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-3", 206, ECHO[:4]), ("bytes=-4", 206, ECHO[-4:]), ("bytes=0-999999", 206, None),
        ("bytes=5-3", 200, None), ("bytes=", 200, None), ("lines=1-2", 200, None), ("bytes=a-b", 200, None),
        ("bytes=99999999-", 416, None), ("bytes=0-1, 99999999-", 416, None), ("bytes=-0", 416, None),
    ],
)  # fmt: skip
def test_stored_file_when_a_part_is_asked_for_then_it_or_all_or_416_in_the_envelope(
    things: Things, asked: str, status: int, part: bytes | None
) -> None:
    path = f"/workflow_registry/{things.values['entry']}/spec"
    whole = things.client.get(path).content
    answer = things.client.get(path, headers={"Range": asked})
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.content == whole
    elif status == 206:
        assert answer.content in whole
        assert part is None or answer.content == part
    else:
        assert answer.headers["content-range"] == f"bytes */{len(whole)}"
        assert answer.json()["error_code"] == 416


def test_method_when_it_is_another_then_allow_names_every_one_that_the_path_takes(idle: Served) -> None:
    with idle.client() as client:
        allowed = client.request("PATCH", "/provenance/capture/1").headers["allow"]
    assert allowed == "GET, POST"


@pytest.mark.parametrize("stream", ["events", "logs?follow=true"])
def test_stream_when_the_token_ends_then_it_ends_too(idle: Served, stream: str) -> None:
    settings = idle.installation.settings
    with idle.client_as("user_1") as client:
        form = {"name": idle.name("expiring"), "version": "1"}
        sent = client.post("/workflow_registry/register", data=form, files={"spec_file": ("main.cwl", ECHO)})
        number = sent.json()["data"]["registry_id"]
        asked = {"inputs": {"words": "hello"}, "nowait": True}
        run = client.post(f"/workflow_execution/execute/{number}", json=asked).json()["data"]["execution_id"]
    short = token(settings.model_copy(update={"token_lifetime_seconds": 3}), "brief", groups=["group1"])
    with idle.client(Authorization=f"Bearer {short}") as brief:
        told = brief.get(f"/workflow_execution/{run}/{stream}").text
    assert "event: end" not in told
