"""Strings of a document: which parts are expressions, and what REANA's engine would do to the rest."""

import re
from collections.abc import Iterator
from typing import Final

from stemma.records import Json

_REWRITTEN: Final = (
    re.compile(r"/tmp/"),  # noqa: S108 - what the engine looks for
    re.compile(r"/var/lib/cwl/"),
    re.compile(r"/bin/sh -c "),
)
"""What the engine's regular expressions take from a command line, whoever wrote it: ``/tmp/…/…/``, ``/var/lib/cwl/…/``
(whatever stands between, over the bounds of words) and ``/bin/sh -c``."""
_BARE_INPUTS: Final = re.compile(r"(?<![\w.$])inputs(?!\w|\s*\.|\s*\[)")
_SAFE_NAME: Final = re.compile(r"[\w.+\-\u2600-\u26FF\U0001f600-\U0001f64f]+")
"""What the engine's cwltool takes as the name of an input; its shell lines do not quote them."""
_QUOTES: Final = "'\""
_CLOSING: Final = {"(": ")", "{": "}"}


def parts(text: str) -> Iterator[tuple[bool, str]]:
    """``text`` in pieces: whether each is an expression (``$(…)``, ``${…}``), and the piece itself.

    An expression that does not end is text.
    """
    start = position = 0
    while position < len(text):
        if text[position] == "\\":
            position += 2
            continue
        if text[position] == "$" and text[position + 1 : position + 2] in _CLOSING:
            end = _end(text, position + 1)
            if end is None:
                break
            if position > start:
                yield False, text[start:position]
            yield True, text[position:end]
            start = position = end
            continue
        position += 1
    if start < len(text):
        yield False, text[start:]


def has_expression(text: Json) -> bool:
    """Whether CWL evaluates ``text``."""
    return isinstance(text, str) and ("$(" in text or "${" in text)


def reference(port: str, part: str = "") -> str:
    """The expression for an input, or a part of it."""
    plain = re.fullmatch(r"\w+", port) is not None
    return f"$(inputs.{port}{part})" if plain else f"$(inputs['{port}']{part})"


def is_rewritten(text: str) -> bool:
    """Whether REANA's engine changes a command line with ``text`` in it."""
    return any(pattern.search(text) for pattern in _REWRITTEN)


def is_safe_name(name: str) -> bool:
    """Whether REANA's engine takes an input file of this name."""
    return _SAFE_NAME.fullmatch(name) is not None


def guarded(text: str, slash: str) -> str:
    """``text`` with the slashes that the engine looks for written as ``slash``; expressions are left alone."""
    return "".join(piece if is_expression else _guarded(piece, slash) for is_expression, piece in parts(text))


def names_all_inputs(text: str) -> bool:
    """Whether an expression in ``text`` uses ``inputs`` as a whole, so that an input more would change its value."""
    return any(is_expression and _BARE_INPUTS.search(piece) is not None for is_expression, piece in parts(text))


def has_astral_characters(value: Json) -> bool:
    """Whether there are characters that REANA's engine, which reads its JSON as YAML, takes apart (emoji, say)."""
    return any(max(text, default="") > "\uffff" for text in strings(value))


def strings(value: Json) -> Iterator[str]:
    """All strings in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from strings(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from strings(entry)


def _guarded(piece: str, slash: str) -> str:
    piece = piece.replace("/tmp/", f"/tmp{slash}").replace("/var/lib/cwl/", f"/var/lib/cwl{slash}")  # noqa: S108 - text
    return f"/bin{slash}sh".join(piece.split("/bin/sh"))


def _end(text: str, position: int) -> int | None:
    """Behind the bracket that closes the one at ``position``."""
    open_ones = [text[position]]
    position += 1
    while position < len(text):
        character = text[position]
        if open_ones[-1] in _QUOTES:
            if character == "\\":
                position += 1
            elif character == open_ones[-1]:
                open_ones.pop()
        elif character in _QUOTES or character == open_ones[-1]:
            open_ones.append(character)
        elif character == _CLOSING[open_ones[-1]]:
            open_ones.pop()
            if not open_ones:
                return position + 1
        position += 1
    return None
