"""The rows of a timeline: each transfer and each step its own, or many folded into one so that people can read it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from stemma.provenance.timeline_facts import Execution, Timeline, Transfer

MOST_ROWS: Final = 60
_FEWEST: Final = 20
"""Rows that transfers have at least where steps would fill the picture, and the other way round."""
_MOST_ATTEMPTS: Final = 6
"""Attempts with rows of their own; the ones before them share theirs."""

Member = TypeVar("Member", Transfer, Execution)


@dataclass(frozen=True, slots=True)
class Row(Generic[Member]):
    """One line of the picture."""

    name: str
    members: list[Member]
    is_folded: bool = False


TransferRow: TypeAlias = Row[Transfer]
StepRow: TypeAlias = Row[Execution]


@dataclass(frozen=True, slots=True)
class Section:
    """The steps of an attempt, or of the first ones of many."""

    attempts: tuple[int, ...]
    rows: list[StepRow]


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows, from top to bottom."""

    transfers: list[TransferRow]
    sections: list[Section]


def rows_of(timeline: Timeline) -> Rows:
    """The rows of ``timeline``: at most ``MOST_ROWS``, however much there is."""
    transfers = timeline.transfers
    for_transfers = min(len(transfers), max(_FEWEST, MOST_ROWS - len(timeline.executions)))
    return Rows(
        _folded(transfers, lambda one: one.remote, lambda one: one.name, for_transfers),
        _sections(timeline, MOST_ROWS - for_transfers),
    )


def _sections(timeline: Timeline, most: int) -> list[Section]:
    numbers = sorted({one.number for one in timeline.run.attempts} | {one.attempt for one in timeline.executions})
    shared = tuple(numbers[: -_MOST_ATTEMPTS + 1]) if len(numbers) > _MOST_ATTEMPTS else ()
    members: dict[tuple[int, ...], list[Execution]] = {shared: []} if shared else {}
    members |= {(number,): [] for number in numbers if number not in shared}
    for one in timeline.executions:
        members[shared if one.attempt in shared else (one.attempt,)].append(one)
    room = _shares([len(found) for found in members.values()], most)
    return [
        Section(attempts, _folded(found, lambda one: one.path, _key_and_attempt if attempts == shared else _key, share))
        for (attempts, found), share in zip(members.items(), room, strict=True)
    ]


def _key(one: Execution) -> str:
    return one.key


def _key_and_attempt(one: Execution) -> str:
    return f"{one.key} · attempt {one.attempt}"


def _shares(needs: Sequence[int], most: int) -> list[int]:
    """How many of ``most`` rows each gets: what it needs, or as many as the others that need more than there are."""
    shares = [0] * len(needs)
    left = most
    for rank, number in enumerate(sorted(range(len(needs)), key=needs.__getitem__)):
        shares[number] = min(needs[number], left // (len(needs) - rank))
        left -= shares[number]
    return shares


def _folded(
    members: Sequence[Member],
    group_of: Callable[[Member], str],
    name: Callable[[Member], str],
    most: int,
) -> list[Row[Member]]:
    """``members`` as at most ``most`` rows: the largest groups are folded, and what is over after that with them."""
    counts = Counter(map(group_of, members))
    count, folded = len(members), set[str]()
    for group, size in counts.most_common():
        if count <= most:
            break
        folded.add(group)
        count -= size - 1
    rows: list[Row[Member]] = []
    opened: dict[str, Row[Member]] = {}
    for member in members:
        group = group_of(member)
        if group in opened:
            opened[group].members.append(member)
            continue
        is_folded = group in folded and counts[group] > 1
        rows.append(Row(group if is_folded else name(member), [member], is_folded))
        if is_folded:
            opened[group] = rows[-1]
    return _cut(rows, most)


def _cut(rows: list[Row[Member]], most: int) -> list[Row[Member]]:
    """The first of ``rows``, and one for all others, where there are more kinds than can be told apart."""
    if len(rows) <= most:
        return rows
    rest = [member for row in rows[most - 1 :] for member in row.members]
    other = Row(f"and {len(rows) - most + 1} others", rest, is_folded=True)
    return rows[: most - 1] + [other]  # noqa: RUF005 - whose type mypy knows
