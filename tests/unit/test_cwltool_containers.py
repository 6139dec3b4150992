"""Containers: which tools run in one, what is refused before, and what is recorded."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemma.engines.cwltool import containers
from stemma.engines.protocol import JobState
from stemma.records import StepDefinition, StepKind
from support.cwltool_bench import SHELL, Bench, bench_in, wait_for

IMAGE = "busybox:1.36"
REQUIRED = f"{SHELL}requirements: {{DockerRequirement: {{dockerPull: '{IMAGE}'}}}}\n"
HINTED = REQUIRED.replace("requirements", "hints")


def _has_image() -> bool:
    return containers.answering_engine() is not None and containers.image_digest(IMAGE) is not None


needs_docker = pytest.mark.skipif(not _has_image(), reason=f"no container engine with the image {IMAGE} answers here")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


@pytest.fixture
def without_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No container engine answers: there is nothing to be found on the path but what tools need."""
    monkeypatch.setattr("stemma.engines.cwltool.engine.answering_engine", lambda: None)


def _running_containers(bench: Bench) -> list[str]:
    answer = subprocess.run(
        ["docker", "ps", "--no-trunc", "--format", "{{.ID}}"], check=True, capture_output=True, text=True
    )
    ours = [file.read_text() for file in bench.runs.rglob("*.cid")]
    return [container for container in answer.stdout.split() if container in ours]


@pytest.mark.parametrize(
    ("policy", "image", "required", "engine", "words"),
    [
        ("auto", IMAGE, True, False, "STEMMA_CONTAINERS=never"),
        ("auto", IMAGE, True, True, None),
        ("auto", IMAGE, False, False, None),
        ("auto", None, False, False, None),
        ("never", IMAGE, True, False, None),
        ("required", IMAGE, False, False, "no container engine answers"),
        ("required", IMAGE, False, True, None),
        ("required", None, False, True, "STEMMA_CONTAINERS=required"),
    ],
)
def test_check_when_policy_image_and_engine_meet_then_refused_or_not(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    *,
    policy: str,
    image: str | None,
    required: bool,
    engine: bool,
    words: str | None,
) -> None:
    answer = {"name": "docker", "version": "1"} if engine else None
    monkeypatch.setattr("stemma.engines.cwltool.engine.answering_engine", lambda: answer)
    inner = StepDefinition("outer/inner", StepKind.TOOL, "tool.cwl", image=image, image_required=required)
    outer = StepDefinition("outer", StepKind.WORKFLOW, "inner.cwl", steps=(inner,))
    findings = bench.engine.check(bench.revision({"main.cwl": SHELL}, steps=(outer,)), policy)
    assert bool(findings) == bool(words)
    for finding in findings:
        assert words in finding.message
        assert "'outer/inner'" in finding.message
        assert finding.file == "tool.cwl"


def test_check_when_a_step_is_abstract_then_refused(bench: Bench) -> None:
    step = StepDefinition("later", StepKind.OPERATION, "main.cwl#later")
    (finding,) = bench.engine.check(bench.revision({"main.cwl": SHELL}, steps=(step,)), "auto")
    assert "'later' is an abstract operation" in finding.message


@pytest.mark.usefixtures("without_engine")
@pytest.mark.parametrize(
    ("document", "policy", "state", "words"),
    [
        (HINTED, "auto", JobState.FINISHED, None),
        (REQUIRED, "auto", JobState.FAILED, "it requires a container"),
        (REQUIRED, "never", JobState.FINISHED, None),
        (SHELL, "required", JobState.FAILED, "it names no container image"),
        (HINTED, "required", JobState.FAILED, "no container engine answers"),
    ],
)
def test_run_when_there_is_no_container_engine_then_on_the_host_or_refused(
    bench: Bench, document: str, policy: str, state: JobState, words: str | None
) -> None:
    image = None if document is SHELL else IMAGE
    seen = bench.run(bench.shell(document, image=image), {"script": "echo made > made.txt"}, containers=policy)
    assert seen.report.state is state, seen.report.reason
    assert words is None or words in seen.report.reason
    assert seen.started["tool"].image is None
    assert (seen.environment["containers"], seen.environment["container_engine"]) == (policy, None)


@needs_docker
@pytest.mark.parametrize("document", [REQUIRED, HINTED])
def test_run_when_in_a_container_then_image_digest_and_resources(bench: Bench, document: str) -> None:
    script = "head -c 20000000 /dev/zero > /dev/null; cat /etc/passwd > made.txt; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 0.3"
    seen = bench.run(bench.shell(document, image=IMAGE), {"script": script})
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    started, ended = seen.started["tool"], seen.ended["tool"]
    assert started.command == ("sh", "-c", script)
    assert (started.image, started.image_digest) == (IMAGE, containers.image_digest(IMAGE))
    assert ended.cpu_seconds > 0.01
    assert ended.memory_peak_bytes > 100_000
    assert seen.environment["container_engine"]["name"] == "docker"
    assert Path(seen.report.outputs["made"]["location"]).read_bytes() != Path("/etc/passwd").read_bytes()


@needs_docker
def test_run_when_inputs_have_the_same_bytes_then_the_container_has_both(bench: Bench) -> None:
    document = REQUIRED.replace('others: {type: "File[]?"}', 'others: {type: "File[]?", inputBinding: {position: 1}}')
    files = [bench.file("same\n", "one.txt"), bench.file("same\n", "two.txt")]
    script = 'for f in "$0" "$@"; do basename $f; cat $f; done > made.txt'
    seen = bench.run(bench.shell(document, image=IMAGE), {"script": script, "others": files})
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    made = Path(seen.report.outputs["made"]["location"]).read_text()
    assert sorted(made.split()) == ["one.txt", "same", "same", "two.txt"]


@needs_docker
def test_output_when_a_container_links_to_the_host_then_the_step_fails(bench: Bench) -> None:
    seen = bench.run(bench.shell(REQUIRED, image=IMAGE), {"script": "ln -s /etc/passwd made.txt"})
    assert "made.txt leads to a place which lies outside the run" in seen.report.reason
    assert "/etc/passwd" not in seen.report.reason


@needs_docker
@pytest.mark.parametrize("is_killed", [False, True])
def test_stop_when_a_container_runs_then_it_is_ended(bench: Bench, is_killed: bool) -> None:
    reference, _ = bench.start("sleep 1000", revision=bench.shell(REQUIRED, image=IMAGE))
    wait_for(lambda: len(_running_containers(bench)) == 1)
    if is_killed:
        os.kill(bench.process_id(reference), signal.SIGKILL)
    begin = time.monotonic()
    bench.engine.stop(reference)
    assert time.monotonic() - begin < 2.5
    assert _running_containers(bench) == []
    assert bench.engine.report(reference, "").state is JobState.STOPPED


@needs_docker
def test_time_limit_when_a_container_takes_longer_then_it_is_ended(bench: Bench) -> None:
    document = REQUIRED.replace("{DockerRequirement", "{ToolTimeLimit: {timelimit: 1}, DockerRequirement")
    seen = bench.run(bench.shell(document, image=IMAGE), {"script": "sleep 1000"})
    assert "time limit of 1 seconds" in seen.report.reason
    assert _running_containers(bench) == []


@needs_docker
def test_run_when_the_image_would_be_read_from_a_file_then_refused(bench: Bench) -> None:
    document = REQUIRED.replace(f"dockerPull: '{IMAGE}'", "dockerLoad: /etc/passwd, dockerImageId: x")
    seen = bench.run(bench.shell(document, image="x"), {"script": "true"})
    assert "images are not read from files" in seen.report.reason


def test_use_when_the_kernel_says_it_either_way_then_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_CGROUPS", tmp_path)
    assert containers.container_use("abc") is None
    group = tmp_path / "system.slice" / "docker-abc.scope"
    group.mkdir(parents=True)
    (group / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (group / "memory.peak").write_text("4096\n")
    (group / "io.stat").write_text("8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 rios=1\n")
    assert containers.container_use("abc") == containers.ResourceUse(1.5, 4096, 11, 22)
    for controller, name, text in [
        ("cpuacct", "cpuacct.usage", "2500000000\n"),
        ("memory", "memory.max_usage_in_bytes", "8192\n"),
        ("blkio", "blkio.throttle.io_service_bytes_recursive", "8:0 Read 5\n8:0 Write 7\nTotal 12\n"),
    ]:
        (tmp_path / controller / "docker" / "def").mkdir(parents=True)
        (tmp_path / controller / "docker" / "def" / name).write_text(text)
    assert containers.container_use("def") == containers.ResourceUse(2.5, 8192, 5, 7)
