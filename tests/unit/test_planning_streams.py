"""How many streams a link wants, learned from what it brings."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemma.planning.durations import expected_seconds, remaining_seconds
from stemma.planning.situation import LinkState, StreamRate
from stemma.planning.streams import MEMORY_SECONDS, link_speed, observed, stream_count

LARGE = [10**9]


def settled(brings: Callable[[int], float], rounds: int = 40, most: int = 16) -> list[int]:
    """The numbers chosen one after another on a link that ``brings`` so many bytes a second with so many streams."""
    rates: tuple[StreamRate, ...] = ()
    chosen = []
    for _ in range(rounds):
        count = stream_count(LinkState("l", rates, most_streams=most), LARGE)
        chosen.append(count)
        rates = observed(rates, count, brings(count), 1.0)
    return chosen


@settings(deadline=None)
@given(st.floats(1e4, 1e9), st.floats(0.01, 1.0))
def test_search_settles_on_few_streams_that_bring_the_links_rate(rate: float, share: float) -> None:
    chosen = settled(lambda streams: min(rate, streams * share * rate))
    assert len(set(chosen[8:])) == 1
    needed = min(16.0, 1 / share)
    assert needed / 1.2 <= chosen[-1] < 2.5 * needed


def test_one_connection_that_fills_the_link_is_left_alone() -> None:
    assert settled(lambda _: 1e7)[-1] == 1


def test_link_that_suffers_from_many_streams_gets_few() -> None:
    assert settled(lambda streams: 1e7 / streams)[-1] == 1


def test_connections_that_become_capped_get_company() -> None:
    rates: tuple[StreamRate, ...] = ()
    for second in range(200):
        count = stream_count(LinkState("l", rates), LARGE)
        rates = observed(rates, count, 1e7 if second < 60 else min(1e7, count * 1.25e6), 1.0)
    assert stream_count(LinkState("l", rates), LARGE) >= 7


@pytest.mark.parametrize(("size", "least"), [(10_000, 16), (10**9, 1)])
def test_small_files_over_a_long_way_want_many_streams(size: int, least: int) -> None:
    link = LinkState("l", bytes_per_second=12.5e6, seconds_per_request=0.04)
    assert stream_count(link, [size] * 5) >= least
    wide = LinkState("l", (StreamRate(1, 1e8, 8.0), StreamRate(2, 1e8, 8.0)), seconds_per_request=0.04)
    assert stream_count(wide, [size] * 5) == least


def test_many_small_requests_do_not_make_the_search_believe_in_more_streams() -> None:
    rates = observed((), 16, 3.5e6, 1.0, 350.0)
    link = LinkState("l", rates, seconds_per_request=0.04)
    assert stream_count(link, LARGE) <= 4


@given(st.integers(1, 64), st.lists(st.integers(0, 10**12), max_size=5), st.floats(0, 10))
def test_count_stays_between_one_and_what_is_allowed(most: int, sizes: list[int], delay: float) -> None:
    assert 1 <= stream_count(LinkState("l", (), None, most, delay), sizes) <= most


def test_observations_fade_by_their_own_time() -> None:
    rates = observed(observed((), 2, 100.0, 10.0), 2, 0.0, MEMORY_SECONDS)
    assert rates == (StreamRate(2, pytest.approx(50.0), pytest.approx(5.0 + MEMORY_SECONDS), 0.0),)
    assert observed(rates, 0, 5.0, 1.0) == observed(rates, 1, 5.0, 0.0) == rates


def test_speed_is_what_is_seen_now_or_the_best_seen() -> None:
    rates = (StreamRate(1, 100.0, 10.0), StreamRate(4, 400.0, 10.0))
    assert link_speed(LinkState("l", rates)) == 40
    assert link_speed(LinkState("l", rates, bytes_per_second=7.0)) == 7


def test_expected_seconds_are_those_of_the_same_step_then_of_its_like_then_unknown() -> None:
    assert expected_seconds([4.0, 2.0, 600.0]) == 4
    assert expected_seconds([], [8.0]) == 8
    assert expected_seconds([float("nan"), -1.0]) is None
    assert expected_seconds([1.0] * 20 + [900.0] * 50) == 1


def test_remaining_seconds_are_what_longer_ones_took_more() -> None:
    assert remaining_seconds([4.0, 10.0, 20.0], 5.0) == 10
    assert remaining_seconds([4.0], 40.0) == 4
    assert remaining_seconds([], 0.0) is None


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30), st.floats(-10, 1e6))
def test_estimates_are_never_negative_nor_without_end(earlier: list[float], elapsed: float) -> None:
    for seconds in (expected_seconds(earlier), remaining_seconds(earlier, elapsed)):
        assert seconds is None or 0 <= seconds < float("inf")
