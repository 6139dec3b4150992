"""Time and identity."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma import clock


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7)), timezone(timedelta(hours=14))])))
def test_isoformat_when_parsed_is_the_same_moment(moment: datetime) -> None:
    if datetime(2, 1, 1, tzinfo=UTC) < moment < datetime(9998, 1, 1, tzinfo=UTC):
        assert clock.parse(clock.isoformat(moment)) == moment


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00", "yesterday"])
def test_parse_when_no_zone_or_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"zone|Invalid"):
        clock.parse(text)


def test_new_uuid_when_made_one_after_another_is_version_7_and_distinct() -> None:
    made = [clock.new_uuid() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert {one.version for one in made} == {7}
    assert {one.variant for one in made} == {"specified in RFC 4122"}
    assert [one.int >> 80 for one in made] == sorted(one.int >> 80 for one in made)
