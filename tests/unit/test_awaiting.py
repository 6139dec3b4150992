"""What a run waits for from elsewhere: which files, which steps, how fast; and the words for it."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sqlmodel import Session

from conftest import opened_installation
from stemma import clock
from stemma.cli.awaiting import Follower, Speeds, amount, bars, sentence, summary
from stemma.client.arrivals import AwaitedFile, Replication
from stemma.database.queries import awaited, facts, runs, transfers
from stemma.database.queries.awaited import Awaited
from stemma.database.queries.replicas import ReplicaState
from stemma.facts import StepStarted, StepWaits
from stemma.lifecycle.awaiting import MOST_FILES, Awaiting, awaiting, pace
from stemma.lifecycle.installation import Installation
from stemma.records import StepKind
from support.databases import KINDS
from support.stored import add_late, bring, claimed, end_run, new_run

START = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = 15.0


@pytest.fixture(params=KINDS)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with opened_installation(request.param, tmp_path) as opened:
        yield opened


def waits_of(installation: Installation, run: int) -> Awaiting | None:
    with installation.database.reading() as session:
        return awaiting(session, runs.get(session, run, ["group1"]), LEASE)


def test_run_when_it_needs_nothing_from_elsewhere_then_waits_for_nothing(installation: Installation) -> None:
    assert waits_of(installation, installation.database.write(new_run)) is None


def test_run_when_files_are_at_every_stage_then_each_is_counted_where_it_is(installation: Installation) -> None:
    def write(session: Session) -> int:
        run = new_run(session)
        names = ("here", "wanted", "moving", "failed", "unsized")
        late = {
            name: add_late(installation, session, run, f"s3://b/{name}", size=None if name == "unsized" else 1000)
            for name in names
        }
        bring(installation, session, late["here"], b"12345")
        fence = claimed(installation, session, late["moving"])
        transfers.renew(session, {late["moving"].replica: (fence, 400)}, clock.now() + timedelta(seconds=LEASE))
        fence = claimed(installation, session, late["failed"])
        transfers.fail(session, late["failed"].replica, fence, "nothing is there")
        fence = claimed(installation, session, late["unsized"])
        later = clock.now() + timedelta(hours=1)
        transfers.put_off(session, late["unsized"].replica, fence, error="no answer", until=later, tries=2)
        return run

    run = installation.database.write(write)
    found = waits_of(installation, run)
    assert found is not None
    count = found.arrivals
    assert (count.files, count.here, count.waiting, count.failed) == (5, 1, 3, 1)
    assert (count.wanted_bytes, count.here_bytes, count.moved_bytes) == (3005, 5, 405)
    files = {file.file.source["url"]: file.file for file in found.files}
    assert list(files) == ["s3://b/moving", "s3://b/wanted", "s3://b/unsized"]
    assert (files["s3://b/moving"].moved_bytes, files["s3://b/moving"].state) == (400, ReplicaState.MOVING)
    assert (files["s3://b/unsized"].tries, files["s3://b/unsized"].error) == (2, "no answer")
    installation.database.write(lambda session: end_run(session, run))
    over = waits_of(installation, run)
    assert over is not None
    assert (over.arrivals, over.files) == (count, ())


def test_steps_when_they_wait_then_their_files_come_first_until_they_start(installation: Installation) -> None:
    def write(session: Session) -> int:
        run = new_run(session)
        late = [add_late(installation, session, run, f"s3://b/{number}") for number in range(MOST_FILES + 10)]
        urgent = (late[-1].occurrence, late[-2].occurrence)
        waits = [StepWaits(f"each[{number}]", "each", urgent[: number + 1], START) for number in range(2)]
        waits.append(StepWaits("begun", "begun", urgent, START))
        started = StepStarted(clock.new_uuid(), "begun", "begun", StepKind.TOOL, START)
        facts.write(session, run, 0, [*waits, started])
        return run

    found = waits_of(installation, installation.database.write(write))
    assert found is not None
    assert (found.waiting_steps, found.arrivals.waiting, len(found.files)) == (2, MOST_FILES + 10, MOST_FILES)
    told = [(file.file.source["url"], file.steps) for file in found.files[:3]]
    assert told == [
        (f"s3://b/{MOST_FILES + 8}", ("each[1]",)),
        (f"s3://b/{MOST_FILES + 9}", ("each[0]", "each[1]")),
        ("s3://b/0", ()),
    ]


MOVING = Awaited(
    occurrence=clock.new_uuid(),
    number=1,
    basename="big.nc",
    port="x",
    source={},
    size_bytes=1000,
    moved_bytes=400,
    state=ReplicaState.MOVING,
    tries=0,
    error=None,
    not_before=START,
    started_at=START,
    lease_until=START + timedelta(seconds=10 + LEASE),
    fence=1,
)
"""400 of 1000 bytes had come ten seconds after the start, when that was written down."""


def test_pace_when_it_was_written_down_a_while_ago_then_is_of_that_time() -> None:
    assert pace(MOVING, START + timedelta(seconds=14), LEASE) == (40.0, 11.0)
    assert pace(MOVING, START + timedelta(seconds=30), LEASE) == (40.0, 0.0)
    assert pace(replace(MOVING, size_bytes=None), START + timedelta(seconds=14), LEASE) == (40.0, None)


@pytest.mark.parametrize(
    "what",
    [
        {"state": ReplicaState.WANTED},
        {"started_at": None},
        {"moved_bytes": 0},
        {"fence": 2},
        {"lease_until": START + timedelta(seconds=LEASE)},
        {"lease_until": START + timedelta(seconds=-20)},
    ],
    ids=["not moving", "not begun", "nothing has come", "may have been resumed", "just claimed", "silent"],
)
def test_pace_when_it_cannot_be_known_then_nothing_is_said(what: dict[str, Any]) -> None:
    assert pace(replace(MOVING, **what), START + timedelta(seconds=14), LEASE) == (None, None)


def file(number: int = 1, **more: Any) -> AwaitedFile:
    told = {
        "id": number, "basename": "big.nc", "url": "s3://b/big.nc", "size": 480_000_000, "moved_bytes": 120_000_000,
        "state": "moving", "tries": 0, "error": None, "waiting_steps": 2, "bytes_per_second": 11_200_000.0,
        "seconds_left": 32.1, **more,
    }  # fmt: skip
    return AwaitedFile.of(told)


def arrivals(*files: AwaitedFile, waiting: int = 2) -> Replication:
    told = {
        "files": {"total": 12, "here": 9, "waiting": waiting, "failed": 1},
        "bytes": {"wanted": 960_000_000, "here": 480_000_000, "moved": 600_000_000},
        "waiting_steps": 2,
        "awaited": [one.raw for one in files],
    }
    return Replication.of(told)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({}, "2 steps wait for big.nc: 120.0 of 480.0 MB, 11.2 MB/s, 32 s left"),
        ({"waiting_steps": 1, "size": None, "seconds_left": None}, "1 step waits for big.nc: 120.0 MB, 11.2 MB/s"),
        ({"bytes_per_second": None, "seconds_left": None, "waiting_steps": 0}, "big.nc: 120.0 of 480.0 MB"),
        ({"state": "wanted"}, "2 steps wait for big.nc: 480.0 MB to come"),
        (
            {"state": "wanted", "tries": 3, "error": "no\nanswer", "size": None},
            "2 steps wait for big.nc: to come, tried 3 times in vain (no answer)",
        ),
        ({"basename": "a\x1b[2Jb", "moved_bytes": 5000}, "2 steps wait for a\\x1b[2Jb: 5.0 kB of 480.0 MB, 11.2 MB/s, 32 s left"),
    ],
)  # fmt: skip
def test_sentence_when_said_then_has_what_is_known_and_no_more(what: dict[str, Any], said: str) -> None:
    assert sentence(file(**what), Speeds()) == said


def test_summary_when_said_then_adds_up() -> None:
    assert summary(arrivals()) == (
        "9 of 12 here (480.0 of 960.0 MB), 2 to come, 1 cannot be had; 600.0 MB moved for this run"
    )


@given(st.integers(0, 10**16), st.one_of(st.none(), st.integers(0, 10**16)))
def test_amount_when_of_any_size_then_can_be_said(part: int, whole: int | None) -> None:
    assert amount(part, whole)


def test_speeds_when_the_service_knows_none_then_are_taken_from_look_to_look() -> None:
    speeds = Speeds()
    unknown = {"bytes_per_second": None, "seconds_left": None, "size": 1000}
    for at, moved in ((0.0, 0), (5.0, 300), (10.0, 500), (12.0, 500)):  # the first figure may be of an earlier transfer
        speeds.look(arrivals(file(moved_bytes=moved, **unknown)), at)
    assert speeds.of(file(moved_bytes=500, **unknown)) == (40.0, 12.5)
    speeds.look(arrivals(file(moved_bytes=100, **unknown)), 15.0)  # begun anew
    assert speeds.of(file(moved_bytes=100, **unknown)) == (None, None)


def test_news_when_steps_wait_then_are_told_once_and_every_half_minute() -> None:
    follower = Follower(None, 1)  # type: ignore[arg-type] # it asks nobody
    assert follower.news(0.0) == []
    follower.latest = arrivals(file(), file(2, waiting_steps=0))
    assert len(follower.news(0.0)) == 1
    assert follower.news(29.0) == []
    assert len(follower.news(30.0)) == 1


def test_bars_when_drawn_then_are_few_and_say_how_many_more_there_are() -> None:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    for line in bars(arrivals(*(file(number) for number in range(5)), waiting=9), Speeds()):
        console.print(line)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("big.nc: 120.0 of 480.0 MB") == 3
    assert "and 6 files more to come" in text
    assert bars(None, Speeds()) == []


def test_awaited_when_first_ones_are_named_then_limit_holds(installation: Installation) -> None:
    def write(session: Session) -> tuple[int, list[Any]]:
        run = new_run(session)
        late = [add_late(installation, session, run, f"s3://b/{number}") for number in range(4)]
        return run, [one.occurrence for one in late]

    run, occurrences = installation.database.write(write)
    with installation.database.reading() as session:
        found = awaited.awaited(session, run, occurrences[2:], 3)
    assert [one.occurrence for one in found] == [*occurrences[2:], occurrences[0]]
