"""``POST /workflow_events``: what others' engines tell of steps, from anybody and in any shape."""

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import col, select

from conftest import Served, opened_installation, served_installation
from stemma import clock
from stemma.database.queries import hints, replicas
from stemma.database.queries.audit import Wanted, entries
from stemma.database.queries.hints import LIFETIME, StepTold, Subject, Told, ToldState
from stemma.database.tables import ReplicaRow, StepRow, StepToldRow
from stemma.lifecycle import telling
from stemma.lifecycle.audit import Deed
from stemma.lifecycle.replicate.replicator import Replicator
from support.data_server import DataServer, data_server
from support.databases import KINDS
from support.documents import ECHO
from support.real_service import wait_until
from support.rows import ADA, add_workflow
from support.tokens import token

SPEC = b"""\
cwlVersion: v1.2
class: Workflow
inputs: {a: 'File?', many: 'File[]?'}
outputs: {}
steps:
  one: {run: &look {class: CommandLineTool, baseCommand: [cksum], inputs: {file: File}, outputs: {}},
        in: {file: a}, out: []}
  each: {run: *look, scatter: file, in: {file: many}, out: []}
requirements: {ScatterFeatureRequirement: {}}
"""
AHEAD_BYTES = 1_000_000


@pytest.fixture(scope="module")
def data() -> Iterator[DataServer]:
    with data_server() as server:
        yield server


@dataclass
class Bench:
    """A service without a worker, with an entry and a queued run of group1."""

    service: Served
    data: DataServer
    entry: int
    run: int

    def client(self, name: str = "owner", *groups: str, roles: tuple[str, ...] = ("reprov_user",)) -> httpx.Client:
        """Somebody of ``groups``: of group1 where none is named."""
        signed = token(self.service.installation.settings, name, groups=list(groups or ("group1",)), roles=list(roles))
        return self.service.client(Authorization=f"Bearer {signed}")

    def tell(self, *events: dict[str, Any], status: int = 200, client: httpx.Client | None = None) -> dict[str, Any]:
        """Send ``events``; the data of the answer."""
        with client or self.client() as caller:
            answer = caller.post("/workflow_events", json={"events": list(events)})
        assert answer.status_code == status, answer.text
        shown: dict[str, Any] = answer.json()["data"]
        return shown

    def wished(self, group: str = "group1") -> int:
        """How many files a group wants ahead."""
        installation = self.service.installation
        with installation.database.reading() as session:
            return len(hints.wished(session, installation.home_id, group, clock.now()))


def submitted(client: httpx.Client, spec: bytes, inputs: dict[str, Any]) -> tuple[int, int]:
    form = {"name": Served.name(), "version": "1"}
    made = client.post("/workflow_registry/register", data=form, files={"spec_file": ("main.cwl", spec)})
    assert made.status_code == 200, made.text
    entry = made.json()["data"]["registry_id"]
    answer = client.post(f"/workflow_execution/execute/{entry}", json={"inputs": inputs, "nowait": True})
    assert answer.status_code == 200, answer.text
    return entry, answer.json()["data"]["execution_id"]


@pytest.fixture(scope="module", params=KINDS)
def bench(
    request: pytest.FixtureRequest, data: DataServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp(f"telling-{request.param}")
        place = data.url.removeprefix("http://")
        settings = {"allow_plain_http": True, "allow_private_hosts": place, "replication_ahead_bytes": AHEAD_BYTES}
        installation = stack.enter_context(opened_installation(request.param, folder, **settings))
        made = Bench(stack.enter_context(served_installation(installation)), data, 0, 0)
        with made.client() as client:
            made.entry, made.run = submitted(client, SPEC, {})
        yield made


def added(bench: Bench, **more: Any) -> dict[str, Any]:
    """An event of a run of the workflow that no other test knows."""
    return {"registry_id": bench.entry, "run": Served.name("run"), "step": "one", "state": "added", **more}


def test_events_when_they_are_good_then_each_is_taken_and_on_record_as_a_deed_and_not_as_a_fact(bench: Bench) -> None:
    about = {"execution_id": bench.run, "step": "each[0]"}
    with bench.client() as client:
        events = [{**about, "state": state, "id": state} for state in ("added", "running", "succeeded")]
        answer = client.post("/workflow_events", json={"events": events})
    told = answer.json()["data"]
    assert [(one["id"], one["result"]) for one in told["events"]] == [
        ("added", "taken"), ("running", "taken"), ("succeeded", "taken"),
    ]  # fmt: skip
    database = bench.service.installation.database
    found = [one for one in entries(database, Wanted()) if str(one.request) == answer.headers["stemma-request"]]
    assert [(one.action, one.resource_kind, one.resource_id, one.group) for one in found] == [
        (Deed.RUN_EVENTS, "run", str(bench.run), "group1")
    ]
    with database.reading() as session:
        assert not session.execute(select(StepRow).where(col(StepRow.run_id) == bench.run)).all()


def test_events_when_sent_again_and_in_any_order_then_nothing_new_is_told(bench: Bench) -> None:
    now = clock.now()
    at = [(now - timedelta(minutes=ago)).isoformat() for ago in (3, 2, 1)]
    told = list(zip(("added", "running", "succeeded"), at, strict=True))
    for order in itertools.permutations(told):
        base = added(bench)
        events = [{**base, "state": state, "at": when} for state, when in order]
        results = [bench.tell(event)["events"][0]["result"] for event in events]
        ranks = [told.index(one) for one in order]
        assert results == ["taken" if rank == max(ranks[: n + 1]) else "known" for n, rank in enumerate(ranks)]
        again = bench.tell(*events)
        assert (again["taken"], again["known"], again["refused"]) == (0, 3, 0)


def test_event_when_sent_alone_then_it_needs_no_list(bench: Bench) -> None:
    with bench.client() as client:
        answer = client.post("/workflow_events", json=added(bench))
    assert (answer.status_code, answer.json()["data"]["taken"]) == (200, 1)


def test_events_when_some_are_bad_then_the_good_ones_are_taken_and_each_bad_one_says_why(bench: Bench) -> None:
    future, past = ((clock.now() + timedelta(days=days)).isoformat() for days in (1, -2))
    good = added(bench)
    answer = bench.tell(
        {**good, "step": "two"}, good, {**good, "at": future}, {**good, "at": past}, {**good, "revision": 9}
    )
    assert [one["result"] for one in answer["events"]] == ["refused", "taken", *["refused"] * 3]
    reasons = [one["reason"] for one in answer["events"]]
    assert reasons[0] == "there is no step 'two'; there are: one, each"
    assert reasons[1] is None
    assert "future" in reasons[2]
    assert "more than a day ago" in reasons[3]
    assert "9" in reasons[4]
    assert (answer["taken"], answer["refused"]) == (1, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"execution_id": 1}, {"registry_id": None}, {"state": "retrying"}, {"step": ""}, {"step": "a\nb"},
        {"step": "x" * 1001}, {"step": "\ud800"}, {"run": "x" * 256}, {"run": "\x00"}, {"at": "2026-01-01T00:00:00"},
        {"at": "yesterday"}, {"at": "9" * 400}, {"inputs": "s3://a/b"}, {"inputs": [1]}, {"inputs": ["x"] * 1001},
        {"registry_id": 10**18}, {"registry_id": -1}, {"revision": 0}, {"secret": "s"}, {"id": "x" * 256},
    ],
    ids=lambda wrong: str(wrong)[:30],
)  # fmt: skip
def test_events_when_one_has_a_wrong_shape_then_none_is_taken(bench: Bench, wrong: dict[str, Any]) -> None:
    good = added(bench)
    with bench.client() as client:
        body = json.dumps({"events": [good, {**good, **wrong}]})  # half characters as well, which httpx would not send
        headers = {"Content-Type": "application/json"}
        answer = client.post("/workflow_events", content=body, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["data"]
    assert bench.tell(good)["taken"] == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"events": []}', b'{"events": {}}', b"nonsense", b"[" * 60_000])
def test_events_when_the_body_is_none_then_422(bench: Bench, body: bytes) -> None:
    with bench.client() as client:
        answer = client.post("/workflow_events", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text


def test_events_when_they_are_too_many_then_they_are_refused(bench: Bench) -> None:
    assert bench.tell(*[added(bench)] * 500)["taken"] == 1
    bench.tell(*[added(bench)] * 501, status=422)
    with bench.client() as client:
        assert client.post("/workflow_events", content=b" " * 2**20 + b"{}").status_code == 413


def test_events_when_the_thing_is_of_others_then_it_does_not_exist(bench: Bench) -> None:
    seen = []
    for numbers in ((bench.entry, bench.run), (777_701, 777_702)):
        for about, number in zip(("registry_id", "execution_id"), numbers, strict=True):
            for step in ("one", "nothing"):
                with bench.client("other", "group2") as client:
                    event = {about: number, "step": step, "state": "added"}
                    answer = client.post("/workflow_events", json=event)
                seen.append((about, step, answer.status_code, answer.text.replace(str(number), "N")))
    assert seen[:4] == seen[4:]
    assert {status for *_, status, _ in seen} == {404}
    assert "one" not in seen[1][3]


def test_events_when_others_things_are_named_beside_one_s_own_then_only_those_are_refused(bench: Bench) -> None:
    with bench.client("other", "group2") as client:
        entry, _ = submitted(client, ECHO, {"words": "hi"})
        events = [{"registry_id": number, "step": "one", "state": "added"} for number in (bench.entry, entry, 777_701)]
        answer = client.post("/workflow_events", json={"events": events}).json()
    assert answer["code"] == 422  # its own workflow has no such step
    assert [finding["message"].partition(": ")[2].replace("777701", "N") for finding in answer["data"]] == [
        f"Invalid registry_id: there is no workflow {bench.entry}",
        answer["data"][1]["message"].partition(": ")[2],
        "Invalid registry_id: there is no workflow N",
    ]


def test_events_when_the_role_is_missing_then_403_and_without_a_token_401(bench: Bench) -> None:
    bench.tell(added(bench), status=403, client=bench.client("owner", roles=()))
    with bench.service.client() as nobody:
        assert nobody.post("/workflow_events", json=added(bench)).status_code == 401


def test_events_when_the_execution_has_ended_then_they_are_refused(bench: Bench) -> None:
    with bench.client() as client:
        _, run = submitted(client, SPEC, {})
        assert client.post(f"/workflow_execution/{run}/stop").status_code == 200
        answer = client.post("/workflow_events", json={"execution_id": run, "step": "one", "state": "running"})
    assert (answer.status_code, answer.json()["message"]) == (
        422, f"execution {run} is stopped: its steps need nothing any more",
    )  # fmt: skip


def test_inputs_when_a_step_is_added_then_they_are_wanted_for_its_group_and_let_go_when_it_ends(bench: Bench) -> None:
    before = bench.wished()
    address = bench.data.put(Served.name("a"), b"later")
    event = added(bench, inputs=[address, {"class": "File", "location": address}])
    assert bench.tell(event)["events"][0]["ahead"] == {"here": 0, "to_come": 1, "left_out": 0, "reasons": []}
    assert bench.tell({**event, "state": "running"})["events"][0]["result"] == "taken"
    assert bench.wished() == before + 1
    assert bench.wished("group2") == 0
    bench.tell({**event, "state": "succeeded", "inputs": []})
    assert bench.wished() == before
    assert bench.tell(event)["events"][0]["ahead"]["to_come"] == 0  # what ended stays so
    assert bench.wished() == before


def test_inputs_when_they_cannot_be_fetched_ahead_then_each_says_why_and_the_event_is_taken(bench: Bench) -> None:
    gone = f"{bench.data.url}/gone?token=very-secret"
    refused = ["http://10.0.0.1/x", "file:///etc/shadow", "rclone:nothing/x", "s3://"]
    answer = bench.tell(added(bench, inputs=[gone, *refused, "own.txt", "stemma:file:1"]))
    [shown] = answer["events"]
    assert (shown["result"], shown["ahead"]["to_come"], shown["ahead"]["left_out"]) == ("taken", 0, 7)
    assert all(one["reason"] for one in shown["ahead"]["reasons"])
    assert "very-secret" not in str(answer)
    assert "root" not in str(answer)


@pytest.mark.parametrize(
    "given",
    [{"class": "File"}, {}, {"class": ["File"]}, {"class": "File", "location": "s3://a/b", "checksum": "md5:0"},
     {"class": "Directory", "location": "own"}, "/etc/passwd", "ftp://example.org/x", "https://" + "x" * 5000],
    ids=lambda given: str(given)[:30],
)  # fmt: skip
def test_inputs_when_one_is_none_then_the_event_is_refused(bench: Bench, given: Any) -> None:
    answer = bench.tell(added(bench), added(bench, inputs=[given]))
    assert [one["result"] for one in answer["events"]] == ["taken", "refused"]
    assert answer["events"][1]["reason"]


def test_inputs_when_they_are_more_than_a_group_may_want_then_the_rest_is_left_out(bench: Bench) -> None:
    address = bench.data.put(Served.name("large"), b"x" * (AHEAD_BYTES // 2 - 100_000))
    more = bench.data.put(Served.name("more"), b"x" * 200_000)
    first = added(bench, inputs=[address])
    assert bench.tell(first)["events"][0]["ahead"]["to_come"] == 1
    late = bench.tell(added(bench, inputs=[more]))["events"][0]["ahead"]
    assert (late["to_come"], late["left_out"]) == (0, 1)
    assert "a group may have" in late["reasons"][0]["reason"]
    assert bench.tell(first)["events"][0]["ahead"]["to_come"] == 1  # the same once more is no more
    bench.tell({**first, "state": "failed"})
    assert bench.tell(added(bench, inputs=[more]))["events"][0]["ahead"]["to_come"] == 1


def test_inputs_when_one_request_names_too_many_then_what_is_over_is_refused(bench: Bench) -> None:
    gone = [f"own-{number}" for number in range(700)]
    answer = bench.tell(added(bench, inputs=gone), added(bench, inputs=gone))
    assert [one["result"] for one in answer["events"]] == ["taken", "refused"]
    assert "in another" in answer["events"][1]["reason"]


def test_steps_when_a_group_tells_of_too_many_then_new_ones_are_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = added(bench)
    bench.tell(event)
    with bench.service.installation.database.reading() as session:
        count = hints.count(session, "group1", clock.now())
    monkeypatch.setattr(telling, "MOST_STEPS", 2 * (count + 1))  # there is nobody else: half of it is the caller's
    answer = bench.tell(*({**event, "step": f"each[{number}]"} for number in range(3)), {**event, "state": "failed"})
    assert [one["result"] for one in answer["events"]] == ["taken", "refused", "refused", "taken"]


def test_steps_when_one_of_a_group_tells_of_all_that_they_may_then_the_others_still_can(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench.client("greedy", "group3") as client:
        entry, _ = submitted(client, SPEC, {})
    monkeypatch.setattr(telling, "MOST_STEPS", 20)
    taken = []
    for name in ("greedy", "second", "third"):
        events = [{"registry_id": entry, "run": name, "step": f"each[{n}]", "state": "added"} for n in range(20)]
        answer = bench.tell(*events, client=bench.client(name, "group3"))
        taken.append(answer["taken"])
        assert "half of what the others leave" in answer["events"][-1]["reason"]
    assert taken == [10, 5, 2]


def test_steps_when_many_are_told_at_once_then_the_bound_holds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench.client("many", "group4") as client:
        entries = [submitted(client, SPEC, {})[0] for _ in range(2)]
    monkeypatch.setattr(telling, "MOST_STEPS", 20)

    def tell(number: int) -> int:
        events = [
            {"registry_id": entries[number % 2], "run": f"r{number}", "step": f"each[{n}]", "state": "added"}
            for n in range(8)
        ]
        with bench.client("many", "group4") as client:
            answer = client.post("/workflow_events", json={"events": events})
        assert answer.status_code in {200, 422}, answer.text
        return int(answer.json()["data"]["taken"]) if answer.status_code == 200 else 0

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(tell, range(8))) == 10


def test_inputs_when_one_of_a_group_wants_all_that_they_may_then_the_others_still_can(bench: Bench) -> None:
    with bench.client("greedy", "group5") as client:
        entry, _ = submitted(client, SPEC, {})

    def want(name: str, size: int) -> int:
        event = {"registry_id": entry, "run": Served.name("run"), "step": "one", "state": "added"}
        address = bench.data.put(Served.name(name), b"x" * size)
        told = bench.tell({**event, "inputs": [address]}, client=bench.client(name, "group5"))
        return int(told["events"][0]["ahead"]["to_come"])

    assert [want("greedy", AHEAD_BYTES // 4) for _ in range(3)] == [1, 1, 0]
    assert [want("second", AHEAD_BYTES // 8) for _ in range(3)] == [1, 1, 0]
    assert want("third", AHEAD_BYTES // 10) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_hints_when_they_have_expired_then_a_worker_forgets_them_though_nobody_tells(kind: str, tmp_path: Path) -> None:
    with opened_installation(kind, tmp_path) as installation:
        now, told = clock.now(), Told(ToldState.ADDED, clock.now())
        with installation.database.transaction() as session:
            subject = Subject("group1", workflow_id=add_workflow(session))
            long_ago = now - LIFETIME
            hints.note(session, [StepTold(subject, "old", Told(ToldState.ADDED, long_ago))], ADA.subject, long_ago)
            hints.note(session, [StepTold(subject, "new", told)], ADA.subject, now)
        replicator = Replicator(installation, "w1", lambda _: None)
        replicator.start()
        try:
            with installation.database.reading() as session:
                wait_until(lambda: not hints.has_expired(session, now))
                assert session.execute(select(StepToldRow.step_key)).scalars().all() == ["new"]
        finally:
            replicator.close()


def test_files_when_a_run_needs_them_then_it_shares_the_copy_that_was_wanted_ahead(bench: Bench) -> None:
    address = bench.data.put(Served.name("shared"), b"shared")
    bench.tell(added(bench, inputs=[address]))
    with bench.client() as client:
        _, run = submitted(client, SPEC, {"a": {"class": "File", "location": address}})
    installation = bench.service.installation
    with installation.database.reading() as session:
        query = select(ReplicaRow.id).where(col(ReplicaRow.address) == address)
        [number] = session.execute(query).scalars()
        assert [need.run_id for need in replicas.needs(session, [number or 0])] == [run]
