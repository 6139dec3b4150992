"""Over how many streams is brought what was planned, as a link comes to be known between two plans."""

import pytest

from stemma.lifecycle.moving.orders import LinkRates
from stemma.lifecycle.replicate.widths import Widths
from stemma.planning.situation import Fetch, LinkState, Plan, Situation, StreamRate, WantedFile
from stemma.planning.streams import FIRST_STREAMS, stream_count

MEBIBYTE = 1024**2
SEEN = LinkRates(3e6, (StreamRate(4, 30e6, 10.0, 20.0),), 0.04)


@pytest.fixture
def widths() -> Widths:
    """A plan of a file that is half here, one of an unknown size, and two in other places; streams are 16 at most."""
    files = (
        WantedFile("1", "far", 500_000, arrived_bytes=450_000),
        WantedFile("2", "far", None),
        WantedFile("3", "near", 5 * MEBIBYTE),
        WantedFile("4", "not now", 5 * MEBIBYTE),
    )
    order = tuple(Fetch(file.key, file.remote, 0.0) for file in files[:3])
    made = Widths(16)
    made.planned(Plan(order), Situation(files=files))
    return made


def test_by_now_when_a_link_is_seen_then_as_the_planner_says_of_what_is_left(widths: Widths) -> None:
    link = LinkState("far", SEEN.rates, SEEN.bytes_per_second, 16, SEEN.seconds_per_request)
    wanted = stream_count(link, [50_000])
    assert len({wanted, stream_count(link, [500_000]), FIRST_STREAMS}) == 3
    assert widths.by_now({"far": SEEN}) == {"far": wanted, "near": FIRST_STREAMS}


def test_by_now_when_planned_anew_then_links_without_files_are_left_alone(widths: Widths) -> None:
    widths.planned(Plan(), Situation())
    assert widths.by_now({"far": SEEN}) == {}
