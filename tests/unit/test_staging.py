"""Inputs on their way to an engine."""

from pathlib import Path

from stemma.lifecycle.staging import staged_inputs
from stemma.store.content import ContentStore


def test_staged_inputs_when_a_file_was_fetched_then_the_engine_is_not_told_from_where(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    content = store.put_bytes(b"1,2\n")
    checksum = f"sha256:{content.sha256}"
    file = {"class": "File", "basename": "a", "checksum": checksum, "source": {"url": "https://example.org"}}
    inputs = {"text": file, "about": {"source": "a value"}}
    staged = staged_inputs(inputs, store)
    location = store.path(content.sha256).as_uri()
    assert staged["text"] == {"class": "File", "basename": "a", "checksum": checksum, "location": location}
    assert staged["about"] == {"source": "a value"}
    assert "source" in inputs["text"]
