"""Outputs brought onto this machine: names, clashes, tricks, and the form that cwltool prints."""

import hashlib
from types import SimpleNamespace

import pytest

from stemma.cli.outputs import CannotWrite, Collector, UnsafeOutput
from stemma.client.connection import Downloaded
from stemma.errors import ContentDamaged


class Shelf:
    """A service that has some files."""

    def __init__(self, contents):
        self.contents, self.asked = contents, []
        self.runs = SimpleNamespace(file=self.file)

    def file(self, number, target, progress=None):
        self.asked.append(number)
        content = self.contents[number]
        target.write(content)
        return Downloaded(len(content), hashlib.sha1(content).hexdigest(), hashlib.sha256(content).hexdigest())


def file(number, basename, content=b"x", **more):
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"class": "File", "id": number, "basename": basename, "checksum": checksum, "size": len(content), **more}


def test_file_when_collected_then_is_shown_as_cwltool_does(tmp_path):
    shown = Collector(Shelf({1: b"x"}), tmp_path).collect({"out": file(1, "a.txt"), "n": 3})
    assert shown == {
        "out": {
            "location": f"file://{tmp_path}/a.txt",
            "basename": "a.txt",
            "class": "File",
            "checksum": "sha1$11f6ad8ec52a2984abaafd7c3b516503785c2072",
            "size": 1,
            "path": f"{tmp_path}/a.txt",
        },
        "n": 3,
    }
    assert list(shown["out"]) == ["location", "basename", "class", "checksum", "size", "path"]


def test_files_of_one_name_when_collected_then_are_counted_and_one_file_twice_is_fetched_once(tmp_path):
    shelf = Shelf({1: b"one", 2: b"two", 3: b"three"})
    outputs = {"x": [file(1, "a", b"one"), file(2, "a", b"two"), file(1, "a", b"one"), file(3, "a", b"three")]}
    shown = Collector(shelf, tmp_path).collect(outputs)
    assert [one["path"].rpartition("/")[2] for one in shown["x"]] == ["a", "a_2", "a", "a_3"]
    assert (tmp_path / "a_2").read_bytes() == b"two"
    assert shelf.asked == [1, 2, 3]


def test_folder_and_secondary_files_when_collected_then_keep_their_places(tmp_path):
    folder = {"class": "Directory", "basename": "d", "listing": [file(1, "a"), {"class": "Directory", "basename": "e"}]}
    outputs = {"d": folder, "f": file(2, "b", b"y", secondaryFiles=[file(3, "b.idx", b"z")])}
    shown = Collector(Shelf({1: b"x", 2: b"y", 3: b"z"}), tmp_path).collect(outputs)
    assert (tmp_path / "d" / "a").read_bytes() == b"x"
    assert (tmp_path / "d" / "e").is_dir()
    assert (tmp_path / "b.idx").read_bytes() == b"z"
    assert shown["f"]["secondaryFiles"][0]["location"] == f"file://{tmp_path}/b.idx"
    assert shown["d"]["listing"][0]["path"] == f"{tmp_path}/d/a"


@pytest.mark.parametrize("basename", ["..", ".", "", "../evil", "/etc/passwd", "a/b", "a\0b"])
@pytest.mark.parametrize("kind", ["File", "Directory"])
def test_output_when_its_name_leads_elsewhere_then_is_refused(tmp_path, basename, kind):
    value = file(1, basename) if kind == "File" else {"class": "Directory", "basename": basename, "listing": []}
    with pytest.raises(UnsafeOutput):
        Collector(Shelf({1: b"x"}), tmp_path / "out").collect({"x": value})
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_link_of_the_same_name_when_collected_then_is_replaced_and_what_it_names_stays(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    folder.mkdir()
    (outside / "file").write_text("mine")
    (folder / "a").symlink_to(outside / "file")
    (folder / "d").symlink_to(outside)
    Collector(Shelf({1: b"x"}), folder).collect({"x": file(1, "a")})
    assert (outside / "file").read_text() == "mine"
    assert (folder / "a").read_bytes() == b"x"
    with pytest.raises(UnsafeOutput):
        Collector(Shelf({1: b"x"}), folder).collect({"x": {"class": "Directory", "basename": "d", "listing": []}})


def test_file_when_what_came_is_not_what_the_run_gave_then_nothing_is_left(tmp_path):
    with pytest.raises(ContentDamaged):
        Collector(Shelf({1: b"other"}), tmp_path).collect({"x": file(1, "a")})
    assert list(tmp_path.iterdir()) == []


def test_folder_when_it_is_a_file_then_is_said(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(CannotWrite):
        Collector(Shelf({}), tmp_path / "out").collect({})
