"""What a finished job left: its files into the store, its output object into the form that is recorded."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

from stemma.cwl.filereferences import FILE_CLASSES
from stemma.database.queries import facts
from stemma.engines.protocol import Engine, FileSeen, OutputFile, Report
from stemma.errors import ContentDamaged, ContentMissing, EngineRefused, TooLarge
from stemma.file_fields import OCCURRENCE
from stemma.lifecycle.archive.upkeep import IN_USE_SECONDS
from stemma.lifecycle.installation import Installation
from stemma.records import Content, FileKind, Json, RunOutput

MEMBERS = ("secondaryFiles", "listing")
"""Where a File or Directory holds others."""
_PLACES = frozenset({"location", "path", "dirname"})


def are_elsewhere(engine: Engine, reference: str) -> bool:
    """Whether files of a finished job have to be fetched, as far as the engine says."""
    try:
        return any(file.chunks is not None for file in engine.outputs(reference))
    except (EngineRefused, ContentMissing):  # who fetches them says so
        return True


def take_outputs(installation: Installation, engine: Engine, run_id: int, reference: str, report: Report) -> None:
    """Bring the files of a finished job into the store, each under the digest that was recorded for it.

    Until its end is written down nobody knows that they are used, and what nobody asked for lately may be dropped:
    after a pass that took long all are asked for again.

    Done twice, it finds in the store what it took the first time. A digest that an engine elsewhere tells is not
    enough for that: it comes from tools, and who names a digest has not shown to have the bytes, which may be in the
    store as another group's. They are fetched.

    Raises:
        ContentDamaged: a file is not any more what the step generated.
        ContentMissing: a file is gone.
        EngineUnreachable, EngineRefused: the engine does not give it.
    """
    files = [file for file in engine.outputs(reference) if file.kind is FileKind.FILE]
    with installation.database.reading() as session:
        expected = facts.contents_of(session, run_id, [file.occurrence for file in files])
    for fact in report.facts:  # not yet in the database
        if isinstance(fact, FileSeen) and fact.occurrence.content is not None:
            expected[fact.occurrence.uuid] = fact.occurrence.content
    for _ in range(_PASSES):
        began = time.monotonic()
        _take_in(installation, files, reference, expected)
        if time.monotonic() - began < IN_USE_SECONDS / 5:
            return


def _take_in(
    installation: Installation, files: Sequence[OutputFile], reference: str, expected: Mapping[UUID, Content]
) -> None:
    for file in files:
        digest = expected[file.occurrence].sha256
        if file.chunks is not None:
            if (reference, digest) not in _fetched or not installation.store.keep(digest):
                _fetch(installation, file.chunks(), expected[file.occurrence])
                _fetched.add((reference, digest))
        elif installation.store.keep(digest):
            continue
        elif file.path is None or not file.path.exists():
            raise ContentMissing(digest)
        else:
            installation.store.take_file(file.path, expected=digest)


class _Latest:
    """The latest that were added; safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: dict[tuple[str, str], None] = {}
        self._guard = threading.Lock()

    def __contains__(self, item: tuple[str, str]) -> bool:
        return item in self._items

    def add(self, item: tuple[str, str]) -> None:
        with self._guard:
            while len(self._items) >= self._most:
                del self._items[next(iter(self._items))]
            self._items[item] = None


_PASSES: Final = 3
_fetched: Final = _Latest(100_000)
"""What was fetched for which reference, so that a broken connection costs one file and not all before it."""


def _fetch(installation: Installation, chunks: Iterator[bytes], expected: Content) -> None:
    """Bring bytes from elsewhere into the store.

    Raises:
        ContentDamaged: they are others than were recorded.
    """
    try:
        found = installation.store.put_stream(Pieces(chunks), limit_bytes=expected.size_bytes, what="an output")
    except TooLarge as error:
        raise ContentDamaged(expected.sha256, "more bytes than it had") from error
    if found.sha256 != expected.sha256:
        raise ContentDamaged(expected.sha256, found.sha256)


class Pieces:
    """Bytes that come in pieces, as something that can be read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, _size: int, /) -> bytes:
        """The next piece as it comes: whoever keeps them need not have them of one size. Empty at the end."""
        return next((chunk for chunk in self._chunks if chunk), b"")


def occurrence_of(value: dict[str, Json]) -> UUID | None:
    """Which occurrence an object stands for; None when it is no File or Directory of ours, whatever it says."""
    written = value.get(OCCURRENCE)
    if value.get("class") not in FILE_CLASSES or not isinstance(written, str):
        return None
    try:
        return UUID(written)
    except ValueError:
        return None


def recorded_form(outputs: dict[str, Json]) -> dict[str, Json]:
    """The output object without places of this machine, and without our key where a tool wrote it into a value."""
    return {port: _without_places(value) for port, value in outputs.items()}


def _without_places(value: Json) -> Json:
    if isinstance(value, list):
        return [_without_places(element) for element in value]
    if not isinstance(value, dict):
        return value
    dropped = _PLACES if value.get("class") in FILE_CLASSES else {OCCURRENCE}
    return {key: _without_places(item) for key, item in value.items() if key not in dropped}


def occurrences_in(outputs: dict[str, Json]) -> list[RunOutput]:
    """Which occurrences an output object consists of, and where in it each is."""
    return [found for port, value in outputs.items() for found in _occurrences(port, "", value)]


def _occurrences(port: str, position: str, value: Json) -> Iterator[RunOutput]:
    if isinstance(value, list):
        for index, element in enumerate(value):
            yield from _occurrences(port, f"{position}[{index}]", element)
    elif isinstance(value, dict):
        uuid = occurrence_of(value)
        if uuid is not None:
            yield RunOutput(uuid, port, position)
        for key, element in value.items():
            if isinstance(element, list | dict) and (uuid is None or key in MEMBERS):
                yield from _occurrences(port, f"{position}.{key}", element)
