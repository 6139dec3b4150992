"""What is generated from the code is what the code would generate now."""

import pytest

from stemma.cli.document import pages


@pytest.mark.parametrize("path", sorted(pages()), ids=lambda path: path.name)
def test_generated_page_when_generated_anew_then_is_the_same(path, monkeypatch, tmp_path):
    assert path.read_text() == pages()[path], f"{path.name} lags behind; run: make docs"
