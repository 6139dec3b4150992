"""What a foreign server says, made fit to be shown: short, without control characters."""

import re

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b.")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SENTENCE_CHARACTERS = 300
_TAIL_CHARACTERS = 2000


def sentence(text: str) -> str:
    """The beginning of ``text`` on one line."""
    line = " ".join(_clean(text[: 4 * _SENTENCE_CHARACTERS]).split())
    return line if len(line) <= _SENTENCE_CHARACTERS else f"{line[: _SENTENCE_CHARACTERS - 1]}…"


def tail(text: str, characters: int = _TAIL_CHARACTERS) -> str:
    """The last lines of ``text``."""
    cleaned = _clean(text[-4 * characters :]).rstrip()
    return cleaned if len(cleaned) <= characters else f"…{cleaned[1 - characters :]}"


def _clean(text: str) -> str:
    return _CONTROLS.sub("", _ESCAPES.sub("", text))
