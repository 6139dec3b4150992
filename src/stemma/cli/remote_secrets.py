"""What a remote is set up with, as it is given at the command line: settings there, secrets never."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from stemma.cli.console import ask_secret, say
from stemma.errors import InvalidRequest


def given_settings(written: Sequence[str]) -> dict[str, str]:
    """The settings in ``FIELD=VALUE``.

    Raises:
        InvalidRequest: one is not written so, or given twice.
    """
    found: dict[str, str] = {}
    for one in written:
        name, mark, value = one.partition("=")
        if not mark or not name or name in found:
            raise InvalidRequest("settings are given as --set FIELD=VALUE, each once")
        found[name] = value
    return found


def given_secrets(url: str, fields: Sequence[str], *, from_stdin: bool) -> dict[str, str]:
    """The values of ``fields``, asked for, or all that is on standard input.

    Raises:
        InvalidRequest: a value stands on the command line, or nobody is there to be asked.
    """
    from stemma.client.addresses import is_loopback  # noqa: PLC0415 - commands load what they need

    if any("=" in field for field in fields):
        raise InvalidRequest(
            "give the name of the field alone: its value is asked for, since others on this machine can see what "
            "stands on a command line (and your shell keeps it; change that secret where it is from)"
        )
    if (fields or from_stdin) and url.startswith("http:") and not is_loopback(url):
        say(f"the way to {url} is not encrypted: others on it can read along", style="yellow")
    if from_stdin:
        if fields:
            raise InvalidRequest("give --secret or --secret-stdin, not both")
        return _read(sys.stdin.read())
    return {field: ask_secret(f"{field}: ", "--secret-stdin") for field in fields}


def _read(text: str) -> dict[str, str]:
    """The fields in JSON or in lines. What is wrong with them is said without repeating them."""
    if text.lstrip().startswith("{"):
        try:
            found: Any = json.loads(text)
        except ValueError:
            raise InvalidRequest("what is on standard input is no JSON") from None
        if not all(isinstance(value, str) for value in found.values()):
            raise InvalidRequest("each of the credentials on standard input must be text")
        return dict(found)
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    if not pairs or not all(mark and name.strip() for name, mark, _ in pairs):
        raise InvalidRequest("give the credentials on standard input as JSON, or in lines of FIELD=VALUE")
    return {name.strip(): value.strip() for name, _, value in pairs}
