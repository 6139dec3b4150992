"""Which step executions are reported, by which names, and with which facts."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemma.engines.protocol import JobState
from stemma.records import StepKind
from stemma.states import StepState
from support.cwltool_bench import SHELL, Bench, bench_in

ECHO = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs: {a: {type: string, inputBinding: {}}, b: {type: string?, inputBinding: {}}}
stdout: said.txt
outputs: {said: stdout}
"""
SCATTER = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {a: "string[]", b: "string[]"}
steps:
  say: {run: echo.cwl, scatter: [a, b], scatterMethod: METHOD, in: {a: a, b: b}, out: [said]}
outputs: {said: {type: Any, outputSource: say/said}}
"""
INNER = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}}
inputs: {a: string, bs: "string[]"}
steps:
  say: {run: echo.cwl, scatter: b, when: "$(inputs.b != 'not')", in: {a: a, b: bs}, out: [said]}
  never: {run: echo.cwl, when: $(false), in: {a: a}, out: [said]}
outputs: {said: {type: Any, outputSource: say/said}}
"""
OUTER = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, SubworkflowFeatureRequirement: {}}
inputs: {a: "string[]", b: "string[]"}
steps:
  each: {run: inner.cwl, scatter: a, in: {a: a, bs: b}, out: [said]}
outputs: {said: {type: Any, outputSource: each/said}}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("method", "keys", "shape"),
    [
        ("dotproduct", {"say[0]": ("1", "x"), "say[1]": ("2", "y")}, 1),
        (
            "flat_crossproduct",
            {"say[0]": ("1", "x"), "say[1]": ("1", "y"), "say[2]": ("2", "x"), "say[3]": ("2", "y")},
            1,
        ),
        (
            "nested_crossproduct",
            {"say[0][0]": ("1", "x"), "say[0][1]": ("1", "y"), "say[1][0]": ("2", "x"), "say[1][1]": ("2", "y")},
            2,
        ),
    ],
)
def test_scatter_when_of_each_method_then_every_element_has_its_index(
    bench: Bench, method: str, keys: dict[str, tuple[str, str]], shape: int
) -> None:
    revision = bench.revision({"main.cwl": SCATTER.replace("METHOD", method), "echo.cwl": ECHO})
    seen = bench.run(revision, {"a": ["1", "2"], "b": ["x", "y"]})
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    literals = {key: (step.literals["a"], step.literals["b"]) for key, step in seen.started.items()}
    assert literals == keys
    assert {len(step.scatter_index) for step in seen.started.values()} == {shape}
    assert {step.path for step in seen.started.values()} == {"say"}


def test_workflow_in_workflow_when_scattered_and_conditional_then_keys_parents_and_skips(bench: Bench) -> None:
    revision = bench.revision({"main.cwl": OUTER, "inner.cwl": INNER, "echo.cwl": ECHO})
    seen = bench.run(revision, {"a": ["1", "2"], "b": ["x", "not"]})
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert {key: ended.state for key, ended in seen.ended.items()} == {
        "each[0]": StepState.FINISHED,
        "each[0]/say[0]": StepState.FINISHED,
        "each[0]/say[1]": StepState.SKIPPED,
        "each[0]/never": StepState.SKIPPED,
        "each[1]": StepState.FINISHED,
        "each[1]/say[0]": StepState.FINISHED,
        "each[1]/say[1]": StepState.SKIPPED,
        "each[1]/never": StepState.SKIPPED,
    }
    inner = seen.started["each[1]/say[1]"]
    assert (inner.path, inner.scatter_index) == ("each/say", (1,))
    assert inner.parent == seen.started["each[1]"].uuid
    assert seen.started["each[1]"].kind is StepKind.WORKFLOW
    assert [len(element) for element in seen.report.outputs["said"]] == [2, 2]


def test_scatter_when_all_elements_are_skipped_then_each_is_reported_once(bench: Bench) -> None:
    seen = bench.run(bench.revision({"main.cwl": INNER, "echo.cwl": ECHO}), {"a": "1", "bs": ["not", "not"]})
    assert seen.report.outputs == {"said": [None, None]}
    assert sorted(seen.ended) == ["never", "say[0]", "say[1]"]
    assert len([fact for fact in seen.facts if getattr(fact, "key", "") == "say[0]"]) == 1


def test_single_tool_when_run_then_its_path_is_the_one_of_the_structure(bench: Bench) -> None:
    seen = bench.run(bench.shell(), {"script": "echo made > made.txt"})
    assert list(seen.started) == ["tool"]


def test_step_when_run_then_command_streams_and_resources(bench: Bench) -> None:
    script = "echo out; echo err >&2; i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; echo made > made.txt"
    seen = bench.run(bench.shell(), {"script": script})
    started, ended = seen.started["tool"], seen.ended["tool"]
    assert started.command == ("sh", "-c", script)
    assert (ended.exit_code, ended.stdout_tail, ended.stderr_tail) == (0, "out\n", "err\n")
    assert ended.cpu_seconds > 0
    assert 100_000 < ended.memory_peak_bytes < 40_000_000
    assert ended.disk_read_bytes is not None
    assert started.at < ended.at


def test_step_when_it_writes_to_the_disk_then_as_much_is_counted_as_the_kernel_told_it(bench: Bench) -> None:
    script = "head -c 10000000 /dev/zero > made.txt; while read -r line; do echo $line; done < /proc/self/io"
    ended = bench.run(bench.shell(), {"script": script}).ended["tool"]
    told = dict(line.split(": ") for line in ended.stdout_tail.splitlines())
    # After it told so it goes on: its words are written to a file, and its own program may be read on.
    assert abs(ended.disk_read_bytes - int(told["read_bytes"])) < 4_000_000
    assert abs(ended.disk_write_bytes - int(told["write_bytes"])) < 4_000_000


def test_step_when_it_names_its_folder_then_the_record_tells_paths_from_the_run(bench: Bench) -> None:
    seen = bench.run(bench.shell(), {"script": "pwd; pwd >&2; echo made > made.txt"})
    ended = seen.ended["tool"]
    for told in (ended.stdout_tail, ended.stderr_tail, *seen.started["tool"].command):
        assert str(bench.engine._runs_folder) not in told
    assert ended.stdout_tail.startswith("tmp/")


def test_step_when_it_takes_much_memory_then_the_peak_of_its_child_is_exact(bench: Bench) -> None:
    script = "python3 -c 'x = bytearray(200_000_000)'; echo made > made.txt"
    ended = bench.run(bench.shell(), {"script": script}).ended["tool"]
    assert 200_000_000 < ended.memory_peak_bytes < 300_000_000


def test_step_when_its_words_are_an_output_then_log_and_tail_too(bench: Bench) -> None:
    seen = bench.run(bench.revision({"echo.cwl": ECHO}, cwl_class="CommandLineTool"), {"a": "word"})
    (key,) = seen.started
    assert seen.ended[key].stdout_tail == "word\n"
    with bench.engine.log(seen.reference, seen.started[key].uuid, "stdout") as log:
        assert log.read() == b"word\n"


def test_step_when_it_says_much_then_the_tail_is_four_kibibytes(bench: Bench) -> None:
    script = "printf '\\377'; head -c 10000 /dev/zero | tr '\\0' x; echo made > made.txt"
    ended = bench.run(bench.shell(), {"script": script}).ended["tool"]
    assert ended.stdout_tail == "x" * 4096


@pytest.mark.parametrize(
    ("codes", "exit_code", "state"),
    [
        ("successCodes: [3]", 3, StepState.FINISHED),
        ("permanentFailCodes: [0]", 0, StepState.FAILED),
        ("temporaryFailCodes: [4]", 4, StepState.FAILED),
    ],
)
def test_step_when_the_document_says_what_an_exit_code_means_then_so_it_is(
    bench: Bench, codes: str, exit_code: int, state: StepState
) -> None:
    seen = bench.run(bench.shell(SHELL + codes), {"script": f"echo made > made.txt; exit {exit_code}"})
    assert (seen.ended["tool"].exit_code, seen.ended["tool"].state) == (exit_code, state)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("true", "Did not find output file"),
        ("kill -9 $$", "the signal SIGKILL"),
        ("mkfifo made.txt", "made.txt"),
        ("ln -s nowhere made.txt", "made.txt"),
    ],
)
def test_step_when_it_fails_then_the_sentence_says_why(bench: Bench, script: str, reason: str) -> None:
    seen = bench.run(bench.shell(), {"script": script})
    assert seen.report.state is JobState.FAILED
    assert reason in seen.ended["tool"].error
    assert reason in seen.report.reason
    assert str(bench.runs) not in seen.report.reason


def test_step_when_its_program_is_not_there_then_the_reason_names_it(bench: Bench) -> None:
    seen = bench.run(bench.shell(SHELL.replace("[sh, -c]", "no-such-program")), {"script": "x"})
    assert "'no-such-program' not found" in seen.report.reason


def test_step_when_it_asks_for_more_than_there_is_then_it_fails_and_does_not_wait(bench: Bench) -> None:
    document = SHELL + "requirements: {ResourceRequirement: {coresMin: 500}}"
    seen = bench.run(bench.shell(document), {"script": "true"})
    assert "it asks for 500 cores" in seen.report.reason
    assert seen.ended["tool"].state is StepState.FAILED


def test_step_when_it_takes_too_long_then_it_and_what_it_started_are_ended(bench: Bench) -> None:
    document = SHELL + "requirements: {ToolTimeLimit: {timelimit: 1}}"
    begin = time.monotonic()
    seen = bench.run(bench.shell(document), {"script": "sleep 60 & echo $! > /dev/stderr; sleep 60"})
    assert time.monotonic() - begin < 10
    assert "time limit of 1 seconds" in seen.report.reason
    child = int(seen.ended["tool"].stderr_tail)
    assert not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes()


def test_step_when_its_inputs_cannot_be_computed_then_the_reason_names_it(bench: Bench) -> None:
    document = """
cwlVersion: v1.2
class: Workflow
requirements: {StepInputExpressionRequirement: {}, InlineJavascriptRequirement: {}}
inputs: {}
outputs: {}
steps: {broken: {run: echo.cwl, in: {a: {valueFrom: $(nowhere.to.be.found)}}, out: []}}
"""
    seen = bench.run(bench.revision({"main.cwl": document, "echo.cwl": ECHO}), {})
    assert "step 'broken' could not be started" in seen.report.reason
    assert "nowhere is not defined" in seen.report.reason


def test_workflow_when_two_steps_are_ready_then_they_run_at_the_same_time(bench: Bench) -> None:
    document = """
cwlVersion: v1.2
class: Workflow
inputs: {script: string}
outputs: {}
steps:
  one: {run: tool.cwl, in: {script: script}, out: [made]}
  two: {run: tool.cwl, in: {script: script}, out: [made]}
"""
    seen = bench.run(bench.revision({"main.cwl": document, "tool.cwl": SHELL}), {"script": "sleep 1; echo > made.txt"})
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert max(step.at for step in seen.started.values()) < min(step.at for step in seen.ended.values())


def test_scatter_when_there_are_more_elements_than_can_wait_then_all_run(bench: Bench) -> None:
    document = SCATTER.replace("[a, b]", "a").replace("scatterMethod: METHOD, ", "").replace(", b: b}", "}")
    seen = bench.run(
        bench.revision({"main.cwl": document, "echo.cwl": ECHO}), {"a": [str(n) for n in range(80)], "b": []}
    )
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert len(seen.ended) == len(seen.report.outputs["said"]) == 80
