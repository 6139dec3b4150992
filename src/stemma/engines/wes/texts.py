"""What a foreign server says, made fit to be shown: short, without control characters."""

import re
from urllib.parse import unquote

from stemma.hiding import may_be_a_key

_MARK = r"[?&;]|\\u00(?:26|3[fF])|%(?:25){0,3}(?:26|3[fF])"
"""What stands before a parameter, also as JSON or another query has it; no name holds it, and so no part of a text is
looked at twice."""
_IS = r"=|\\u003[dD]|%(?:25){0,3}3[dD]"
_PARAMETER = re.compile(
    rf"""({_MARK})((?:[^=&;?%\s"'<>\\]|%(?!(?:25){{0,3}}(?:26|3[dDfF])))++)({_IS})"""
    r"""((?:[^&;%\s"'<>\\]|%(?!(?:25){0,3}26))++)"""
)
_BARE = re.compile(r"""\?[^=&?\s"'<>\\]{6,}(?=[\s"'<>\\]|$)""")
_ADDRESS = re.compile(r"""https?://[^\s"'<>]+$""", re.IGNORECASE)
_LOOK_BACK = 400
_SIGNATURE = re.compile(
    r"""((?:x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential))"""
    r"""(?:=|%3d|\\{0,2}["']?\s{0,8}(?::|=>)\s{0,8}\[?\\{0,2}["']?))[^&;\s"'<>\\,\])}]+""",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"""((["'])(?:x-(?:amz|goog)-[\w-]{1,40}|sig(?:nature)?|(?:[\w-]{1,20}[_-])?token|awsaccesskeyid)\2"""
    r"""\s{0,8}(?:[:,]|=>)\s{0,8}[\[(]?(["']))(?:(?!\3)[^\n\\])+""",
    re.IGNORECASE,
)
"""What a client prints of the query that it took apart."""
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


def without_keys(text: str) -> str:
    """``text`` without what opens files in the queries of the URLs in it: servers repeat what they are given."""
    text = _QUOTED.sub(r"\1***", _PARAMETER.sub(_hidden, text))
    return _BARE.sub(_bare_hidden, _SIGNATURE.sub(r"\1***", text))


def _hidden(parameter: re.Match[str]) -> str:
    mark, name, sign, value = parameter.groups()
    return f"{mark}{name}{sign}***" if may_be_a_key(unquote(name), value) else parameter[0]


def _bare_hidden(query: re.Match[str]) -> str:
    """A query that is a single word, where it stands in an address."""
    before = query.string[max(0, query.start() - _LOOK_BACK) : query.start()]
    begins = max(before.rfind("http://"), before.rfind("https://"))
    return "?***" if begins >= 0 and _ADDRESS.match(before, begins) else query[0]


def _clean(text: str) -> str:
    return without_keys(_CONTROLS.sub("", _ESCAPES.sub("", text)))
