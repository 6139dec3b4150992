"""A prepared document, run in REANA's manner, gives what cwltool gives."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from stemma.engines.reana.markers import parse_log
from stemma.engines.reana.prepare import prepare
from stemma.engines.reana.wrapping import folder_of
from support.reana_documents import BESIDE, FLOW, SAME, TOOL, text
from support.reana_shell import packed, plain, reana, run_prepared

FAILING = {"exit-seven", "exit-zero-is-a-failure", "no-such-program", "over-time"}


@pytest.mark.parametrize("name", SAME)
def test_prepared_document_when_run_as_reana_does_then_it_gives_what_cwltool_gives(name: str, tmp_path: Path) -> None:
    document, inputs = SAME[name]
    files = {"main.cwl": document.encode(), **BESIDE}
    expected = plain(files, inputs, tmp_path)
    ran = reana(files, inputs, tmp_path)
    assert ran.status == expected.status == ("failed" if name in FAILING else "finished"), ran.logs
    if expected.status == "finished":
        assert ran.contents() == expected.contents()
        assert all(result is not None for result in ran.jobs.values())


def _answers(image: str) -> bool:
    command = ["docker", "run", "--rm", image, "true"]
    return (
        shutil.which("docker") is not None and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


HARD = (
    "arguments-with-every-character",
    "a-shell-of-its-own",
    "odd-names",
    "texts-laid-down",
    "in-time",
    "exit-seven-is-a-success",
)
AS_SH = {
    "busybox": ("busybox:1.36", "sh", "-c"),
    "dash": ("debian:trixie-slim", "bash", "-c"),
    "bash": ("debian:trixie-slim", "bash", "-c", 'ln -sf bash /bin/sh; exec bash -c "$0"'),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("shell", AS_SH)
def test_wrapper_when_another_shell_reads_it_then_it_gives_the_same(shell: str, name: str, tmp_path: Path) -> None:
    image, *words = AS_SH[shell]
    if not _answers(image):
        pytest.skip(f"no container engine with the image {image} answers here")
    document, inputs = SAME[name]
    files = {"main.cwl": document.encode()}
    container = ("docker", "run", "--rm", "-i", "-v", f"{tmp_path}:{tmp_path}", image, *words)
    ran = reana(files, inputs, tmp_path, shell=container)
    assert ran.status == "finished", ran.logs
    assert ran.contents() == plain(files, inputs, tmp_path).contents()


def test_job_when_it_fails_after_writing_then_its_exit_code_and_files_are_told(tmp_path: Path) -> None:
    ran = reana({"main.cwl": SAME["exit-seven"][0].encode()}, {}, tmp_path, "main.cwl")
    result = ran.jobs["main"]
    assert result is not None
    assert (ran.statuses["main"], result.exit_code, [file.path for file in result.files]) == ("failed", 7, ["f"])


def test_job_when_its_exit_code_means_success_then_the_code_itself_is_told(tmp_path: Path) -> None:
    ran = reana({"main.cwl": SAME["exit-seven-is-a-success"][0].encode()}, {}, tmp_path)
    result = ran.jobs["main"]
    assert result is not None
    assert (ran.statuses["main"], result.exit_code) == ("finished", 7)


def test_jobs_when_they_stand_in_scatters_and_workflows_then_each_has_the_key_of_its_execution(tmp_path: Path) -> None:
    document, inputs = SAME["nested-and-named-like-numbers"]
    ran = reana({"main.cwl": document.encode()}, inputs, tmp_path)
    numbered = {"outer_2[0]/say_2[0]", "outer_2[0]/say_2[1]", "outer_2[2]/say_2[0]"}
    assert set(ran.jobs) == {*numbered, *(f"outer_2[{place}]/say" for place in range(3))}


def test_jobs_when_they_stand_in_all_combinations_then_each_has_the_key_of_its_execution(tmp_path: Path) -> None:
    document, inputs = SAME["all-combinations"]
    ran = reana({"main.cwl": document.encode(), **BESIDE}, inputs, tmp_path)
    nested = {f"nested[{first}][{second}]" for first in range(2) for second in range(3)}
    assert set(ran.jobs) == nested | {f"flat[{place}]" for place in range(6)}


def test_job_when_it_has_ended_then_its_files_and_words_lie_in_the_workspace(tmp_path: Path) -> None:
    document = (
        TOOL
        + "baseCommand: [sh, -c, 'mkdir d; echo x >d/f; ln -s /etc/passwd out; echo said; echo oops >&2']\ninputs: []\noutputs: []\n"
    )
    ran = reana({"main.cwl": document.encode()}, {}, tmp_path)
    result = ran.jobs["main"]
    assert result is not None
    kept = ran.workspace / "stemma" / folder_of("main")
    assert (kept / "d/f").read_bytes() == b"x\n"
    assert not (kept / "out").exists()
    assert (result.folders, [link.target for link in result.links]) == (("d",), ["/etc/passwd"])
    assert [(file.path, file.sha256) for file in result.files] == [("d/f", hashlib.sha256(b"x\n").hexdigest())]
    assert (result.stdout, result.stderr) == ("said\n", "oops\n")
    assert Path(f"{kept}.stdout").read_text() == "said\n"
    assert parse_log(Path(f"{kept}.marker").read_text()) is not None


def test_job_when_a_name_has_a_line_break_then_it_fails_and_says_so(tmp_path: Path) -> None:
    document = TOOL + 'baseCommand: [touch, "a\\nb"]\ninputs: []\noutputs: []\n'
    ran = reana({"main.cwl": document.encode()}, {}, tmp_path)
    assert (ran.status, ran.jobs["main"]) == ("failed", None)
    assert "line break" in ran.logs["main"]


def test_job_when_an_input_arrives_in_part_then_it_fails_and_says_so(tmp_path: Path) -> None:
    document, inputs = SAME["in-time"]
    torn = (
        "sh",
        "-c",
        'find "$0"/workspace/cwl/docker_stagedir "$0"/workspace/data -type f -exec truncate -s 1 {} +; exec bash -c "$1"',
        str(tmp_path),
    )
    ran = reana({"main.cwl": document.encode()}, inputs, tmp_path, shell=torn)
    assert (ran.status, ran.jobs["main"]) == ("failed", None)
    assert "arrived in part" in ran.logs["main"]


def test_document_when_it_is_larger_than_reana_takes_then_it_goes_as_a_file_and_runs(tmp_path: Path) -> None:
    document, inputs = SAME["nested-and-named-like-numbers"]
    files = {"main.cwl": f"doc: {'x' * 50_000}\n{document}".encode()}
    prepared = prepare(packed(files), default_image=None, resource_hints={})
    assert len(json.dumps(prepared.document)) < 5_000
    ran = run_prepared(prepared, files, inputs, tmp_path)
    assert ran.contents() == plain(files, inputs, tmp_path).contents()
    assert "outer_2[0]/say_2[1]" in ran.jobs


def test_document_when_it_has_emoji_then_it_goes_as_a_file_and_they_arrive(tmp_path: Path) -> None:
    files = {
        "main.cwl": f"{TOOL}baseCommand: [echo, \U0001f57a]\ninputs: []\nstdout: o\noutputs: {{o: stdout}}\n".encode()
    }
    assert reana(files, {}, tmp_path).contents() == {"o": ("o", "\U0001f57a\n".encode())}


def test_defaults_when_they_are_files_of_the_bundle_then_they_arrive(tmp_path: Path) -> None:
    files = {
        "main.cwl": (FLOW + """
inputs: {f: {type: File, default: {class: File, location: data/a.txt}}, g: File}
outputs: {o: {type: File, outputSource: s/o}}
steps: {s: {in: {f: f, g: g}, out: [o], run: tools/t.cwl}}
""").encode(),
        "tools/t.cwl": (TOOL + """
baseCommand: [sh, -c, 'cat "$0" "$1"; cd "$2" && cat *']
arguments: [$(inputs.f.path), $(inputs.g.path), $(inputs.d.path)]
inputs: {f: File, g: File, d: {type: Directory, default: {class: Directory, location: beside}}}
stdout: o
outputs: {o: stdout}
""").encode(),
        "data/a.txt": b"1", "tools/beside/b.txt": b"3",
    }  # fmt: skip
    ran = reana(files, {"g": text("2")}, tmp_path)
    assert ran.contents() == {"o": ("o", b"123")}


def test_job_when_a_file_of_a_list_did_not_arrive_then_it_fails_and_says_so(tmp_path: Path) -> None:
    document = TOOL + 'baseCommand: cat\ninputs: {f: {type: "File[]", inputBinding: {}}}\noutputs: []\n'
    gone = ("sh", "-c", 'find "$0"/workspace/data -type f -name b -delete; exec bash -c "$1"', str(tmp_path))
    ran = reana({"main.cwl": document.encode()}, {"f": [text("1", "a"), text("2", "b")]}, tmp_path, shell=gone)
    assert ran.status == "failed"
    assert "b did not arrive" in (ran.workspace / "stemma" / f"{folder_of('main')}.stderr").read_text()
