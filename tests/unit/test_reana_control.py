"""reana-client on a transport of ours: what it asks for, and what becomes of its exceptions."""

import sys
from collections.abc import Iterator

import httpx
import pytest

from stemma.engines.reana import control, faults
from stemma.engines.reana.server import Received
from stemma.errors import EngineRefused
from support.reana_bench import reana_client_is_there
from support.reana_scripted import RUN

Asked = tuple[str, str, list[tuple[str, str]], bytes | None]


@pytest.fixture(autouse=True)
def _client_of_reana() -> None:
    reana_client_is_there()


def asking(function: str, body: bytes = b"{}", answered: int = 200, **arguments: object) -> tuple[Asked, object]:
    """What a function of the library asks for when it is answered so, and what it returns."""
    asked: list[Asked] = []

    def exchange(*request: object) -> Received:
        asked.append(request)  # type: ignore[arg-type]
        return Received(answered, httpx.Headers({"content-type": "application/json"}), body)

    found = control.call(function, exchange, **arguments)
    return asked[0], found


def test_list_when_asked_for_then_parameters_are_those_of_the_document_and_no_token_is_among_them() -> None:
    (method, path, parameters, body), found = asking(
        "get_workflows", b'{"items": [1]}', type="batch", status=["running", "queued"], include_progress=True, page=1
    )
    assert (method, path, body, found) == ("GET", "/api/workflows", None, [1])
    assert sorted(parameters) == [
        ("include_progress", "true"),
        ("page", "1"),
        ("status", "queued"),
        ("status", "running"),
        ("type", "batch"),
        ("verbose", "false"),
    ]


def test_delete_when_asked_for_then_only_this_run_is_meant() -> None:
    asked, _ = asking("delete_workflow", workflow=RUN, all_runs=False, workspace=True)
    assert asked == (
        "PUT", f"/api/workflows/{RUN}/status", [("status", "deleted")], b'{"all_runs":false,"workspace":true}'
    )  # fmt: skip


def test_identifier_when_it_would_lead_elsewhere_then_it_is_quoted() -> None:
    (_, path, _, _), _ = asking("get_workflow_specification", workflow="../a?b#c")
    assert path == "/api/workflows/..%2Fa%3Fb%23c/specification"


def test_library_when_it_raises_a_bare_exception_then_it_is_an_error_of_ours() -> None:
    with pytest.raises(faults.WrongAnswer, match="not understood"):
        asking("start_workflow", answered=202, workflow=RUN, parameters={})
    with pytest.raises(faults.WrongAnswer, match="not understood"):
        asking("get_workflows", b"[]", type="batch")
    with pytest.raises(faults.WrongAnswer, match="not JSON"):
        asking("get_workflows", b"<html>", type="batch")


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    control._client.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "reana_client.api.client", None)
        yield
    control._client.cache_clear()


@pytest.mark.usefixtures("without_library")
def test_call_when_the_library_is_not_installed_then_it_is_said_what_to_install() -> None:
    with pytest.raises(EngineRefused, match=r"stemma-registry\[reana\]"):
        asking("get_workflows", type="batch")
