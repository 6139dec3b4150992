"""What a REANA server answers, and how often it is asked: values in, values out."""

import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.engines.protocol import EngineIdentity
from stemma.engines.reana import answers, faults
from stemma.engines.reana.answers import RunState
from stemma.engines.reana.limiter import Limiter
from stemma.errors import EngineUnreachable
from support.reana_scripted import RUN, job, run

NONE = timedelta(0)


def test_run_status_when_all_is_told_then_it_is_what_reana_says() -> None:
    progress = {
        "run_started_at": "2026-11-21T09:53:00",
        "run_finished_at": "2026-11-21T09:54:00",
        "run_stopped_at": None,
        "current_command": None,
        "total": {"total": 5, "job_ids": []},
        "running": {"total": 3, "job_ids": ["a", "b", "c"]},
        "finished": {"total": 1, "job_ids": ["a"]},
        "failed": {"total": 1, "job_ids": ["b"]},
    }
    found = answers.run_status(run(name="wf:1.0", progress=progress), NONE)
    assert found.state is RunState.RUNNING
    assert found.started_at == datetime(2026, 11, 21, 9, 53, tzinfo=UTC)
    assert (found.finished_at, found.stopped_at) == (datetime(2026, 11, 21, 9, 54, tzinfo=UTC), None)
    assert (found.progress.total, found.progress.active) == (5, frozenset({"c"}))


@pytest.mark.parametrize(
    ("name", "expected"), [("probe.6", ("probe", 6)), ("probe.6.1", ("probe", 6)), ("a:v1.12", ("a:v1", 12))]
)
def test_identity_when_created_then_it_has_name_and_number(name: str, expected: tuple[str, int]) -> None:
    found = answers.identity({"message": "made", "workflow_id": RUN, "workflow_name": name})
    assert found == EngineIdentity(RUN, *expected)


@pytest.mark.parametrize(
    "progress",
    [None, {}, {"total": None, "running": None}, {"total": {"total": -1, "job_ids": None}}, {"running": {"total": 0}}],
)
def test_run_status_when_progress_is_poor_then_nothing_is_made_up(progress: object) -> None:
    found = answers.run_status(run(progress=progress), NONE)
    assert (found.progress.total, found.progress.active, found.started_at) == (None, frozenset(), None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "levitating"},
        {"status": None},
        {"id": "../../etc"},
        {"id": None},
        {"name": "no number"},
        {"name": "x.y"},
        {"name": "x." + "9" * 30},
        {"name": "x" * 5000 + ".1"},
        {"created": "yesterday"},
        {"created": 5},
        {"created": "0001-01-01T00:00:00"},
        {"progress": []},
        {"progress": {"running": {"total": "many"}}},
        {"progress": {"running": {"job_ids": [1]}}},
        {"progress": {"running": {"job_ids": ["x" * 1000]}}},
    ],
)
def test_run_status_when_anything_is_wrong_then_the_answer_is_refused_without_its_words(
    wrong: dict[str, object],
) -> None:
    with pytest.raises(faults.WrongAnswer) as caught:
        answers.run_status(run(**wrong), timedelta(hours=1))  # type: ignore[arg-type]
    assert not any(word in str(caught.value) for word in ("levitating", "etc", "xxx", "yesterday"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda deeper: st.lists(deeper) | st.dictionaries(st.text(), deeper),
    )
)
def test_answers_when_they_are_anything_then_they_are_refused_and_nothing_else_happens(found: object) -> None:
    for read in (
        lambda: answers.run_status(found, NONE),
        lambda: answers.run_logs(found, NONE, 0),
        lambda: answers.run_logs({"logs": json.dumps(found)}, NONE, 0),
        lambda: answers.workspace_file(found, NONE),
        lambda: answers.identity(found),
        lambda: answers.specification(found),
        lambda: answers.server_facts(found, NONE),
    ):
        with contextlib.suppress(EngineUnreachable):
            read()


def test_run_logs_when_there_are_jobs_then_they_keep_their_order() -> None:
    inner = {"workflow_logs": "log", "job_logs": {"z": job(), "a": job(status="failed", finished_at=None)}}
    found = answers.run_logs({"logs": json.dumps(inner)}, timedelta(hours=1), 7)
    assert [(one.id, one.status, one.is_over) for one in found.jobs] == [("z", "finished", True), ("a", "failed", True)]
    assert found.jobs[0].started_at == datetime(2026, 11, 21, 8, 53, tzinfo=UTC)
    assert (found.jobs[1].finished_at, found.begin, found.workflow_log) == (None, 7, "log")
    assert found.jobs[0].backend_job_id == "reana-run-job-1"


def test_server_facts_when_told_then_the_token_is_not_kept() -> None:
    found = answers.server_facts(
        {
            "email": "ada@example.org",
            "full_name": None,
            "reana_server_version": "0.9.4",
            "reana_token": {"value": "very secret"},
            "quota": {"cpu": {"usage": {"raw": 5}, "limit": {"raw": 10.0}}, "disk": {"usage": None, "health": None}},
        },
        NONE,
    )
    assert "secret" not in repr(found)
    assert (found.version, found.email) == ("0.9.4", "ada@example.org")
    assert found.quota == {"cpu": (5, 10), "disk": (0, None)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("None", None),
        ("2026-11-21T09:52:54", datetime(2026, 11, 21, 9, 52, 54, tzinfo=UTC)),
        ("2018-06-13T09:47:35.66097", datetime(2018, 6, 13, 9, 47, 35, 660970, tzinfo=UTC)),
        ("2026-11-21T11:52:54+02:00", datetime(2026, 11, 21, 9, 52, 54, tzinfo=UTC)),
    ],
)
def test_moment_when_told_then_it_is_aware_and_in_utc(text: str | None, expected: datetime | None) -> None:
    found = answers.moment(text, NONE)
    assert found == expected
    assert found is None or found.tzinfo is UTC


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def turns(limiter: Limiter, clock: Clock, count: int) -> list[float]:
    """When ``count`` requests in a row may go, from now on."""
    began, times = clock(), []
    for _ in range(count):
        limiter.wait()
        times.append(round(clock() - began, 6))
    return times


def test_limiter_when_asked_in_a_row_then_the_rate_is_kept(clock: Clock) -> None:
    limiter = Limiter(10, clock=clock, sleep=clock.sleep)
    assert turns(limiter, clock, 4) == [0, 0.1, 0.2, 0.3]
    clock.sleep(60)
    assert turns(limiter, clock, 3) == [0, 0.1, 0.2]  # what was not used is not saved up


def test_limiter_when_refused_then_it_pauses_and_goes_on_at_half_the_rate_for_a_while(clock: Clock) -> None:
    limiter = Limiter(10, clock=clock, sleep=clock.sleep)
    limiter.refused()
    first, second = turns(limiter, clock, 2)
    assert first == 1
    assert 0.15 < second - first <= 0.2
    limiter.answered()
    clock.sleep(60)
    assert limiter.per_second == 10


def test_limiter_when_refused_again_and_again_then_pauses_grow_and_have_an_end(clock: Clock) -> None:
    limiter = Limiter(10, clock=clock, sleep=clock.sleep)
    pauses = []
    for _ in range(8):
        limiter.refused()
        began = clock()
        limiter.wait()
        pauses.append(clock() - began)
        clock.sleep(1.1)
    assert pauses[:5] == pytest.approx([1, 2, 4, 8, 16])
    assert max(pauses) == pytest.approx(16)
    assert limiter.per_second >= 0.5


def test_limiter_when_many_are_refused_at_once_then_it_counts_once(clock: Clock) -> None:
    limiter = Limiter(10, clock=clock, sleep=clock.sleep)
    for _ in range(20):
        limiter.refused()
    assert limiter.per_second == pytest.approx(5)


@pytest.mark.parametrize(("said", "waited"), [(3.0, 3.0), (0.0, 0.0), (-5.0, 0.0), (1e9, 60.0)])
def test_limiter_when_the_server_says_how_long_then_it_waits_so_long_within_reason(
    clock: Clock, said: float, waited: float
) -> None:
    limiter = Limiter(10, clock=clock, sleep=clock.sleep)
    limiter.refused(said)
    assert turns(limiter, clock, 1) == [waited]
