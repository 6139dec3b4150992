"""What is told of late files: whole or not at all, whoever is killed at whatever moment."""

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from stemma.engines.cwltool import arrivals, journal_reader
from stemma.engines.cwltool.arrivals import Arrivals, News, Told, Whereabouts
from stemma.engines.cwltool.journal import encode
from stemma.engines.protocol import StepWaits
from stemma.errors import EngineUnreachable
from stemma.records import Content
from support.cwltool_bench import bench_in

CONTENT = Content("a" * 64, 3)
PLACE = Path("/store/a")
HERE = Told(Whereabouts.HERE, CONTENT.sha256, CONTENT.size_bytes, str(PLACE))
TELLER = """
import sys
from pathlib import Path
from uuid import UUID
from stemma.engines.cwltool.arrivals import Arrivals
from stemma.records import Content
arrivals, names = Arrivals(Path(sys.argv[1])), [UUID(name) for name in sys.argv[2:]]
print("ready", flush=True)
while True:
    for name in names:
        arrivals.deliver(name, Content("a" * 64, 3), Path("/store/a"))
        arrivals.recall(name, is_alive=lambda: True)
"""


def _read(news: News) -> dict[UUID, Told]:
    with news.alone():
        return dict(news.read())


def test_deliver_when_told_twice_then_there_is_news_once(tmp_path: Path) -> None:
    news, file = News(tmp_path), uuid4()
    assert not news.is_there
    for _ in range(2):
        Arrivals(tmp_path).deliver(file, CONTENT, PLACE)
    assert news.is_there
    assert (tmp_path / "late.news").read_text() == f"{file}\n"
    assert _read(news) == {file: HERE}
    assert not news.is_there
    assert _read(news) == {}


def test_deliver_all_when_some_were_told_before_then_there_is_news_of_the_others(tmp_path: Path) -> None:
    news, told, files = News(tmp_path), Arrivals(tmp_path), [uuid4() for _ in range(250)]
    told.deliver(files[0], CONTENT, PLACE)
    told.deliver_all(dict.fromkeys(files, (CONTENT, PLACE)))
    assert (tmp_path / "late.news").read_text().split() == list(map(str, files))
    assert _read(news) == dict.fromkeys(files, HERE)


def test_read_when_only_some_of_it_is_asked_for_then_the_rest_comes_next(tmp_path: Path) -> None:
    news, files = News(tmp_path), [uuid4() for _ in range(5)]
    Arrivals(tmp_path).deliver_all(dict.fromkeys(files, (CONTENT, PLACE)))
    with news.alone():
        found = [[occurrence for occurrence, _ in news.read(2)] for _ in range(4)]
    assert found == [files[:2], files[2:4], files[4:], []]


def test_refuse_and_recall_when_in_any_state_then_only_what_is_here_can_be_taken_back(tmp_path: Path) -> None:
    told, file = Arrivals(tmp_path), uuid4()
    assert told.recall(file, is_alive=lambda: True)
    told.deliver(file, CONTENT, PLACE)
    told.refuse(file, "no")
    assert told.told(file) == HERE
    assert told.recall(file, is_alive=lambda: True)
    told.refuse(file, "no")
    assert told.told(file) == Told(Whereabouts.REFUSED, reason="no")
    told.deliver(file, CONTENT, PLACE)
    assert told.told(file) == HERE


@pytest.mark.parametrize("is_alive", [True, False])
def test_recall_when_a_step_uses_the_file_then_only_a_process_that_lives_counts(tmp_path: Path, is_alive: bool) -> None:
    told, news, file = Arrivals(tmp_path), News(tmp_path), uuid4()
    told.deliver(file, CONTENT, PLACE)
    news.use(file)
    assert told.recall(file, is_alive=lambda: is_alive) is not is_alive
    told.deliver(file, CONTENT, PLACE)
    news.let_go(file)
    assert told.recall(file, is_alive=lambda: True)


def test_deliver_when_one_was_killed_in_the_middle_of_a_line_then_the_next_is_whole(tmp_path: Path) -> None:
    news, file = News(tmp_path), uuid4()
    (tmp_path / "late.news").write_text(str(uuid4())[:20])
    assert _read(news) == {}
    Arrivals(tmp_path).deliver(file, CONTENT, PLACE)
    assert _read(news) == {file: HERE}


def test_deliver_when_one_was_killed_after_the_news_then_telling_it_again_tells_it(tmp_path: Path) -> None:
    news, file = News(tmp_path), uuid4()
    (tmp_path / "late.news").write_text(f"{file}\n")
    assert _read(news) == {}
    Arrivals(tmp_path).deliver(file, CONTENT, PLACE)
    assert _read(news) == {file: HERE}


def test_tell_when_tellers_are_killed_at_any_moment_then_what_is_told_afterwards_is_read(tmp_path: Path) -> None:
    files, seed = [uuid4() for _ in range(3)], random.randrange(10**6)
    chance, news = random.Random(seed), News(tmp_path)
    for _ in range(12):
        words = [sys.executable, "-c", TELLER, str(tmp_path), *map(str, files)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as teller:
            teller.stdout.readline()
            time.sleep(chance.random() / 50)
            os.kill(teller.pid, signal.SIGKILL)
        for file in files:
            Arrivals(tmp_path).recall(file, is_alive=lambda: False)
        _read(news)
        for file in files:
            Arrivals(tmp_path).deliver(file, CONTENT, PLACE)
        assert _read(news) == dict.fromkeys(files, HERE), seed


def test_deliver_when_another_holds_the_lock_for_long_then_the_engine_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "_PATIENCE_SECONDS", 0.05)
    with bench_in(tmp_path) as bench:
        reference = f"{uuid4()}/1"
        folder = bench.runs / reference / "arrivals"
        folder.mkdir(parents=True)
        with (folder / "late.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(EngineUnreachable):
                bench.engine.deliver(reference, uuid4(), CONTENT)


def test_journal_when_a_step_waits_then_the_fact_is_read_as_it_was_written() -> None:
    fact = StepWaits("each[1]", "each", (uuid4(), uuid4()), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert journal_reader.decode(encode(fact)) == fact
