"""How much went on at each moment, of thousands of things that share a row: a curve instead of bars."""

from collections.abc import Iterable
from datetime import datetime
from itertools import accumulate, groupby
from typing import TypeAlias

from stemma.provenance.timeline_axis import Axis

Span: TypeAlias = tuple[datetime, datetime, float]
"""From, to, and the amount that is spread evenly between: bytes, or seconds."""
_BIN: float = 2.0
"""How wide a step of the curve is at least."""


def curve(axis: Axis, spans: Iterable[Span], base: float, height: float) -> str:
    """The path of what ``spans`` amount to at each moment, over ``base``, its peak ``height`` high."""
    levels = _levels(axis, spans)
    peak = max(levels)
    if peak <= 0:
        return ""
    wide = axis.width / len(levels)
    tops = [base - max(height * level / peak, 1.0) if level > 0 else base for level in levels]
    drawn, end, was = [], 0, base
    for top, group in groupby(round(top, 1) for top in tops):
        if top < base:
            drawn.append(f"V{top:.1f}" if was < base else f"M{axis.left + end * wide:.1f} {base:.1f}V{top:.1f}")
        elif was < base:
            drawn.append(f"V{base:.1f}Z")
        end, was = end + len(list(group)), top
        if top < base:
            drawn.append(f"H{axis.left + end * wide:.1f}")
    return "".join([*drawn, f"V{base:.1f}Z" if was < base else ""])


def marks(axis: Axis, moments: Iterable[datetime], apart: float) -> list[float]:
    """Where to draw ``moments`` so that no two marks are closer than ``apart``."""
    return [
        place * apart + axis.left for place in sorted({round((axis.x(one) - axis.left) / apart) for one in moments})
    ]


def _levels(axis: Axis, spans: Iterable[Span]) -> list[float]:
    """The amount in each bin; linear in the number of spans, however long they are."""
    count = max(int(axis.width / _BIN), 1)
    whole, part = [0.0] * (count + 1), [0.0] * count
    for start, end, amount in spans:
        left, right = (min((axis.x(one) - axis.left) / axis.width * count, count - 1e-9) for one in (start, end))
        first, last = int(left), int(right)
        if first == last:
            part[first] += amount
            continue
        rate = amount / (right - left)
        part[first] += rate * (first + 1 - left)
        part[last] += rate * (right - last)
        whole[first + 1] += rate
        whole[last] -= rate
    smallest = 1e-9 * max(*part, *whole, 1e-300)  # what is left of adding and subtracting
    return [level if level > smallest else 0.0 for level in map(sum, zip(accumulate(whole), part, strict=False))]
