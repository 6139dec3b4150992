"""What is fetched ahead: in turns, and into room that runs leave."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from stemma.database.queries.hints import Wish
from stemma.database.queries.replicas import LONG_AGO, Replica, ReplicaState
from stemma.lifecycle.replicate.ahead import Space, in_turns

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def copy(number: int, size: int, *, used_minute: int = 0) -> Replica:
    return Replica(
        number, UUID(int=number), "group1", None, f"https://data.example.org/{number}", "v1", {}, size, None, None,
        ReplicaState.HERE, 0, 0, LONG_AGO, NOON + timedelta(minutes=used_minute), 0,
    )  # fmt: skip


def space(
    limit: int,
    held: tuple[Replica, ...] = (),
    *,
    needed: frozenset[int] = frozenset(),
    wished: frozenset[int] = frozenset(),
    wanted: tuple[Replica, ...] = (),
    moving: frozenset[int] = frozenset(),
    ahead: tuple[Replica, ...] = (),
) -> Space:
    return Space(
        limit, kept_bytes=0, held=held, needed=needed, wished=wished, wanted=wanted, moving=moving, ahead=ahead
    )


def test_in_turns_when_a_group_wants_much_then_others_have_their_turn_and_what_runs_comes_first() -> None:
    wishes = [Wish(number, "greedy", is_running=False, since=NOON) for number in range(3)]
    later = NOON + timedelta(hours=1)
    wishes += [Wish(7, "modest", is_running=False, since=later), Wish(8, "modest", is_running=True, since=later)]
    assert [one.replica_id for one in in_turns(wishes)] == [8, 0, 7, 1, 2]


def test_space_when_runs_need_all_of_it_then_nothing_is_fetched_ahead() -> None:
    crowded = space(100, (copy(1, 40),), needed=frozenset({1}), wanted=(copy(2, 50),))
    assert crowded.may_take(copy(3, 10))
    assert not crowded.may_take(copy(3, 11))


def test_space_when_runs_come_to_want_it_then_what_is_under_way_gives_way_the_last_first() -> None:
    moving = (copy(3, 30), copy(4, 30), copy(5, 30))
    assert [one.id for one in space(100, wanted=(copy(2, 35),), ahead=moving).given_up()] == [5]
    assert [one.id for one in space(100, wanted=(copy(2, 200),), ahead=moving).given_up()] == [5, 4, 3]
    assert space(100, wanted=(copy(2, 10),), ahead=moving).given_up() == []


def test_space_when_it_is_full_of_what_nobody_needs_then_the_longest_unused_goes() -> None:
    held = (copy(1, 40, used_minute=9), copy(2, 40, used_minute=1), copy(3, 20))
    one = space(100, held, needed=frozenset({3}), wished=frozenset({1, 9}))
    assert one.may_take(copy(9, 40))
    assert not one.may_take(copy(9, 41))  # what was fetched ahead before is not pushed out by what comes later
    assert not one.has_room(copy(9, 40))
    dropped = one.next_to_drop()
    assert dropped is not None
    assert dropped.id == 2
    one.dropped(dropped)
    assert one.has_room(copy(9, 40))
    assert one.next_to_drop() is None


SIZES = st.lists(st.integers(1, 40), max_size=6)


@given(SIZES, SIZES, SIZES, SIZES, st.integers(20, 150))
def test_space_when_anything_is_fetched_ahead_then_all_that_runs_need_fits_beside_it(
    needed: list[int], idle: list[int], wanted: list[int], wished: list[int], limit: int
) -> None:
    numbers = iter(range(1000))
    here = [copy(next(numbers), size) for size in needed]
    unused = [copy(next(numbers), size) for size in idle]
    coming = [copy(next(numbers), size) for size in wanted]
    ahead = [copy(next(numbers), size) for size in wished]
    one = space(
        limit,
        (*here, *unused),
        needed=frozenset(each.id for each in here),
        wished=frozenset(each.id for each in ahead),
        wanted=tuple(coming),
        ahead=tuple(ahead[:2]),
    )
    given_up = one.given_up()
    taken = [each for each in ahead[:2] if each not in given_up]
    for each in ahead[2:]:
        if one.may_take(each):
            one.take(each)
            taken.append(each)
    if taken:
        assert sum(each.size_bytes or 0 for each in (*here, *coming, *taken)) <= limit
