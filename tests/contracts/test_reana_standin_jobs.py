"""How REANA's CWL engine runs jobs, as the stand-in does it: facts that our engine for REANA has to survive."""

import hashlib
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.reana_standin import ReanaStandin
from support.reana_standin.caller import Caller, packed, tool
from support.reana_standin.engine.commands import Parts, command


@pytest.fixture(scope="module")
def reana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReanaStandin]:
    with ReanaStandin(tmp_path_factory.mktemp("reana"), rate_limit=0, jobs=4) as reana:
        yield reana


@pytest.fixture(scope="module")
def caller(reana: ReanaStandin) -> Iterator[Caller]:
    with Caller(reana.url, reana.token) as caller:
        yield caller


def test_a_tool_that_fails_after_writing_a_file_leaves_a_finished_job_and_run(caller: Caller) -> None:
    run = caller.run(packed(tool("up", "echo made > made.txt; exit 7")))
    assert (run.status, run.jobs[0]["status"]) == ("finished", "finished")


def test_a_tool_that_leaves_nothing_at_home_fails_though_it_succeeded(caller: Caller) -> None:
    run = caller.run(packed(tool("up", "true")))
    assert (run.status, run.jobs[0]["status"]) == ("failed", "failed")
    assert "cp: cannot stat" in run.jobs[0]["logs"]
    assert run.jobs[0]["logs"].endswith("\n\nError\n")


def test_a_glob_collects_the_files_of_other_steps(caller: Caller) -> None:
    first = tool("first", "echo 1 > one.txt")
    run = caller.run(packed(first, tool("second", "echo 2 > two.txt", takes={"made": "File[]"})))
    assert [file["basename"] for file in run.outputs["second_made"]] == ["one.txt", "two.txt"]


def test_scattered_jobs_that_write_the_same_name_all_get_the_last_contents(caller: Caller) -> None:
    # Each has written before the first one is copied from the common folder.
    script = (
        'echo "$1" > r.txt; touch "wrote.$1"; until [ -e wrote.1 -a -e wrote.5 -a -e wrote.9 ]; do sleep 0.05; done'
    )
    run = caller.run(packed(tool("say", script, takes={"n": "int"}), scatter="n"), {"n": [1, 5, 9]})
    assert run.status == "finished"
    sums = {file["checksum"] for part in run.outputs["say_made"] for file in part}
    assert len(sums) == 1
    assert [job["job_name"] for job in run.jobs] == ["say", "say_2", "say_3"]


def test_a_document_that_is_a_lone_tool_always_fails(caller: Caller) -> None:
    run = caller.run({"cwlVersion": "v1.2", **tool("main", "echo made > made.txt")})
    assert run.status == "failed"
    assert "are the same file" in run.jobs[0]["logs"]
    assert run.jobs[0]["job_name"] == "main"


def test_steps_of_a_subworkflow_have_names_without_it(caller: Caller) -> None:
    document = packed(tool("echo", "echo made > made.txt"))
    inner = document["$graph"][0]
    inner.update(
        {
            "id": "#inner.cwl",
            "outputs": [],
            "steps": [{"id": "#inner.cwl/inner", "run": "#echo", "in": [], "out": ["#inner.cwl/inner/made"]}],
        }
    )
    outer = {
        "class": "Workflow",
        "id": "#main",
        "inputs": [],
        "outputs": [],
        "requirements": [{"class": "SubworkflowFeatureRequirement"}],
        "steps": [{"id": "#main/below", "run": "#inner.cwl", "in": [], "out": []}],
    }
    document["$graph"].append(outer)
    run = caller.run(document)
    assert [job["job_name"] for job in run.jobs] == ["inner"]
    assert run.progress["total"] == {"total": 2, "job_ids": []}


def test_a_document_without_a_graph_has_a_total_of_minus_one(caller: Caller) -> None:
    document = packed(tool("up", "echo made > made.txt"))
    main, inline = document.pop("$graph")
    main["steps"][0]["run"] = inline
    run = caller.run({**document, **main})
    assert run.status == "finished"
    assert run.progress["total"]["total"] == -1


def test_running_only_grows(caller: Caller) -> None:
    script = 'echo "$1" > "$1.txt"'
    run = caller.run(packed(tool("say", script, takes={"n": "int"}), scatter="n"), {"n": [1, 2, 3]})
    assert {kind: run.progress[kind]["total"] for kind in ("running", "finished", "failed")} == {
        "running": 3,
        "finished": 3,
        "failed": 0,
    }
    assert set(run.progress["running"]["job_ids"]) == set(run.progress["finished"]["job_ids"])
    assert run.progress["current_step_name"] == "say_3"


def test_the_log_of_a_job_is_empty_until_it_ends(caller: Caller) -> None:
    wait = tool("wait", "echo hello; echo oops >&2; until [ -e $HOME/../../../go ]; do sleep 0.05; done; touch a.txt")
    number = caller.create(packed(wait))
    caller.start(number)
    caller.until(number, "running")
    while not (jobs := caller.logs(number)["job_logs"]):
        time.sleep(0.03)
    (job,) = jobs.values()
    assert (job["status"], job["logs"], job["finished_at"]) == ("running", "", None)
    caller.upload(number, "go", b"")
    assert caller.until(number)["status"] == "finished"
    (job,) = caller.logs(number)["job_logs"].values()
    assert job["logs"] == "job: :\n hello\noops\n\n\nCompleted\n"


def test_expressions_and_skipped_steps_leave_no_job(caller: Caller) -> None:
    document = packed(tool("up", "echo made > made.txt"))
    main = document["$graph"][0]
    main["requirements"] = [{"class": "InlineJavascriptRequirement"}]
    main["steps"][0]["when"] = "$(false)"
    think = {
        "class": "ExpressionTool",
        "id": "#think",
        "inputs": [],
        "expression": "${return {n: 42};}",
        "requirements": [{"class": "InlineJavascriptRequirement"}],
        "outputs": [{"id": "#think/n", "type": "int"}],
    }
    main["steps"].append({"id": "#main/think", "run": "#think", "in": [], "out": ["#main/think/n"]})
    main["outputs"].append({"id": "#main/n", "type": "int", "outputSource": "#main/think/n"})
    document["$graph"].append(think)
    run = caller.run(document)
    assert (run.status, run.jobs) == ("finished", [])
    assert run.outputs == {"up_made": None, "n": 42}


def test_a_value_of_the_environment_is_expanded_by_the_shell(caller: Caller) -> None:
    value = {"class": "EnvVarRequirement", "envDef": [{"envName": "PRICE", "envValue": '5"`echo 5`"'}]}
    run = caller.run(packed(tool("up", 'printf %s "$PRICE" > made.txt', requirements=[value])))
    assert run.content("outputs/made.txt") == "55"


def test_a_literal_of_the_initial_folder_does_not_arrive(caller: Caller) -> None:
    literal = {"class": "InitialWorkDirRequirement", "listing": [{"entryname": "conf.ini", "entry": "a = 1"}]}
    run = caller.run(packed(tool("up", "ls > seen.txt; cat conf.ini", requirements=[literal])))
    assert run.content("outputs/seen.txt") == "seen.txt\n"
    assert "conf.ini: No such file" in run.jobs[0]["logs"]


@pytest.mark.parametrize(
    ("image", "status"),
    [("busybox:1.36", "failed"), ("docker.io/library/alpine", "failed"), ("debian:trixie-slim", "finished")],
)
def test_an_image_without_bash_does_not_start(caller: Caller, image: str, status: str) -> None:
    needs = [{"class": "DockerRequirement", "dockerPull": image}]
    run = caller.run(packed(tool("up", "echo made > made.txt", requirements=needs)))
    assert (run.status, run.jobs[0]["docker_img"]) == (status, image)
    assert ("StartError" in run.jobs[0]["logs"]) == (status == "failed")


def test_a_time_limit_of_the_cluster_ends_a_job(caller: Caller) -> None:
    limit = [{"class": "reana", "kubernetes_job_timeout": 1}]
    document = packed(tool("up", "echo begun > made.txt; sleep 3600"))
    document["$namespaces"] = {"reana": "http://reana.io/"}
    document["$graph"][1]["hints"] = limit
    run = caller.run(document)
    assert (run.status, run.jobs[0]["status"]) == ("failed", "failed")


def test_outputs_of_the_same_name_get_numbers_and_the_rest_is_cleared(caller: Caller) -> None:
    script = 'mkdir "d$1"; cp "$2" "d$1/r.txt"; sleep 0.1'
    say = tool("say", script, glob="d*/r.txt", takes={"n": "int", "text": "File"})
    run = caller.run(
        packed(say, scatter="n"), {"n": [1, 2], "text": {"class": "File", "path": "in.txt"}}, in__txt=b"text\n"
    )
    files = [file for part in run.outputs["say_made"] for file in part]
    assert {file["basename"] for file in files} == {"r.txt"}
    assert {file["checksum"] for file in files} == {"sha1$" + hashlib.sha1(b"text\n").hexdigest()}
    assert {file["size"] for file in files} == {5}
    places = {file["location"].rpartition("/outputs/")[2] for file in files}
    assert {"r.txt", "r.txt_2"} <= places
    names = run.names()
    assert {f"outputs/{place}" for place in places} <= set(names)
    assert not [name for name in names if name.startswith(("cwl/outdir", "cwl/tmpdir"))]
    assert len([name for name in names if re.fullmatch(r"cwl/docker_stagedir/stg[^/]+/in\.txt", name)]) == 2


def test_a_failed_run_tells_its_outputs_too(caller: Caller) -> None:
    run = caller.run(packed(tool("good", "echo a > a.txt"), tool("bad", "rm a.txt", takes={"made": "File[]"})))
    assert run.status == "failed"
    assert [file["basename"] for file in run.outputs["good_made"]] == ["a.txt"]
    assert run.outputs["bad_made"] == []


def test_the_command_of_a_job_tells_where_its_files_come_from(caller: Caller) -> None:
    first = tool("first", "echo 1 > one.txt")
    run = caller.run(packed(first, tool("second", 'cat "$1" > two.txt', takes={"made": "File[]"})))
    lines = [shlex.split(shlex.split(job["cmd"])[2]) for job in run.jobs]
    own = [line[-1] for line in lines]
    copied = lines[1][lines[1].index("-a") + 1]
    assert copied == f"{own[0]}/one.txt"
    homes = {re.search(r'HOME="([^"]+)"', job["cmd"])[1] for job in run.jobs}
    assert len(homes) == 1


def test_an_input_may_come_while_the_run_waits_for_it(caller: Caller) -> None:
    script = 'until [ -e $HOME/../../../go ]; do sleep 0.05; done; cp -f $HOME/../../../in.txt "$1"; cat "$1" > out.txt'
    late = tool("late", script, takes={"text": "File"})
    number = caller.create(packed(late), {"text": {"class": "File", "path": "in.txt"}})
    caller.upload(number, "in.txt", b"")
    caller.start(number)
    assert caller.until(number, "running")["status"] == "running"
    caller.upload(number, "in.txt", b"late words\n")
    caller.upload(number, "go", b"")
    assert caller.until(number)["status"] == "finished"
    assert caller.content(number, "outputs/out.txt") == "late words\n"


def test_reserved_names_are_overwritten(caller: Caller) -> None:
    run = caller.run(packed(tool("up", "echo made > made.txt")), workflow__json=b"mine", inputs__json=b"mine")
    assert run.status == "finished"
    assert "$graph" in run.content("workflow.json")
    assert run.content("inputs.json") == "{}"


def test_a_stopped_run_has_stopped_jobs_and_no_living_processes(caller: Caller) -> None:
    number = caller.create(packed(tool("up", "echo made > made.txt; sleep 3600")))
    caller.start(number)
    caller.until(number, "running")
    while not caller.logs(number)["job_logs"]:
        time.sleep(0.03)
    deleting = caller.set_status(number, "deleted")
    assert (deleting.status_code, "currently running" in deleting.text) == (409, True)
    stopped = caller.set_status(number, "stop", force_stop=True)
    assert (stopped.status_code, stopped.json()["status"]) == (200, "stopped")
    told = caller.until(number)
    assert told["progress"]["run_stopped_at"] is not None
    while (job := next(iter(caller.logs(number)["job_logs"].values())))["status"] == "running":
        time.sleep(0.03)
    assert (job["status"], job["finished_at"]) == ("stopped", None)
    assert caller.set_status(number, "stop").status_code == 409


def test_a_run_without_a_specification_is_pending_for_ever(reana: ReanaStandin, caller: Caller) -> None:
    number = caller.create(None)
    assert caller.start(number).status_code == 200
    # Its engine writes this file before it stumbles, and its log goes away with it.
    while "workflow.json" not in caller.names(number) or (reana.folder / "engines" / f"{number}.log").exists():
        time.sleep(0.03)
    assert caller.status(number)["status"] == "pending"
    assert caller.set_status(number, "stop").status_code == 409
    assert caller.set_status(number, "deleted").status_code == 200


def test_an_image_that_is_not_to_be_pulled_fails_without_a_job(caller: Caller) -> None:
    needs = [{"class": "DockerRequirement", "dockerFile": "FROM x"}]
    run = caller.run(packed(tool("up", "echo made > made.txt", requirements=needs)))
    assert (run.status, run.jobs) == ("failed", [])


def test_five_runs_go_at_once(caller: Caller) -> None:
    wait = tool("wait", "until [ -e $HOME/../../../go ]; do sleep 0.05; done; touch a.txt")
    numbers = [caller.create(packed(wait)) for _ in range(5)]
    for number in numbers:
        caller.start(number)
    assert {caller.until(number, "running")["status"] for number in numbers} == {"running"}
    for number in numbers:
        caller.upload(number, "go", b"")
    assert [caller.until(number)["status"] for number in numbers] == ["finished"] * 5


def _line(**parts: object) -> str:
    given = {
        "words": ["echo", "a b"],
        "home": "/w/cwl/outdir/X",
        "own_folder": "/w/cwl/outdir/Y",
        "workspace": "/w",
        "environment": {},
        "copies": [],
        "wants_shell": False,
        "first_shell_quote": True,
        **parts,
    }
    return shlex.split(command(Parts(**given)))[2]


def test_the_line_of_a_job_is_the_one_of_reana() -> None:
    assert _line(stdout="o.txt") == (
        "umask 2;mkdir -p /w/cwl/outdir/X && cd /w/cwl/outdir/X && echo 'a b' > /w/cwl/outdir/X/o.txt"
        "; cp -r /w/cwl/outdir/X/* /w/cwl/outdir/Y"
    )


def test_copies_are_not_quoted(tmp_path: Path) -> None:
    copies = [("/w/in put", "/w/stg/in put"), (str(tmp_path), "/w/stg/folder")]
    assert f"cp -a /w/in put /w/stg/in put ;cp -a {tmp_path} /w/stg ;mkdir" in _line(copies=copies)


def test_a_shell_as_the_first_word_loses_two_words_and_all_quotes() -> None:
    assert "&& echo a b; cp -r" in _line(words=["/bin/sh", "-c", "echo a b"])
    assert "&& $X a b; cp -r" in _line(words=["/bin/sh", "-c", "$X", "a b"], wants_shell=True)


def test_what_looks_like_a_folder_of_cwltool_becomes_the_workspace() -> None:
    assert "&& cat /w/c /u/workspace/f; cp" in _line(
        words=["cat", "/tmp/a/b/c", "/var/lib/cwl/stg/f"], workspace="/w"
    ).replace("//workspace", "/u/workspace")


def test_a_workspace_below_tmp_is_left_alone() -> None:
    words = ["cat", "/tmp/a/b/w/c", "/tmp/p/q/x"]
    assert "&& cat /tmp/a/b/w/c /tmp/a/b/w/x; cp" in _line(words=words, workspace="/tmp/a/b/w")


def test_errors_go_to_the_jobs_own_folder() -> None:
    assert " 2> /w/cwl/outdir/Y/e.txt; cp" in _line(stderr="e.txt")


def test_a_relative_stdin_is_sought_beside_the_jobs_folder() -> None:
    assert " < /w/cwl/outdir/in.txt; cp" in _line(stdin="sub/in.txt")
    with pytest.raises(TypeError):
        _line(stdin="in.txt")
