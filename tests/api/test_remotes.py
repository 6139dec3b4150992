"""Remotes and the files there over HTTP, on each database. What is secret is looked for everywhere."""

import hashlib
import http.client
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from conftest import Served, opened_installation, served_installation
from stemma.api import transfers
from stemma.auth.policy import ADMIN, USER
from support.contract import Operation, operations
from support.databases import KINDS

SECRET = "geheim-4711-ganz"
KEYS = {"access_key_id": "AKIA", "secret_access_key": SECRET}
S3 = {"name": "rain", "kind": "s3", "settings": {"bucket": "rain"}, "credentials": KEYS}
LIMIT = 3_000_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the operators allow."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module", params=KINDS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("remotes") / "home"
    values = {"secret_key": "k" * 40, "file_roots": f"{root}:rw", "fetches_at_once": 4, "max_upload_bytes": LIMIT}
    with (
        opened_installation(request.param, home, **values) as installation,
        served_installation(installation) as served,
    ):
        yield served


@pytest.fixture
def folder(service: Served, person: httpx.Client, root: Path) -> Path:
    """The folder behind the remote ``data`` of ``person``."""
    made = root / service.name("folder")
    made.mkdir()
    add(person, {"name": "data", "kind": "file", "settings": {"path": str(made)}})
    return made


def add(client: httpx.Client, given: dict[str, Any], status: int = 200) -> httpx.Response:
    answer = client.post("/remotes", json=given)
    assert answer.status_code == status, answer.text
    return answer


# Registering


def test_remote_when_added_then_shown_without_its_credentials(service: Served, person: httpx.Client) -> None:
    made = add(person, S3).json()["data"]
    assert made == person.get("/remotes/rain").json()["data"]
    assert [made] == person.get("/remotes").json()["data"]
    assert (made["name"], made["kind"], made["settings"]) == ("rain", "s3", {"bucket": "rain"})
    assert (made["scope"], made["group"], made["has_credentials"]) == ("person", None, True)
    assert made["created_by"] == person.get("/whoami").json()["data"]["username"]
    again = add(person, S3, 409)
    assert again.headers["stemma-error"] == "remote-exists"


def test_remote_when_changed_then_the_credentials_are_others(service: Served, person: httpx.Client) -> None:
    before = add(person, S3).json()["data"]
    fresh = person.put("/remotes/rain", json={"credentials": {**KEYS, "access_key_id": "AKIB"}})
    assert fresh.status_code == 200, fresh.text
    assert fresh.json()["data"]["updated_at"] > before["updated_at"]
    elsewhere = person.put("/remotes/rain", json={"settings": {"bucket": "snow"}})
    assert elsewhere.status_code == 422
    assert "give the credentials anew" in elsewhere.json()["message"]
    both = person.put("/remotes/rain", json={"settings": {"bucket": "snow"}, "credentials": KEYS})
    assert both.json()["data"]["settings"] == {"bucket": "snow"}
    assert person.put("/remotes/rain", json={}).status_code == 422
    assert person.delete("/remotes/rain").status_code == 200
    for gone in (
        person.get("/remotes/rain"),
        person.delete("/remotes/rain"),
        person.put("/remotes/rain", json=both.json()),
    ):
        assert gone.status_code in {404, 422}
    assert person.get("/remotes").json()["data"] == []


def test_remote_of_a_group_when_an_admin_adds_it_then_its_members_use_and_do_not_change_it(
    service: Served, admin: httpx.Client
) -> None:
    group = service.group_of(admin)
    of_group = {**S3, "scope": "group", "group": group}
    assert add(admin, of_group).json()["data"]["group"] == group
    with service.client_of(service.name("member"), group) as member:
        assert member.get("/remotes/rain").json()["data"]["group"] == group
        taken = {"scope": "group", "group": group}
        refused = [
            member.post("/remotes", json={**of_group, "name": "more"}),
            member.put("/remotes/rain", json={"credentials": KEYS, **taken}),
            member.delete("/remotes/rain", params=taken),
        ]
        assert [answer.status_code for answer in refused] == [403] * 3
        assert all("you need the role reprov_admin" in answer.json()["message"] for answer in refused)
        assert member.delete("/remotes/rain").status_code == 404  # one of their own there is not
        add(member, S3)
        assert member.get("/remotes/rain").json()["data"]["scope"] == "person"
        assert member.get("/remotes/rain", params=taken).json()["data"]["scope"] == "group"
    assert admin.delete("/remotes/rain", params={"scope": "group"}).json()["data"]["group"] == group


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Rain"}, {"name": "-rain"}, {"name": "r" * 65}, {"name": "rain:x"}, {"name": "../x"}, {"name": ""},
        {"kind": "local"}, {"kind": "ftp"}, {"settings": {}}, {"settings": {"bucket": "rain", "more": "x"}},
        {"settings": {"bucket": 7}}, {"settings": {"bucket": ""}}, {"settings": {"bucket": "x" * 3000}},
        {"settings": {f"f{number}": "x" for number in range(40)}}, {"settings": [["bucket", "rain"]]},
        {"credentials": {"password": SECRET}}, {"credentials": {"access_key_id": [SECRET]}},
        {"credentials": {SECRET: "x"}}, {"credentials": {"session_token": SECRET * 2000}}, {"credentials": SECRET},
        {SECRET: "x"}, {"scope": SECRET}, {"group": "one"}, {"group": [SECRET]},
        {"settings": {"bucket": "rain", "endpoint": f"https://user:{SECRET}@s3.example.org"}},
    ],
    ids=str,
)  # fmt: skip
def test_remote_when_the_request_is_wrong_then_422_and_nothing_repeats_the_secret(
    service: Served, person: httpx.Client, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="stemma")
    answer = add(person, S3 | change, 422)
    [entry] = service.audited(answer)
    assert entry.result in {"invalid-request", "address-refused"}
    assert SECRET not in f"{answer.text} {answer.headers} {entry} {caplog.text}"
    assert person.get("/remotes").json()["data"] == []


def test_everything_when_a_credential_is_kept_then_no_answer_tells_it_or_its_length(
    service: Served, person: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    add(person, S3)
    longer = {**KEYS, "secret_access_key": SECRET * 9}
    answers = [
        person.get("/remotes"),
        person.get("/remotes/rain"),
        person.put("/remotes/rain", json={"credentials": KEYS}),
        person.put("/remotes/rain", json={"credentials": longer}),
        person.delete("/remotes/rain"),
    ]
    assert all(answer.status_code == 200 for answer in answers)
    assert SECRET not in " ".join(answer.text for answer in answers) + caplog.text
    assert len(answers[2].content) == len(answers[3].content)


def test_writes_when_done_or_refused_then_on_record(service: Served, person: httpx.Client, folder: Path) -> None:
    done = [
        person.put("/remotes/data/files/content", params={"path": "a.txt"}, content=b"abc"),
        person.post("/remotes/copy", json=copying("a.txt", "b.txt")),
        person.post("/remotes/none/test"),
        person.put("/remotes/none/files/content", params={"path": "a.txt"}, content=b"abc"),
        person.post("/remotes/copy", json=copying("none.txt", "b.txt")),
    ]
    told = [
        (one.action, one.resource_kind, one.resource_id, one.result)
        for answer in done
        for one in service.audited(answer)
    ]
    assert told == [
        ("remote.write", "remote", "data/a.txt", "done"),
        ("remote.copy", "remote", "data/b.txt", "done"),
        ("remote.test", "remote", "none", "remote-not-found"),
        ("remote.write", "remote", "none", "remote-not-found"),
        ("remote.copy", "remote", "copy", "source-not-found"),
    ]


# Who may

OF_OTHERS = "rain"


def call(client: httpx.Client, operation: Operation, name: str) -> httpx.Response:
    parameters = {"path": "a.txt"} if "path" in operation.parameters("query") else {}
    sent: dict[str, Any] = {}
    if operation.path == "/remotes/copy":
        sent = {"json": {"source": {"remote": name, "path": "a"}, "target": {"remote": name, "path": "b"}}}
    elif operation.method == "PUT":
        sent = {"content": b"abc"} if operation.path.endswith("content") else {"json": {"credentials": KEYS}}
    return client.request(operation.method, operation.path.format(remote=name), params=parameters, **sent)


def naming(service: Served) -> list[Operation]:
    """The operations that name a remote."""
    with service.client() as nobody:
        document = nobody.get("/openapi.json").json()
    found = [one for one in operations(document) if one.tag == "remote" and one.path != "/remotes"]
    assert len(found) == 8
    return found


def test_routes_when_the_remote_is_of_others_then_it_does_not_exist(service: Served, admin: httpx.Client) -> None:
    own, of_group = service.name("own"), service.name("group")
    add(admin, {**S3, "name": own})
    add(admin, {**S3, "name": of_group, "scope": "group"})
    nobodys = service.name("none")
    with service.client_of(service.name("other"), "another", roles=(USER, ADMIN)) as other:
        for operation in naming(service):
            seen = {}
            for name in (own, of_group, nobodys):
                answer = call(other, operation, name)
                assert answer.status_code == 404, (str(operation), answer.text)
                kept = {key: value for key, value in answer.headers.items() if key not in CHANGING}
                seen[name] = (answer.text.replace(name, "NAME"), kept | {"content-length": ""})
            assert seen[own] == seen[of_group] == seen[nobodys], str(operation)
    with service.client_of(service.name("member"), service.group_of(admin)) as member:
        assert member.get(f"/remotes/{of_group}").status_code == 200
        assert member.get(f"/remotes/{own}").status_code == 404
    assert [one["name"] for one in admin.get("/remotes").json()["data"]] == [own, of_group]


CHANGING = {"date", "content-length", "stemma-request"}


def test_routes_when_there_is_no_role_or_no_token_then_refused(service: Served) -> None:
    with service.client_of(service.name(), "group1", roles=()) as nobody, service.client() as stranger:
        for operation in naming(service):
            assert call(nobody, operation, "rain").status_code == 403, str(operation)
            assert call(stranger, operation, "rain").status_code == 401, str(operation)
        assert nobody.get("/remotes").status_code == 403
        assert nobody.post("/remotes", json=S3).status_code == 403


def test_answers_when_held_against_the_document_then_fit(service: Served, person: httpx.Client, folder: Path) -> None:
    add(person, S3)
    (folder / "a.txt").write_bytes(b"abc")
    document = person.get("/openapi.json").json()
    asked = [
        ("/remotes", person.get("/remotes"), "get"),
        ("/remotes/{remote}", person.get("/remotes/rain"), "get"),
        ("/remotes/{remote}/files", person.get("/remotes/data/files"), "get"),
        ("/remotes/{remote}/test", person.post("/remotes/data/test"), "post"),
        ("/remotes/{remote}/test", person.post("/remotes/data/test", params={"path": "none"}), "post"),
        ("/remotes/copy", person.post("/remotes/copy", json=copying("a.txt", "b.txt")), "post"),
        ("/remotes/{remote}", person.delete("/remotes/rain"), "delete"),
    ]
    for path, answer, method in asked:
        assert answer.status_code == 200, (path, answer.text)
        schema = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
        whole = {**schema, "components": document["components"]}
        jsonschema.validate(answer.json(), whole, cls=jsonschema.Draft202012Validator)


# Files


def copying(source: str, target: str) -> dict[str, Any]:
    return {"source": {"remote": "data", "path": source}, "target": {"remote": "data", "path": target}}


def test_file_when_put_then_listed_and_given_back(person: httpx.Client, folder: Path) -> None:
    content = os.urandom(2_500_000)
    sent = person.put("/remotes/data/files/content", params={"path": "2014/ä b.bin"}, content=content)
    assert sent.status_code == 200, sent.text
    told = sent.json()["data"]
    assert (told["size_bytes"], told["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert (folder / "2014" / "ä b.bin").read_bytes() == content
    [listed] = person.get("/remotes/data/files").json()["data"]["items"]
    assert (listed["path"], listed["size_bytes"]) == ("2014/ä b.bin", len(content))
    below = person.get("/remotes/data/files", params={"path": "2014"}).json()["data"]["items"]
    assert [one["path"] for one in below] == ["ä b.bin"]
    back = person.get("/remotes/data/files/content", params={"path": "2014/ä b.bin"})
    assert back.content == content
    assert back.headers["content-length"] == str(len(content))
    assert "filename*=UTF-8''%C3%A4%20b.bin" in back.headers["content-disposition"]
    assert back.headers["content-security-policy"].startswith("default-src 'none'")


def test_files_when_there_are_more_than_asked_for_then_the_list_is_cut(person: httpx.Client, folder: Path) -> None:
    for number in range(5):
        (folder / f"{number}.txt").write_text("x")
    for limit, count, is_cut in ((3, 3, True), (5, 5, False)):
        told = person.get("/remotes/data/files", params={"limit": limit}).json()["data"]
        assert (len(told["items"]), told["is_cut"]) == (count, is_cut)


def test_test_when_tried_then_says_what_was_found_or_what_is_wrong(person: httpx.Client, folder: Path) -> None:
    empty = person.post("/remotes/data/test").json()["data"]
    assert (empty["works"], empty["found"]) == (True, None)
    (folder / "a.txt").write_bytes(b"abc")
    found = person.post("/remotes/data/test").json()["data"]
    assert (found["works"], found["problem"], found["found"]["path"]) == (True, None, "a.txt")
    assert found["seconds"] >= 0
    gone = person.post("/remotes/data/test", params={"path": "none.txt"})
    assert gone.status_code == 200
    assert (gone.json()["data"]["works"], gone.json()["data"]["problem_code"]) == (False, "source-not-found")


def test_copy_when_asked_then_both_are_there(person: httpx.Client, folder: Path) -> None:
    (folder / "a.bin").write_bytes(os.urandom(1_500_000))
    answer = person.post("/remotes/copy", json=copying("a.bin", "deep/b.bin"))
    assert answer.status_code == 200, answer.text
    assert (folder / "deep" / "b.bin").read_bytes() == (folder / "a.bin").read_bytes()
    same = person.post("/remotes/copy", json=copying("a.bin", "/a.bin"))
    assert same.status_code == 422
    (folder / "large.bin").write_bytes(bytes(LIMIT + 1))
    assert person.post("/remotes/copy", json=copying("large.bin", "b.bin")).status_code == 413


def events(answer: httpx.Response) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in blocks]


def test_copy_when_followed_then_events_to_the_end(service: Served, person: httpx.Client, folder: Path) -> None:
    (folder / "a.bin").write_bytes(os.urandom(1_500_000))
    answer = person.post("/remotes/copy", json=copying("a.bin", "b.bin"), params={"follow": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer)
    assert told[0] == ("progress", {"moved_bytes": 0, "size_bytes": 1_500_000})
    kind, done = told[-1]
    assert (kind, done["path"], done["size_bytes"]) == ("end", "b.bin", 1_500_000)
    refused = person.post("/remotes/copy", json=copying("none", "b.bin"), params={"follow": True})
    assert (refused.status_code, refused.json()["error_code"]) == (404, 404)
    (folder / "closed").write_bytes(b"")
    failed = person.post("/remotes/copy", json=copying("a.bin", "closed/b.bin"), params={"follow": True})
    kind, problem = events(failed)[-1]
    assert kind == "failed"
    assert problem["envelope"]["success"] is False
    assert [entry.result for entry in service.audited(failed)] == [problem["kind"]]


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/../x", "a//b", "a\x00b", "a\nb", "..\\x", "x" * 1100, "."])
def test_files_when_the_path_leads_out_then_422_and_nothing_is_touched(
    person: httpx.Client, folder: Path, root: Path, path: str
) -> None:
    before = sorted(root.rglob("*"))
    answers = [
        person.get("/remotes/data/files", params={"path": path}),
        person.get("/remotes/data/files/content", params={"path": path}),
        person.put("/remotes/data/files/content", params={"path": path}, content=b"x"),
        person.post("/remotes/copy", json=copying(path, "b")),
    ]
    assert [answer.status_code for answer in answers] == [422] * 4, [answer.text for answer in answers]
    assert sorted(root.rglob("*")) == before


def test_put_when_it_is_larger_than_may_be_or_of_unknown_length_then_refused(
    person: httpx.Client, folder: Path
) -> None:
    def endless() -> Iterator[bytes]:
        yield b"x" * 1000

    large = person.put("/remotes/data/files/content", params={"path": "a"}, content=bytes(LIMIT + 1))
    assert large.status_code == 413
    unknown = person.put("/remotes/data/files/content", params={"path": "a"}, content=endless())
    assert unknown.status_code == 422
    assert "Content-Length" in unknown.json()["message"]
    assert person.put("/remotes/data", json={"settings": {"path": "x" * 70_000}}).status_code == 413
    assert list(folder.iterdir()) == []


def test_put_when_the_sender_hangs_up_then_nothing_half_written_is_there(
    service: Served, person: httpx.Client, folder: Path
) -> None:
    (folder / "a").write_bytes(b"before")
    begun = threading.Event()

    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        begun.set()
        raise ConnectionError

    headers = {"Content-Length": "200000"}
    with pytest.raises(ConnectionError):
        person.put("/remotes/data/files/content", params={"path": "a"}, content=broken(), headers=headers)
    assert begun.is_set()
    eventually(lambda: [path.name for path in folder.iterdir()] == ["a"])
    assert (folder / "a").read_bytes() == b"before"
    eventually(lambda: person.get("/remotes/data/files").status_code == 200)


def eventually(holds: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_put_when_the_sender_falls_silent_then_it_is_given_up(
    person: httpx.Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "SILENCE_SECONDS", 0.2)
    connection = http.client.HTTPConnection("127.0.0.1", person.base_url.port, timeout=20)
    connection.putrequest("PUT", "/remotes/data/files/content?path=a")
    connection.putheader("Authorization", person.headers["authorization"])
    connection.putheader("Content-Length", "2000")
    connection.endheaders(b"x" * 1000)  # and no more
    answer = connection.getresponse()
    told = answer.read().decode()
    connection.close()
    assert (answer.status, "nothing of the file came" in told) == (422, True), told
    assert list(folder.iterdir()) == []


def test_remotes_when_one_person_has_asked_too_many_then_503_and_others_are_served(
    service: Served, person: httpx.Client, folder: Path
) -> None:
    """Each of the two that one person may ask at once waits for a sender."""
    goes_on = threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"x"
        goes_on.wait(25)
        yield b"y"

    def send(name: str) -> None:
        with httpx.Client(base_url=person.base_url, headers=person.headers, timeout=60, trust_env=False) as client:
            sent = client.put(
                "/remotes/data/files/content", params={"path": name}, content=slow(), headers={"Content-Length": "2"}
            )
            assert sent.status_code == 200, sent.text

    senders = [threading.Thread(target=send, args=(name,)) for name in ("a", "b")]
    for sender in senders:
        sender.start()
    try:
        eventually(lambda: len(list(folder.iterdir())) == 2)  # both have begun to write aside
        refused = person.get("/remotes/data/files")
        assert refused.status_code == 503
        assert refused.headers["stemma-error"] == "too-many-transfers"
        assert refused.headers["retry-after"]
        assert person.get("/remotes").status_code == 200  # what asks no remote is not counted
        with service.client_of(service.name("other"), "another") as other:
            assert other.get("/remotes/none/files").status_code == 404
    finally:
        goes_on.set()
        for sender in senders:
            sender.join()
    assert person.get("/remotes/data/files").status_code == 200
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


def test_get_when_it_is_given_up_half_way_then_the_place_is_free_again(person: httpx.Client, folder: Path) -> None:
    (folder / "large").write_bytes(bytes(100_000_000))
    for _ in range(6):  # more than one person may have
        with person.stream("GET", "/remotes/data/files/content", params={"path": "large"}) as answer:
            assert answer.status_code == 200
            next(answer.iter_raw(1000))
        eventually(lambda: person.get("/remotes/data/files").status_code == 200)


def test_file_when_the_folder_is_not_allowed_then_it_is_refused(person: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    answer = person.post("/remotes", json={"name": "etc", "kind": "file", "settings": {"path": str(tmp_path)}})
    if answer.status_code == 200:  # then it is when it is asked
        answer = person.get("/remotes/etc/files/content", params={"path": "a.txt"})
    assert (answer.status_code, answer.headers["stemma-error"]) == (422, "address-refused")
