"""``valueFromPlatform`` over HTTP: real runs whose inputs come from real servers, on each database."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from conftest import Served, opened_installation, served_installation, working
from stemma.errors import SourceUnavailable
from stemma.lifecycle.remotes import remotes_of
from stemma.lifecycle.sources import Place, _Budget, _Looker
from stemma.storages.outgoing import Outgoing
from support.databases import KINDS
from support.documents import ECHO, naming
from support.elsewhere import ADDRESS, Elsewhere, elsewhere, page, redirect

ENTRY = "https://data.example.org/datasets/7"
DATA = "https://data.example.org/data/rain.csv"
JSON = "application/json"
CATALOGUE = "application/ld+json; charset=utf-8"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    with elsewhere(tmp_path_factory.mktemp("elsewhere")) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(servers: Elsewhere) -> None:
    servers.pages = {"/data/rain.csv": page(b"1,2\n")}
    servers.names = {"data.example.org": [ADDRESS], "other.example.org": [ADDRESS], "inside.example.org": ["10.0.0.1"]}
    for record in (servers.requests, servers.looked_up, servers.dialled):
        record.clear()


@pytest.fixture(scope="module", params=KINDS)
def reaching(
    request: pytest.FixtureRequest, servers: Elsewhere, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A service with a worker, both of which reach the servers of the tests."""
    values = {
        "outgoing_ca_file": servers.ca_file, "max_replica_bytes": 100_000, "max_catalogue_bytes": 2_000,
        "secret_key": "k" * 40,
    }  # fmt: skip
    with opened_installation(request.param, tmp_path_factory.mktemp(f"reaching-{request.param}"), **values) as opened:
        outgoing = Outgoing(opened.settings, resolve=servers.resolve, dial=servers)
        remotes = remotes_of(opened.settings, opened.database, lambda: outgoing)
        installation = replace(opened, outgoing=lambda: outgoing, remotes=remotes)
        with working(installation), served_installation(installation) as service:
            yield service
        remotes.close()


@pytest.fixture
def ada(reaching: Served) -> Iterator[httpx.Client]:
    with reaching.client_as("user_1") as client:
        yield client


def copying(url: str) -> bytes:
    return naming("valueFromPlatform", url)


def registered(client: httpx.Client, spec: bytes) -> int:
    form = {"name": Served.name("from"), "version": "1"}
    answer = client.post("/workflow_registry/register", data=form, files={"spec_file": ("main.cwl", spec)})
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["data"]["registry_id"]
    return number


def asked(client: httpx.Client, workflow: int, **inputs: Any) -> httpx.Response:
    return client.post(f"/workflow_execution/execute/{workflow}", json={"inputs": inputs, "nowait": True})


def ran(client: httpx.Client, workflow: int, **inputs: Any) -> dict[str, Any]:
    answer = asked(client, workflow, **inputs)
    assert answer.status_code == 200, answer.text
    run = Served.run_to_end(client, answer.json()["data"]["execution_id"])
    assert run["status"] == "finished", json.dumps(run)
    return run


def given(client: httpx.Client, url: str) -> dict[str, Any]:
    """The input of a run whose input comes from ``url``; the run copied it."""
    run = ran(client, registered(client, copying(url)))
    text: dict[str, Any] = run["inputs"]["text"]
    assert run["outputs"]["copied"]["checksum"] == text["checksum"]
    return text


def refused(client: httpx.Client, url: str) -> httpx.Response:
    answer = asked(client, registered(client, copying(url)))
    assert answer.status_code != 200
    return answer


def checksum(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_execute_when_an_input_lies_elsewhere_then_the_record_says_where_and_which_version(
    ada: httpx.Client, servers: Elsewhere
) -> None:
    servers.pages["/data/rain.csv"] = page(b"1,2\n", etag='"v1"', last_modified="Mon, 02 Mar 2026 09:00:00 GMT")
    run = ran(ada, registered(ada, copying(DATA)))
    text = run["inputs"]["text"]
    assert (text["basename"], text["size"], text["checksum"]) == ("rain.csv", 4, checksum(b"1,2\n"))
    told = {"etag": '"v1"', "last_modified": "Mon, 02 Mar 2026 09:00:00 GMT", "takes_ranges": False}
    assert text["source"] == {"url": DATA, **told}
    assert "source" not in run["outputs"]["copied"]
    document = ada.get(f"/provenance/json/{run['execution_id']}").json()
    document = document.get("data", document)
    ((name, entity),) = [(name, entity) for name, entity in document["entity"].items() if "stemma:etag" in entity]
    assert DATA in json.dumps(entity["prov:location"])
    assert "v1" in json.dumps(entity["stemma:etag"])
    (derived,) = [one for one in document["wasDerivedFrom"].values() if one["prov:usedEntity"] == name]
    assert "replication of rain.csv" in json.dumps(document["activity"])
    used = [one["prov:entity"] for one in document["used"].values()]
    assert derived["prov:generatedEntity"] in used
    assert ada.get("/provenance/draw", params=_named(run)).status_code == 200
    assert ada.get(f"/workflow_execution/files/{text['id']}").content == b"1,2\n"


def _named(run: dict[str, Any]) -> dict[str, Any]:
    return {"reana_name": run["reana_name"], "reana_run_number": run["reana_run_number"], "format": "svg"}


def test_execute_when_what_lies_elsewhere_changes_then_each_run_keeps_what_it_found(
    ada: httpx.Client, servers: Elsewhere
) -> None:
    workflow = registered(ada, copying(DATA))
    first = ran(ada, workflow)
    servers.pages["/data/rain.csv"] = page(b"3,4\n")
    second = ran(ada, workflow)
    found = [run["inputs"]["text"]["checksum"] for run in (first, second)]
    assert found == [checksum(b"1,2\n"), checksum(b"3,4\n")]
    shown = ada.get(f"/workflow_execution/{first['execution_id']}").json()["data"]
    assert shown["inputs"]["text"]["checksum"] == checksum(b"1,2\n")


def test_execute_when_a_server_redirects_then_where_to_is_on_record_without_its_keys(
    ada: httpx.Client, servers: Elsewhere
) -> None:
    servers.pages["/latest"] = redirect("https://other.example.org/blob?signature=secret")
    servers.pages["/blob"] = page(b"1,2\n", content_disposition="attachment; filename*=UTF-8''..%2Frain%20%C3%A9.csv")
    text = given(ada, "https://data.example.org/latest?format=csv")
    assert text["basename"] == "rain_é.csv"
    assert text["source"]["url"] == "https://data.example.org/latest?format=csv"
    assert text["source"]["served_from"] == "https://other.example.org/blob"
    assert "secret" not in json.dumps(text)


@pytest.mark.parametrize(
    "entry",
    [
        {"distribution": [{"content_url": DATA}]},
        {"distribution": [{"contentUrl": "../data/rain.csv"}]},
        {"distribution": ["what", {"name": "none"}, {"content_url": None}, {"content_url": "/data/rain.csv"},
                          {"content_url": "https://inside.example.org/x"}]},
    ],
)  # fmt: skip
def test_execute_when_the_url_is_an_entry_of_a_catalogue_then_the_file_is_taken(
    ada: httpx.Client, servers: Elsewhere, entry: dict[str, Any]
) -> None:
    servers.pages["/datasets/7"] = page(json.dumps(entry).encode(), content_type=CATALOGUE)
    text = given(ada, ENTRY)
    assert (text["basename"], text["checksum"]) == ("rain.csv", checksum(b"1,2\n"))
    assert (text["source"]["url"], text["source"]["catalogue"]) == (DATA, ENTRY)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"distribution": []}', JSON),
        (b'{"distribution": {"content_url": "https://data.example.org/x"}}', JSON),
        (b'[{"distribution": [{"content_url": "https://data.example.org/x"}]}]', JSON),
        (b'{"distribution": [{"content_url": "https://data.example.org/x"}]}', "text/plain"),
        (b'{"distribution": [{"content_url": "https://data.example.org/x"}]', JSON),
        (b'{"distribution": [{"content_url": "https://data.example.org/x"}], "more": "' + b"x" * 9_000 + b'"}', JSON),
        (b"[" * 1_500, JSON),
        (b"", JSON),
    ],
)
def test_execute_when_json_is_no_entry_of_a_catalogue_then_it_is_the_file(
    ada: httpx.Client, servers: Elsewhere, content: bytes, kind: str
) -> None:
    servers.pages["/datasets/7"] = page(content, content_type=kind)
    text = given(ada, ENTRY)
    assert (text["basename"], text["checksum"]) == ("7", checksum(content))
    assert "catalogue" not in text["source"]


@pytest.mark.parametrize(
    ("named", "status"),
    [
        ("https://127.0.0.1/x", 422),
        ("http://data.example.org/x", 422),
        ("file:///etc/passwd", 422),
        ("https://[broken", 422),
        ("https://inside.example.org/x", 404),
        ("https://data.example.org/gone", 404),
    ],
)
def test_execute_when_a_catalogue_names_what_is_unfit_then_it_is_not_asked(
    ada: httpx.Client, servers: Elsewhere, named: str, status: int
) -> None:
    entry = {"distribution": [{"content_url": named}]}
    servers.pages["/datasets/7"] = page(json.dumps(entry).encode(), content_type=JSON)
    assert refused(ada, ENTRY).status_code == status
    assert {address for address, _ in servers.dialled} == {ADDRESS}


def test_execute_when_the_url_is_a_file_of_this_service_then_one_workflow_feeds_another(
    ada: httpx.Client, reaching: Served, servers: Elsewhere
) -> None:
    said = ran(ada, registered(ada, ECHO), words="hello")["outputs"]["said"]
    url = f"{reaching.installation.settings.public_url}/workflow_execution/files/{said['id']}"
    servers.pages["/datasets/7"] = page(
        json.dumps({"distribution": [{"content_url": url}]}).encode(), content_type=JSON
    )
    for address in (url, f"{url}/?download=1", ENTRY):
        run = ran(ada, registered(ada, copying(address)))
        text = run["inputs"]["text"]
        assert (text["basename"], text["checksum"]) == ("said.txt", said["checksum"])
        assert text.get("source", {}).get("catalogue") == (ENTRY if address == ENTRY else None)
        document = ada.get(f"/provenance/json/{run['execution_id']}").text
        assert "stemma:ofAnotherRun" in document
    assert {path for path, _ in servers.requests} == {"/datasets/7"}


def test_execute_when_the_file_of_this_service_is_another_groups_then_it_is_as_if_it_did_not_exist(
    ada: httpx.Client, reaching: Served
) -> None:
    number = ran(ada, registered(ada, ECHO), words="hello")["outputs"]["said"]["id"]
    with reaching.client_as("user_4") as stranger:
        answers = []
        for one in (number, 10**17):
            answer = refused(stranger, f"http://localhost:8000/workflow_execution/files/{one}")
            answers.append((answer.status_code, answer.text.replace(str(one), "N")))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert "Invalid entity id in placeholder" in answers[0][1]


def test_execute_when_the_workflow_itself_names_a_file_of_another_group_then_its_caller_s_groups_do_not_help(
    ada: httpx.Client, reaching: Served
) -> None:
    with reaching.client_as("user_4") as stranger:
        theirs = ran(stranger, registered(stranger, ECHO), words="secret")["outputs"]["said"]
    url = f"{reaching.installation.settings.public_url}/workflow_execution/files/{theirs['id']}"
    lure = registered(ada, copying(url))
    with reaching.client_of("both", "group1", "group2") as both:
        assert asked(both, lure).status_code == 404
        chosen = ran(both, lure, text={"class": "File", "location": f"stemma:file:{theirs['id']}"})
    assert chosen["inputs"]["text"]["checksum"] == theirs["checksum"]


@pytest.mark.parametrize(
    "path", ["", "/workflow_execution/1", "/workflow_execution/files/0", "/workflow_execution/files/1/x"]
)
def test_execute_when_the_url_is_of_this_service_and_no_file_then_nothing_is_asked(
    ada: httpx.Client, servers: Elsewhere, path: str
) -> None:
    answer = refused(ada, f"http://localhost:8000{path}")
    assert (answer.status_code, answer.json()["data"][0]["rule"]) == (422, "inputs/source-unusable")
    assert servers.looked_up == []


def test_execute_when_a_placeholder_leads_nowhere_then_it_does_not_show_why(
    ada: httpx.Client, servers: Elsewhere
) -> None:
    answers = set()
    for host in ("other", "inside", "unknown"):
        answer = refused(ada, f"https://{host}.example.org/gone")
        answers.add((answer.status_code, answer.text.replace(f"{host}.example.org", "HOST")))
    ((status, text),) = answers
    assert status == 404
    assert "Invalid entity id in placeholder" in text


def test_execute_when_the_address_is_unfit_then_422_says_what_is_fit(ada: httpx.Client, servers: Elsewhere) -> None:
    answers = [refused(ada, url) for url in ("http://data.example.org/x", "https://127.0.0.1/x", "https://a:b@c.org/x")]
    assert {(one.status_code, one.json()["message"]) for one in answers} == {(422, answers[0].json()["message"])}
    assert "by https" in answers[0].json()["message"]
    assert {one.json()["data"][0]["rule"] for one in answers} == {"inputs/address-refused"}
    assert servers.looked_up == []


def test_execute_when_the_server_is_unwell_then_503_and_come_back(ada: httpx.Client, servers: Elsewhere) -> None:
    servers.pages["/data/rain.csv"] = page(status=500)
    answer = refused(ada, DATA)
    assert (answer.status_code, answer.headers["Stemma-Error"]) == (503, "source-unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_execute_when_it_is_larger_than_a_file_elsewhere_may_be_then_413(ada: httpx.Client, servers: Elsewhere) -> None:
    servers.pages["/data/rain.csv"] = page(b"x" * 100_001)
    assert refused(ada, DATA).status_code == 413


def test_execute_when_the_input_is_given_then_nothing_is_fetched_for_it(ada: httpx.Client, servers: Elsewhere) -> None:
    run = ran(ada, registered(ada, copying(DATA)), text={"class": "File", "contents": "mine", "basename": "m.txt"})
    assert "source" not in run["inputs"]["text"]
    assert servers.looked_up == []


def test_execute_when_inputs_themselves_hold_placeholders_then_each_address_is_looked_at_and_fetched_once(
    ada: httpx.Client, servers: Elsewhere
) -> None:
    file = {"class": "File", "valueFromPlatform": f"{{{{{DATA}}}}}"}
    beside = {**file, "basename": "beside.csv", "source": {"url": "https://forged.example.org/"}}
    run = ran(ada, registered(ada, copying(DATA)), text={**file, "basename": "a.csv", "secondaryFiles": [beside]})
    text = run["inputs"]["text"]
    assert [text["basename"], text["secondaryFiles"][0]["basename"]] == ["a.csv", "beside.csv"]
    assert text["source"] == text["secondaryFiles"][0]["source"]
    assert text["source"]["url"] == DATA
    assert [path for path, _ in servers.requests] == ["/data/rain.csv"] * 2


def test_execute_when_the_inputs_do_not_fit_then_nothing_is_fetched(ada: httpx.Client, servers: Elsewhere) -> None:
    answer = asked(ada, registered(ada, copying(DATA)), other=1)
    assert answer.status_code == 422
    assert servers.looked_up == []


def test_execute_when_too_many_addresses_are_named_then_none_is_asked(ada: httpx.Client, servers: Elsewhere) -> None:
    files = [{"class": "File", "valueFromPlatform": f"{{{{{DATA}?{number}}}}}"} for number in range(101)]
    answer = asked(
        ada, registered(ada, copying(DATA)), text={"class": "File", "contents": "x", "secondaryFiles": files}
    )
    assert answer.status_code == 413
    assert servers.looked_up == []


@pytest.fixture
def private(ada: httpx.Client, servers: Elsewhere) -> Iterator[str]:
    """A file that its server gives to those alone who show what a remote of ``ada`` has."""

    def guarded(handler: Any) -> None:
        is_known = handler.headers.get("Authorization") == "Bearer a-token"
        handler.give(b"5,6\n" if is_known else b"", status=200 if is_known else 401)

    servers.pages["/private/rain.csv"] = guarded
    name = Served.name("private").lower()
    remote = {
        "name": name,
        "kind": "https",
        "settings": {"url": "https://data.example.org/private/"},
        "credentials": {"token": "a-token"},
    }
    added = ada.post("/remotes", json=remote)
    assert added.status_code == 200, added.text
    yield "https://data.example.org/private/rain.csv"
    assert ada.delete(f"/remotes/{name}").status_code == 200


def test_execute_when_the_caller_names_a_file_at_their_remote_then_its_credentials_go_along(
    ada: httpx.Client, private: str
) -> None:
    named = {"class": "File", "valueFromPlatform": f"{{{{{private}}}}}"}
    run = ran(ada, registered(ada, copying(DATA)), text=named)
    assert run["inputs"]["text"]["checksum"] == checksum(b"5,6\n")
    assert "a-token" not in json.dumps(run)


def test_execute_when_the_workflow_names_a_file_at_the_callers_remote_then_its_credentials_stay_here(
    ada: httpx.Client, servers: Elsewhere, private: str
) -> None:
    answer = refused(ada, private)
    assert (answer.status_code, answer.headers["Stemma-Error"]) == (422, "source-forbidden")
    assert not [headers for _, headers in servers.requests if "Authorization" in headers]


def test_execute_when_a_strangers_catalogue_names_a_file_at_the_callers_remote_then_its_credentials_stay_here(
    ada: httpx.Client, servers: Elsewhere, private: str
) -> None:
    entry = json.dumps({"distribution": [{"content_url": private}]}).encode()
    servers.pages["/datasets/7"] = page(entry, content_type=JSON)
    named = {"class": "File", "valueFromPlatform": f"{{{{{ENTRY}}}}}"}
    answer = asked(ada, registered(ada, copying(DATA)), text=named)
    assert (answer.status_code, answer.headers["Stemma-Error"]) == (422, "source-forbidden")
    assert not [headers for _, headers in servers.requests if "Authorization" in headers]


def test_execute_when_a_catalogue_at_the_callers_remote_redirects_to_a_stranger_then_its_credentials_stay_here(
    ada: httpx.Client, servers: Elsewhere, private: str
) -> None:
    entry = json.dumps({"distribution": [{"content_url": private}]}).encode()
    servers.pages["/private/entry"] = redirect("https://other.example.org/entry")
    servers.pages["/entry"] = page(entry, content_type=JSON)
    named = {"class": "File", "valueFromPlatform": "{{https://data.example.org/private/entry}}"}
    answer = asked(ada, registered(ada, copying(DATA)), text=named)
    assert (answer.status_code, answer.headers["Stemma-Error"]) == (422, "source-forbidden")
    known = {path for path, headers in servers.requests if "Authorization" in headers}
    assert known == {"/private/entry"}


@pytest.mark.parametrize(
    ("digest", "rule"),
    [
        (f"sha256:{'0' * 64}", "inputs/digest-mismatch"),
        (f"sha1${'0' * 40}", "inputs/digest-mismatch"),
        ("sha256:0", "inputs/file"),
    ],
)
def test_execute_when_a_file_of_this_service_has_not_the_digest_that_is_given_then_refused(
    ada: httpx.Client, reaching: Served, servers: Elsewhere, digest: str, rule: str
) -> None:
    said = ran(ada, registered(ada, ECHO), words="hello")["outputs"]["said"]
    url = f"{reaching.installation.settings.public_url}/workflow_execution/files/{said['id']}"
    entry = json.dumps({"distribution": [{"content_url": url}]}).encode()
    servers.pages["/datasets/7"] = page(entry, content_type=JSON)
    workflow = registered(ada, copying(DATA))
    for way in (
        {"valueFromPlatform": f"{{{{{url}}}}}"},
        {"valueFromPlatform": f"{{{{{ENTRY}}}}}"},
        {"valueFromEntity": f"{{{{{said['id']}}}}}"},
        {"location": f"stemma:file:{said['id']}"},
        {"location": f"stemma:{said['checksum']}"},
    ):
        answer = asked(ada, workflow, text={"class": "File", "checksum": digest, **way})
        assert (answer.status_code, [one["rule"] for one in answer.json()["data"]]) == (422, [rule])
    run = ran(
        ada, workflow, text={"class": "File", "location": f"stemma:file:{said['id']}", "checksum": said["checksum"]}
    )
    assert run["inputs"]["text"]["checksum"] == said["checksum"]


def test_execute_when_a_file_of_this_service_has_the_sha1_that_is_given_then_it_is_compared(
    ada: httpx.Client, reaching: Served
) -> None:
    said = ran(ada, registered(ada, ECHO), words="hello, and once more")["outputs"]["said"]
    sha1 = hashlib.sha1(b"hello, and once more\n", usedforsecurity=False).hexdigest()
    workflow = registered(ada, copying(DATA))
    for location in (f"stemma:file:{said['id']}", f"stemma:{said['checksum']}"):
        named = {"class": "File", "location": location}
        run = ran(ada, workflow, text={**named, "checksum": f"sha1${sha1}"})
        assert run["inputs"]["text"]["checksum"] == said["checksum"]
        refused = asked(ada, workflow, text={**named, "checksum": f"sha1${'0' * 40}"})
        assert f"its digest is {sha1}, not {'0' * 40}" in refused.text
        with reaching.client_of("stranger", "group9") as other:  # who is not told whether it is right
            theirs = registered(other, copying(DATA))
            tried = [asked(other, theirs, text={**named, "checksum": f"sha1${each}"}) for each in (sha1, "0" * 40)]
            assert [each.status_code for each in tried] == [404, 404]
            assert tried[0].json()["message"] == tried[1].json()["message"]


def test_look_when_an_entry_of_a_catalogue_drips_then_over_when_the_time_of_the_look_is(
    reaching: Served, servers: Elsewhere
) -> None:
    is_over = threading.Event()

    def dripping(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", JSON)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not is_over.wait(0.1):
                handler.wfile.write(b" ")

    servers.pages["/datasets/7"] = dripping
    looker = _Looker(reaching.installation, "group1", budget=_Budget(10, seconds=1.0))
    place = Place(ENTRY, is_folder=False, subject="", is_placeholder=True)
    threading.Timer(20, is_over.set).start()
    with pytest.raises(SourceUnavailable):
        looker.look([], place)
    assert not is_over.is_set()
    is_over.set()


def test_execute_when_the_digest_is_given_and_another_comes_then_the_run_fails_with_the_sentence(
    ada: httpx.Client,
) -> None:
    named = {"class": "File", "valueFromPlatform": f"{{{{{DATA}}}}}", "checksum": checksum(b"other")}
    answer = asked(ada, registered(ada, copying(DATA)), text=named)
    run = Served.run_to_end(ada, answer.json()["data"]["execution_id"])
    assert run["status"] == "failed"
    assert "digest" in json.dumps(run)


def test_execute_when_the_file_comes_slowly_then_the_submission_does_not_wait_for_it(
    ada: httpx.Client, servers: Elsewhere
) -> None:
    is_open = threading.Event()

    def slow(handler: Any) -> None:
        if handler.headers.get("Range") != "bytes=0-0":
            is_open.wait(60)
        handler.give(b"1,2\n", etag='"slow"')

    servers.pages["/data/rain.csv"] = slow
    answer = asked(ada, registered(ada, copying(DATA)))
    assert answer.status_code == 200, answer.text
    number = answer.json()["data"]["execution_id"]
    assert ada.get(f"/workflow_execution/{number}").json()["data"]["replication"]["files"]["waiting"] == 1
    is_open.set()
    assert Served.run_to_end(ada, number)["inputs"]["text"]["checksum"] == checksum(b"1,2\n")
