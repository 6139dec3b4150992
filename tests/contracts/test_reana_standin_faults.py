"""The switches of the stand-in for REANA: each makes go wrong what it says, and nothing else."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from support.reana_standin import ReanaStandin
from support.reana_standin.caller import Caller, packed, tool
from support.reana_standin.faults import Faults

MAKES = packed(tool("up", "echo made > made.txt; echo hello"))
OCTETS = {"content-type": "application/octet-stream"}
HEALTHY = Faults(rate_limit=0).model_dump()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReanaStandin]:
    with ReanaStandin(tmp_path_factory.mktemp("reana"), rate_limit=0) as server:
        yield server


@pytest.fixture
def reana(server: ReanaStandin) -> Iterator[ReanaStandin]:
    """Whatever a test switches on is off again after it."""
    yield server
    server.faults(**HEALTHY)


@pytest.fixture
def caller(reana: ReanaStandin) -> Iterator[Caller]:
    with Caller(reana.url, reana.token) as caller:
        yield caller


def test_an_unknown_switch_is_refused(reana: ReanaStandin) -> None:
    for bad in ({"rate_limits": 1}, {"rate_limit": -1}, {"over_quota": ["everything"]}):
        assert httpx.post(f"{reana.url}/standin/faults", json=bad, trust_env=False).status_code == 400
    assert reana.faults() == HEALTHY


def test_more_requests_a_second_than_allowed_are_refused(reana: ReanaStandin, caller: Caller) -> None:
    reana.faults(rate_limit=3)
    answers = [caller.http.get("/ping") for _ in range(100)]
    refused = [answer for answer in answers if answer.status_code == 429]
    message = 'Too many requests in a given amount of time. Only "3 per 1 second" allowed.'
    assert refused[0].json() == {"message": message}
    assert {answer.status_code for answer in answers} == {200, 429}


def test_the_limit_of_a_healthy_server_is_reanas() -> None:
    assert Faults().rate_limit == 20


def test_the_next_answers_come_from_a_gateway(reana: ReanaStandin, caller: Caller) -> None:
    reana.faults(bad_gateway=2, routes="GET /api/you")
    assert caller.http.get("/ping").status_code == 200
    answers = [caller.http.get("/you") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [502, 502, 200]
    assert answers[0].headers["content-type"].startswith("text/html")


def test_the_next_answers_are_odd(reana: ReanaStandin, caller: Caller) -> None:
    number = caller.create(MAKES)
    reana.faults(odd_404=1, routes="/status$")
    answer = caller.http.get(f"/workflows/{number}/status")
    assert (answer.status_code, "REANA_WORKON is set to" in answer.json()["message"]) == (404, True)
    assert caller.status(number)["status"] == "created"


def test_answers_are_slow(reana: ReanaStandin, caller: Caller) -> None:
    reana.faults(slow_seconds=0.4)
    began = time.monotonic()
    caller.http.get("/ping")
    assert time.monotonic() - began >= 0.4


def test_a_creation_has_its_effect_though_its_answer_is_lost(reana: ReanaStandin, caller: Caller) -> None:
    reana.faults(lost_answers=1)
    with pytest.raises(httpx.RemoteProtocolError):
        caller.create(MAKES, name="unheard")
    assert caller.status("unheard")["name"] == "unheard.1"


def test_a_start_has_its_effect_though_its_answer_is_lost(reana: ReanaStandin, caller: Caller) -> None:
    number = caller.create(MAKES)
    reana.faults(lost_answers=1)
    with pytest.raises(httpx.RemoteProtocolError):
        caller.start(number)
    assert caller.until(number)["status"] == "finished"


def test_an_upload_is_cut_and_leaves_what_had_come(reana: ReanaStandin, caller: Caller) -> None:
    number = caller.create(MAKES)
    reana.faults(cut_upload_after=100_000)
    with pytest.raises(httpx.TransportError):
        caller.upload(number, "cut.dat", b"x" * 1_000_000)
    (entry,) = caller.http.get(f"/workflows/{number}/workspace").json()["items"]
    assert (entry["name"], entry["size"]["raw"]) == ("cut.dat", 100_000)
    caller.upload(number, "cut.dat", b"x" * 1_000_000)


def test_a_download_is_cut_and_can_be_told_from_a_whole_one(reana: ReanaStandin, caller: Caller) -> None:
    number = caller.create(MAKES)
    caller.upload(number, "big.dat", b"x" * 1_000_000)
    reana.faults(cut_download_after=600_000)
    got = 0
    with (
        pytest.raises(httpx.RemoteProtocolError),
        caller.http.stream("GET", f"/workflows/{number}/workspace/big.dat") as answer,
    ):
        for block in answer.iter_raw():
            got += len(block)
    assert 0 < got <= 600_000
    assert len(caller.content(number, "big.dat")) == 1_000_000


def test_a_revoked_token_is_refused(reana: ReanaStandin, caller: Caller) -> None:
    reana.faults(revoked=["alice"])
    answer = caller.http.get("/workflows")
    assert (answer.status_code, answer.json()["message"]) == (403, "User access token revoked.")
    with Caller(reana.url, reana.tokens["bob"]) as bob:
        assert bob.http.get("/workflows").status_code == 200


def test_without_quota_nothing_is_created_uploaded_or_started(reana: ReanaStandin, caller: Caller) -> None:
    number = caller.create(MAKES)
    reana.faults(over_quota=["create", "upload", "start"])
    refused = [
        caller.http.post("/workflows", params={"workflow_name": "w"}, json={"workflow": {"type": "cwl"}}),
        caller.http.post(f"/workflows/{number}/workspace", params={"file_name": "a"}, headers=OCTETS),
        caller.start(number),
    ]
    assert [answer.status_code for answer in refused] == [403] * 3
    assert all("quota exceeded" in answer.json()["message"] for answer in refused)
    assert caller.status(number)["status"] == "created"


@pytest.mark.parametrize("state", ["queued", "pending"])
def test_a_run_is_stuck_until_the_switch_is_off(reana: ReanaStandin, caller: Caller, state: str) -> None:
    numbers = [caller.create(MAKES) for _ in range(2)]
    reana.faults(**{f"{state}_forever": True})
    for number in numbers:
        caller.start(number)
        assert caller.until(number, state)["status"] == state
    assert caller.set_status(numbers[0], "stop").status_code == 409
    assert caller.set_status(numbers[0], "deleted").status_code == 200
    time.sleep(0.3)
    assert caller.status(numbers[1])["status"] == state
    reana.faults(**{f"{state}_forever": False})
    assert [caller.until(number)["status"] for number in numbers] == ["deleted", "finished"]


def test_lost_logs_never_come(reana: ReanaStandin, caller: Caller) -> None:
    reana.faults(lost_logs=True)
    run = caller.run(MAKES)
    assert (run.status, [job["logs"] for job in run.jobs]) == ("finished", [""])


def test_late_logs_come_after_the_end(reana: ReanaStandin, caller: Caller) -> None:
    reana.faults(late_logs_seconds=1000)
    run = caller.run(MAKES)
    assert (run.status, run.log) == ("finished", "")
    reana.faults(late_logs_seconds=0)
    deadline = time.monotonic() + 20
    while not (log := caller.logs(run.number)["workflow_logs"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "FinalOutput{" in log


def test_long_logs_lose_their_beginning(reana: ReanaStandin, caller: Caller) -> None:
    reana.faults(log_tail_bytes=10)
    run = caller.run(packed(tool("up", "seq 1000; touch a.txt")))
    assert run.jobs[0]["logs"] == "job: :\n \n999\n1000\n\n\nCompleted\n"


def test_the_clock_of_the_server_is_wrong(reana: ReanaStandin, caller: Caller) -> None:
    reana.faults(clock_skew_seconds=-86400)
    said = datetime.fromisoformat(caller.status(caller.create(MAKES))["created"]).replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - said - timedelta(days=1)) < timedelta(minutes=1)


def test_a_workspace_is_lost_behind_the_back_of_its_run(reana: ReanaStandin, caller: Caller) -> None:
    run = caller.run(MAKES)
    reana.lose_workspace(run.number)
    assert caller.status(run.number)["status"] == "finished"
    assert caller.http.get(f"/workflows/{run.number}/workspace").status_code == 404
    assert caller.http.get(f"/workflows/{run.number}/workspace/outputs/made.txt").status_code == 500


def test_requests_are_counted_by_route(reana: ReanaStandin, caller: Caller) -> None:
    number = caller.create(MAKES)
    reana.requests(anew=True)
    caller.status(number)
    caller.status(number)
    caller.upload(number, "a/b.txt", b"x")
    caller.content(number, "a/b.txt")
    caller.http.get("/workflows/nobody/status")
    told = reana.requests()
    assert told["requests"] == {
        "GET /api/workflows/{workflow_id_or_name}/status": 3,
        "POST /api/workflows/{workflow_id_or_name}/workspace": 1,
        "GET /api/workflows/{workflow_id_or_name}/workspace/{file_name}": 1,
    }
    assert (told["answers"], told["total"]) == ({"200": 4, "404": 1}, 5)


def test_without_execution_many_runs_go_by_the_clock(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("reana")
    with ReanaStandin(folder, rate_limit=0, no_run=1.0) as reana, Caller(reana.url, reana.token) as caller:
        numbers = [caller.create(MAKES) for _ in range(200)]
        for number in numbers:
            assert caller.start(number).status_code == 200
        assert {caller.until(number)["status"] for number in numbers} == {"finished"}
        (job,) = caller.logs(numbers[0])["job_logs"].values()
        assert "nothing was executed" in job["logs"]


def test_a_server_that_is_ended_takes_its_jobs_along(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("reana")
    with ReanaStandin(folder, rate_limit=0) as reana, Caller(reana.url, reana.token) as caller:
        number = caller.create(packed(tool("up", "while echo >> $HOME/../../../beats; do sleep 0.05; done")))
        caller.start(number)
        (workspace,) = folder.glob(f"users/*/workflows/{number}")
        beats = workspace / "beats"
        while not beats.exists():
            time.sleep(0.03)
    size = beats.stat().st_size
    time.sleep(0.3)
    assert beats.stat().st_size == size
