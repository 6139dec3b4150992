"""The commands themselves: how they are found, how fast, and how they refuse."""

import json
import os
import subprocess
import sys

import pytest

from stemma import __version__
from stemma.cli.announcement import announce, announced, withdraw
from stemma.cli.commands import command
from stemma.cli.entry import find_workflow
from stemma.cli.main import main
from stemma.cli.run import RunGroup
from stemma.cli.spec import read_spec
from stemma.cli.watching import report_failure
from stemma.client.models import Run
from stemma.errors import InvalidDocument, InvalidRequest


def everything(path, one):
    yield path, one
    for name, inner in getattr(one, "commands", {}).items():
        yield from everything(f"{path} {name}", inner)


COMMANDS = dict(everything("stemma", command()))


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--version"], ["run", "x.cwl", "--version"]])
def test_version_when_asked_for_then_is_printed(arguments, capsys):
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"stemma {__version__}\n"


@pytest.mark.parametrize("path", COMMANDS)
def test_help_of_each_command_when_asked_for_then_says_something(path, capsys):
    assert main([*path.split()[1:], "--help"]) == 0
    assert "Usage" in capsys.readouterr().out
    assert COMMANDS[path].help


def test_version_when_asked_for_then_loads_neither_typer_nor_the_rest():
    program = "import sys; from stemma.cli.main import main; main(['--version']); print('typer' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "False"


def test_help_when_asked_for_then_loads_no_server_and_no_client():
    program = (
        "import sys; from stemma.cli.main import main; main(['--help']);"
        "print([n for n in ('httpx', 'pydantic', 'fastapi', 'sqlalchemy', 'cwltool') if n in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["main.cwl", "job.yml"], "file"),
        (["--outdir", "o", "main.cwl"], "file"),
        (["./list"], "file"),
        (["list"], "list"),
        (["list", "--json"], "list"),
    ],
)
def test_run_when_the_first_word_is_a_file_then_is_the_one_go_form(arguments, chosen):
    group = COMMANDS["stemma run"]
    assert isinstance(group, RunGroup)
    context = group.make_context("run", list(arguments))
    assert context._protected_args == [chosen]


def test_run_when_options_stand_among_parameters_then_each_goes_where_it_belongs():
    one_go = COMMANDS["stemma run file"]
    context = one_go.make_context("run", ["a.cwl", "--text", "t", "--outdir", "o", "--n=3", "--quiet"])
    assert context.args == ["--text", "t", "--n=3"]
    assert str(context.params["outdir"]) == "o"
    assert context.params["quiet"] is True


def test_document_when_it_cannot_be_read_then_is_said(tmp_path):
    with pytest.raises(InvalidDocument, match="No such file"):
        read_spec(str(tmp_path / "none.cwl"))


def test_document_when_one_process_of_it_is_named_then_that_is_the_main_one(tmp_path):
    (tmp_path / "a.cwl").write_text("cwlVersion: v1.2\n$graph: []\n")
    spec = read_spec(f"{tmp_path}/a.cwl#one")
    assert (spec.main, spec.fragment, spec.stem) == ("a.cwl#one", "one", "a")
    assert read_spec(f"{tmp_path}/a.cwl").main is None


def test_document_when_it_refers_to_others_then_is_sent_as_an_archive(tmp_path):
    (tmp_path / "tool.cwl").write_text("{cwlVersion: v1.2, class: CommandLineTool, inputs: [], outputs: []}")
    (tmp_path / "main.cwl").write_text(
        "{cwlVersion: v1.2, class: Workflow, steps: {a: {run: tool.cwl, in: [], out: []}}}"
    )
    spec = read_spec(f"{tmp_path}/main.cwl")
    assert spec.main == "main.cwl"
    assert spec.attachment.content.startswith(b"PK")


@pytest.mark.parametrize("named", ["rain", ":1", "rain:", "1x"])
def test_workflow_when_named_neither_by_number_nor_by_name_and_version_then_is_refused(named):
    with pytest.raises(InvalidRequest):
        find_workflow(None, named)


def test_service_when_announced_then_is_found_until_it_is_withdrawn(tmp_path):
    assert announced(tmp_path) is None
    announce(tmp_path, "http://localhost:1")
    assert announced(tmp_path).url == "http://localhost:1"
    withdraw(tmp_path)
    assert announced(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": "x"}', '{"url": "x", "pid": "y"}'])
def test_announcement_when_damaged_then_is_as_if_there_were_none(tmp_path, content):
    (tmp_path / "service.json").write_text(content)
    assert announced(tmp_path) is None
    withdraw(tmp_path)


def test_announcement_when_its_service_has_died_then_is_not_believed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "service.json").write_text(json.dumps({"url": "http://localhost:1", "pid": ended.pid}))
    assert announced(tmp_path) is None
    withdraw(tmp_path)
    assert (tmp_path / "service.json").exists()
    assert os.getpid() != ended.pid


def test_failure_when_reported_then_names_step_reason_and_last_words(capsys):
    step = {
        "step_id": "u", "key": "check[2]", "path": "check", "kind": "tool", "status": "failed", "attempt": 1,
        "exit_code": 65, "error_message": "exit code 65", "stderr_tail": "first\n" * 30 + "the last word\n",
    }  # fmt: skip
    report_failure(Run.of({"execution_id": 3, "status": "failed", "reana_name": "x:1", "reason": "r", "steps": [step]}))
    said = capsys.readouterr().err
    assert "step 'check[2]' failed: exit code 65" in said
    assert "the last word" in said
    assert said.count("first") == 9
