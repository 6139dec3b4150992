"""What is believed of the logs of a run on REANA."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stemma.engines.reana.answers import JobLog
from stemma.engines.reana.collection import Collected, Collector, final_output

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
COMMAND = "/bin/sh -c ': stemma-job s ;\necho; cp -r h/* o'"


class Workspace:
    """A session whose workspace holds one endless file."""

    def __init__(self) -> None:
        self.given = 0

    def download(self, *_: object) -> Iterator[bytes]:
        while True:
            self.given += 1
            assert self.given < 100
            yield b"x" * (1 << 20)


def _job(log: str, status: str = "finished") -> JobLog:
    return JobLog("1", "s", status, COMMAND, "image", "kubernetes", "", log, AT, AT + timedelta(minutes=1))


def _collected(log: str, *, session: Any = None, is_last_word: bool = False) -> tuple[Collected, dict[str, Any]]:
    words: dict[str, Any] = {}
    collector = Collector(session, "id", {}, words.__setitem__)
    return collector.collect([_job(log)], is_last_word=is_last_word), words


@pytest.mark.parametrize(
    ("start", "end"), [("999999999999", "1"), ("1", "99999999999"), ("0", "999999999999"), ("99999999999", "0")]
)
def test_log_when_its_times_are_none_then_no_error_and_an_order(start: str, end: str) -> None:
    log = f"job: :\n \nstemma:begin s\nstemma:exit 0 {start} {end}\nstemma:end s\n"
    found, _ = _collected(log)
    (job,) = found.jobs
    assert job.ended_at is None or AT - timedelta(days=1) < job.ended_at < AT + timedelta(days=1)
    assert job.ended_at is None or job.started_at <= job.ended_at


def test_log_when_read_then_the_words_are_handed_on_and_not_kept() -> None:
    found, words = _collected("job: :\n said\nstemma:begin s\nstemma:exit 0 1 2\nstemma:end s\n")
    assert words == {"s": ("said", "")}
    assert found.jobs[0].exit_code == 0


def test_kept_word_when_the_file_has_no_end_then_it_is_not_read_whole() -> None:
    workspace = Workspace()
    found, _ = _collected("", session=workspace, is_last_word=True)
    assert found.jobs[0].exit_code is None
    assert workspace.given < 40


def test_final_output_when_told_several_times_then_the_last() -> None:
    log = 'FinalOutput{"a": 1}FinalOutput and FinalOutput{\n"a": {"b": 2}\n}FinalOutput\n'
    assert final_output(log) == {"a": {"b": 2}}
    assert final_output("FinalOutput{") is None
    assert final_output("}FinalOutput FinalOutput{") is None
    assert final_output("") is None


def test_final_output_when_commands_are_full_of_its_sign_then_linear_time() -> None:
    log = "FinalOutput{" * 1_000_000
    began = time.process_time()
    assert final_output(log) is None
    assert final_output(log + "}FinalOutput") == {}
    assert time.process_time() - began < 5
