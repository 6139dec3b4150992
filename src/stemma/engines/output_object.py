"""The output object of a job, as every engine reports it (:class:`stemma.engines.protocol.Report`)."""

from collections.abc import Iterator

from stemma.records import Json


def files_in(value: Json) -> Iterator[dict[str, Json]]:
    """The File objects in an output object, with what belongs to them, in the order in which they stand."""
    if isinstance(value, list):
        for part in value:
            yield from files_in(part)
    elif isinstance(value, dict):
        if value.get("class") == "File":
            yield value
        for part in value.values():
            yield from files_in(part)
