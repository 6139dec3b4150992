"""The reading end of the journal. See :mod:`stemma.engines.cwltool.journal`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from stemma import clock
from stemma.engines.cwltool.identity import ProcessIdentity
from stemma.engines.cwltool.journal import LINE_TYPES, Beginning, Ending, Entry
from stemma.engines.protocol import Fact, JobState

_ADAPTERS: dict[str, TypeAdapter[Fact]] = {name: TypeAdapter(kind) for kind, name in LINE_TYPES.items()}
_TERMINAL = {state.value for state in (JobState.FINISHED, JobState.FAILED, JobState.STOPPED)}
_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Chapter:
    """The entries from one place of the journal on."""

    facts: tuple[Fact, ...]
    cursor: int
    """Where to go on. It stays before the last line of an ended journal, so that the end is told again."""
    has_more: bool
    """Whether there is more to be read at once."""
    beginning: Beginning | None = None
    ending: Ending | None = None


def read(path: Path, offset: int, limit_bytes: int) -> Chapter:
    """The entries from ``offset`` on, about ``limit_bytes`` of them at most.

    Raises:
        FileNotFoundError: there is no journal.
        ValueError: ``offset`` is beyond its end.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not 0 <= offset <= size:
            raise ValueError(f"the journal has {size} bytes; there is no place {offset}")
        file.seek(offset)
        text = file.read(min(limit_bytes, size - offset))
        if not text.endswith(b"\n"):
            text += file.readline()  # a line that is longer than the limit, or the torn last one
    return _chapter(text, offset, size)


def _chapter(text: bytes, offset: int, size: int) -> Chapter:
    facts: list[Fact] = []
    beginning = None
    for line in text.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        entry = decode(line)
        if isinstance(entry, Ending):
            return Chapter(tuple(facts), offset, has_more=False, beginning=beginning, ending=entry)
        if isinstance(entry, Beginning):
            beginning = entry
        elif entry is not None:
            facts.append(entry)
        offset += len(line)
    has_more = text.endswith(b"\n") and offset < size
    return Chapter(tuple(facts), offset, has_more=has_more, beginning=beginning)


def decode(line: bytes) -> Entry | None:
    """What ``line`` says; None when it is a torn one."""
    try:
        value: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    kind = value["type"]
    if kind == "started":
        return Beginning(clock.parse(value["at"]), ProcessIdentity(**value["process"]), value["environment"])
    if kind in _TERMINAL:
        return Ending(JobState(kind), clock.parse(value["at"]), value["outputs"], value["reason"])
    return _ADAPTERS[kind].validate_python(value["fact"])


def has_begun(path: Path) -> bool:
    """Whether anything was written."""
    return path.exists() and path.stat().st_size > 0


def beginning(path: Path) -> Beginning | None:
    """The first line, if it was written."""
    try:
        with path.open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    entry = decode(line) if line.endswith(b"\n") else None
    return entry if isinstance(entry, Beginning) else None


def ending(path: Path) -> Ending | None:
    """The last line, if it says that the attempt ended."""
    try:
        with path.open("rb") as file:
            entry = decode(_last_line(file.fileno()))
    except FileNotFoundError:
        return None
    return entry if isinstance(entry, Ending) else None


def _last_line(descriptor: int) -> bytes:
    """The last whole line, found from the end."""
    position = os.fstat(descriptor).st_size
    tail = b""
    while position > 0:
        start = max(0, position - _BLOCK_BYTES)
        tail = os.pread(descriptor, position - start, start) + tail
        position = start
        whole = tail[: tail.rfind(b"\n") + 1]
        if (before := whole[:-1].rfind(b"\n")) >= 0:
            return whole[before + 1 :]
    return tail[: tail.rfind(b"\n") + 1]
