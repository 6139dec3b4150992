"""What belongs to another group does not exist, by whichever way it is asked for: nothing tells the two apart."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from support.real_service import RealService, real_service

COPY = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs: {file: {type: File, inputBinding: {}}}
stdout: copy.txt
outputs: {copy: stdout}
"""
SECRET = b"what only group1 may know"
NOWHERE = 10**9


@dataclass
class Theirs:
    """A captured run of group1, and a member of group2 who has an entry of the same kind."""

    service: RealService
    stranger: httpx.Client
    own_workflow: int
    workflow: int
    run: int
    file: int
    digest: str
    name: str


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theirs]:
    folder: Path = tmp_path_factory.mktemp("isolation")
    with real_service(folder) as service, service.log_in("user_1") as owner, service.log_in("user_4") as stranger:
        workflow = service.register(owner, COPY)
        submitted = service.submit(owner, workflow, {"file": {"class": "File", "location": "secret"}}, secret=SECRET)
        run = service.until(owner, submitted.json()["data"]["execution_id"])
        assert owner.post(f"/provenance/capture/{run['execution_id']}").status_code == 200
        yield Theirs(
            service, stranger, service.register(stranger, COPY), workflow, run["execution_id"],
            run["outputs"]["copy"]["id"], run["outputs"]["copy"]["checksum"], run["reana_name"],
        )  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "GET /workflow_registry/WORKFLOW",
        "GET /workflow_registry/WORKFLOW/spec",
        "GET /workflow_registry/WORKFLOW/inputs",
        "GET /workflow_registry/WORKFLOW/revisions",
        "GET /workflow_registry/WORKFLOW/diagram",
        "PUT /workflow_registry/update/WORKFLOW?version=9",
        "DELETE /workflow_registry/delete/WORKFLOW",
        "POST /workflow_execution/execute/WORKFLOW",
        "DELETE /workflow_execution/delete?registry_id=WORKFLOW",
        "GET /workflow_execution/RUN",
        "GET /workflow_execution/RUN/logs",
        "GET /workflow_execution/RUN/logs?follow=true",
        "GET /workflow_execution/RUN/events",
        "GET /workflow_execution/inputs/RUN",
        "GET /workflow_execution/outputs/RUN",
        "GET /workflow_execution/files/FILE",
        "POST /workflow_execution/RUN/stop",
        "GET /provenance/draw/RUN",
        "GET /provenance/json/RUN",
        "GET /provenance/export/RUN?format=provn",
        "GET /provenance/capture/RUN",
        "POST /provenance/capture/RUN",
    ],
)
def test_request_when_it_names_what_another_group_has_then_is_answered_as_for_what_is_not(
    theirs: Theirs, path: str
) -> None:
    method, _, address = path.partition(" ")
    answers = []
    for workflow, run, file in ((theirs.workflow, theirs.run, theirs.file), (NOWHERE,) * 3):
        asked = address.replace("WORKFLOW", str(workflow)).replace("RUN", str(run)).replace("FILE", str(file))
        answer = theirs.stranger.request(method, asked)
        numbers = rf"(?<=[ /])({workflow}|{run}|{file})\b"
        answers.append((answer.status_code, set(answer.headers), re.sub(numbers, "N", answer.text)))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


@pytest.mark.parametrize("side", ["/workflow_execution/inputs", "/workflow_execution/outputs", "/provenance/draw"])
def test_request_when_it_names_a_run_of_another_group_by_its_name_then_there_is_none(theirs: Theirs, side: str) -> None:
    answer = theirs.stranger.get(side, params={"reana_name": theirs.name, "reana_run_number": 1})
    none = theirs.stranger.get(side, params={"reana_name": "none:1", "reana_run_number": 1})
    assert answer.status_code == none.status_code == 404
    assert answer.text.replace(theirs.name, "none:1") == none.text


def test_lists_when_another_group_has_more_then_do_not_show_it(theirs: Theirs) -> None:
    listed = theirs.stranger.get("/workflow_registry").json()["data"]["items"]
    assert [entry["group"] for entry in listed] == ["group2"]
    runs = theirs.stranger.get("/workflow_execution").json()["data"]["items"]
    assert {run["group"] for run in runs} <= {"group2"}
    of_theirs = theirs.stranger.get("/workflow_execution", params={"registry_id": theirs.workflow})
    assert of_theirs.json()["data"]["items"] == []


@pytest.mark.parametrize(
    ("by_theirs", "by_none"),
    [
        ({"location": "stemma:file:FILE"}, {"location": f"stemma:file:{NOWHERE}"}),
        ({"valueFromEntity": "{{FILE}}"}, {"valueFromEntity": f"{{{{{NOWHERE}}}}}"}),
        ({"location": "stemma:DIGEST"}, {"location": "stemma:sha256:" + "0" * 64}),
    ],
)
def test_input_when_it_names_a_file_of_another_group_then_is_refused_as_one_that_is_not(
    theirs: Theirs, by_theirs: dict[str, str], by_none: dict[str, str]
) -> None:
    answers = []
    for value in (by_theirs, by_none):
        named = {key: text.replace("FILE", str(theirs.file)) for key, text in value.items()}
        named = {key: text.replace("DIGEST", theirs.digest) for key, text in named.items()}
        answer = theirs.service.submit(theirs.stranger, theirs.own_workflow, {"file": {"class": "File", **named}})
        said = re.sub(rf"[0-9a-f]{{64}}|{NOWHERE}|\b{theirs.file}\b", "N", answer.text)
        answers.append((answer.status_code, said))
    assert answers[0] == answers[1]
    assert answers[0][0] in {404, 422}


def test_input_when_it_claims_a_digest_then_what_was_sent_is_taken(theirs: Theirs) -> None:
    value = {"class": "File", "location": "mine", "checksum": theirs.digest, "size": len(SECRET)}
    answer = theirs.service.submit(theirs.stranger, theirs.own_workflow, {"file": value}, mine=b"mine")
    if answer.status_code == 200:
        run = theirs.service.until(theirs.stranger, answer.json()["data"]["execution_id"])
        file = theirs.stranger.get(f"/workflow_execution/files/{run['outputs']['copy']['id']}")
        assert file.content == b"mine"
    else:
        assert answer.status_code == 422
