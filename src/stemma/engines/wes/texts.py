"""What a foreign server says, made fit to be shown: short, without control characters."""

import re

_PARAMETER = re.compile(r"""([?&;])([^=&;?\s"'<>\\]{1,200})=([^&;\s"'<>\\]+)""")
_KEY = re.compile(
    r"sig|token|secret|key|credential|pass|pwd|auth|jwt|code|ticket|session|policy|x-amz|x-goog", re.IGNORECASE
)
_BARE = re.compile(r"""\?[^=&?\s"'<>\\]{6,}(?=[\s"'<>\\]|$)""")
_ADDRESS = re.compile(r"""https?://[^\s"'<>]+$""", re.IGNORECASE)
_LOOK_BACK = 400
_LONG = re.compile(r"[\w%+=-]{20,}")
_SIGNATURE = re.compile(
    r"""((?:x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential))(?:=|%3d))"""
    r"""[^&;\s"'<>\\]+""",
    re.IGNORECASE,
)
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
    return _BARE.sub(_bare_hidden, _SIGNATURE.sub(r"\1***", _PARAMETER.sub(_hidden, text)))


def _hidden(parameter: re.Match[str]) -> str:
    mark, name, value = parameter.groups()
    return f"{mark}{name}=***" if _KEY.search(name) or _LONG.fullmatch(value) else parameter[0]


def _bare_hidden(query: re.Match[str]) -> str:
    """A query that is a single word, where it stands in an address."""
    before = query.string[max(0, query.start() - _LOOK_BACK) : query.start()]
    begins = max(before.rfind("http://"), before.rfind("https://"))
    return "?***" if begins >= 0 and _ADDRESS.match(before, begins) else query[0]


def _clean(text: str) -> str:
    return without_keys(_CONTROLS.sub("", _ESCAPES.sub("", text)))
