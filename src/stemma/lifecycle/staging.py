"""The input object on its way to an engine: contents get the place where they lie here."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from stemma.cwl.filereferences import FILE_CLASSES
from stemma.errors import ContentMissing
from stemma.file_fields import ELSEWHERE, LATE, OCCURRENCE
from stemma.lifecycle.outputs import MEMBERS, occurrence_of
from stemma.records import Content, Json
from stemma.store.content import ContentStore

CHECKSUM_PREFIX = "sha256:"
SOURCE = "source"
"""The field of a recorded File that says where it was fetched from: for the record, not for the engine."""


def staged_inputs(
    inputs: dict[str, Json],
    store: ContentStore,
    here: Mapping[UUID, Content] | None = None,
    handed: Collection[UUID] = (),
) -> dict[str, Json]:
    """``inputs`` as recorded, with the ``location`` of each File in the store.

    A File from elsewhere is ``stemma:late``, unless it is among those ``here``, or ``stemma:elsewhere`` where it is
    ``handed`` over: then with the ``checksum`` that its source told, if it did.

    Raises:
        ContentMissing: the store does not hold one.
    """
    return {port: _staged(value, store, here or {}, handed) for port, value in inputs.items()}


def _staged(value: Json, store: ContentStore, here: Mapping[UUID, Content], handed: Collection[UUID]) -> Json:
    if isinstance(value, list):
        return [_staged(element, store, here, handed) for element in value]
    if not isinstance(value, dict):
        return value
    if value.get("class") not in FILE_CLASSES:
        return {key: _staged(element, store, here, handed) for key, element in value.items()}
    if occurrence_of(value) is None:  # none of ours: what it names was never looked for in the caller's groups
        return value
    members = {key: _staged(value[key], store, here, handed) for key in MEMBERS if key in value}
    staged: dict[str, Any] = {**value} | members
    if staged["class"] != "File":
        return staged
    uuid, source = UUID(staged[OCCURRENCE]), staged.pop(SOURCE, {})
    return staged | (_elsewhere(source) if uuid in handed else _placed(staged.get("checksum"), store, here.get(uuid)))


def _elsewhere(source: Mapping[str, Json]) -> dict[str, Json]:
    """What is said of a File that is read where it lies."""
    told: dict[str, Json] = {"checksum": f"{CHECKSUM_PREFIX}{source['sha256']}"} if "sha256" in source else {}
    return {**told, ELSEWHERE: True}


def _placed(checksum: str | None, store: ContentStore, content: Content | None) -> dict[str, Json]:
    """Where a File lies, and what came of it since it was recorded."""
    found: dict[str, Json] = {}
    if content is not None:
        checksum = f"{CHECKSUM_PREFIX}{content.sha256}"
        found = {"checksum": checksum, "size": content.size_bytes}
    if checksum is None:
        return {LATE: True}
    digest = checksum.removeprefix(CHECKSUM_PREFIX)
    if not store.has(digest):
        raise ContentMissing(digest)
    return {**found, "location": store.path(digest).absolute().as_uri()}
