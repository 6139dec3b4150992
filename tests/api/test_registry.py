"""The registry over HTTP, with a real service on each database."""

import io
import threading
import zipfile
from typing import Any

import httpx
import pytest

from conftest import Served
from support.documents import COPY, ECHO


def register(client: httpx.Client, name: str, *, version: str = "1", spec: bytes = ECHO, **more: Any) -> httpx.Response:
    files = {"spec_file": ("main.cwl", spec)} | more.pop("files", {})
    return client.post("/workflow_registry/register", data={"name": name, "version": version, **more}, files=files)


def registered(client: httpx.Client, served: Served, **more: Any) -> int:
    answer = register(client, served.name(), **more)
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["data"]["registry_id"]
    return number


def test_register_when_it_is_valid_then_it_can_be_seen(served: Served, user: httpx.Client) -> None:
    name = served.name()
    answer = register(user, name, files={"input_file": ("in.yml", b"words: hello")}).json()
    assert answer["success"] is True
    assert answer["error_code"] is None
    assert (answer["data"]["revision"], answer["data"]["changed"]) == (1, True)
    assert answer["data"]["warnings"] == []
    number = answer["data"]["registry_id"]
    shown = user.get(f"/workflow_registry/{number}").json()["data"]
    assert (shown["name"], shown["version"], shown["group"], shown["created_by"]) == (name, "1", "group1", "user_1")
    found = user.get("/workflow_registry", params={"name": name}).json()["data"]
    assert [entry["registry_id"] for entry in found["items"]] == [number]
    assert found["next_cursor"] is None
    structure = user.get(f"/workflow_registry/{number}/structure").json()["data"]["structure"]
    assert [port["id"] for port in structure["inputs"]] == ["words"]


def test_register_when_parameters_come_in_the_query_then_it_is_the_same(served: Served, user: httpx.Client) -> None:
    where = {"name": served.name(), "version": "2"}
    answer = user.post("/workflow_registry/register", params=where, files={"spec_file": ("a.cwl", ECHO)})
    assert answer.json()["data"]["version"] == "2", answer.text


def test_register_when_two_do_it_at_once_then_one_wins(served: Served) -> None:
    name, statuses, barrier = served.name(), [], threading.Barrier(2)

    def one() -> None:
        with served.client_as("user_1") as client:
            barrier.wait()
            statuses.append(register(client, name).status_code)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 400]


@pytest.mark.parametrize(
    ("name", "version"),
    [("", "1"), ("x", ""), (" x", "1"), ("x" * 201, "1"), ("a\nb", "1"), ("a\x00b", "1"), ("x", "v" * 101)],
)
def test_register_when_the_name_will_not_do_then_says_so(user: httpx.Client, name: str, version: str) -> None:
    answer = register(user, name, version=version)
    assert answer.status_code == 422, answer.text
    assert answer.json()["data"][0]["message"]


@pytest.mark.parametrize("odd", ['a/b "c"; \\ %41', "ветер 🌧", "../../etc", "a'b`$(x)"])
def test_register_when_the_name_is_odd_then_downloads_bear_it(served: Served, user: httpx.Client, odd: str) -> None:
    name = f"{odd} {served.name()}"
    answer = register(user, name, version=odd, files={"spec_file": (f"{odd}.cwl", ECHO)})
    assert answer.status_code == 200, answer.text
    number = answer.json()["data"]["registry_id"]
    assert user.get(f"/workflow_registry/{number}").json()["data"]["name"] == name
    spec = user.get(f"/workflow_registry/{number}/spec")
    assert spec.content == ECHO
    disposition = spec.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="')
    assert disposition.isascii()
    assert "/" not in disposition.replace("UTF-8''", "")


def test_register_when_it_is_not_cwl_then_findings_have_places(served: Served, user: httpx.Client) -> None:
    answer = register(user, served.name(), spec=b"cwlVersion: v1.2\nclass: CommandLineTool\nbaseComand: ls\n")
    assert answer.status_code == 422
    found = answer.json()["data"]
    assert any(finding["line"] and finding["message"] for finding in found)
    assert answer.headers["stemma-error"] == "invalid-document"


def test_register_when_there_is_no_file_then_says_which(served: Served, user: httpx.Client) -> None:
    answer = user.post("/workflow_registry/register", data={"name": served.name(), "version": "1"})
    assert answer.status_code == 422
    assert answer.json()["data"][0]["parameter"] == "body.spec_file"


def test_register_when_a_part_of_the_form_is_broken_then_says_so(user: httpx.Client) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = user.post("/workflow_registry/register", content=b"--x\r\nnonsense", headers=kind)
    assert answer.status_code == 422
    assert answer.json()["code"] == 422


def test_register_when_another_group_is_named_then_refuses(served: Served, user: httpx.Client) -> None:
    assert register(user, served.name(), group="group2").status_code == 403


def test_update_when_content_changes_then_the_old_revision_stays(served: Served, user: httpx.Client) -> None:
    number = registered(user, served)
    changed = ECHO.replace(b"said.txt", b"told.txt")
    same = user.put(f"/workflow_registry/update/{number}", files={"spec_file": ("main.cwl", ECHO)})
    assert same.json()["data"]["changed"] is False
    answer = user.put(f"/workflow_registry/update/{number}", files={"spec_file": ("main.cwl", changed)})
    assert answer.json()["data"]["revision"] == 2
    assert user.get(f"/workflow_registry/{number}/spec").content == changed
    assert user.get(f"/workflow_registry/{number}/spec", params={"revision": 1}).content == ECHO
    assert user.get(f"/workflow_registry/{number}/spec", params={"revision": 3}).status_code == 404
    revisions = user.get(f"/workflow_registry/{number}/revisions").json()["data"]
    assert [revision["revision"] for revision in revisions] == [2, 1]


def test_update_when_only_the_name_changes_then_no_revision_is_added(served: Served, user: httpx.Client) -> None:
    number, name = registered(user, served), served.name()
    answer = user.put(f"/workflow_registry/update/{number}", data={"name": name})
    assert (answer.json()["data"]["name"], answer.json()["data"]["revision"]) == (name, 1)
    other = registered(user, served)
    taken = user.put(f"/workflow_registry/update/{other}", data={"name": name})
    assert taken.status_code == 400


def test_validate_when_valid_then_nothing_is_stored(served: Served, user: httpx.Client) -> None:
    name = served.name()
    files = {"spec_file": ("main.cwl", ECHO)}
    answer = user.post("/workflow_registry/validate", data={"name": name, "version": "1"}, files=files).json()
    assert answer["data"]["structure"]["cwl_class"] == "CommandLineTool"
    assert user.get("/workflow_registry", params={"name": name}).json()["data"]["items"] == []
    bad = user.post("/workflow_registry/validate", files={"spec_file": ("main.cwl", b"class: Nonsense")})
    assert bad.status_code == 422


def test_register_when_it_is_a_zip_then_the_very_bytes_come_back(served: Served, user: httpx.Client) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("flow/main.cwl", ECHO)
    number = registered(user, served, files={"spec_file": ("flow.zip", packed.getvalue())})
    spec = user.get(f"/workflow_registry/{number}/spec")
    assert (spec.content, spec.headers["content-type"]) == (packed.getvalue(), "application/zip")


def test_spec_when_the_caller_has_it_then_only_says_so(served: Served, user: httpx.Client) -> None:
    number = registered(user, served)
    first = user.get(f"/workflow_registry/{number}/spec")
    tag = first.headers["etag"]
    for given in (tag, f'"x", W/{tag}', "*"):
        again = user.get(f"/workflow_registry/{number}/spec", headers={"If-None-Match": given})
        assert (again.status_code, again.content) == (304, b"")
    part = user.get(f"/workflow_registry/{number}/spec", headers={"Range": "bytes=1-4"})
    assert (part.status_code, part.content) == (206, ECHO[1:5])


def test_inputs_when_there_are_none_then_404(served: Served, user: httpx.Client) -> None:
    assert user.get(f"/workflow_registry/{registered(user, served)}/inputs").status_code == 404
    number = registered(user, served, files={"input_file": ("in.yml", b"words: hi\n")})
    assert user.get(f"/workflow_registry/{number}/inputs").content == b"words: hi\n"


def test_diagram_when_asked_then_it_is_a_picture_that_does_nothing(served: Served, user: httpx.Client) -> None:
    number = registered(user, served, spec=COPY)
    assert user.get(f"/workflow_registry/{number}/diagram").content.startswith(b"\x89PNG")
    drawn = user.get(f"/workflow_registry/{number}/diagram", params={"format": "svg"})
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert "default-src 'none'" in drawn.headers["content-security-policy"]
    assert drawn.headers["x-content-type-options"] == "nosniff"
    assert user.get(f"/workflow_registry/{number}/diagram", params={"format": "gif"}).status_code == 422


def test_list_when_paged_then_each_comes_once_newest_first(served: Served, user: httpx.Client) -> None:
    name = served.name()
    made = [register(user, name, version=str(n)).json()["data"]["registry_id"] for n in range(5)]
    seen, cursor = [], None
    while True:
        parameters = {"name": name, "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = user.get("/workflow_registry", params=parameters).json()["data"]
        seen += [entry["registry_id"] for entry in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


@pytest.mark.parametrize("cursor", ["x", "djE6", "djE6LTE", "djE6eA", "💥", "AAAA", "djE6OTk5OTk5OTk5OTk5OTk5OTk5OTk5"])
def test_list_when_the_cursor_is_not_ours_then_says_so(user: httpx.Client, cursor: str) -> None:
    assert user.get("/workflow_registry", params={"cursor": cursor}).status_code == 422
    assert user.get("/workflow_execution", params={"cursor": cursor}).status_code == 422


def test_delete_when_not_an_admin_then_403_and_it_stays(served: Served, user: httpx.Client) -> None:
    number = registered(user, served)
    with served.client_as("user_2") as colleague:
        assert colleague.delete(f"/workflow_registry/delete/{number}").status_code == 403
        assert colleague.get(f"/workflow_registry/{number}").status_code == 200
    assert user.delete(f"/workflow_registry/delete/{number}").status_code == 200
    assert user.get(f"/workflow_registry/{number}").status_code == 404


def test_register_when_the_document_is_too_large_then_413(idle: Served) -> None:
    big = b"# " + b"x" * 30_000 + ECHO
    with idle.client_as("user_1") as client:
        document = register(client, idle.name(), spec=big)
        inputs = register(client, idle.name(), files={"input_file": ("in.yml", big)})
        field = register(client, idle.name(), main="x" * 30_000)
    assert [answer.status_code for answer in (document, inputs, field)] == [413, 413, 413], field.text
