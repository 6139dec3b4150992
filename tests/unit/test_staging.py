"""Inputs on their way to an engine."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stemma.file_fields import OCCURRENCE
from stemma.lifecycle.outputs import occurrences_in, recorded_form
from stemma.lifecycle.staging import staged_inputs
from stemma.store.content import ContentStore


def test_staged_inputs_when_a_file_was_fetched_then_the_engine_is_not_told_from_where(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    content = store.put_bytes(b"1,2\n")
    checksum = f"sha256:{content.sha256}"
    ours = {"class": "File", "basename": "a", "checksum": checksum, OCCURRENCE: str(UUID(int=1))}
    inputs: dict[str, Any] = {
        "text": {**ours, "source": {"url": "https://example.org"}},
        "about": {"source": "a value"},
    }
    staged = staged_inputs(inputs, store)
    location = store.path(content.sha256).as_uri()
    assert staged["text"] == {**ours, "location": location}
    assert staged["about"] == {"source": "a value"}
    assert "source" in inputs["text"]


@pytest.mark.parametrize("key", [{}, {OCCURRENCE: "no"}, {OCCURRENCE: 5}])
def test_staged_inputs_when_a_file_is_none_of_ours_then_nothing_is_looked_for(
    tmp_path: Path, key: dict[str, Any]
) -> None:
    store = ContentStore(tmp_path)
    content = store.put_bytes(b"of another group")
    asked = {"class": "File", "basename": "y", "checksum": f"sha256:{content.sha256}", **key}
    missing = {**asked, "checksum": f"sha256:{'0' * 64}"}
    ours = {"class": "File", "basename": "x", "checksum": asked["checksum"], OCCURRENCE: str(UUID(int=1))}
    inputs: dict[str, Any] = {"a": {**ours, "format": asked}, "b": {"c": [asked, missing]}, "d": {"class": []}}
    staged = staged_inputs(inputs, store)
    assert staged["a"]["format"] == asked
    assert staged["a"]["location"] == store.path(content.sha256).as_uri()
    assert (staged["b"], staged["d"]) == (inputs["b"], inputs["d"])


def test_staged_inputs_when_files_belong_to_others_then_all_have_their_place(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    content = store.put_bytes(b"x")
    file = {"class": "File", "basename": "x", "checksum": f"sha256:{content.sha256}", OCCURRENCE: str(UUID(int=1))}
    folder = {"class": "Directory", "basename": "d", "listing": [file], OCCURRENCE: str(UUID(int=2))}
    placed = {**file, "location": store.path(content.sha256).as_uri()}
    staged = staged_inputs({"x": {"in": [{**file, "secondaryFiles": [folder]}]}}, store)
    assert staged["x"] == {"in": [{**placed, "secondaryFiles": [{**folder, "listing": [placed]}]}]}


@pytest.mark.parametrize("written", ["no", 5, None, [], str(UUID(int=7))])
def test_outputs_when_a_value_has_our_key_then_it_is_dropped_and_never_an_occurrence(written: object) -> None:
    file = {"class": "File", "basename": "x", OCCURRENCE: str(UUID(int=1))}
    outputs: dict[str, Any] = {"any": {OCCURRENCE: written, "class": [], "inner": [{OCCURRENCE: written}, file]}}
    assert recorded_form(outputs) == {"any": {"class": [], "inner": [{}, file]}}
    assert [(found.occurrence, found.position) for found in occurrences_in(outputs)] == [(UUID(int=1), ".inner[1]")]


@pytest.mark.parametrize("written", ["no", 5, None, []])
def test_occurrences_when_the_key_of_a_file_is_no_uuid_then_there_is_none(written: object) -> None:
    assert occurrences_in({"x": {"class": "File", OCCURRENCE: written}}) == []
