"""Files of an input object that were not here when it was written down, and what they turned out to be."""

from collections.abc import Iterator, Mapping
from uuid import UUID

from stemma.file_fields import OCCURRENCE
from stemma.records import Content, Json


def unknown_files(inputs: Mapping[str, Json]) -> list[UUID]:
    """The occurrences of recorded Files whose digest does not stand in ``inputs``."""
    return [UUID(value[OCCURRENCE]) for part in inputs.values() for value in _unknown(part)]


def with_contents(inputs: Mapping[str, Json], contents: Mapping[UUID, Content]) -> dict[str, Json]:
    """``inputs`` with the digest and size of each File that is known by now."""
    return {port: _filled(value, contents) for port, value in inputs.items()} if contents else dict(inputs)


def _unknown(value: Json) -> Iterator[dict[str, Json]]:
    if isinstance(value, list):
        for element in value:
            yield from _unknown(element)
    elif isinstance(value, dict):
        if _is_unknown(value):
            yield value
        for element in value.values():
            if isinstance(element, list | dict):
                yield from _unknown(element)


def _is_unknown(value: dict[str, Json]) -> bool:
    return value.get("class") == "File" and OCCURRENCE in value and "checksum" not in value


def _filled(value: Json, contents: Mapping[UUID, Content]) -> Json:
    if isinstance(value, list):
        return [_filled(element, contents) for element in value]
    if not isinstance(value, dict):
        return value
    filled = {key: _filled(element, contents) for key, element in value.items()}
    content = contents.get(UUID(value[OCCURRENCE])) if _is_unknown(value) else None
    if content is not None:
        filled |= {"size": content.size_bytes, "checksum": f"sha256:{content.sha256}"}
    return filled
