"""Files of this machine: what may be had, and what links and other odd things lead to."""

import os
import threading
from urllib.parse import quote

import pytest

from stemma.errors import AddressRefused, SourceChanged, SourceForbidden, SourceNotFound, SourceUnusable
from stemma.storages.local import FileRoot, LocalStorage


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "allowed"
    (folder / "sub").mkdir(parents=True)
    (folder / "file.txt").write_bytes(b"hello")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_bytes(b"secret")
    (tmp_path / "allowed-too").mkdir()
    (tmp_path / "allowed-too" / "secret.txt").write_bytes(b"secret")
    return folder


@pytest.fixture
def storage(root):
    return LocalStorage([FileRoot(root)])


def address(path):
    return f"file://{quote(str(path))}"


def read(storage, where, **more):
    with storage.read(where, version=more.pop("version", ""), **more) as chunks:
        return b"".join(chunks)


@pytest.mark.parametrize(
    "where",
    [
        "file:///etc/shadow", "file:///", "file://elsewhere.example.org{root}/file.txt", "{root}/file.txt",
        "file:{root}/../outside/secret.txt", "file://{root}/../outside/secret.txt", "file://{root}%2f..%2foutside/secret.txt",
        "file://{root}-too/secret.txt", "file:////proc/self/environ", "file://{root}/file.txt?x", "file://{root}/a%00b",
        "http://{root}/file.txt", "file://[/",
    ],
)  # fmt: skip
def test_anything_when_outside_then_refused(storage, root, where):
    asked = where.format(root=root)
    with pytest.raises(AddressRefused):
        storage.info(asked)
    with pytest.raises(AddressRefused):
        list(storage.list(asked, limit=10))
    with pytest.raises(AddressRefused):
        storage.write(asked, iter([b"x"]), 1)
    with pytest.raises(AddressRefused):
        storage.delete(asked)


@pytest.mark.parametrize("target", ["../outside/secret.txt", "/etc/passwd", "../outside"])
def test_link_when_it_leads_out_then_refused_also_in_listings(storage, root, target):
    (root / "link").symlink_to(target)
    with pytest.raises(AddressRefused):
        storage.info(address(root / "link"))
    with pytest.raises(AddressRefused):
        list(storage.list(address(root), limit=10))


def test_link_when_it_stays_inside_then_followed(storage, root):
    (root / "link").symlink_to("file.txt")
    (root / "sub" / "up").symlink_to("../sub2")
    (root / "sub2").mkdir()
    (root / "sub2" / "deep.txt").write_bytes(b"deep")
    assert read(storage, address(root / "link")) == b"hello"
    assert [one.path for one in storage.list(address(root / "sub"), limit=10)] == ["up/deep.txt"]


def test_list_when_folders_lie_in_one_another_then_unusable(storage, root):
    (root / "sub" / "again").symlink_to("..")
    with pytest.raises(SourceUnusable, match="in one another"):
        list(storage.list(address(root), limit=1000))


def test_read_when_a_link_is_put_in_between_then_never_what_lies_outside(storage, root, tmp_path):
    """Whatever the moment: a folder on the way is swapped for a link that leads out, again and again."""
    real, away = root / "sub", root / "sub.real"
    (real / "secret.txt").write_bytes(b"mine")
    over = threading.Event()

    def swap():
        while not over.is_set():
            real.rename(away)
            real.symlink_to(tmp_path / "outside")
            real.unlink()
            away.rename(real)

    swapping = threading.Thread(target=swap)
    swapping.start()
    seen = set()
    try:
        for _ in range(2000):
            try:
                seen.add(read(storage, address(real / "secret.txt")))
            except (AddressRefused, SourceNotFound, SourceChanged):
                seen.add(None)
    finally:
        over.set()
        swapping.join()
    assert b"secret" not in seen


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.mkdir()])
def test_read_when_it_is_no_plain_file_then_unusable_at_once(storage, root, make):
    make(root / "odd")
    with pytest.raises(SourceUnusable):
        read(storage, address(root / "odd"))


def test_read_when_written_to_meanwhile_then_source_changed_before_the_end(storage, root):
    file = root / "file.txt"
    file.write_bytes(b"x" * 3_000_000)
    version = storage.info(address(file)).version
    with pytest.raises(SourceChanged), storage.read(address(file), version=version) as chunks:
        next(chunks)
        with file.open("ab") as more:
            more.write(b"y")
        list(chunks)


def test_read_when_replaced_by_a_file_of_the_same_size_and_time_then_source_changed(storage, root):
    file = root / "file.txt"
    before = file.stat()
    version = storage.info(address(file)).version
    (root / "other").write_bytes(b"HELLO")
    os.utime(root / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
    (root / "other").rename(file)
    with pytest.raises(SourceChanged):
        read(storage, address(file), version=version)


def test_change_when_the_folder_is_not_writable_then_forbidden(storage, root):
    with pytest.raises(SourceForbidden):
        storage.write(address(root / "new.txt"), iter([b"x"]), 1)
    with pytest.raises(SourceForbidden):
        storage.delete(address(root / "file.txt"))
    assert {one.name for one in root.iterdir()} == {"file.txt", "sub"}


def test_write_when_it_breaks_off_then_nothing_is_left(root):
    storage = LocalStorage([FileRoot(root, is_writable=True)])

    def breaking():
        yield b"half"
        raise KeyError("of this test")

    with pytest.raises(KeyError):
        storage.write(address(root / "file.txt"), breaking(), 8)
    assert {one.name for one in root.iterdir()} == {"file.txt", "sub"}
    assert (root / "file.txt").read_bytes() == b"hello"


def test_remote_when_its_folder_is_outside_then_refused_else_it_is_all_that_there_is(root, tmp_path):
    with pytest.raises(AddressRefused):
        LocalStorage([FileRoot(root)], below=str(tmp_path / "outside"))
    storage = LocalStorage([FileRoot(root)], below=str(root / "sub"))
    with pytest.raises(AddressRefused):
        storage.info(address(root / "file.txt"))


def test_list_when_a_name_is_not_text_then_unusable(storage, root):
    (root / os.fsdecode(b"\xff\xfe")).write_bytes(b"x")
    with pytest.raises(SourceUnusable):
        list(storage.list(address(root), limit=10))
