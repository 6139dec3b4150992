"""The journal: what is written is read, and a process that is killed while it writes does no harm."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma import clock
from stemma.engines.cwltool import journal_reader
from stemma.engines.cwltool.identity import ProcessIdentity
from stemma.engines.cwltool.journal import Beginning, Ending, Journal, encode
from stemma.engines.protocol import FileSeen, FileUsed, JobState, StepEnded, StepStarted
from stemma.records import Content, FileKind, Occurrence, StepKind, Usage
from stemma.states import StepState

_TIMES = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone
_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
_NUMBERS = st.integers(min_value=0, max_value=2**53)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner)
)
_STARTED = st.builds(
    StepStarted,
    uuid=st.uuids(),
    key=_TEXT,
    path=_TEXT,
    kind=st.sampled_from(StepKind),
    at=_TIMES,
    parent=st.none() | st.uuids(),
    scatter_index=st.lists(_NUMBERS, max_size=3).map(tuple),
    command=st.lists(_TEXT).map(tuple),
    literals=st.dictionaries(_TEXT, _JSON),
)
_ENDED = st.builds(
    StepEnded,
    uuid=st.uuids(),
    state=st.sampled_from(StepState),
    at=_TIMES,
    exit_code=st.none() | st.integers(-64, 255),
    cpu_seconds=st.none() | st.floats(0, 1e9),
    memory_peak_bytes=st.none() | _NUMBERS,
    stderr_tail=st.none() | _TEXT,
)
_OCCURRENCES = st.builds(
    Occurrence,
    uuid=st.uuids(),
    kind=st.sampled_from(FileKind),
    basename=_TEXT,
    port=_TEXT,
    content=st.none() | st.builds(Content, _TEXT, _NUMBERS),
    step=st.none() | st.uuids(),
    derived_from=st.lists(st.uuids(), max_size=2).map(tuple),
    at=st.none() | _TIMES,
)
_USAGES = st.builds(Usage, st.uuids(), st.uuids(), _TEXT, _TEXT)
_FACTS = _STARTED | _ENDED | st.builds(FileSeen, _OCCURRENCES) | st.builds(FileUsed, _USAGES)


def _started(key: str) -> StepStarted:
    return StepStarted(clock.new_uuid(), key, key, StepKind.TOOL, clock.now())


def _journal(path: Path, *entries: object) -> Path:
    journal = Journal(path)
    journal.write(*entries)
    journal.close()
    return path


@given(fact=_FACTS)
def test_decode_when_a_fact_was_encoded_then_the_same_fact(fact: object) -> None:
    line = encode(fact)
    assert line.count(b"\n") == 1
    assert journal_reader.decode(line) == fact


def test_decode_when_beginning_and_ending_then_the_same() -> None:
    beginning = Beginning(clock.now(), ProcessIdentity.own(), {"cores": 2})
    ending = Ending(JobState.FINISHED, clock.now(), {"made": [1, None]}, None)
    assert journal_reader.decode(encode(beginning)) == beginning
    assert journal_reader.decode(encode(ending)) == ending


@given(facts=st.lists(_FACTS, max_size=8), limit=st.integers(1, 2000))
def test_read_when_in_pieces_of_any_size_then_every_fact_once(
    tmp_path_factory: pytest.TempPathFactory, facts: list[object], limit: int
) -> None:
    path = _journal(tmp_path_factory.mktemp("journal") / "j", *facts, Ending(JobState.FINISHED, clock.now(), {}))
    cursor, read = 0, []
    for _ in range(len(facts) + 2):
        chapter = journal_reader.read(path, cursor, limit)
        read.extend(chapter.facts)
        cursor = chapter.cursor
        if chapter.ending is not None:
            break
        assert chapter.has_more
    assert read == facts
    assert chapter.ending is not None


def test_read_when_the_last_line_is_torn_then_it_is_not_there_yet(tmp_path: Path) -> None:
    path = _journal(tmp_path / "j", _started("whole"))
    size = path.stat().st_size
    line = encode(_started("torn"))
    with path.open("ab") as file:
        file.write(line[:40])
    chapter = journal_reader.read(path, 0, 10**6)
    assert [fact.key for fact in chapter.facts] == ["whole"]
    assert (chapter.cursor, chapter.has_more) == (size, False)
    with path.open("ab") as file:
        file.write(line[40:])
    assert [fact.key for fact in journal_reader.read(path, chapter.cursor, 10**6).facts] == ["torn"]


def test_read_when_another_writes_after_a_torn_line_then_both_whole_ones(tmp_path: Path) -> None:
    path = _journal(tmp_path / "j", _started("whole"))
    with path.open("ab") as file:
        file.write(encode(_started("torn"))[:40])
    journal = Journal(path)
    journal.close_torn_line()
    journal.write(Ending(JobState.STOPPED, clock.now(), reason="it was stopped"))
    journal.close()
    chapter = journal_reader.read(path, 0, 10**6)
    assert [fact.key for fact in chapter.facts] == ["whole"]
    assert chapter.ending.state is JobState.STOPPED
    assert journal_reader.ending(path).state is JobState.STOPPED


def test_read_when_ended_then_the_cursor_stays_before_the_end(tmp_path: Path) -> None:
    path = _journal(tmp_path / "j", _started("one"), Ending(JobState.FAILED, clock.now(), reason="why"))
    chapter = journal_reader.read(path, 0, 10**6)
    assert journal_reader.read(path, chapter.cursor, 10**6).ending == chapter.ending


def test_read_when_the_cursor_is_beyond_the_end_then_refused(tmp_path: Path) -> None:
    path = _journal(tmp_path / "j", _started("one"))
    with pytest.raises(ValueError, match="no place 100000"):
        journal_reader.read(path, 100000, 100)


def test_ending_when_the_last_line_is_long_then_found(tmp_path: Path) -> None:
    long = {"text": "x" * 500_000}
    path = _journal(tmp_path / "j", _started("one"), Ending(JobState.FINISHED, clock.now(), long))
    assert journal_reader.ending(path).outputs == long


@pytest.mark.parametrize("text", [b"", b"{"])
def test_beginning_and_ending_when_nothing_whole_was_written_then_none(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(text)
    assert journal_reader.beginning(path) is None
    assert journal_reader.ending(path) is None
    assert journal_reader.ending(tmp_path / "nowhere") is None


def test_write_when_others_wait_for_it_then_they_are_told_and_not_too_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stemma.engines.cwltool.journal.TELL_SECONDS", 3600.0)
    told: list[bool] = []
    journal = Journal(tmp_path / "j", on_news=lambda: told.append(journal_reader.ending(tmp_path / "j") is not None))
    journal.write(_started("one"))
    assert told == []
    for _ in range(3):
        journal.write(StepEnded(clock.new_uuid(), StepState.FINISHED, clock.now()))
    assert told == [False]
    journal.write(Ending(JobState.FINISHED, clock.now()))
    assert told == [False, True]  # it can be read by then
    journal.close()
