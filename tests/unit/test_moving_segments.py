"""The bookkeeping of a file's parts: whatever streams do in whatever order, each byte is brought, and none is lost."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stemma.lifecycle.moving.segments import (
    LARGEST,
    LAST,
    MEBIBYTE,
    SMALLEST,
    USUAL,
    Claim,
    Kept,
    Segments,
    claim_bytes,
    segment_bytes,
)
from stemma.planning.situation import StreamRate


class Streams(RuleBasedStateMachine):
    """Streams that claim, bring, share, are cut, and are hashed behind; ``disk`` is what really lies there."""

    @initialize(size=st.integers(1, 300), hashed=st.integers(0, 100), data=st.data())
    def begin(self, size: int, hashed: int, data: st.DataObject) -> None:
        self.size, self.hashed = size, min(hashed, size)
        self.disk = bytearray(b"\1" * self.hashed + bytes(size - self.hashed))
        kept = []
        for start, end in data.draw(st.lists(st.tuples(st.integers(0, size), st.integers(0, size)), max_size=4)):
            if start < end:
                kept.append(Kept(start, end))
                self.disk[start:end] = b"\1" * (end - start)
        self.segments = Segments.of(size, hashed=self.hashed, kept=kept)

    @rule(limit=st.one_of(st.none(), st.integers(1, 80)))
    def take(self, limit: int | None) -> None:
        claim = self.segments.take(limit)
        if claim is not None:
            assert claim.end is not None
            assert 0 <= claim.start < claim.end <= self.size
            assert limit is None or claim.end - claim.start <= limit
            assert not any(self.disk[claim.start : claim.end])  # nothing is brought twice

    @rule(least=st.integers(1, 20))
    def split(self, least: int) -> None:
        before = [(claim, claim.end) for claim in self.segments.claims]
        made = self.segments.split(least)
        if made is not None:
            (other, end) = next((claim, end) for claim, end in before if claim.end != end)
            assert made.end == end
            assert other.end == made.start
            assert min(made.start - other.promised, end - made.start) >= least

    @rule(data=st.data())
    def bring(self, data: st.DataObject) -> None:
        if self.segments.claims:
            claim = data.draw(st.sampled_from(self.segments.claims))
            claim.promised = data.draw(st.integers(claim.position, claim.end))
            self.disk[claim.position : claim.promised] = b"\1" * (claim.promised - claim.position)
            claim.position = claim.promised

    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        if self.segments.claims:
            self.segments.release(data.draw(st.sampled_from(self.segments.claims)))

    @rule(part=st.floats(0, 1))
    def feed(self, part: float) -> None:
        reach = self.segments.reach()
        assert all(self.disk[:reach])
        self.hashed += int((reach - self.hashed) * part)
        self.segments.forget_hashed(self.hashed)

    @invariant()
    def all_is_known(self) -> None:
        if not hasattr(self, "segments"):
            return
        assert self.segments.arrived_bytes == sum(self.disk)
        reach = self.segments.reach()
        assert reach == (self.disk.index(0) if 0 in self.disk else self.size)
        for part, end in self.segments.ahead(self.hashed):
            assert all(self.disk[part.start : end])
        waiting = sum(claim.left or 0 for claim in self.segments.claims)
        assert self.segments.free_bytes + waiting + sum(self.disk) == self.size
        if self.segments.is_complete:
            assert reach == self.size

    def teardown(self) -> None:
        if not hasattr(self, "segments"):
            return
        for claim in list(self.segments.claims):
            self.segments.release(claim)
        while (claim := self.segments.take(50)) is not None:
            assert claim.end is not None
            self.disk[claim.start : claim.end] = b"\1" * (claim.end - claim.start)
            claim.position = claim.end
            self.segments.release(claim)
        assert self.segments.is_complete
        assert all(self.disk)


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_file_when_its_size_is_unknown_is_one_claim_until_it_ends() -> None:
    segments = Segments.of(None)
    claim = segments.take(10)
    assert claim is not None
    assert claim.end is None
    assert segments.take(10) is None
    assert segments.split(1) is None
    claim.position = claim.promised = 33
    segments.ended(claim)
    segments.release(claim)
    assert (segments.is_complete, segments.size_bytes) == (True, 33)


def test_file_when_it_cannot_be_divided_is_one_claim() -> None:
    segments = Segments.of(100, is_divisible=False)
    claim = segments.take(10)
    assert claim is not None
    assert (claim.start, claim.end) == (0, 100)
    assert segments.split(1) is None


@given(
    free=st.integers(1, 10**13),
    streams=st.integers(1, 64),
    rate=st.one_of(st.none(), st.floats(1, 1e10)),
)
def test_claim_when_sized_is_a_second_of_a_stream_and_no_more_than_its_share(
    free: int, streams: int, rate: float | None
) -> None:
    segment = segment_bytes(() if rate is None else (StreamRate(streams, rate * streams * 3, 3.0),))
    assert SMALLEST <= segment <= LARGEST
    assert segment == USUAL if rate is None else segment in {SMALLEST, LARGEST} or abs(segment - rate) < 0.01 * rate
    size = claim_bytes(free, streams, segment)
    if streams == 1:
        assert size is None
    else:
        assert size is not None
        assert size <= max(LAST, free // streams + 1)
        assert LAST <= size <= segment


def test_claim_when_made_has_nothing() -> None:
    claim = Claim(3 * MEBIBYTE, 5 * MEBIBYTE)
    assert (claim.position, claim.promised, claim.counted, claim.left) == (3 * MEBIBYTE,) * 3 + (2 * MEBIBYTE,)
