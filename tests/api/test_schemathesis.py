"""The running service against its own OpenAPI document, with whatever Schemathesis can think of.

``STEMMA_TEST_EXAMPLES`` sets how many examples there are of each operation in each mode; which ones is always the same.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from conftest import Served, opened_installation, served_installation, working
from stemma.api.routes import execution, login
from stemma.database.queries import workflows
from support.documents import ECHO
from support.rows import add_run, add_workflow
from support.tokens import token

EXAMPLES = int(os.environ.get("STEMMA_TEST_EXAMPLES") or 6)  # noqa: TID251 - tests are told by the environment
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
MODES = [
    ("service", GenerationMode.POSITIVE),  # where nothing is taken, nothing can be wrong
    *(
        (tag, mode)
        for tag in ("registry", "execution", "provenance", "engine", "remote", "login")
        for mode in GenerationMode
    ),
]
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Explored:
    """A service with things to find, and what generated numbers are turned into, so that some of them are found."""

    service: Served
    headers: dict[str, str]
    known: dict[str, list[Any]]
    mortal: dict[str, list[Any]]
    """The same for what deletes."""

    def aim(self, case: schemathesis.Case) -> None:
        """Let some of the numbers and names in ``case`` be those of things that are there."""
        choices = self.mortal if case.method == "DELETE" else self.known
        for place in (case.path_parameters, case.query):
            for name, value in dict(place or {}).items():
                if name in choices and (isinstance(value, int) or str(value).isdigit() or name == "reana_name"):
                    number = value if isinstance(value, int) else len(str(value))
                    place[name] = choices[name][number % len(choices[name])]
        if isinstance(case.body, dict) and isinstance(case.body.get("spec_file"), bytes):
            case.body["spec_file"] = [case.body["spec_file"], ECHO][len(case.body["spec_file"]) % 2]


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explored]:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(execution, "FIRST_WORD_SECONDS", 0.0)
        patch.setattr(login, "_REFUSAL_SECONDS", 0.0)
        installation = stack.enter_context(opened_installation("sqlite", tmp_path_factory.mktemp("explored")))
        service = stack.enter_context(served_installation(installation))
        signed = token(installation.settings, "explorer", groups=["group1"])
        headers = {"Authorization": f"Bearer {signed}"}
        with service.client(**headers) as client, working(installation):
            files = {"spec_file": ("main.cwl", ECHO), "input_file": ("inputs.yml", b"words: hi")}
            form = {"name": "explored", "version": "1"}
            entry = client.post("/workflow_registry/register", data=form, files=files).json()["data"]["registry_id"]
            runs = [client.post(f"/workflow_execution/execute/{entry}").json()["data"] for _ in range(2)]
            ended = [service.run_to_end(client, run["execution_id"]) for run in runs]
        with installation.database.transaction() as session:
            foreign = add_workflow(session, group="group2", name="foreign")
            foreign_run = add_run(session, foreign, group="group2")
            spec = workflows.revisions(session, entry)[0].spec
            mortal = [add_workflow(session, name=f"mortal-{number}", spec=spec) for number in range(10)]
        names = [ended[0]["reana_name"], "no-such:1"]
        known = {
            "registry_id": [entry, entry, foreign, 999_999],
            "execution_id": [*(run["execution_id"] for run in ended), foreign_run, 999_999],
            "file_id": [ended[0]["outputs"]["said"]["id"], 999_999],
            "reana_name": names,
            "reana_run_number": [1, 2, 3],
            "revision": [1, 2],
        }
        yield Explored(service, headers, known, {"registry_id": [*mortal, foreign, 999_999], "reana_name": names[1:]})


@pytest.mark.filterwarnings("ignore")  # of the generator's own parts
@pytest.mark.parametrize(("tag", "mode"), MODES, ids=lambda value: getattr(value, "value", value))
def test_operations_when_called_with_anything_then_they_keep_the_contract(
    explored: Explored, tag: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{explored.service.url}/openapi.json")
    statuses: list[int] = []
    for found in schema.get_all_operations():
        operation = found.ok()
        takes = [*operation.path_parameters, *operation.query, *operation.headers, *operation.body]
        if tag not in operation.definition.raw["tags"] or (mode is GenerationMode.NEGATIVE and not takes):
            continue

        @SETTINGS
        @given(case=operation.as_strategy(generation_mode=mode))
        def keeps_the_contract(case: schemathesis.Case) -> None:
            explored.aim(case)
            answer = case.call(headers=explored.headers, timeout=PATIENCE_SECONDS)
            case.validate_response(answer, checks=checks_of(answer), headers=explored.headers)
            statuses.append(answer.status_code)

        keeps_the_contract()
    assert statuses
    assert mode is GenerationMode.NEGATIVE or 200 in statuses


def checks_of(answer: schemathesis.Response) -> list[Any]:
    """What holds for ``answer``; of a downloaded document, not what is in it."""
    kind = answer.headers.get("content-type", [""])[0].partition(";")[0]
    if kind in {"application/yaml", "application/cwl"}:
        return [check for check in CHECKS if check is not checks.response_schema_conformance]
    return CHECKS


def test_paths_when_called_by_other_methods_then_405_in_the_envelope(explored: Explored) -> None:
    methods = ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE")
    with explored.service.client(**explored.headers) as client:
        described = client.get("/openapi.json").json()["paths"]
        for path, operations in described.items():
            concrete = path.format(registry_id=1, execution_id=1, file_id=1, engine="cwltool", remote="none")
            for method in methods:
                if method.lower() in operations or path == "/remotes/copy":  # there may be a remote that is called so
                    continue
                answer: httpx.Response = client.request(method, concrete)
                assert answer.status_code == 405, (method, path, answer.text)
                envelope = answer.json()
                assert (envelope["success"], envelope["code"], envelope["error_code"]) == (False, 405, 405)
                assert answer.headers["allow"]
