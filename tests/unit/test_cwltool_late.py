"""Runs that start before their files have come: who waits for what, and what happens when it comes or never does."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stemma import clock
from stemma.engines.protocol import JobState
from stemma.records import Content
from stemma.states import StepState
from support.cwltool_bench import TAG, Bench, bench_in, wait_for
from support.late_bench import deliver, late, until, waits

CAT = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs: {files: {type: {type: array, items: File}, inputBinding: {}}}
stdout: all.txt
outputs: {all: stdout}
"""
CAT_ONE = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs: {file: {type: File, inputBinding: {}}}
stdout: $(inputs.file.nameroot).out
outputs: {all: stdout}
"""
SLOW = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, "sleep 2; cat $0"]
hints: {ToolTimeLimit: {timelimit: 1}}
inputs: {file: {type: File, inputBinding: {}}}
stdout: all.txt
outputs: {all: stdout}
"""
TWO = """
cwlVersion: v1.2
class: Workflow
inputs: {one: File, two: File}
steps:
  first: {run: cat_one.cwl, in: {file: one}, out: [all]}
  second: {run: cat_one.cwl, in: {file: two}, out: [all]}
outputs:
  first: {type: File, outputSource: first/all}
  second: {type: File, outputSource: second/all}
"""
SCATTER = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {files: "File[]"}
steps: {each: {run: cat_one.cwl, scatter: file, in: {file: files}, out: [all]}}
outputs: {all: {type: "File[]", outputSource: each/all}}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


def _start(bench: Bench, main: str, inputs: dict[str, object], **more: object) -> str:
    documents = {"main.cwl": main, "cat.cwl": CAT, "cat_one.cwl": CAT_ONE}
    return bench.submit(bench.job(bench.revision(documents), inputs, **more))


def _text(output: dict[str, str]) -> str:
    return Path(output["location"]).read_text()


def test_step_when_its_file_has_come_then_it_ends_while_others_wait(bench: Bench) -> None:
    one, two = late("one.txt"), late("two.txt", size=4)
    reference = _start(bench, TWO, {"one": one, "two": two})
    told = until(bench, reference, lambda told: len(told.waiting) == 2)
    assert not told.started
    assert [str(item) for item in told.waiting["second"].occurrences] == [two[TAG]]
    deliver(bench, reference, one, "one\n")
    told = until(bench, reference, lambda told: "first" in told.ended)
    assert told.started == {"first"}
    assert told.report.state is JobState.RUNNING
    deliver(bench, reference, two, "two\n")
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert {port: _text(file) for port, file in seen.report.outputs.items()} == {"first": "one\n", "second": "two\n"}
    assert waits(seen) == {"first": [one[TAG]], "second": [two[TAG]]}
    assert seen.used("second") == {"file": UUID(two[TAG])}


def test_scatter_when_files_come_one_by_one_then_each_element_starts_by_itself(bench: Bench) -> None:
    files = [late(f"{number}.txt") for number in range(5)]
    reference = _start(bench, SCATTER, {"files": files})
    until(bench, reference, lambda told: len(told.waiting) == 5)
    for number in (3, 0, 4, 1, 2):
        deliver(bench, reference, files[number], f"{number}\n")
        until(bench, reference, lambda told, number=number: f"each[{number}]" in told.ended)
    seen = bench.follow(reference)
    assert [_text(file) for file in seen.report.outputs["all"]] == [f"{number}\n" for number in range(5)]


def test_scatter_when_thousands_wait_then_each_wake_looks_at_those_alone_whose_file_came(bench: Bench) -> None:
    count = 1500
    files = [late(f"{number}.txt") for number in range(count)]
    main = SCATTER.replace("run: cat_one.cwl", "run: name.cwl").replace('"File[]", outputSource', '"Any", outputSource')
    name = """
cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {file: File}
expression: '$({"all": 1})'
outputs: {all: int}
"""
    job = bench.job(bench.revision({"main.cwl": main, "name.cwl": name}), {"files": files})
    reference = bench.submit(job)
    until(bench, reference, lambda told: len(told.waiting) == count)
    content = bench.put("same")
    for file in files:
        bench.engine.deliver(reference, UUID(file[TAG]), content)
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert seen.report.outputs == {"all": [1] * count}


def test_refuse_when_a_step_needs_the_file_then_it_fails_with_the_sentence_and_the_others_go_on(bench: Bench) -> None:
    one, two = late("one.txt"), late("two.txt")
    reference = _start(bench, TWO, {"one": one, "two": two})
    until(bench, reference, lambda told: len(told.waiting) == 2)
    bench.engine.refuse(reference, UUID(two[TAG]), "two.txt cannot be had: its server says 404")
    told = until(bench, reference, lambda told: "second" in told.ended)
    assert told.report.state is JobState.RUNNING
    deliver(bench, reference, one, "one\n")
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FAILED
    assert seen.report.reason == "step 'second' failed: two.txt cannot be had: its server says 404"
    assert {key: step.state for key, step in seen.ended.items()} == {
        "first": StepState.FINISHED,
        "second": StepState.FAILED,
    }


def test_refuse_when_an_element_needs_the_file_then_the_others_go_on(bench: Bench) -> None:
    files = [late(f"{number}.txt") for number in range(3)]
    reference = _start(bench, SCATTER, {"files": files})
    until(bench, reference, lambda told: len(told.waiting) == 3)
    deliver(bench, reference, files[0], "0\n")
    until(bench, reference, lambda told: "each[0]" in told.ended)
    bench.engine.refuse(reference, UUID(files[1][TAG]), "it is gone")
    until(bench, reference, lambda told: "each[1]" in told.ended)
    deliver(bench, reference, files[2], "2\n")
    seen = bench.follow(reference)
    assert seen.report.reason == "step 'each[1]' failed: it is gone"
    assert {key: step.state for key, step in seen.ended.items()} == {
        "each[0]": StepState.FINISHED,
        "each[1]": StepState.FAILED,
        "each[2]": StepState.FINISHED,
    }


def test_refuse_when_a_step_in_a_scattered_workflow_needs_the_file_then_only_what_follows_from_it_is_not_run(
    bench: Bench,
) -> None:
    ones, twos = ([late(f"{name}{number}.txt") for number in range(2)] for name in ("one", "two"))
    inner = TWO.replace(
        "{run: cat_one.cwl, in: {file: one}, out: [all]}", "{run: cat_one.cwl, in: {file: two}, out: [all]}", 1
    )
    inner = inner.replace("second: {run: cat_one.cwl, in: {file: two}", "second: {run: cat_one.cwl, in: {file: one}")
    inner = inner.replace("outputs:\n", "  third: {run: cat_one.cwl, in: {file: second/all}, out: [all]}\noutputs:\n")
    main = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, SubworkflowFeatureRequirement: {}}
inputs: {ones: "File[]", twos: "File[]"}
steps:
  each: {run: inner.cwl, scatter: [one, two], scatterMethod: dotproduct, in: {one: ones, two: twos}, out: [first, second]}
outputs:
  all: {type: "File[]", outputSource: each/first}
"""
    job = bench.job(
        bench.revision({"main.cwl": main, "inner.cwl": inner, "cat_one.cwl": CAT_ONE}), {"ones": ones, "twos": twos}
    )
    reference = bench.submit(job)
    until(bench, reference, lambda told: len(told.waiting) == 4)
    bench.engine.refuse(reference, UUID(ones[0][TAG]), "it is gone")
    until(bench, reference, lambda told: "each[0]/second" in told.ended)
    for number in (0, 1):
        deliver(bench, reference, twos[number], "two\n")
    deliver(bench, reference, ones[1], "one\n")
    seen = bench.follow(reference)
    assert seen.report.reason == "step 'each[0]/second' failed: it is gone"
    tools = {key: step.state for key, step in seen.ended.items() if "/" in key}
    assert tools.pop("each[0]/second") is StepState.FAILED
    assert tools == dict.fromkeys(
        ["each[0]/first", "each[1]/first", "each[1]/second", "each[1]/third"], StepState.FINISHED
    )


@pytest.mark.parametrize("reader", ["load", "tool"])
def test_refuse_when_the_run_itself_needs_the_file_then_it_fails_with_the_sentence(bench: Bench, reader: str) -> None:
    loads = TWO.replace("one: File", "one: {type: File, loadContents: true}")
    file = late("one.txt")
    if reader == "load":
        reference = _start(bench, loads, {"one": file, "two": late("two.txt")})
    else:
        reference = bench.submit(bench.job(bench.shell(), {"script": "true", "file": file}))
    bench.engine.refuse(reference, UUID(file[TAG]), "one.txt is forbidden")
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FAILED
    assert seen.report.reason.endswith("one.txt is forbidden")


def test_refuse_when_the_file_was_delivered_then_nothing_happens(bench: Bench) -> None:
    file = late("a.txt")
    reference = _start(bench, SCATTER, {"files": [file]})
    deliver(bench, reference, file, "a\n")
    bench.engine.refuse(reference, UUID(file[TAG]), "too late")
    assert bench.follow(reference).report.state is JobState.FINISHED


def _recalled(bench: Bench, one: dict[str, Any], two: dict[str, Any]) -> str:
    """A job with one step that needs both files; ``one`` has come and was taken back."""
    main = SCATTER.replace("run: cat_one.cwl, scatter: file, in: {file: files}", "run: cat.cwl, in: {files: files}")
    reference = _start(bench, main.replace('"File[]", outputSource', "File, outputSource"), {"files": [one, two]})
    until(bench, reference, lambda told: told.waiting)
    deliver(bench, reference, one, "one\n")
    wait_for(lambda: any(path.is_file() for path in (bench.runs / reference / "inputs").glob("*/one.txt")))
    assert bench.engine.recall(reference, UUID(one[TAG]))
    return reference


def test_recall_when_no_step_uses_the_file_then_a_step_waits_until_it_is_delivered_anew(bench: Bench) -> None:
    one, two = late("one.txt"), late("two.txt")
    reference = _recalled(bench, one, two)
    deliver(bench, reference, two, "two\n")
    time.sleep(0.2)
    bench.store_path(bench.put("one\n").sha256).unlink()
    assert not until(bench, reference, lambda told: told.waiting).started
    deliver(bench, reference, one, "one\n")
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert _text(seen.report.outputs["all"]) == "one\ntwo\n"
    assert waits(seen) == {"each": [one[TAG], two[TAG]]}


def test_recall_when_a_step_uses_the_file_then_not_before_it_ends(bench: Bench) -> None:
    script = "while [ ! -e $0 ]; do sleep 0.01; done"
    file, go = late("a.txt"), bench.runs / "go"
    job = bench.job(bench.shell(), {"script": f"{script.replace('$0', str(go))}; echo > made.txt", "file": file})
    reference = bench.submit(job)
    deliver(bench, reference, file, "a\n")
    until(bench, reference, lambda told: told.started)
    assert not bench.engine.recall(reference, UUID(file[TAG]))
    go.touch()
    assert bench.follow(reference).report.state is JobState.FINISHED
    assert bench.engine.recall(reference, UUID(file[TAG]))


def test_recall_when_the_file_lies_in_a_folder_then_it_stays(bench: Bench) -> None:
    document = bench.shell().files  # a tool that waits for a second file
    assert document
    main = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: ls
inputs: {folder: {type: Directory, inputBinding: {}}, file: File}
stdout: made.txt
outputs: {made: stdout}
"""
    member, other = late("member.txt"), late("other.txt")
    inputs = {"folder": bench.directory("folder", member), "file": other}
    reference = bench.submit(bench.job(bench.shell(main), inputs))
    until(bench, reference, lambda told: told.waiting)
    assert bench.engine.recall(reference, UUID(member[TAG])), "nothing was delivered"
    deliver(bench, reference, member, "m\n")
    wait_for(lambda: any(path.is_file() for path in (bench.runs / reference / "inputs").glob("*/folder/member.txt")))
    assert not bench.engine.recall(reference, UUID(member[TAG]))
    deliver(bench, reference, other, "o\n")
    seen = bench.follow(reference)
    assert _text(seen.report.outputs["made"]) == "member.txt\n"
    assert waits(seen) == {"tool": [member[TAG], other[TAG]]}


def test_output_when_a_file_is_passed_on_untouched_then_the_run_ends_with_it(bench: Bench) -> None:
    main = """
cwlVersion: v1.2
class: Workflow
inputs: {one: File, two: File}
steps: {first: {run: cat_one.cwl, in: {file: one}, out: [all]}}
outputs:
  first: {type: File, outputSource: first/all}
  two: {type: File, outputSource: two}
"""
    one, two = late("one.txt"), late("two.txt")
    reference = _start(bench, main, {"one": one, "two": two})
    deliver(bench, reference, one, "one\n")
    told = until(bench, reference, lambda told: "first" in told.ended)
    assert told.report.state is JobState.RUNNING
    deliver(bench, reference, two, "two\n")
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    content = bench.put("two\n")
    assert seen.report.outputs["two"]["checksum"] == f"sha256:{content.sha256}"
    assert (seen.report.outputs["two"][TAG], _text(seen.report.outputs["two"])) == (two[TAG], "two\n")


def test_report_when_the_run_process_is_killed_while_it_waits_then_lost(bench: Bench) -> None:
    file = late("a.txt")
    reference = _start(bench, SCATTER, {"files": [file]})
    until(bench, reference, lambda told: told.waiting)
    os.kill(bench.process_id(reference), signal.SIGKILL)
    seen = bench.follow(reference)
    assert seen.report.state is JobState.LOST
    assert waits(seen) == {"each[0]": [file[TAG]]}
    deliver(bench, reference, file, "a\n")
    assert bench.engine.recall(reference, UUID(file[TAG]))


def test_recall_when_the_run_process_was_killed_while_a_step_used_the_file_then_it_counts_for_nothing(
    bench: Bench,
) -> None:
    file = late("a.txt")
    reference = bench.submit(bench.job(bench.shell(), {"script": "exec sleep 100", "file": file}))
    deliver(bench, reference, file, "a\n")
    until(bench, reference, lambda told: told.started)
    assert not bench.engine.recall(reference, UUID(file[TAG]))
    os.kill(bench.process_id(reference), signal.SIGKILL)
    wait_for(lambda: bench.engine.report(reference, "").state is JobState.LOST)
    assert bench.engine.recall(reference, UUID(file[TAG]))


def test_stop_when_the_run_waits_then_it_ends_at_once(bench: Bench) -> None:
    reference = _start(bench, SCATTER, {"files": [late("a.txt")]})
    until(bench, reference, lambda told: told.waiting)
    began = time.monotonic()
    bench.engine.stop(reference)
    assert time.monotonic() - began < 1
    assert bench.follow(reference).report.state is JobState.STOPPED


def test_time_limit_when_the_run_waits_then_that_counts(bench: Bench) -> None:
    reference = _start(bench, SCATTER, {"files": [late("a.txt")]}, time_limit_seconds=0.5)
    seen = bench.follow(reference)
    assert seen.report.reason == "it took longer than the time limit of 0.5 seconds"


def test_tool_time_limit_when_its_step_waited_then_that_does_not_count(bench: Bench) -> None:
    limited = CAT_ONE.replace("inputs:", "requirements: {ToolTimeLimit: {timelimit: 1}}\ninputs:")
    file = late("a.txt")
    reference = bench.submit(bench.job(bench.shell(limited), {"file": file}))
    until(bench, reference, lambda told: told.waiting)
    time.sleep(1.2)
    deliver(bench, reference, file, "a\n")
    assert bench.follow(reference).report.state is JobState.FINISHED


def test_deliver_when_the_run_is_over_or_gone_then_nothing_happens(bench: Bench) -> None:
    file = late("a.txt")
    reference = _start(bench, SCATTER, {"files": [file]})
    deliver(bench, reference, file, "a\n")
    bench.follow(reference)
    bench.engine.release(reference)
    deliver(bench, reference, file, "a\n")
    bench.engine.refuse(reference, UUID(file[TAG]), "no")
    bench.engine.delete(reference)
    deliver(bench, reference, file, "a\n")
    assert bench.engine.recall(f"{clock.new_uuid()}/1", UUID(file[TAG]))
    assert not (bench.runs / reference).exists()


def test_deliver_when_the_bytes_are_not_there_then_the_step_fails_and_says_so(bench: Bench) -> None:
    file = late("a.txt")
    reference = _start(bench, SCATTER, {"files": [file]})
    bench.engine.deliver(reference, UUID(file[TAG]), Content("0" * 64, 4))
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FAILED
    assert "a.txt has come and cannot be put in its place" in seen.report.reason


def test_deliver_when_other_bytes_come_after_a_recall_then_the_step_fails_and_says_so(bench: Bench) -> None:
    one = late("one.txt")
    reference = _recalled(bench, one, late("two.txt"))
    deliver(bench, reference, one, "another\n")
    assert "one.txt is not what it was" in bench.follow(reference).report.reason


def test_step_when_it_waits_then_it_holds_no_core(tmp_path: Path) -> None:
    main = SCATTER.replace("inputs: {", "inputs: {here: File, ").replace(
        "steps: {", "steps: {now: {run: cat_one.cwl, in: {file: here}, out: [all]}, "
    )
    with bench_in(tmp_path, cores=1) as bench:
        files = [late(f"{number}.txt") for number in range(40)]
        reference = _start(bench, main, {"files": files, "here": bench.file("h", "h.txt")})
        told = until(bench, reference, lambda told: "now" in told.ended and len(told.waiting) == 40)
        assert told.report.state is JobState.RUNNING


def test_recall_when_it_meets_the_start_of_a_step_then_one_of_them_wins(bench: Bench) -> None:
    """Whoever takes the file back while steps start: no step ever finds it gone."""
    files = [late(f"{number}.txt") for number in range(30)]
    reference = _start(bench, SCATTER, {"files": files})
    done = threading.Event()

    def take_back() -> None:
        for _ in range(200):
            for number, file in enumerate(files):
                if bench.engine.recall(reference, UUID(file[TAG])):
                    path = bench.store_path(bench.put(f"{number}\n").sha256)
                    path.rename(path.with_suffix(".gone"))
                    path.with_suffix(".gone").rename(path)
                    deliver(bench, reference, file, f"{number}\n")
            if done.is_set():
                return

    thread = threading.Thread(target=take_back)
    thread.start()
    seen = bench.follow(reference)
    done.set()
    thread.join()
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert [_text(file) for file in seen.report.outputs["all"]] == [f"{number}\n" for number in range(30)]
