"""Hostile and broken input at a real service: a clear refusal or a run that failed with its reason, and it goes on."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from support.real_service import RealService, real_service, sleepers, wait_until, zipped

TOOL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c]
inputs: {script: {type: string, inputBinding: {}}}
outputs: {made: {type: "Any?", outputBinding: {glob: "made*"}}}
requirements: {InlineJavascriptRequirement: {}}
"""
FILE = TOOL.replace('"Any?"', "File")
DIRECTORY = TOOL.replace('"Any?"', "Directory")
EXPRESSION = """
cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: []
outputs: {value: Any}
expression: '${ JAVASCRIPT }'
"""
STEP = "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps: [{id: ID, in: [], out: [], run: RUN}]\n"
TRUE = "{class: CommandLineTool, baseCommand: 'true', inputs: [], outputs: []}"
MANY = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {numbers: "int[]"}
outputs: []
steps:
  one:
    scatter: number
    in: {number: numbers}
    out: []
    run: {class: CommandLineTool, baseCommand: [sleep, "0.1"], inputs: {number: int}, outputs: []}
"""
IMAGE = "busybox:1.36"
_STOP_SECONDS = 2.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    with real_service(tmp_path_factory.mktemp("bad-input"), STEMMA_EVAL_TIMEOUT_SECONDS="1") as served:
        worker = served.worker()
        yield served
        assert served.worker() == worker
        with served.log_in("user_1") as client:
            assert served.run(client, TOOL, {"script": "echo > made"})["status"] == "finished"


@pytest.fixture
def client(service: RealService) -> Iterator[httpx.Client]:
    """Somebody; whatever they do, the worker is not to die of it."""
    worker = service.worker()
    with service.log_in("user_1") as opened:
        yield opened
    assert service.worker() == worker


@pytest.fixture
def number(tmp_path: Path) -> str:
    """A number of seconds that no other test sleeps, so that its processes can be told."""
    return str(100_000 + int(hashlib.sha256(str(tmp_path).encode()).hexdigest(), 16) % 1_000_000_000)


def _answers_everything(client: httpx.Client, run: int) -> None:
    """All that is made of a run can be made of it."""
    paths = [f"/provenance/{what}" for what in (f"draw/{run}", f"json/{run}", f"export/{run}?format=provn")]
    paths += [f"/workflow_execution/{what}" for what in (f"inputs/{run}", f"{run}/logs", f"{run}/events")]
    assert {path: client.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"a: [b: {", "not YAML"),
        (b"\xff\x00\xfe" * 99, "UTF-8"),
        (b"", "empty"),
        (TOOL.replace("v1.2", "v9.0"), "unknown version"),
        (TOOL + "doc: {$include: 'file:///etc/passwd'}", "remote or absolute"),
        (TOOL + "hints: {$import: 'http://127.0.0.1:9/x'}", "remote or absolute"),
        (TOOL + "$schemas: ['../../../etc/passwd']", "leads out of the bundle"),
        (STEP.replace("ID", "one").replace("RUN", "/etc/passwd"), "absolute path"),
        (STEP.replace("ID", "one").replace("RUN", "main.cwl"), "runs itself"),
        ("a: &a [1,1,1,1,1,1,1,1]\n" + "".join(f"b{i}: &b{i} [*{'ab'[i > 0]}{i - 1 if i else ''}" + (
            f",*{'ab'[i > 0]}{i - 1 if i else ''}" * 8) + "]\n" for i in range(9)), "aliases unfold"),
        ("[" * 50_000, "nested deeper"),
        (STEP.replace("ID", r'"\ud83d"').replace("RUN", TRUE), "half of a pair"),
        (STEP.replace("ID", r'"\ud83d\ude00"').replace("RUN", TRUE), "write the character itself"),
        (zipped(**{"main__cwl": TOOL, "__./x": ""}), "'..'"),
        (zipped(**{"main__cwl": TOOL, "/etc/x": ""}), "absolute"),
    ],
    ids=range(15),
)  # fmt: skip
def test_register_when_the_document_is_hostile_then_is_refused_with_words(
    service: RealService, client: httpx.Client, document: str | bytes, words: str
) -> None:
    answer = service.send(client, document)
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["message"]
    assert "root:" not in answer.text


def test_register_when_the_document_is_too_large_then_413(service: RealService, client: httpx.Client) -> None:
    assert service.send(client, b"#" * 6_000_000).status_code == 413


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "x" * 300, " "])
def test_register_when_the_name_is_none_then_is_refused(service: RealService, client: httpx.Client, name: str) -> None:
    assert service.send(client, TOOL, name=name).status_code == 422


@pytest.mark.parametrize("name", ["o'br\"ien", "a/../b", "😀", "<b>&amp;", "-rf", "x" * 200])
def test_run_when_the_name_is_strange_then_everything_can_be_made_of_it(
    service: RealService, client: httpx.Client, name: str
) -> None:
    registered = service.send(client, TOOL, name=name)
    submitted = service.submit(client, registered.json()["data"]["registry_id"], {"script": "echo > made"})
    run = service.until(client, submitted.json()["data"]["execution_id"])
    assert run["status"] == "finished"
    _answers_everything(client, run["execution_id"])
    named = {"reana_name": run["reana_name"], "reana_run_number": run["reana_run_number"]}
    assert client.get("/workflow_execution/outputs", params=named).content.startswith(b"PK")


def test_register_when_many_take_one_name_at_once_then_one_does(service: RealService, client: httpx.Client) -> None:
    for number in range(3):
        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(service.send, client, TOOL + f"# {i}", name=f"one-{number}") for i in range(4)]
        assert sorted(one.result().status_code for one in asked) == [200, 400, 400, 400]


@pytest.mark.parametrize(
    "value",
    [
        {"class": "File", "location": "file:///etc/passwd"},
        {"class": "File", "path": "/etc/passwd"},
        {"class": "File", "location": "../../../etc/passwd"},
        {"class": "File", "location": "not-sent"},
        {"class": "File", "contents": "", "basename": "../x"},
        {"class": "Directory", "location": "/etc"},
        "text",
        None,
    ],
)
def test_submit_when_a_file_is_none_of_ours_then_is_refused(
    service: RealService, client: httpx.Client, value: Any
) -> None:
    reading = TOOL.replace("script: {type: string, inputBinding: {}}", "script: File")
    answer = service.submit(client, service.register(client, reading), {"script": value})
    assert answer.status_code == 422
    assert "script" in answer.json()["message"]


@pytest.mark.parametrize(
    "name", ["a\nb", "q'\"`$x", "-rf", "é😀", "x" * 255, " a ", "a\\b", "a%2Fb#?:", "*[x]", "\u202e", "\x01\x7f"]
)
def test_run_when_the_name_of_an_output_is_strange_then_everything_can_be_made_of_it(
    service: RealService, client: httpx.Client, name: str
) -> None:
    quoted = "'" + name.replace("'", "'\\''") + "'"
    run = service.run(client, DIRECTORY, {"script": f"mkdir made && printf x > made/{quoted}"})
    assert run["status"] == "finished", run["reason"]
    assert run["outputs"]["made"]["listing"][0]["basename"] == name
    _answers_everything(client, run["execution_id"])
    assert client.get(f"/workflow_execution/outputs/{run['execution_id']}").status_code == 200


@pytest.mark.parametrize("name", ["a b", "é😀", "a'\"b", "<b>|{x}", "x" * 300])
def test_run_when_the_name_of_a_step_is_strange_then_everything_can_be_made_of_it(
    service: RealService, client: httpx.Client, name: str
) -> None:
    """Written as JSON, with pairs of escapes for what lies beyond the first 65536 characters."""
    step = {"id": name, "in": [], "out": [], "run": {"class": "CommandLineTool", "baseCommand": "true"}}
    step["run"] |= {"inputs": [], "outputs": []}  # type: ignore[operator]
    document = {"cwlVersion": "v1.2", "class": "Workflow", "inputs": [], "outputs": [], "steps": [step]}
    run = service.run(client, json.dumps(document))
    assert (run["status"], [one["name"] for one in run["steps"]]) == ("finished", [name])
    _answers_everything(client, run["execution_id"])


@pytest.mark.parametrize(
    ("document", "script", "words"),
    [
        (FILE, "ln -s /etc/passwd made", "outside the run"),
        (DIRECTORY, "mkdir made; ln -s /etc made/inner", "outside the run"),
        (DIRECTORY, "mkdir made; ln -s . made/inner", "no end"),
        (DIRECTORY, "mkdir made; mkfifo made/pipe", "neither a file nor a folder"),
        (FILE, "ln -s made made", "not exist"),
        (DIRECTORY, r"mkdir made; echo > made/$(printf 'a\377')", "no text in UTF-8"),
        (
            FILE,
            'echo \'{"made": {"class": "File", "path": "/etc/passwd"}}\' > cwl.output.json',
            "/etc/passwd must be within",
        ),
        (TOOL.replace("made*", "../../*"), "true", "leads out"),
        (TOOL, "head -c 50000000 /dev/zero | tr '\\0' e >&2; exit 3", "exit code 3"),
    ],
    ids=range(9),
)
def test_run_when_a_tool_is_hostile_then_fails_with_the_reason(
    service: RealService, client: httpx.Client, document: str, script: str, words: str
) -> None:
    run = service.run(client, document, {"script": script})
    assert run["status"] == "failed"
    assert words in run["reason"]
    assert "root:" not in json.dumps(run)
    _answers_everything(client, run["execution_id"])


@pytest.mark.parametrize(
    ("javascript", "words"),
    [
        ("while (true) {}", "1.0 seconds"),
        ('return {value: "\\\\ud800"};', "no text in UTF-8"),
        ('return {value: {"\\\\ud800": 1}};', "no text in UTF-8"),
        ('return {value: {class: "File", basename: "../x", contents: ""}};', "no name of a file"),
        ('return {value: {class: "File", basename: "..", contents: ""}};', "no name of a file"),
        ('return {value: {class: "File", location: "file:///etc/passwd"}};', "outside the run"),
        ('throw new Error("boom");', "boom"),
    ],
)
def test_run_when_an_expression_is_hostile_then_fails_in_its_first_attempt_with_the_reason(
    service: RealService, client: httpx.Client, javascript: str, words: str
) -> None:
    run = service.run(client, EXPRESSION.replace("JAVASCRIPT", javascript.replace("\\\\", "\\")))
    assert (run["status"], run["attempt"]) == ("failed", 1)
    assert words in run["reason"]


def test_run_when_it_makes_thousands_of_files_then_all_are_known(service: RealService, client: httpx.Client) -> None:
    run = service.run(client, DIRECTORY, {"script": "mkdir made; cd made; seq 1500 | split -l 1 -a 4"})
    assert len(run["outputs"]["made"]["listing"]) == 1500
    _answers_everything(client, run["execution_id"])


ESCAPING = "sleep N & setsid sleep N & (setsid env -i sleep N &) ; (env -i setsid sh -c 'trap : TERM; sleep N; :' &) ;"


def test_run_when_a_tool_leaves_daemons_then_they_end_with_it(
    service: RealService, client: httpx.Client, number: str
) -> None:
    script = f"{ESCAPING} while [ $(pgrep -cf '[s]leep N') -lt 4 ]; do :; done; echo > made".replace("N", number)
    assert service.run(client, TOOL, {"script": script})["status"] == "finished"
    wait_until(lambda: sleepers(number) == [], 5)


def test_stop_when_a_tool_does_not_listen_and_leaves_the_session_then_all_ends_in_two_seconds(
    service: RealService, client: httpx.Client, number: str
) -> None:
    script = f"trap '' TERM INT HUP; {ESCAPING} while :; do sleep N; done".replace("N", number)
    run = service.start(client, TOOL, {"script": script})
    wait_until(lambda: len(sleepers(number)) == 5)
    began = time.monotonic()
    assert client.post(f"/workflow_execution/{run}/stop").status_code == 200
    assert service.until(client, run)["status"] == "stopped"
    assert time.monotonic() - began < _STOP_SECONDS
    assert sleepers(number) == []


def test_delete_when_a_run_goes_on_then_it_ends_and_its_folder_goes(
    service: RealService, client: httpx.Client, number: str
) -> None:
    run = service.start(client, TOOL, {"script": f"sleep {number}"})
    wait_until(lambda: sleepers(number))
    shown = service.until(client, run, "running")
    folder = service.home / "runs" / shown["reana_id"].partition("/")[0]
    assert folder.exists()
    answer = client.request("DELETE", "/workflow_execution/delete", params={"registry_id": shown["registry_id"]})
    assert answer.status_code == 200
    assert client.get(f"/workflow_execution/{run}").status_code == 404
    assert sleepers(number) == []
    wait_until(lambda: not folder.exists(), 5)


def test_run_when_its_process_is_killed_then_the_first_attempt_leaves_nothing_but_its_record(
    service: RealService, client: httpx.Client, number: str
) -> None:
    run = service.start(client, TOOL, {"script": f"sleep {number}"})
    wait_until(lambda: sleepers(number))
    folder = service.home / "runs" / service.until(client, run, "running")["reana_id"]
    began = json.loads((folder / "journal.jsonl").read_text().splitlines()[0])
    os.kill(began["process"]["pid"], 9)
    wait_until(lambda: client.get(f"/workflow_execution/{run}").json()["data"]["attempt"] == 2)
    assert not (folder / "tmp").exists()
    assert (folder / "journal.jsonl").exists()
    client.request("DELETE", "/workflow_execution/delete", params={"registry_id": _entry_of(client, run)})
    wait_until(lambda: not folder.parent.exists(), 5)


def test_run_when_its_folder_is_removed_then_it_is_attempted_anew_and_nothing_of_the_first_goes_on(
    service: RealService, client: httpx.Client, number: str
) -> None:
    run = service.start(client, TOOL, {"script": f"sleep {number}"})
    wait_until(lambda: sleepers(number))
    first = sleepers(number)
    shutil.rmtree(service.home / "runs" / service.until(client, run, "running")["reana_id"])
    wait_until(lambda: len(found := sleepers(number)) == 1 and found != first)
    client.post(f"/workflow_execution/{run}/stop")
    ended = service.until(client, run)
    assert ended["status"] == "stopped", ended
    wait_until(lambda: sleepers(number) == [], 5)


def _entry_of(client: httpx.Client, run: int) -> int:
    entry: int = client.get(f"/workflow_execution/{run}").json()["data"]["registry_id"]
    return entry


def test_submit_when_a_content_is_gone_then_refused_and_told_which_and_no_place(
    service: RealService, client: httpx.Client
) -> None:
    first = service.run(client, FILE, {"script": "date +%N > made; head -c 20 /dev/urandom >> made"})
    made = first["outputs"]["made"]
    digest = made["checksum"].removeprefix("sha256:")
    (service.home / "store" / "sha256" / digest[:2] / digest[2:]).unlink()
    reading = TOOL.replace("script: {type: string, inputBinding: {}}", "script: File")
    value = {"class": "File", "location": f"stemma:file:{made['id']}"}
    entry = service.register(client, reading)
    answer = client.post(f"/workflow_execution/execute/{entry}", json={"inputs": {"script": value}})
    assert answer.status_code == 409, answer.text
    assert digest in answer.json()["message"]
    assert str(service.home) not in answer.text
    assert str(service.home) not in client.get(f"/workflow_execution/files/{made['id']}").text


def test_service_when_the_database_is_locked_for_seconds_then_nothing_is_lost(
    service: RealService, client: httpx.Client
) -> None:
    workflow = service.register(client, TOOL)
    run = service.start(client, MANY, {"numbers": list(range(30))})
    service.until(client, run, "running")
    with closing(sqlite3.connect(service.home / "stemma.sqlite", isolation_level=None)) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        assert client.get(f"/workflow_execution/{run}").status_code in {200, 503}
        refused = service.submit(client, workflow, {"script": "true"})
        time.sleep(3)
        locking.execute("ROLLBACK")
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    ended = service.until(client, run)
    assert (ended["status"], ended["attempt"]) == ("finished", 1)
    assert len({step["key"] for step in ended["steps"]}) == len(ended["steps"]) == 30
    assert client.get("/workflow_execution", params={"registry_id": workflow}).json()["data"]["items"] == []


def test_service_when_the_disk_is_full_then_says_so_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("no small file system can be mounted here: that takes root and its capabilities")
    try:
        with real_service(folder) as service, service.log_in("user_1") as client:
            workflow = service.register(client, TOOL)
            with (folder / "filling").open("wb", 0) as filling:
                _fill(filling.write)
            refused = service.send(client, TOOL + "# another")
            assert (refused.status_code, refused.headers["Stemma-Error"]) == (503, "storage-full")
            (folder / "filling").unlink()
            answer = service.submit(client, workflow, {"script": "echo > made"})
            assert service.until(client, answer.json()["data"]["execution_id"])["status"] == "finished"
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _fill(write: Callable[[bytes], int]) -> None:
    """Write until nothing more goes in."""
    for size in (1 << 16, 1):
        with pytest.raises(OSError, match="No space left"):
            while write(b"x" * size):
                pass


def test_run_when_it_takes_longer_than_the_limit_then_fails_and_nothing_is_left(tmp_path: Path, number: str) -> None:
    with (
        real_service(tmp_path, STEMMA_RUN_TIME_LIMIT_SECONDS="1") as service,
        service.log_in("user_1") as client,
    ):
        run = service.run(client, TOOL, {"script": f"trap '' TERM; sleep {number}; sleep {number}"})
    assert (run["status"], run["reason"]) == ("failed", "it took longer than the time limit of 1 seconds")
    assert sleepers(number) == []


def test_service_when_killed_in_an_upload_then_the_next_knows_nothing_of_it(tmp_path: Path) -> None:
    with real_service(tmp_path) as service, service.log_in("user_1") as client:
        workflow = service.register(client, TOOL.replace("string, inputBinding: {}", "File"))
        half = threading.Event()

        def body() -> Iterator[bytes]:
            yield b'--XX\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
            yield b"y" * 3_000_000
            half.set()
            time.sleep(0.5)
            yield b"y" * 3_000_000

        def send() -> None:
            headers = {"Content-Type": "multipart/form-data; boundary=XX"}
            with pytest.raises(httpx.HTTPError):
                client.post(f"/workflow_execution/execute/{workflow}", content=body(), headers=headers)

        sending = threading.Thread(target=send)
        sending.start()
        half.wait()
        parts = [psutil.Process(service.process.pid), *psutil.Process(service.process.pid).children(recursive=True)]
        service.process.kill()
        sending.join()
        wait_until(lambda: not any(part.is_running() and part.status() != "zombie" for part in parts))
        (service.home / "service.json").unlink()
        with real_service(tmp_path) as again, again.log_in("user_1") as other:
            assert other.get("/workflow_execution").json()["data"]["items"] == []
            assert other.get(f"/workflow_registry/{workflow}").status_code == 200
            assert not list((service.home / "store").glob("incoming/*"))


def test_stop_when_a_container_does_not_listen_then_it_is_gone_in_two_seconds(
    service: RealService, client: httpx.Client
) -> None:
    asked = ["docker", "image", "inspect", IMAGE]
    if shutil.which("docker") is None or subprocess.run(asked, check=False, capture_output=True).returncode != 0:
        assert not os.environ.get("CI"), f"in CI a container engine with {IMAGE} must answer"  # noqa: TID251 - as said
        pytest.skip(f"no container engine with the image {IMAGE} answers here")
    document = TOOL.replace("requirements: {", f"requirements: {{DockerRequirement: {{dockerPull: '{IMAGE}'}}, ")
    run = service.start(client, document, {"script": "trap '' TERM; while :; do sleep 1; done"})
    shown = service.until(client, run, "running")
    ids = service.home / "runs" / shown["reana_id"] / "containers"
    wait_until(lambda: any(file.read_text() for file in ids.glob("*")))
    (identifier,) = [file.read_text().strip() for file in ids.glob("*")]
    began = time.monotonic()
    client.post(f"/workflow_execution/{run}/stop")
    assert service.until(client, run)["status"] == "stopped"
    assert time.monotonic() - began < _STOP_SECONDS
    left = subprocess.run(["docker", "ps", "-q", "--no-trunc"], check=True, capture_output=True, text=True)
    assert identifier not in left.stdout
