"""What every storage does, whatever its kind: each against a real server, or the real file system."""

import hashlib
import itertools
import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from stemma.errors import (
    AddressRefused,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    TooLarge,
)
from stemma.storages.protocol import CHUNK_BYTES
from support.storages import KINDS, PASSWORD, USER, WRONG, place

LARGE = random.Random(7).randbytes(5_300_000)
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=KINDS)
def there(request, tmp_path_factory):
    with place(request.param, tmp_path_factory.mktemp(request.param) / "served") as made:
        made.put("large.bin", LARGE)
        yield made


@pytest.fixture
def storage(there):
    opened = there.storage()
    yield opened
    opened.close()
    if there.cutter is not None:
        there.cutter.cut_after(None)


@pytest.fixture
def name():
    return f"file-{os.getpid()}-{next(_numbers)}.txt"


def read(storage, address, version="", **part):
    with storage.read(address, version=version, **part) as chunks:
        parts = list(chunks)
    assert all(0 < len(one) <= CHUNK_BYTES for one in parts)
    return b"".join(parts)


def need_to_write(there):
    if not there.is_writable:
        pytest.skip("it cannot be written to")


def test_info_when_a_file_is_there_then_size_and_a_version_that_stays(there, storage):
    first, second = (storage.info(f"{there.base}large.bin") for _ in range(2))
    assert (first.size_bytes, first.basename, first.address) == (len(LARGE), "large.bin", f"{there.base}large.bin")
    assert first.version
    assert first == second
    assert first.md5 in {None, hashlib.md5(LARGE).hexdigest()}


def test_read_when_whole_then_all_bytes_in_small_parts(there, storage):
    version = storage.info(f"{there.base}large.bin").version
    assert read(storage, f"{there.base}large.bin", version) == LARGE


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (0, 0), (1, 10), (1_000_000, 3_000_000), (5_299_999, 1), (5_200_000, None), (5_200_000, 500_000)],
)
def test_read_when_a_part_then_these_bytes(there, storage, offset, length):
    version = storage.info(f"{there.base}large.bin").version
    expected = LARGE[offset:] if length is None else LARGE[offset : offset + length]
    assert read(storage, f"{there.base}large.bin", version, offset=offset, length=length) == expected


def test_read_when_it_begins_at_the_end_then_nothing(there, storage):
    version = storage.info(f"{there.base}large.bin").version
    assert read(storage, f"{there.base}large.bin", version, offset=len(LARGE)) == b""


def test_read_when_the_file_is_empty_then_nothing(there, storage, name):
    there.put(name, b"")
    info = storage.info(f"{there.base}{name}")
    assert info.size_bytes == 0
    assert read(storage, f"{there.base}{name}", info.version) == b""
    assert read(storage, f"{there.base}{name}", info.version, offset=0, length=10) == b""


def test_read_when_many_threads_then_each_has_its_bytes(there, storage):
    version = storage.info(f"{there.base}large.bin").version
    parts = [(start, 200_000) for start in range(0, len(LARGE), 200_000)]

    def one(part):
        return read(storage, f"{there.base}large.bin", version, offset=part[0], length=part[1])

    with ThreadPoolExecutor(8) as pool:
        assert b"".join(pool.map(one, parts)) == LARGE


@pytest.mark.parametrize("part", [{}, {"offset": 2, "length": 3}])
def test_read_when_the_file_changed_then_source_changed(there, storage, name, part):
    there.put(name, b"as it was")
    before = storage.info(f"{there.base}{name}").version
    there.put(name, b"as it is now")
    with pytest.raises(SourceChanged), storage.read(f"{there.base}{name}", version=before, **part):
        pass
    after = storage.info(f"{there.base}{name}").version
    assert after != before
    assert read(storage, f"{there.base}{name}", after) == b"as it is now"


def test_read_when_the_file_became_shorter_than_the_part_then_source_changed(there, storage, name):
    there.put(name, b"x" * 1000)
    before = storage.info(f"{there.base}{name}").version
    there.put(name, b"x")
    with pytest.raises(SourceChanged), storage.read(f"{there.base}{name}", version=before, offset=900, length=50):
        pass


@pytest.mark.parametrize("path", ["missing.txt", "no/such/folder.txt"])
def test_anything_when_nothing_is_there_then_source_not_found(there, storage, path):
    address = f"{there.base}{path}"
    with pytest.raises(SourceNotFound):
        storage.info(address)
    with pytest.raises(SourceNotFound), storage.read(address, version=""):
        pass
    with pytest.raises(SourceNotFound):
        list(storage.list(f"{there.base}no/such/", limit=10))


def test_list_when_a_folder_then_files_at_any_depth_as_info_has_them(there, storage, name):
    files = {f"{name}/a.txt": b"a", f"{name}/b/c.txt": b"bc", f"{name}/b/d/e f+g.txt": b"def"}
    for path, content in files.items():
        there.put(path, content)
    found = {one.path: one.info for one in storage.list(f"{there.base}{name}/", limit=3)}
    assert {f"{name}/{path}": info.size_bytes for path, info in found.items()} == {
        path: len(content) for path, content in files.items()
    }
    for path, info in found.items():
        assert info.version == storage.info(info.address).version
        assert read(storage, info.address, info.version) == files[f"{name}/{path}"]


def test_list_when_there_are_more_files_than_allowed_then_too_large(there, storage, name):
    for number in range(3):
        there.put(f"{name}/{number}", b"x")
    with pytest.raises(TooLarge):
        list(storage.list(f"{there.base}{name}", limit=2))


@pytest.mark.parametrize("odd", ["a b.txt", "p+q%41.txt", "é~!$&'()=,;@.txt", "-rf", "#1?.txt"])
def test_names_when_odd_but_fit_then_listed_and_read(there, storage, name, odd):
    there.put(f"{name}/{odd}", odd.encode())
    (only,) = storage.list(f"{there.base}{name}", limit=5)
    assert only.path == odd
    assert read(storage, only.info.address, only.info.version) == odd.encode()


@pytest.mark.parametrize("odd", ["new\nline", "bell\a"])
def test_list_when_a_name_cannot_be_shown_then_refused_or_given_as_its_server_shows_it(there, storage, name, odd):
    if not there.takes_files_put_aside:
        pytest.skip("no such file can be there")
    there.put(f"{name}/{odd}", b"x")
    try:
        (only,) = storage.list(f"{there.base}{name}", limit=5)
    except SourceUnusable:
        return
    assert only.path.isprintable()
    assert read(storage, only.info.address) == b"x"


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "a//b", "./a"])
def test_address_when_it_leads_out_then_refused_or_nothing_there(there, storage, path):
    (there.folder.parent / "outside").write_bytes(b"not for you")
    with pytest.raises((AddressRefused, SourceNotFound)):
        storage.info(f"{there.base}{path}")


@pytest.mark.parametrize("size", [0, 10, 3_000_000, 21_000_000])
def test_write_when_any_size_then_it_lies_there_whole(there, storage, name, size):
    need_to_write(there)
    content = (LARGE * 4)[:size]
    parts = (content[start : start + 700_000] for start in range(0, size, 700_000))
    info = storage.write(f"{there.base}{name}", parts, size)
    assert info.size_bytes == size
    assert read(storage, f"{there.base}{name}", info.version) == content


def test_write_when_something_lies_there_then_replaced(there, storage, name):
    need_to_write(there)
    before = storage.write(f"{there.base}{name}", iter([b"before"]), 6)
    after = storage.write(f"{there.base}{name}", iter([b"after it"]), 8)
    assert before.version != after.version
    assert read(storage, f"{there.base}{name}") == b"after it"


@pytest.mark.parametrize(("parts", "said"), [([b"four"], 5), ([b"four", b"more"], 5), ([], 1)])
def test_write_when_the_bytes_are_not_as_many_as_said_then_refused_and_nothing_there(there, storage, name, parts, said):
    need_to_write(there)
    with pytest.raises(SourceUnusable):
        storage.write(f"{there.base}{name}", iter(parts), said)
    with pytest.raises(SourceNotFound):
        storage.info(f"{there.base}{name}")


def test_write_when_the_bytes_end_with_an_error_then_that_one_and_nothing_there(there, storage, name):
    need_to_write(there)

    def breaking():
        yield b"x" * 1000
        raise ContentGone

    with pytest.raises(ContentGone):
        storage.write(f"{there.base}{name}", breaking(), 30_000_000)
    with pytest.raises(SourceNotFound):
        storage.info(f"{there.base}{name}")


class ContentGone(Exception):
    """Of this test."""


def test_delete_when_done_then_gone_and_again_changes_nothing(there, storage, name):
    need_to_write(there)
    storage.write(f"{there.base}{name}", iter([b"x"]), 1)
    storage.delete(f"{there.base}{name}")
    with pytest.raises(SourceNotFound):
        storage.info(f"{there.base}{name}")
    storage.delete(f"{there.base}{name}")


def test_credential_when_wrong_then_source_forbidden_and_no_secret_told(there):
    if not there.wrong:
        pytest.skip("it wants none")
    storage = there.storage(**there.wrong)
    address = f"{there.base}large.bin"
    told = []
    with pytest.raises(SourceForbidden) as refused:
        storage.info(address)
    told.append(refused)
    with pytest.raises(SourceForbidden) as refused, storage.read(address, version=""):
        pass
    told.append(refused)
    with pytest.raises(SourceForbidden) as refused:
        list(storage.list(there.base, limit=100))
    told.append(refused)
    for one in told:
        shown = f"{one.value!r} {one.value.__cause__!r} {one.value.__context__!r} {one.getrepr(style='long')}"
        assert PASSWORD not in shown
        assert WRONG not in shown.replace(repr(there.wrong), "")
    storage.close()


def test_read_when_cut_in_the_middle_then_unavailable_and_the_rest_can_be_had(there, storage):
    if there.cutter is None:
        pytest.skip("nothing to cut")
    address = f"{there.base}large.bin"
    version = storage.info(address).version
    there.cutter.cut_after(1_500_000)
    came = bytearray()
    with pytest.raises(SourceUnavailable), storage.read(address, version=version) as chunks:
        for chunk in chunks:
            came += chunk
    assert 0 <= len(came) < len(LARGE)
    there.cutter.cut_after(None)
    assert bytes(came) + read(storage, address, version, offset=len(came)) == LARGE


def test_anything_when_the_server_is_away_then_unavailable_and_later_well(there, storage):
    if there.cutter is None:
        pytest.skip("nothing to cut")
    with there.cutter.down():
        with pytest.raises(SourceUnavailable):
            storage.info(f"{there.base}large.bin")
        with pytest.raises(SourceUnavailable), storage.read(f"{there.base}large.bin", version="") as chunks:
            list(chunks)
    assert storage.info(f"{there.base}large.bin").size_bytes == len(LARGE)


def test_read_when_left_in_the_middle_then_the_storage_goes_on(there, storage):
    with storage.read(f"{there.base}large.bin", version="") as chunks:
        assert next(chunks)
    assert read(storage, f"{there.base}large.bin", offset=len(LARGE) - 3) == LARGE[-3:]


def test_signed_when_there_is_such_then_no_credential_is_needed(there, storage):
    url = storage.signed(f"{there.base}large.bin", 60)
    if url is None:
        pytest.skip("there is none")
    assert PASSWORD not in url
    assert USER not in url.partition("?")[0]
    from stemma.storages.https import HttpsStorage

    anybody = HttpsStorage(there.opening.outgoing)
    assert read(anybody, url, offset=10, length=5) == LARGE[10:15]
    anybody.close()
