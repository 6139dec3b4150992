"""The input object on its way to an engine: contents get the place where they lie here."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from stemma.cwl.filereferences import FILE_CLASSES
from stemma.errors import ContentMissing
from stemma.lifecycle.outputs import MEMBERS, OCCURRENCE, occurrence_of
from stemma.records import Content, Json
from stemma.store.content import ContentStore

CHECKSUM_PREFIX = "sha256:"
LATE = "stemma:late"
"""The field of a File whose bytes are still to come."""
SOURCE = "source"
"""The field of a recorded File that says where it was fetched from: for the record, not for the engine."""


def staged_inputs(
    inputs: dict[str, Json], store: ContentStore, here: Mapping[UUID, Content] | None = None
) -> dict[str, Json]:
    """``inputs`` as recorded, with the ``location`` of each File in the store.

    A File from elsewhere is ``stemma:late``, unless it is among those ``here``.

    Raises:
        ContentMissing: the store does not hold one.
    """
    return {port: _staged(value, store, here or {}) for port, value in inputs.items()}


def _staged(value: Json, store: ContentStore, here: Mapping[UUID, Content]) -> Json:
    if isinstance(value, list):
        return [_staged(element, store, here) for element in value]
    if not isinstance(value, dict):
        return value
    if value.get("class") not in FILE_CLASSES:
        return {key: _staged(element, store, here) for key, element in value.items()}
    if occurrence_of(value) is None:  # none of ours: what it names was never looked for in the caller's groups
        return value
    staged: dict[str, Any] = {**value} | {key: _staged(value[key], store, here) for key in MEMBERS if key in value}
    if staged["class"] == "File":
        staged.pop(SOURCE, None)
        content = here.get(UUID(staged[OCCURRENCE]))
        if content is not None:
            staged |= {"checksum": f"{CHECKSUM_PREFIX}{content.sha256}", "size": content.size_bytes}
        elif "checksum" not in staged:
            return {**staged, LATE: True}
        digest = staged["checksum"].removeprefix(CHECKSUM_PREFIX)
        if not store.has(digest):
            raise ContentMissing(digest)
        staged["location"] = store.path(digest).absolute().as_uri()
    return staged
