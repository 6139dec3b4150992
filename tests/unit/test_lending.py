"""What is lent is found by whoever looks for it meanwhile, in this thread, and gone afterwards."""

import threading
from pathlib import Path

import pytest

from stemma.store.content import ContentStore
from stemma.store.lending import lending, place_in


def test_place_when_something_is_lent_then_it_is_found_until_the_end(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    kept = store.put_bytes(b"kept").sha256
    place = place_in(store)
    with lending() as lent:
        digest = lent.put_bytes(b"lent").sha256
        found = place(digest)
        assert found.read_bytes() == b"lent"
        assert place(kept) == store.path(kept)
        elsewhere: list[Path] = []
        thread = threading.Thread(target=lambda: elsewhere.append(place(digest)))
        thread.start()
        thread.join()
        assert elsewhere == [store.path(digest)]
    assert place(digest) == store.path(digest)
    assert not found.exists()
    assert not store.has(digest)


def test_lending_when_it_breaks_off_then_nothing_stays(tmp_path: Path) -> None:
    place = place_in(ContentStore(tmp_path))
    with pytest.raises(OSError, match="broken"), lending() as lent:
        content = lent.put_bytes(b"lent")
        found = place(content.sha256)
        raise OSError("broken")
    assert not found.exists()
