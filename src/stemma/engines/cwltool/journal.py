"""The journal of an attempt: what happened, one JSON object a line, only ever added to.

    {"type": "started", "at": …, "process": …, "environment": …}       first
    {"type": "step-waits" | "step-started" | "file" | "used" | "step-ended", "fact": …}   as in stemma.engines.protocol
    {"type": "finished" | "failed" | "stopped", "at": …, "outputs": …, "reason": …}   last

A line is written by one call (with the ones that belong to it), so a reader sees whole lines; a process
that is killed while it writes leaves a torn last one, which counts as not written.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from pathlib import Path

import orjson

from stemma.engines.cwltool.identity import ProcessIdentity
from stemma.engines.protocol import Fact, FileSeen, FileUsed, JobState, StepEnded, StepStarted, StepWaits
from stemma.records import Json

_INTEGER_BITS = 63
TELL_SECONDS = 0.05
_AWAITED = (StepEnded, StepWaits)
LINE_TYPES: dict[type[Fact], str] = {
    StepStarted: "step-started",
    StepEnded: "step-ended",
    StepWaits: "step-waits",
    FileSeen: "file",
    FileUsed: "used",
}


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first line: which process it is and where it runs."""

    at: datetime
    process: ProcessIdentity
    environment: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Ending:
    """The last line: how it ended."""

    state: JobState
    at: datetime
    outputs: dict[str, Json] | None = None
    reason: str | None = None


Entry = Beginning | Fact | Ending


class Journal:
    """The writing end. Safe to use from several threads."""

    def __init__(self, path: Path, on_news: Callable[[], None] | None = None) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._lock = threading.Lock()
        self._on_news = on_news
        """Called when something was written that others wait for."""
        self._told_at = float("-inf")

    def write(self, *entries: Entry) -> None:
        """Add ``entries``, each on a line."""
        text = b"".join(encode(entry) for entry in entries)
        with self._lock:
            while text:
                text = text[os.write(self._descriptor, text) :]
        if self._on_news is not None and self._is_worth_telling(entries):
            self._on_news()

    def _is_worth_telling(self, entries: tuple[Entry, ...]) -> bool:
        """Ends always; the rest not more often than anybody would look."""
        if any(isinstance(entry, Ending) for entry in entries):
            return True
        now = time.monotonic()
        if now - self._told_at < TELL_SECONDS or not any(isinstance(entry, _AWAITED) for entry in entries):
            return False
        self._told_at = now
        return True

    def close_torn_line(self) -> None:
        """End the line that a killed process left half written, so that the next one stands by itself."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def close(self) -> None:
        """Bring all to the disk and close."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)


def encode(entry: Entry) -> bytes:
    """``entry`` as a line."""
    if isinstance(entry, Beginning):
        line: dict[str, Json] = {
            "type": "started",
            "at": entry.at,
            "process": entry.process,
            "environment": entry.environment,
        }
    elif isinstance(entry, Ending):
        line = {"type": entry.state.value, "at": entry.at, "outputs": entry.outputs, "reason": entry.reason}
    else:
        line = {"type": LINE_TYPES[type(entry)], "fact": entry}
    # Expressions and YAML make objects whose keys are numbers.
    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
    try:
        return orjson.dumps(line, default=_plain, option=options)
    except TypeError:  # a whole number of more than 64 bits, which CWL can only mean as a double
        return orjson.dumps(_with_doubles(line), default=_plain, option=options)


def _with_doubles(value: Json) -> Json:
    """``value`` with the numbers as doubles that are too large for integers."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _with_doubles(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: _with_doubles(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_doubles(part) for part in value]
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _INTEGER_BITS:
        return float(value)
    return value


def _plain(value: object) -> Json:
    """What orjson does not know: the containers and numbers of the YAML library."""
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list):
        return list(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value)
    return str(value)
