"""How many streams of events and logs a caller may have open."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from conftest import Served
from stemma.api import streams
from support.documents import ECHO


@pytest.fixture
def going(idle: Served) -> Iterator[int]:
    """An execution of group1 that stays queued to the end of the test."""
    with idle.client_as("user_1") as client:
        files = {"spec_file": ("main.cwl", ECHO), "input_file": ("inputs.yml", b"words: hi")}
        form = {"name": idle.name(), "version": "1"}
        workflow = client.post("/workflow_registry/register", data=form, files=files).json()["data"]["registry_id"]
        run: int = client.post(f"/workflow_execution/execute/{workflow}?nowait=true").json()["data"]["execution_id"]
        yield run
        client.post(f"/workflow_execution/{run}/stop")


def opened(stack: ExitStack, client: httpx.Client, path: str) -> httpx.Response:
    """The answer, whose stream stays open as long as ``stack``."""
    answer = stack.enter_context(client.stream("GET", path))
    if answer.status_code != 200:
        answer.read()
    return answer


def test_streams_when_one_caller_has_many_then_429_until_one_has_ended(
    idle: Served, going: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_STREAMS", 3)
    events, logs = f"/workflow_execution/{going}/events", f"/workflow_execution/{going}/logs?follow=true"
    with idle.client_as("user_2") as client, idle.client_as("user_1") as colleague, ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        for each, path in ((first, events), (stack, events), (stack, logs)):
            assert opened(each, client, path).status_code == 200
        for path in (events, logs):
            refused = opened(stack, client, path)
            assert (refused.status_code, refused.headers["stemma-error"]) == (429, "too-many-streams")
            assert int(refused.headers["retry-after"]) > 0
            assert "3 streams" in refused.json()["message"]
        assert opened(stack, client, f"/workflow_execution/{going}").status_code == 200
        assert opened(stack, colleague, events).status_code == 200
        first.close()  # the listener goes away
        deadline = time.monotonic() + 20
        while (status := opened(stack, client, events).status_code) == 429 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status == 200
        assert opened(stack, client, events).status_code == 429


def test_streams_when_they_end_then_do_not_count(idle: Served, going: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_STREAMS", 1)
    with idle.client_as("user_1") as client:
        client.post(f"/workflow_execution/{going}/stop")
    with idle.client_as("user_2") as client:
        for path in (f"/workflow_execution/{going}/events", f"/workflow_execution/{going}/logs?follow=true"):
            deadline = time.monotonic() + 20
            while (status := client.get(path).status_code) == 429 and time.monotonic() < deadline:
                time.sleep(0.05)  # the end of the one before is heard here before it is counted there
            assert status == 200
