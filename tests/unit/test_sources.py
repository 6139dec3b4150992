"""Addresses in inputs: how they are told apart, shown, and what folders and late files become."""

from concurrent.futures import Future
from typing import Any
from uuid import uuid4

import pytest

from stemma.cwl.arrivals import unknown_files, with_contents
from stemma.cwl.filereferences import FileReference, SourceKind, problem_of
from stemma.errors import SourceUnusable
from stemma.lifecycle.sources import _LOOKERS, _let_another, as_tree, shown
from stemma.records import Content
from stemma.storages.protocol import Listed, SourceInfo


@pytest.mark.parametrize(
    "location",
    [
        "https://data.example.org/a%20b.csv?x=1",
        "http://data.example.org/a",
        "s3://bucket/key",
        "gs://bucket/key",
        "az://container/key",
        "rclone:share/a",
        "file:///srv/data/a",
    ],
)
@pytest.mark.parametrize("kind", ["File", "Directory"])
def test_location_when_an_address_then_it_lies_elsewhere(location: str, kind: str) -> None:
    value = {"class": kind, "location": location}
    source = FileReference("x", "", value).source
    assert (problem_of(value), source.kind, source.text) == (None, SourceKind.REMOTE, location)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("ftp://data.example.org/a", "addresses begin with one of"),
        ("file:a.csv", "files of the server cannot be named"),
        ("file://host/etc/passwd", "files of the server cannot be named"),
        ("/etc/passwd", "files of the server cannot be named"),
        ("https://data.example.org/" + "a" * 5000, "at most 4096 characters"),
        ("https://data.example.org/a\nb", "can be printed"),
    ],
)
def test_location_when_no_address_that_is_taken_then_refused_with_what_to_do(location: str, words: str) -> None:
    assert words in (problem_of({"class": "File", "location": location}) or "")


@pytest.mark.parametrize("checksum", [f"sha1${'a' * 39}", f"sha1${'a' * 41}", f"sha1:{'a' * 40}", "sha256:abc", 7])
def test_checksum_when_it_cannot_be_checked_then_refused(checksum: object) -> None:
    value = {"class": "File", "location": "s3://b/k", "checksum": checksum}
    assert "sha256:" in (problem_of(value) or "")


@pytest.mark.parametrize(("kind", "digits"), [("sha256:", 64), ("sha256$", 64), ("sha1$", 40)])
def test_checksum_when_written_as_cwl_has_it_then_it_is_what_the_bytes_must_have(kind: str, digits: int) -> None:
    value = {"class": "File", "location": "s3://b/k", "checksum": f"{kind}{'a' * digits}"}
    assert problem_of(value) is None
    assert FileReference("x", "", value).expected == "a" * digits


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("https://d.example.org/a?X-Amz-Signature=abc&y=1", "https://d.example.org/a"),
        ("https://d.example.org/a?token=abc", "https://d.example.org/a"),
        ("https://d.example.org/a?a=1;token=S", "https://d.example.org/a"),
        ("https://d.example.org/a?S3CR3T", "https://d.example.org/a"),
        ("https://u:p@d.example.org/a#token=S", "https://d.example.org/a"),
        ("https://d.example.org/a?year=2012", "https://d.example.org/a?year=2012"),
        ("https://d.example.org/a?year=2014&file=rain.csv", "https://d.example.org/a?year=2014&file=rain.csv"),
        ("https://d.example.org/a?t=eyJhbGc.eyJzdWIi.c2lnbmF0", "https://d.example.org/a"),
        ("https://d.example.org/a?to=https%3A%2F%2Fb.org%3Fsig%3DS", "https://d.example.org/a"),
        ("s3://bucket/what?sig=x", "s3://bucket/what?sig=x"),
        ("https://[broken?sig=x", "https://[broken"),
    ],
)
def test_shown_when_the_query_gives_access_then_it_is_left_out(address: str, seen: str) -> None:
    assert shown(address) == seen


def test_let_another_when_some_looks_go_on_then_after_them() -> None:
    looks: list[Future[Any]] = [Future() for _ in range(3)]
    looks[1].cancel()
    taken = 0
    try:
        while _LOOKERS.acquire(blocking=False):
            taken += 1
        _let_another(iter(looks))
        for look in (looks[0], looks[2]):
            assert not _LOOKERS.acquire(blocking=False)
            look.set_result(None)
        taken -= 1
        assert _LOOKERS.acquire(blocking=False)
        taken += 1
    finally:
        for _ in range(taken):
            _LOOKERS.release()


def test_tree_when_files_lie_in_folders_then_they_are_found_there() -> None:
    infos = {path: SourceInfo(f"s3://b/{path}", path, 1, "v") for path in ("a", "d/b", "d/e/c")}
    tree = as_tree(Listed(path, info) for path, info in infos.items())
    assert tree == {"a": infos["a"], "d": {"b": infos["d/b"], "e": {"c": infos["d/e/c"]}}}


@pytest.mark.parametrize("paths", [("d", "d/b"), ("d/b", "d")])
def test_tree_when_a_file_and_a_folder_have_one_name_then_refused_and_none_is_left_out(paths: tuple[str, ...]) -> None:
    listed = [Listed(path, SourceInfo(path, path, 1, "v")) for path in paths]
    with pytest.raises(SourceUnusable, match="same name"):
        as_tree(listed)


def test_inputs_when_late_files_have_come_then_they_are_told_and_others_stay() -> None:
    late, other = uuid4(), uuid4()
    inputs = {
        "x": [{"class": "File", "stemma:occurrence": str(late), "basename": "a"}],
        "y": {"class": "File", "stemma:occurrence": str(other), "checksum": "sha256:00", "size": 1},
        "z": 3,
    }
    assert unknown_files(inputs) == [late]
    filled = with_contents(inputs, {late: Content("f" * 64, 9)})
    assert filled["x"][0]["checksum"] == "sha256:" + "f" * 64
    assert filled["x"][0]["size"] == 9
    assert (filled["y"], filled["z"]) == (inputs["y"], 3)
    assert "checksum" not in inputs["x"][0]
