"""Words in pictures: short, escaped, in units that people read.

Names come from documents of strangers. Whatever is in them, graphviz gets plain text: no markup, no
control characters, nothing that turns the direction of writing.
"""

import json
import unicodedata
from collections.abc import Iterable
from html import escape

from stemma.provenance.style import DETAIL_POINTS, NAME_POINTS, QUIET
from stemma.records import Json

NAME_LIMIT = 34
DETAIL_LIMIT = 46
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINER = "\N{ZERO WIDTH JOINER}"
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def plain(text: str, limit: int = NAME_LIMIT) -> str:
    """``text`` on one line, without what cannot be seen, its middle left out where it is over ``limit``."""
    seen = "".join(_visible(character) for character in text)
    line = " ".join(seen.split()) or "(no name)"
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail].rstrip()}…{line[-tail:].lstrip()}"


def name(text: str, *, suffix: str = "") -> str:
    """A name in bold, with what follows it in the same line."""
    after = f' <font color="{QUIET}">{escape(suffix)}</font>' if suffix else ""
    return f'<font point-size="{NAME_POINTS}"><b>{escape(plain(text))}</b>{after}</font>'


def detail(text: str, colour: str = QUIET, limit: int = DETAIL_LIMIT) -> str:
    """A small line."""
    return f'<font point-size="{DETAIL_POINTS}" color="{colour}">{escape(plain(text, limit))}</font>'


def lines(parts: Iterable[str]) -> str:
    """A label of several lines; a table, since graphviz sets plain lines too tight to read."""
    rows = "".join(f"<tr><td>{part}</td></tr>" for part in parts if part)
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="1">{rows}</table>>'


def size(count: int) -> str:
    """``count`` bytes, as ``2.0 kB``."""
    amount, unit = float(count), 0
    while amount >= 999.5 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - where three digits would become four
        amount, unit = amount / 1000, unit + 1
    return f"{count} {_UNITS[0]}" if unit == 0 else f"{amount:.{1 if amount < 100 else 0}f} {_UNITS[unit]}"  # noqa: PLR2004 - three digits


def duration(seconds: float) -> str:
    """``seconds``, as ``0.40 s``, ``12 min 34 s`` or ``2 d 3 h``."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    for big, big_unit, small, small_unit in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min")):
        if whole >= big:
            return f"{whole // big} {big_unit} {whole % big // small} {small_unit}"
    return f"{whole // _MINUTE} min {whole % _MINUTE} s"


def times(count: int) -> str:
    """``count`` where there are several: ``\N{MULTIPLICATION SIGN}12``."""
    return f"\N{MULTIPLICATION SIGN}{count}" if count > 1 else ""


def value(found: Json) -> str:
    """A value that is no file, as JSON, text without its quotes."""
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, default=str)


def last_line(text: str) -> str:
    """The last line of ``text`` that says something."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def pattern(names: list[str]) -> str:
    """What ``names`` have in common, with a star for the rest: ``part-*.csv``."""
    first, last = min(names), max(names)
    if first == last:
        return first
    head = next(n for n in range(len(last) + 1) if n >= len(first) or first[n] != last[n])
    backwards = sorted(text[head:][::-1] for text in names)
    low, high = backwards[0], backwards[-1]
    tail = next(n for n in range(len(high) + 1) if n >= len(low) or low[n] != high[n])
    return f"{first[:head]}*{low[:tail][::-1]}"


def _visible(character: str) -> str:
    """``character``, a blank for a blank or a break, or a sign that something was here."""
    if character.isspace():
        return " "
    if character == _JOINER or unicodedata.category(character) not in _UNSAFE:
        return character
    return "\N{REPLACEMENT CHARACTER}"
