"""Who may come in, what a stranger sees, and that every answer has its envelope."""

import hashlib
import http.client
import re
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.formparsers import MultiPartParser

from conftest import Served, opened_installation
from stemma.api.app import create_app
from stemma.api.dependencies import Allowed, open_to_all
from stemma.api.error_responses import refusal
from stemma.api.routes.execution import MOST_FILES
from stemma.auth.policy import Action
from stemma.errors import EngineUnreachable, StemmaError, WorkflowNotFound
from stemma.lifecycle import stop as stopping
from support.documents import ECHO
from support.tokens import token

OPEN = {
    "/healthz", "/readyz", "/docs", "/docs/{name}", "/docs/oauth2-redirect", "/openapi.json", "/login",
    "/auth/token", "/auth/jwks", "/auth/.well-known/openid-configuration",
}  # fmt: skip
BY_ADMINS = {"/workflow_registry/delete/{registry_id}", "/workflow_execution/delete"}
REFERENCE = {"reana_name": "nothing:1", "reana_run_number": 1}


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.fixture(scope="session")
def document(idle: Served) -> dict[str, Any]:
    with idle.client() as client:
        answer: dict[str, Any] = client.get("/openapi.json").json()
    return answer


KEYCLOAK = {"keycloak_server_url": "http://127.0.0.1:1/", "public_url": "http://localhost:8000"}


@pytest.mark.parametrize("issuer", [{}, KEYCLOAK], ids=["local-issuer", "keycloak"])
def test_routes_when_walked_then_each_declares_its_action(tmp_path: Path, issuer: dict[str, str]) -> None:
    with opened_installation("sqlite", tmp_path, **issuer) as installation:
        app = create_app(installation)
    seen = set()
    for context in iter_route_contexts(app.routes):
        assert isinstance(context.original_route, APIRoute), f"{context.path} is no route that declares anything"
        calls = [dependency.call for dependency in context.dependant.dependencies]
        actions = [call.action for call in calls if isinstance(call, Allowed)]
        if context.path_format in OPEN:
            assert open_to_all in calls
            assert actions == [], context.path
        else:
            assert open_to_all not in calls, context.path
            assert len(actions) == 1, f"{context.path} declares no action"
            assert (actions == [Action.DELETE]) == (context.path_format in BY_ADMINS)
        seen.add(context.path_format)
    own = {path for path in OPEN if path.startswith("/auth")}
    assert seen >= (OPEN | BY_ADMINS) - (own if issuer else set())
    assert not (issuer and seen & own)


def test_document_when_read_then_operations_are_named_and_described(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for method, path, operation in operations(document):
        assert re.fullmatch(r"[a-z]+-[a-z_]+", operation["operationId"])
        assert operation.get("description"), (method, path)
        assert {"422", "500", "503"} <= set(operation["responses"])
        if path not in OPEN:
            assert {"401", "403"} <= set(operation["responses"])
            assert operation["security"] == [{"login": []}]
    flow = document["components"]["securitySchemes"]["login"]["flows"]["password"]
    assert flow["tokenUrl"] == "/auth/token"
    schema = document["components"]["schemas"]["ErrorEnvelope"]
    assert set(schema["properties"]) == {"success", "code", "message", "data", "error_code"}


def with_number(path: str, number: int = 999_999) -> str:
    return re.sub(r"\{\w+\}", str(number), path)


def call(client: httpx.Client, method: str, path: str, operation: dict[str, Any], number: int) -> httpx.Response:
    body: dict[str, Any] = {}
    content = operation.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in content and path.startswith("/workflow_registry"):
        body = {"files": {"spec_file": ("main.cwl", ECHO)}}
    return client.request(method, with_number(path, number), params=REFERENCE, **body)


def test_guarded_routes_when_there_is_no_good_token_then_401(served: Served, document: dict[str, Any]) -> None:
    for header in (
        {},
        {"Authorization": "Bearer garbage"},
        {"Authorization": "Basic dTpw"},
        {"Authorization": "Bearer"},
    ):
        with served.client(**header) as client:
            for method, path, operation in operations(document):
                if path in OPEN:
                    continue
                answer = call(client, method, path, operation, 1)
                assert answer.status_code == 401, (method, path, answer.text)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert_refusal(answer, 401)


def assert_refusal(answer: httpx.Response, status: int) -> None:
    envelope = answer.json()
    assert set(envelope) >= {"success", "code", "message", "data", "error_code"}
    assert (envelope["success"], envelope["code"], envelope["error_code"]) == (False, status, status), answer.text
    assert envelope["message"]
    assert answer.status_code == status


@pytest.fixture(scope="session")
def finished(served: Served) -> tuple[int, int, int]:
    """A workflow of group1, a run of it, and a file of the run."""
    with served.client_as("user_1") as client:
        form = {"name": served.name(), "version": "1"}
        files = {"spec_file": ("main.cwl", ECHO), "input_file": ("inputs.json", b'{"words": "hi"}')}
        made = client.post("/workflow_registry/register", data=form, files=files)
        workflow = made.json()["data"]["registry_id"]
        run = client.post(f"/workflow_execution/execute/{workflow}", json={"inputs": {"words": "hi"}}).json()["data"]
        shown = served.run_to_end(client, run["execution_id"])
    return workflow, run["execution_id"], shown["outputs"]["said"]["id"]


def test_strangers_when_they_name_what_exists_then_see_what_does_not_exist(
    served: Served, stranger: httpx.Client, document: dict[str, Any], finished: tuple[int, int, int]
) -> None:
    numbers = dict(zip(("{registry_id}", "{execution_id}", "{file_id}"), finished, strict=True))
    checked = 0
    for method, path, operation in operations(document):
        for parameter, number in numbers.items():
            if parameter not in path:
                continue
            theirs = call(stranger, method, path, operation, number)
            nobodys = call(stranger, method, path, operation, 999_999)
            assert theirs.status_code == nobodys.status_code == 404, (method, path, theirs.text)
            assert re.sub(rf"\b{number}\b", "N", theirs.text) == nobodys.text.replace("999999", "N")
            kept = {"content-type", "stemma-error"}
            assert {k: theirs.headers.get(k) for k in kept} == {k: nobodys.headers.get(k) for k in kept}
            assert_refusal(theirs, 404)
            checked += 1
    assert checked >= 17
    with served.client_as("user_2") as colleague:
        assert colleague.get(f"/workflow_registry/{finished[0]}").status_code == 200
        assert colleague.get(f"/workflow_execution/{finished[1]}").status_code == 200


def test_strangers_when_they_know_the_name_of_a_run_then_find_nothing(
    stranger: httpx.Client, user: httpx.Client, finished: tuple[int, int, int]
) -> None:
    run = user.get(f"/workflow_execution/{finished[1]}").json()["data"]
    named = {"reana_name": run["reana_name"], "reana_run_number": run["reana_run_number"]}
    for path in (
        "/workflow_execution/inputs",
        "/workflow_execution/outputs",
        "/provenance/draw",
        "/provenance/capture",
    ):
        assert stranger.get(path, params=named).status_code == 404, path
    answer = stranger.delete("/workflow_execution/delete", params={"reana_name": run["reana_name"]})
    assert answer.status_code == 404
    assert user.get("/workflow_execution/outputs", params=named).status_code == 200
    listed = stranger.get("/workflow_execution", params={"registry_id": finished[0]}).json()["data"]
    assert listed["items"] == []


def test_strangers_when_their_inputs_name_a_file_or_digest_of_others_then_404(
    user: httpx.Client, stranger: httpx.Client, served: Served, finished: tuple[int, int, int]
) -> None:
    cat = (
        b"{cwlVersion: v1.2, class: CommandLineTool, baseCommand: cat, stdout: o,"
        b" inputs: {f: {type: File, inputBinding: {position: 1}}}, outputs: {o: stdout}}"
    )
    form = {"name": served.name(), "version": "1"}
    made = stranger.post("/workflow_registry/register", data=form, files={"spec_file": ("main.cwl", cat)})
    workflow = made.json()["data"]["registry_id"]
    digest = user.get(f"/workflow_execution/files/{finished[2]}").headers["etag"].strip('"')
    for value in (
        {"class": "File", "valueFromEntity": f"{{{{{finished[2]}}}}}"},
        {"class": "File", "location": f"stemma:file:{finished[2]}"},
        {"class": "File", "location": f"stemma:sha256:{digest}"},
    ):
        answer = stranger.post(f"/workflow_execution/execute/{workflow}", json={"inputs": {"f": value}})
        assert answer.status_code == 404, (value, answer.text)


def test_paths_when_there_is_a_slash_at_the_end_then_they_are_the_same(user: httpx.Client) -> None:
    for path in ("/workflow_registry", "/workflow_execution", "/whoami", "/healthz", "/docs"):
        plain, slashed = user.get(path), user.get(path + "/")
        assert (plain.status_code, slashed.status_code) == (200, 200), path
        assert plain.headers["content-type"] == slashed.headers["content-type"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404), ("GET", "/workflow_registry/abc", 404), ("GET", "/workflow_registry/-1", 404),
        ("GET", f"/workflow_registry/{10**30}", 404), ("GET", f"/workflow_execution/{'9' * 5000}", 404),
        ("GET", "/workflow_registry/%00", 404), ("GET", "/docs/../secret", 404), ("GET", "/docs/x.js", 404),
        ("DELETE", "/workflow_registry", 405), ("GET", "/workflow_execution/delete", 405), ("PATCH", "/whoami", 405),
        ("GET", "/workflow_registry?limit=0", 422), ("GET", "/workflow_registry?limit=201", 422),
        ("GET", "/workflow_execution?status=lost", 422), ("GET", f"/workflow_execution?registry_id={10**19}", 422),
        ("GET", "/provenance/draw", 422), ("GET", "/workflow_execution/inputs?reana_name=x", 422),
        ("DELETE", "/workflow_execution/delete", 403), ("GET", "/provenance/export/1?format=xml", 422),
    ],
)  # fmt: skip
def test_refusals_when_of_any_kind_then_come_in_the_envelope(
    user: httpx.Client, method: str, path: str, status: int
) -> None:
    assert_refusal(user.request(method, path), status)


def test_requests_when_their_host_is_another_then_421(served: Served) -> None:
    with served.client_as("user_1") as client:
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[::1", "10.0.0.1"):
            assert client.get("/workflow_registry", headers={"Host": host}).status_code == 421, host
        for host in ("localhost", "127.0.0.1:1234", "[::1]:80", "LOCALHOST:8000"):
            assert client.get("/workflow_registry", headers={"Host": host}).status_code == 200, host


def test_bodies_when_too_large_then_413_before_they_are_read(served: Served, user: httpx.Client) -> None:
    answer = user.post("/auth/token", content=b"x" * 100_000)
    assert_refusal(answer, 413)

    def endless() -> Any:
        for _ in range(40):
            yield b"x" * 10_000

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_refusal(user.post("/auth/token", content=endless(), headers=kind), 413)
    announced = http.client.HTTPConnection("127.0.0.1", httpx.URL(served.url).port, timeout=10)
    announced.putrequest("POST", "/workflow_execution/execute/1")
    announced.putheader("Authorization", user.headers["authorization"])
    announced.putheader("Content-Length", str(10**15))
    announced.endheaders()  # and not a byte of it
    assert announced.getresponse().status == 413
    announced.close()
    with served.client() as nobody:  # who has no token is not listened to
        assert_refusal(nobody.post("/workflow_execution/execute/1", content=endless(), headers=kind), 401)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/workflow_registry/register"), ("POST", "/workflow_registry/validate"),
        ("PUT", "/workflow_registry/update/999999"), ("POST", "/workflow_execution/execute/999999"),
    ],
)  # fmt: skip
def test_bodies_when_the_sender_has_no_role_then_403_before_they_are_read(idle: Served, method: str, path: str) -> None:
    announced = http.client.HTTPConnection("127.0.0.1", httpx.URL(idle.url).port, timeout=5)
    announced.putrequest(method, path)
    signed = token(idle.installation.settings, "without", groups=("group1",), roles=("other",))
    announced.putheader("Authorization", f"Bearer {signed}")
    announced.putheader("Content-Type", "multipart/form-data; boundary=x")
    announced.putheader("Content-Length", "1000")
    announced.endheaders()  # and not a byte of it
    answer = announced.getresponse()
    told = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
    announced.close()
    assert_refusal(told, 403)
    assert "you need the role" in told.json()["message"]
    assert told.headers["stemma-request"]


def test_forms_when_they_have_more_fields_than_any_route_takes_then_413(idle: Served) -> None:
    with idle.client_as("user_1") as client:
        for count, status in ((10, 404), (11, 413)):
            fields = [("inputs" if number == 0 else f"field{number}", (None, b"{}")) for number in range(count)]
            assert_refusal(client.post("/workflow_execution/execute/999999", files=fields), status)
    assert MultiPartParser.spool_max_size * MOST_FILES <= 64 * 1024 * 1024


def test_uploads_when_there_is_no_such_entry_then_are_not_kept(idle: Served) -> None:
    content = idle.name().encode()
    with idle.client_as("user_1") as client:
        answer = client.post("/workflow_execution/execute/999999", files=[("files", ("a.txt", content))])
    assert_refusal(answer, 404)
    assert not idle.installation.store.has(hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    "sent",
    [
        {"params": {"engine": "x" * 10_000}}, {"data": {"engine": "x" * 10_000}}, {"json": {"engine": "x" * 10_000}},
        {"json": {"x" * 10_000: 1}},
    ],
    ids=["query", "form", "json", "unknown-field"],
)  # fmt: skip
def test_refusals_when_a_name_was_very_long_then_do_not_tell_it_back(idle: Served, sent: dict[str, Any]) -> None:
    with idle.client_as("user_1") as client:
        made = client.post(
            "/workflow_registry/register",
            data={"name": idle.name(), "version": "1"},
            files={"spec_file": ("main.cwl", ECHO), "input_file": ("inputs.yml", b"words: hi")},
        )
        answer = client.post(f"/workflow_execution/execute/{made.json()['data']['registry_id']}", **sent)
    assert_refusal(answer, 422)
    assert len(answer.text) < 1000


@pytest.mark.parametrize("path", ["/whoami%0A", "/whoami%0a/", "/whoami%00", "/whoami%C2%85", "/workflow_registry%0D"])
def test_paths_when_they_have_control_characters_then_404(user: httpx.Client, path: str) -> None:
    assert_refusal(user.get(path), 404)


def test_paths_when_a_change_has_a_line_s_end_behind_it_then_nothing_is_done_or_written_down(
    user: httpx.Client, finished: tuple[int, int, int]
) -> None:
    answer = user.delete(f"/workflow_registry/delete/{finished[0]}999999%0A")
    assert_refusal(answer, 404)
    assert "stemma-request" not in answer.headers


def test_deletions_when_as_many_as_may_be_wait_then_503_and_the_execution_goes_on(idle: Served) -> None:
    with idle.client_as("user_1") as client:
        files = {"spec_file": ("main.cwl", ECHO), "input_file": ("inputs.yml", b"words: hi")}
        made = client.post("/workflow_registry/register", data={"name": idle.name(), "version": "1"}, files=files)
        workflow = made.json()["data"]["registry_id"]
        run = client.post(f"/workflow_execution/execute/{workflow}", json={"nowait": True}).json()["data"]
        taken = [stopping._ROOM.acquire(blocking=False) for _ in range(4)]
        try:
            answer = client.delete("/workflow_execution/delete", params={"registry_id": workflow})
            shown = client.get(f"/workflow_execution/{run['execution_id']}").json()["data"]
        finally:
            for _ in taken:
                stopping._ROOM.release()
        assert all(taken)
        assert_refusal(answer, 503)
        assert (answer.headers["stemma-error"], answer.headers["retry-after"]) == ("too-many-deletions", "5")
        assert shown["status"] == "queued"
        for _ in range(5):  # each gives its room back
            again = client.post(f"/workflow_execution/execute/{workflow}", json={"nowait": True})
            assert again.status_code == 200
            assert client.delete("/workflow_execution/delete", params={"registry_id": workflow}).status_code == 200


def every_error(kind: type[StemmaError]) -> list[type[StemmaError]]:
    return [kind, *(found for inner in kind.__subclasses__() for found in every_error(inner))]


@pytest.mark.parametrize("kind", every_error(StemmaError), ids=lambda kind: kind.__name__)
def test_refusal_when_of_any_class_then_has_its_status_and_no_secret(kind: type[StemmaError]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, "no such file: /srv/stemma/store/sha256/ab")
    error.__dict__.update(_findings=(), retry_after_seconds=5, size=1, error="invalid_grant")
    answer = refusal(error)
    assert answer.status_code == kind.status
    assert answer.headers["stemma-error"] == kind.code
    if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        assert b"/srv" not in bytes(answer.body)
    if kind.status == HTTPStatus.SERVICE_UNAVAILABLE:
        assert answer.headers["retry-after"]


def test_refusal_when_an_engine_is_away_then_says_why_without_places() -> None:
    body = bytes(refusal(EngineUnreachable("cwltool", "connect to '/home/x/run.sock' failed: refused")).body)
    assert b"/home" not in body
    assert b"refused" in body
    assert b"workflow 7" in bytes(refusal(WorkflowNotFound(7)).body)


def test_answers_when_something_breaks_inside_then_500_with_a_number(
    idle: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from stemma.database.queries import workflows

    def breaks(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("SELECT secret FROM /srv/place")

    monkeypatch.setattr(workflows, "page", breaks)
    with idle.client_as("user_1") as client:
        answer = client.get("/workflow_registry")
    assert_refusal(answer, 500)
    incident = re.search(r"incident ([0-9a-f]{12})", answer.json()["message"])
    assert incident is not None
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert incident[1] in caplog.text


def test_answers_when_held_against_the_document_then_fit(
    served: Served, user: httpx.Client, document: dict[str, Any], finished: tuple[int, int, int]
) -> None:
    numbers = dict(zip(("{registry_id}", "{execution_id}", "{file_id}"), finished, strict=True))
    checked = 0
    for method, path, operation in operations(document):
        content = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
        is_file = content.get("schema", {}).get("format") == "binary"
        is_of_others = path.startswith(("/provenance", "/remotes/"))  # documents; test_remotes.py has remotes
        if method != "GET" or "schema" not in content or is_file or is_of_others:
            continue
        number = next((number for parameter, number in numbers.items() if parameter in path), 1)
        answer = user.get(with_number(path, number))
        assert answer.status_code == 200, (path, answer.text)
        if "json" in answer.headers["content-type"]:
            whole = {**content["schema"], "components": document["components"]}
            jsonschema.validate(answer.json(), whole, cls=jsonschema.Draft202012Validator)
            checked += 1
    assert checked >= 10


def test_login_when_the_password_is_wrong_then_says_it_in_words_of_oauth(served: Served) -> None:
    with served.client() as client:
        wrong = client.post("/auth/token", data={"grant_type": "password", "username": "nobody", "password": "x"})
        assert_refusal(wrong, 400)
        assert wrong.json()["error"] == "invalid_grant"
        other = client.post("/auth/token", data={"grant_type": "client_credentials"})
        assert other.json()["error"] == "unsupported_grant_type"
        swagger = client.post(
            "/auth/token",
            data={"grant_type": "password", "username": "user_5", "password": "password_5"},
            auth=("api", ""),
        )
        granted = swagger.json()
        assert swagger.headers["cache-control"] == "no-store"
        assert granted["token_type"] == "Bearer"
        renewed = client.post(
            "/auth/token", data={"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}
        )
        assert renewed.status_code == 200
        refused = client.get("/whoami", headers={"Authorization": f"Bearer {granted['refresh_token']}"})
        assert refused.status_code == 401
        stranger = client.post("/auth/token", data={"grant_type": "password", "client_id": "other"})
        assert stranger.json()["error"] == "invalid_client"
        configuration = client.get("/auth/.well-known/openid-configuration").json()
        assert configuration["jwks_uri"].endswith("/auth/jwks")
        assert "d" not in client.get("/auth/jwks").json()["keys"][0]


def test_docs_when_opened_then_everything_comes_from_here(served: Served) -> None:
    with served.client() as client:
        page = client.get("/docs").text
        links = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert links
        assert all(link.startswith("/docs/") for link in links), links
        assert "http://" not in page
        assert "https://" not in page
        for link in links:
            answer = client.get(link)
            assert answer.status_code == 200, link
            assert len(answer.content) > 1000
        assert '"clientId": "api"' in page


def test_service_when_asked_then_says_how_it_is(served: Served, user: httpx.Client) -> None:
    me = user.get("/whoami").json()["data"]
    assert (me["username"], me["groups"], me["roles"]) == ("user_1", ["group1"], ["reprov_admin", "reprov_user"])
    ready = user.get("/readyz").json()["data"]
    assert ready == {"database": "ready", "store": "ready", "login": "ready", "engines": []}
    user.get("/workflow_registry/999998")
    figures = user.get("/metrics").text
    assert 'route="/workflow_registry/{registry_id}"' in figures
    assert 'route="/workflow_registry/999998"' not in figures


def test_whoami_when_many_ask_at_once_then_all_are_told(served: Served) -> None:
    told: list[str] = []

    def ask(number: int) -> None:
        with served.client_as(f"user_{number}") as client:
            told.extend(client.get("/whoami").json()["data"]["username"] for _ in range(5))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == sorted(f"user_{number}" for number in range(1, 6) for _ in range(5))
