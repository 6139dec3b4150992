"""What executions wait for, over HTTP; inputs that were dropped since; and the figures of all that."""

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlmodel import Session, col

from conftest import Served
from stemma import clock
from stemma.api.schemas.replication import ReplicationShown
from stemma.api.schemas.runs import RunDetails
from stemma.database.queries import eviction, facts, transfers
from stemma.database.tables import OccurrenceRow
from stemma.facts import StepEnded, StepStarted, StepWaits
from stemma.lifecycle.storekeeping import figures
from stemma.lifecycle.storekeeping.removal import evict
from stemma.records import StepKind
from stemma.states import StepState
from support.documents import ECHO
from support.stored import Late, add_file, add_late, bring, claimed, end_run


@pytest.fixture
def user(idle: Served) -> Any:
    with idle.client_as("user_1") as client:
        yield client


@pytest.fixture
def stranger(idle: Served) -> Any:
    with idle.client_as("user_4") as client:
        yield client


@pytest.fixture
def run(idle: Served, user: httpx.Client) -> int:
    """A run that nobody attends to."""
    files = {"spec_file": ("main.cwl", ECHO), "input_file": ("inputs.yml", b"words: hi")}
    made = user.post("/workflow_registry/register", data={"name": idle.name(), "version": "1"}, files=files)
    entry = made.json()["data"]["registry_id"]
    started = user.post(f"/workflow_execution/execute/{entry}", json={"nowait": True})
    number: int = started.json()["data"]["execution_id"]
    return number


def late(idle: Served, run: int, address: str) -> Late:
    installation = idle.installation
    return installation.database.write(lambda session: add_late(installation, session, run, address))


def number_of(idle: Served, file: Late) -> int:
    with idle.installation.database.reading() as session:
        query = select(col(OccurrenceRow.id)).where(col(OccurrenceRow.uuid) == file.occurrence)
        number: int = session.execute(query).scalar_one()
        return number


def test_execution_when_it_needs_nothing_from_elsewhere_then_says_null(user: httpx.Client, run: int) -> None:
    assert user.get(f"/workflow_execution/{run}").json()["data"]["replication"] is None
    found = user.get(f"/workflow_execution/{run}/replication").json()["data"]
    assert found["files"] == {"total": 0, "here": 0, "waiting": 0, "failed": 0, "handed": 0}
    assert "replication" not in user.get("/workflow_execution").json()["data"]["items"][0]


def test_execution_when_a_step_waits_then_says_for_what_and_how_far_that_is(
    idle: Served, user: httpx.Client, stranger: httpx.Client, run: int
) -> None:
    file = late(idle, run, f"https://data.example.org/{idle.name()}/big.nc")

    def write(session: Session) -> None:
        fence = claimed(idle.installation, session, file)
        until = clock.now() + timedelta(seconds=idle.installation.settings.lease_seconds + 1)
        transfers.renew(session, {file.replica: (fence, 400)}, until)
        facts.write(session, run, 0, [StepWaits("sum", "sum", (file.occurrence,), clock.now())])

    idle.installation.database.write(write)
    shown = user.get(f"/workflow_execution/{run}").json()["data"]
    RunDetails.model_validate(shown)
    found = shown["replication"]
    assert found["files"] == {"total": 1, "here": 0, "waiting": 1, "failed": 0, "handed": 0}
    assert found["bytes"] == {"wanted": 1000, "here": 0, "moved": 400}
    assert found["waiting_steps"] == 1
    [awaited] = found["awaited"]
    assert awaited["url"].endswith("/big.nc")
    assert (awaited["id"], awaited["steps"], awaited["state"]) == (number_of(idle, file), ["sum"], "moving")
    assert awaited["bytes_per_second"] > 0
    alone = user.get(f"/workflow_execution/{run}/replication").json()["data"]
    ReplicationShown.model_validate(alone)
    assert alone["files"] == found["files"]
    for path in (f"/workflow_execution/{run}", f"/workflow_execution/{run}/replication"):
        assert stranger.get(path).status_code == 404


def test_input_when_it_was_dropped_then_409_says_where_it_came_from_and_to_its_group_alone(
    idle: Served, user: httpx.Client, stranger: httpx.Client, run: int
) -> None:
    installation, address = idle.installation, f"https://data.example.org/{idle.name()}"
    file = late(idle, run, address)
    number = number_of(idle, file)
    awaited = user.get(f"/workflow_execution/files/{number}")
    assert (awaited.status_code, awaited.headers["Stemma-Error"]) == (409, "input-awaited")
    body = idle.name().encode()
    content = installation.database.write(lambda session: bring(installation, session, file, body))
    assert user.get(f"/workflow_execution/files/{number}").content == body
    installation.database.write(lambda session: end_run(session, run))
    evict(installation)
    for path in (f"/workflow_execution/files/{number}", f"/workflow_execution/inputs/{run}"):
        dropped = user.get(path)
        assert (dropped.status_code, dropped.headers["Stemma-Error"]) == (409, "input-dropped")
        message = dropped.json()["message"]
        assert address in message
        assert "version v1" in message
        assert content.sha256 in message
        assert stranger.get(path).status_code == 404


def test_input_when_another_group_brings_the_same_bytes_then_it_stays_dropped(
    idle: Served, user: httpx.Client, run: int
) -> None:
    installation, address, body = idle.installation, f"https://data.example.org/{idle.name()}", idle.name().encode()
    file = late(idle, run, address)

    def of_another_group(session: Session) -> None:
        other = add_late(installation, session, run, address, group="group2")
        bring(installation, session, other, body)

    installation.database.write(lambda session: bring(installation, session, file, body))
    installation.database.write(lambda session: eviction.evict(session, installation.home_id, file.replica))
    installation.database.write(lambda session: end_run(session, run))
    installation.database.write(of_another_group)
    number = number_of(idle, file)
    assert user.get(f"/workflow_execution/files/{number}").headers["Stemma-Error"] == "input-dropped"
    content = installation.store.put_bytes(body)
    installation.database.write(lambda session: add_file(session, run, content))  # now the group has them itself
    assert user.get(f"/workflow_execution/files/{number}").content == body


def figure(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


NAMES = (
    "stemma_replication_hits_total", "stemma_replication_misses_total", "stemma_replication_saved_bytes_total",
    "stemma_replication_moved_bytes_total", "stemma_step_wait_seconds_total", "stemma_replicas_moving",
    'stemma_store_bytes{kind="replicas"}',
)  # fmt: skip


def test_metrics_when_files_are_moved_and_found_then_each_counts_once(
    idle: Served, user: httpx.Client, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, address = idle.installation, f"https://data.example.org/{idle.name()}"
    counting = figures.StoreFigures(installation.database, installation.store, installation.home_id)
    for background in (counting._replication, counting._amounts):
        background._fresh_seconds = 0.0
    from stemma.api.metrics import Metrics

    metrics = Metrics(counting)

    def told() -> list[float]:
        text = metrics.exposed().decode()
        return [figure(text, name) for name in NAMES]

    monkeypatch.setattr(figures, "_SHARE", 0)
    monkeypatch.setattr(figures, "PATIENCE_SECONDS", 30.0)
    before = told()
    files = [late(idle, run, address) for _ in range(2)]  # two needs of one copy: one transfer
    body = idle.name().encode()
    started = clock.now()

    def write(session: Session) -> None:
        bring(installation, session, files[0], body)
        assert add_late(installation, session, run, address).replica == files[0].replica  # is here
        uuid, at = clock.new_uuid(), started + timedelta(seconds=3)
        key = idle.name("step")
        facts.write(session, run, 0, [StepWaits(key, key, (files[0].occurrence,), started)])
        facts.write(session, run, 0, [StepWaits("open", "open", (files[0].occurrence,), started)])
        facts.write(session, run, 0, [StepStarted(uuid, key, key, StepKind.TOOL, at)])
        facts.write(session, run, 0, [StepEnded(uuid, StepState.FINISHED, at + timedelta(seconds=5))])
        claimed(installation, session, add_late(installation, session, run, f"{address}/moving"))

    installation.database.write(write)
    size = float(len(body))
    changes = [after - now for after, now in zip(told(), before, strict=True)]
    assert changes == [1, 3, size, size, pytest.approx(3.0), 1, size]
    assert told() == [now + change for now, change in zip(before, changes, strict=True)]  # nothing counts twice
    assert "stemma_replication_hits_total" in user.get("/metrics").text
