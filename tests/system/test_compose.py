"""The full stack in containers, as ``docker compose up`` brings it up. Runs where STEMMA_TEST_COMPOSE=1."""

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.compose import ROOT, Stack, project
from support.real_service import zipped

pytestmark = pytest.mark.timeout(2400)
ENDED = {"finished", "failed", "stopped"}
QUICK = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'hostname; sleep 0.5']
inputs: {}
stdout: said.txt
outputs: {said: stdout}
"""
SLOW = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'hostname; sleep 20; echo done']
inputs: {}
stdout: said.txt
outputs: {said: stdout}
"""


@pytest.fixture
def user(up: Stack) -> Iterator[httpx.Client]:
    with up.log_in("user_1") as client:
        yield client


def registered(client: httpx.Client, name: str, files: list[tuple[str, Any]], **form: str) -> int:
    answer = client.post("/workflow_registry/register", data={"name": name, "version": "1", **form}, files=files)
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["data"]["registry_id"]
    return number


def executed(client: httpx.Client, workflow: int, **inputs: Any) -> int:
    form = {"inputs": json.dumps(inputs), "nowait": "true"}
    files = [("files", ("origin.txt", (ROOT / "examples/first/origin.txt").read_bytes()))] if inputs else None
    answer = client.post(f"/workflow_execution/execute/{workflow}", data=form, files=files)
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["data"]["execution_id"]
    return number


def until(client: httpx.Client, run: int, *states: str, seconds: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        shown: dict[str, Any] = client.get(f"/workflow_execution/{run}").json()["data"]
        if shown["status"] in {*states, *ENDED}:
            return shown
        time.sleep(0.1)
    raise AssertionError(shown)


def in_container(container: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", "exec", container, *command], check=False, capture_output=True, text=True)


def test_example_when_run_in_the_stack_then_gives_what_it_must_and_a_picture(up, user):
    example = ROOT / "examples/first"
    parts = zipped(**{path.name.replace(".", "__"): path.read_text() for path in example.glob("*.cwl")})
    workflow = registered(user, "first", [("spec_file", ("first.zip", parts))], main="main.cwl")
    run = executed(user, workflow, text={"class": "File", "location": "origin.txt"}, shortest=4, how_many=10)

    shown = until(user, run)
    picture = user.get(f"/provenance/draw/{run}")

    expected = json.loads((example / "expected.json").read_text())
    assert shown["status"] == "finished", up.logs("prov-worker")
    assert shown["outputs"]["ranking"]["checksum"] == expected["outputs"]["ranking"]["checksum"]
    assert picture.status_code == 200, picture.text
    assert picture.content.startswith(b"\x89PNG")


def test_workers_when_three_race_for_many_runs_then_each_is_run_once(up, user):
    workflow = registered(user, "quick", [("spec_file", ("main.cwl", QUICK))])
    runs = [executed(user, workflow) for _ in range(30)]

    ended = [until(user, run) for run in runs]

    assert {(run["status"], run["attempt"], len(run["steps"])) for run in ended} == {("finished", 1, 1)}
    hosts = {user.get(f"/workflow_execution/files/{run['outputs']['said']['id']}").text for run in ended}
    assert len(hosts) == 3  # each of the containers had its part


def test_worker_when_its_container_is_killed_then_another_finishes_its_run(up, user):
    run = executed(user, registered(user, "slow", [("spec_file", ("main.cwl", SLOW))]))
    until(user, run, "running")
    at_work = next(
        container
        for container in up.containers("prov-worker")
        if "sleep\0" in in_container(container, "sh", "-c", "cat /proc/[0-9]*/cmdline").stdout
    )

    subprocess.run(["docker", "kill", at_work], check=True, capture_output=True)
    shown = until(user, run)

    assert shown["status"] == "finished", up.logs("prov-worker")
    assert shown["attempt"] == 2
    up.compose("up", "--detach", "--no-build", "--wait", "--scale", "prov-worker=3", seconds=600)


def test_worker_when_told_to_stop_then_drains_and_ends_at_once(up):
    container = up.containers("prov-worker")[0]

    subprocess.run(["docker", "stop", "--time", "30", container], check=True, capture_output=True)

    code = subprocess.run(
        ["docker", "inspect", "--format", "{{.State.ExitCode}}", container], check=True, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run(["docker", "start", container], check=True, capture_output=True)
    assert code == "0"


@pytest.mark.parametrize("service", ["prov-api", "prov-worker"])
def test_container_when_looked_into_then_is_no_root_and_cannot_write_its_system(up, service):
    container = up.containers(service)[0]

    assert in_container(container, "id", "-u").stdout.strip() not in {"", "0"}
    written = in_container(container, "touch", "/opt/stemma/here")
    assert "Read-only file system" in written.stderr
    assert "\nCapEff:\t0000000000000000\n" in in_container(container, "cat", "/proc/1/status").stdout


@pytest.mark.parametrize("service", ["prov-api", "prov-worker"])
def test_container_when_looked_into_then_knows_no_secret_that_it_does_not_need(up, service):
    names = set(in_container(up.containers(service)[0], "sh", "-c", "env | cut -d = -f 1").stdout.split())

    assert "MYSQL_PASSWORD" in names
    assert not names & {"MYSQL_ROOT_PASSWORD", "KEYCLOAK_ADMIN_PASSWORD", "STEMMA_SERVICE_CLIENT_SECRET"}


def test_database_when_up_then_takes_triggers_of_an_ordinary_user(up):
    statement = (
        "CREATE TABLE t (a INT); CREATE TRIGGER g BEFORE DELETE ON t FOR EACH ROW SIGNAL SQLSTATE '45000'; "
        "DROP TABLE t; SELECT @@log_bin_trust_function_creators"
    )
    command = f'MYSQL_PWD="$MYSQL_PASSWORD" mysql -N -u "$MYSQL_USER" -h 127.0.0.1 -e "{statement}" "$MYSQL_DATABASE"'

    said = in_container(up.containers("prov-db")[0], "sh", "-c", command)

    assert (said.stdout.strip(), said.returncode) == ("1", 0), said.stderr


@pytest.mark.parametrize(
    "settings", [{"STEMMA_PUBLIC_URL": "https://stemma.example.org"}, {"STEMMA_PUBLISH_ADDRESS": "0.0.0.0"}]
)
def test_stack_when_public_with_example_secrets_then_does_not_start_and_says_why(up, settings):
    with project(settings=settings) as refused:
        ended = refused.compose("up", "--detach", "--no-build", "prov-api", check=False, seconds=600)

        said = refused.logs("prov-migrate")
        assert ended.returncode != 0
        assert "still as in .env.example" in said
        for name in (
            "MYSQL_ROOT_PASSWORD",
            "MYSQL_PASSWORD",
            "KEYCLOAK_ADMIN_PASSWORD",
            "STEMMA_SERVICE_CLIENT_SECRET",
        ):
            assert name in said
        assert refused.containers("prov-api") == []
