"""Long lists, taken apart: databases bound how many things one query names."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")
AT_A_TIME: Final = 500


def parts_of(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """``items`` in parts that a query can name."""
    return (items[start : start + AT_A_TIME] for start in range(0, len(items), AT_A_TIME))
