"""Archives of objects whose names are anything, and downloads called anything."""

import io
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stemma import clock
from stemma.api.answers import disposition
from stemma.api.zips import Layout, archive
from stemma.errors import ContentMissing
from stemma.records import Content
from stemma.store.content import CHUNK_BYTES, ContentStore

NAMES = st.one_of(
    st.text(max_size=30),
    st.text(max_size=400),
    st.sampled_from(
        [".", "..", "../../x", "/etc/passwd", "C:\\x", "a\nb", "con?", "x" * 300, "🌧" * 100, "a.b", "A.B", ""]
    ),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ContentStore:
    return ContentStore(tmp_path_factory.mktemp("store"))


def file_called(name: str, content: Content, digests: dict[UUID, str]) -> dict[str, Any]:
    occurrence = clock.new_uuid()
    digests[occurrence] = content.sha256
    return {"class": "File", "basename": name, "stemma:occurrence": str(occurrence)}


def packed(store: ContentStore, values: Mapping[str, Any], digests: Mapping[UUID, str]) -> zipfile.ZipFile:
    layout = Layout(store, digests)
    document = layout.place(values, "outputs.json")
    return zipfile.ZipFile(io.BytesIO(b"".join(archive(layout, "outputs.json", document, clock.now()))))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=st.lists(NAMES, max_size=8), ports=st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_archive_when_names_are_anything_then_all_is_there_once_and_safe(
    store: ContentStore, names: list[str], ports: list[str]
) -> None:
    digests: dict[UUID, str] = {}
    content = store.put_bytes(b"inside")
    listing = [file_called(name, content, digests) for name in names]
    values: dict[str, Any] = {ports[0]: {"class": "Directory", "basename": "".join(names), "listing": listing}}
    values |= {port: [file_called(name, content, digests) for name in names] for port in ports[1:]}
    with packed(store, values, digests) as opened:
        paths = opened.namelist()
        assert len({path.lower() for path in paths}) == len(paths)
        for path in paths:
            parts = path.rstrip("/").split("/")
            assert not {"", ".", ".."} & set(parts), path
            assert not re.search(r'[\\:*?"<>|\x00-\x1f]', path)
            assert all(len(part.encode()) <= 255 for part in parts)
        files = [path for path in paths if not path.endswith("/") and path != "outputs.json"]
        assert len(files) == len(digests)
        assert all(opened.read(path) == b"inside" for path in files)
        document = opened.read("outputs.json")
        orjson.loads(document)
        assert b"stemma:occurrence" not in document


def test_archive_when_a_primary_has_secondary_files_then_they_lie_beside_it(store: ContentStore) -> None:
    digests: dict[UUID, str] = {}
    primary = file_called("a.bam", store.put_bytes(b"1"), digests)
    primary["secondaryFiles"] = [file_called("a.bam.bai", store.put_bytes(b"2"), digests)]
    with packed(store, {"reads": primary, "n": 3}, digests) as opened:
        assert {"reads/a.bam", "reads/a.bam.bai"} <= set(opened.namelist())
        assert orjson.loads(opened.read("outputs.json"))["reads"]["secondaryFiles"][0]["location"] == "reads/a.bam.bai"


def test_archive_when_a_port_is_called_like_the_document_then_both_are_there(store: ContentStore) -> None:
    digests: dict[UUID, str] = {}
    with packed(store, {"outputs.json": file_called("x", store.put_bytes(b"1"), digests)}, digests) as opened:
        assert sorted(opened.namelist()) == ["outputs (2).json/x", "outputs.json"]


def test_archive_when_a_file_is_large_then_it_comes_in_pieces(store: ContentStore, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(os.urandom(CHUNK_BYTES) * 20)
    digests: dict[UUID, str] = {}
    with source.open("rb") as stream:
        content = store.put_stream(stream, limit_bytes=1 << 30)
    layout = Layout(store, digests)
    document = layout.place({"f": file_called("large", content, digests)}, "inputs.json")
    pieces = list(archive(layout, "inputs.json", document, clock.now()))
    assert max(map(len, pieces)) < 3 * CHUNK_BYTES
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as opened:
        assert opened.testzip() is None
        assert opened.read("f/large") == source.read_bytes()


def test_layout_when_the_store_has_lost_a_file_then_says_so_before_the_first_byte(store: ContentStore) -> None:
    digests: dict[UUID, str] = {}
    values = {"f": file_called("x", Content("0" * 64, 3), digests)}
    with pytest.raises(ContentMissing):
        Layout(store, digests).place(values, "outputs.json")


@given(NAMES)
def test_disposition_when_the_name_is_anything_then_it_is_one_header_that_says_it(name: str) -> None:
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    plain = re.fullmatch(r'attachment; filename="([^"\\/]+)"(; filename\*=UTF-8\'\'([A-Za-z0-9._~%-]+))?', header)
    assert plain, header
    shown = unquote(plain[3]) if plain[3] else plain[1]
    assert "/" not in shown
    assert "\n" not in shown
