"""What is read from a job's command and from its log."""

import shlex
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.engines.reana.markers import JobFile, JobLink, key_of, own_words, parse_log
from stemma.engines.reana.wrapping import folder_of

SHA256 = "a" * 64
SHA1 = "b" * 40


def block(key: str = "s", *lines: str, code: int = 0) -> str:
    return "\n".join((f"\nstemma:begin {key}", f"stemma:exit {code} 1000.5 1002", *lines, f"stemma:end {key}", ""))


def framed(words: str) -> str:
    return f"job: :\n {words}\n\nCompleted\n"


def command(key: str) -> str:
    line = f"umask 2;cp -a a b ;mkdir -p h && cd h && \n: stemma-job {shlex.quote(key)} ;\necho; cp -r h/* o"
    return f"/bin/sh -c {shlex.quote(line)} "


def test_log_when_the_job_ended_then_it_tells_how_and_what_it_left() -> None:
    lines = (f"stemma:file {SHA256} {SHA1} 7 d/a b#%41.txt", "stemma:folder d", "stemma:link l /etc/passwd")
    result = parse_log(framed("said\nmore" + "\nstemma:stderr\noops" + block("by_year[2]/s", *lines, code=7)))
    assert result is not None
    assert (result.key, result.exit_code) == ("by_year[2]/s", 7)
    assert result.started_at == datetime(1970, 1, 1, 0, 16, 40, 500000, tzinfo=UTC)
    assert result.ended_at == datetime(1970, 1, 1, 0, 16, 42, tzinfo=UTC)
    assert result.files == (JobFile("d/a b#%41.txt", 7, SHA256, SHA1),)
    assert (result.folders, result.links) == (("d",), (JobLink("l", "/etc/passwd"),))
    assert (result.stdout, result.stderr) == ("said\nmore", "oops")


def test_log_when_the_image_has_no_digests_then_they_are_unknown() -> None:
    result = parse_log(block("s", "stemma:file - - 7 a"))
    assert result is not None
    assert result.files == (JobFile("a", 7, None, None),)


def test_log_when_the_tool_prints_a_block_then_the_last_one_counts() -> None:
    result = parse_log(framed(block("s", f"stemma:file {SHA256} {SHA1} 1 forged") + block("s", code=3)))
    assert result is not None
    assert (result.exit_code, result.files) == (3, ())


@pytest.mark.parametrize(
    "torn",
    [
        block("s")[:-3],
        block("s").replace("stemma:exit 0 1000.5 1002\n", ""),
        block("s").replace("stemma:end s", "stemma:end t"),
        block("s", "what the tool says from behind"),
        block("s", "stemma:file zz - 1 a"),
        "",
        "stemma:begin",
        "\nstemma:begin ",
    ],
)
def test_log_when_its_last_block_is_not_whole_then_nothing_is_said(torn: str) -> None:
    assert parse_log(framed(block("s", code=0) + torn) if torn else torn) is None or not torn.startswith(
        "\nstemma:begin"
    )


def test_log_when_a_whole_block_is_followed_by_a_torn_one_then_nothing_is_said() -> None:
    assert parse_log(block("s") + "\nstemma:begin s\nstemma:exit 0 1 2\n") is None


def test_log_when_it_has_fifty_megabytes_then_it_is_read_in_linear_time() -> None:
    started = time.process_time()
    result = parse_log("\nstemma:begin s\nstemma:end\n" * 2_000_000 + block("s"))
    assert result is not None
    assert time.process_time() - started < 2


@given(st.text())
def test_log_when_it_is_anything_then_it_is_no_error(words: str) -> None:
    parse_log(words)
    result = parse_log(words + block("s"))
    assert result is not None
    assert result.key == "s"
    assert "".join(own_words(words + block("s"))) in words


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_command_when_it_has_a_key_then_it_is_found(key: str) -> None:
    assert key_of(command(key)) == key


@pytest.mark.parametrize(
    "other",
    [
        "",
        "echo",
        "/bin/sh -c 'echo hello' ",
        "/bin/sh -c ': stemma-job",
        "/bin/sh -c 'echo : stemma-job x ;'",
        "'",
        "/bin/sh -c ': stemma-job '",
    ],
)
def test_command_when_it_is_not_ours_then_there_is_no_key(other: str) -> None:
    assert key_of(other) is None


def test_command_when_a_word_of_it_looks_like_a_key_then_the_first_one_counts() -> None:
    assert key_of(command("s").replace("echo;", 'echo ": stemma-job t ;"; \n: stemma-job t ;\n')) == "s"


@pytest.mark.parametrize("key", ["s", "by_year[2]/summarise", "é ü/ö", "x" * 400, "a'b\"c$d"])
def test_folder_of_a_key_when_the_shell_computes_it_then_it_is_the_same(key: str, tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell is not None
    text = 'K=`printf %s "$1" | tr -c A-Za-z0-9._- _`; K=`printf %.150s "$K"`-`printf %s "$1" | cksum`; printf %s "${K%% *}"'
    said = subprocess.run([shell, "-c", text, "x", key], capture_output=True, check=True)
    assert said.stdout.decode() == folder_of(key)
