"""Uploads: what is read, what is refused, which document is the main one."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stemma.cwl.bundle import Bundle, Limits, digest, read_upload
from stemma.errors import InvalidDocument, TooLarge

TOOL = b"cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\ninputs: []\noutputs: []\n"


def zipped(entries):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return packed.getvalue()


def refusal(content, filename="bundle.zip", **more):
    with pytest.raises(InvalidDocument) as caught:
        read_upload(filename, content, **more)
    return caught.value.findings


def workflow(run):
    return f"cwlVersion: v1.2\nclass: Workflow\nsteps:\n  one:\n    run: {run}\n".encode()


def test_upload_when_one_document_then_its_name_is_kept():
    bundle = read_upload("rank.cwl", TOOL)
    assert (bundle.main_path, bundle.read("rank.cwl")) == ("rank.cwl", TOOL)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\x00b.cwl", "x.exe", "", "a#b.cwl"])
def test_upload_when_its_name_is_unfit_then_it_is_called_main(name):
    assert read_upload(name, TOOL).main_path == "main.cwl"


@pytest.mark.parametrize(
    ("content", "rule", "place"),
    [
        (b"", "yaml/empty", (None, None)),
        (b" \n ", "yaml/empty", (None, None)),
        (b"a: 1\nb: \xff\n", "yaml/encoding", (2, 4)),
    ],
)
def test_upload_when_it_is_no_text_then_refused_with_its_place(content, rule, place):
    (finding,) = refusal(content, "main.cwl")
    assert (finding.rule, finding.file, finding.line, finding.column) == (rule, "main.cwl", *place)


def test_upload_when_called_zip_and_none_then_refused():
    assert refusal(TOOL, "b.zip")[0].rule == "bundle/not-a-zip"


def test_upload_when_zip_is_cut_off_then_refused():
    whole = zipped([("main.cwl", TOOL)])
    assert refusal(whole[: len(whole) // 2])[0].rule == "bundle/not-a-zip"


def test_upload_when_zip_content_is_damaged_then_refused():
    whole = bytearray(zipped([("main.cwl", TOOL * 20)]))
    whole[50] ^= 0xFF
    assert refusal(bytes(whole))[0].rule == "bundle/not-a-zip"


@pytest.mark.parametrize(
    "name",
    [
        "../x.cwl",
        "a/../../x.cwl",
        "/etc/x.cwl",
        "C:/x.cwl",
        "C:x.cwl",
        "a\\b.cwl",
        "a//b.cwl",
        "./a.cwl",
        "a\nb.cwl",
        "a\x1b[31m.cwl",
        "x" * 256,
        "/".join("a" * 40),
        "/".join(["a" * 200] * 6),
        "a#b.cwl",
    ],
)
def test_upload_when_a_name_in_the_zip_is_unsafe_then_refused(name):
    (finding,) = refusal(zipped([("main.cwl", TOOL), (name, b"")]))
    assert finding.rule == "bundle/unsafe-entry"
    assert finding.message.isprintable()


def test_upload_when_a_name_holds_nul_then_refused():
    content = zipped([("main.cwl", TOOL), ("abXcd.txt", b"")]).replace(b"abXcd.txt", b"ab\0cd.txt")
    assert refusal(content)[0].rule == "bundle/unsafe-entry"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_upload_when_an_entry_is_no_plain_file_then_refused(kind):
    link = zipfile.ZipInfo("passwd")
    link.create_system = 3
    link.external_attr = (kind | 0o777) << 16
    (finding,) = refusal(zipped([("main.cwl", TOOL), (link, "/etc/passwd")]))
    assert "link or a special file" in finding.message


@pytest.mark.parametrize(("first", "second"), [("a.txt", "A.TXT"), ("d/\u00e9.txt", "d/e\u0301.txt"), ("x", "x/y")])
def test_upload_when_two_names_are_one_then_refused(first, second):
    findings = refusal(zipped([("main.cwl", TOOL), (first, b"1"), (second, b"2")]))
    assert [finding.rule for finding in findings] == ["bundle/duplicate-name"]


def test_upload_when_a_name_occurs_twice_then_refused():
    content = zipped([("main.cwl", TOOL), ("one.txt", b"1"), ("two.txt", b"2")]).replace(b"two.txt", b"one.txt")
    assert refusal(content)[0].rule == "bundle/duplicate-name"


def test_upload_when_encrypted_then_refused():
    content = bytearray(zipped([("main.cwl", TOOL)]))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(signature) + offset
        content[at] |= 1
    assert "encrypted" in refusal(bytes(content))[0].message


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_upload_when_compressed_in_a_rare_way_then_refused(method):
    entry = zipfile.ZipInfo("x.txt")
    entry.compress_type = method
    assert "deflate" in refusal(zipped([("main.cwl", TOOL), (entry, b"x")]))[0].message


def test_upload_when_a_bomb_then_too_large_without_holding_it():
    content = zipped([("main.cwl", TOOL), ("bomb", b"\0" * 3_000_000)])
    with pytest.raises(TooLarge):
        read_upload("b.zip", content, Limits(bundle_bytes=1_000_000))


def test_upload_when_a_bomb_declares_a_small_size_then_its_bytes_are_counted():
    content = bytearray(zipped([("main.cwl", TOOL), ("bomb", b"\0" * 3_000_000)]))
    at = content.rindex(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", 10)
    with pytest.raises((TooLarge, InvalidDocument)):
        read_upload("b.zip", bytes(content), Limits(bundle_bytes=1_000_000))


def test_upload_when_too_many_files_then_too_large():
    with pytest.raises(TooLarge, match="files"):
        read_upload("b.zip", zipped([(f"{n}.txt", b"") for n in range(11)]), Limits(bundle_files=10))


@pytest.mark.parametrize("is_zip", [False, True])
def test_upload_when_the_document_is_over_its_limit_then_too_large(is_zip):
    content = zipped([("main.cwl", TOOL)]) if is_zip else TOOL
    with pytest.raises(TooLarge):
        read_upload("main.cwl", content, Limits(document_bytes=20))


def test_upload_when_large_files_and_a_folder_then_they_lie_there(tmp_path: Path):
    large = bytes(range(256)) * 8192
    bundle = read_upload("b.zip", io.BytesIO(zipped([("main.cwl", TOOL), ("big", large)])), folder=tmp_path)
    assert isinstance(bundle.files["big"], Path)
    assert bundle.read("big") == large
    assert bundle.read("main.cwl") == TOOL


@pytest.mark.parametrize(
    ("names", "main"),
    [
        (["main.cwl", "other.cwl"], "main.cwl"),
        (["flow.cwl", "tools/a.cwl"], "flow.cwl"),
        (["top/main.cwl", "top/a.cwl"], "main.cwl"),
        (["top/x/a.cwl", "top/flow.cwl", "__MACOSX/top/._flow.cwl"], None),
        (["flow.yml"], "flow.yml"),
    ],
)
def test_main_document_when_one_stands_out_then_it_is_found(names, main):
    content = zipped([(name, TOOL) for name in names])
    if main is None:
        bundle = read_upload("b.zip", content)
        assert bundle.main_path == "flow.cwl"
    else:
        assert read_upload("b.zip", content).main_path == main


def test_main_document_when_only_one_is_not_referred_to_then_it_is_found():
    content = zipped([("a.cwl", TOOL), ("z.cwl", workflow("b.cwl")), ("b.cwl", workflow("a.cwl#x"))])
    assert read_upload("b.zip", content).main_path == "z.cwl"


def test_main_document_when_unclear_then_candidates_are_told_and_main_chooses():
    content = zipped([("a.cwl", TOOL), ("b.cwl", TOOL)])
    (finding,) = refusal(content)
    assert finding.rule == "bundle/main"
    assert "a.cwl, b.cwl" in finding.message
    assert read_upload("b.zip", content, main="b.cwl#x").main_path == "b.cwl#x"
    assert refusal(content, main="c.cwl")[0].rule == "bundle/main"
    assert refusal(content, main="a.cwl#x y")[0].rule == "bundle/main"


def test_main_document_when_none_then_refused():
    assert refusal(zipped([("a.txt", b"")]))[0].rule == "bundle/main"
    assert refusal(zipped([]))[0].rule == "bundle/empty"


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.binary(max_size=20), min_size=1, max_size=6), st.randoms())
def test_digest_when_files_are_in_another_order_then_equal(files, random):
    shuffled = list(files.items())
    random.shuffle(shuffled)
    main = min(files)
    assert digest(Bundle(files, main)) == digest(Bundle(dict(shuffled), main))
    assert digest(Bundle(files, main)) != digest(Bundle({**files, main: files[main] + b"x"}, main))
    assert digest(Bundle(files, main)) != digest(Bundle(files, main + "#x"))


def test_digest_when_a_file_lies_on_disk_then_equal(tmp_path: Path):
    (tmp_path / "f").write_bytes(TOOL)
    assert digest(Bundle({"m": tmp_path / "f"}, "m")) == digest(Bundle({"m": TOOL}, "m"))


NAMES = st.text(st.sampled_from("a.B/\\:\x1f\n~é#C"), min_size=1, max_size=12) | st.sampled_from(
    ["..", "../x", "a/../../b", "/etc/passwd", "a/", "con", "~/x"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.lists(NAMES, max_size=5, unique=True))
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_unpacking_when_names_are_random_then_none_escapes(tmp_path: Path, names):
    content = zipped([("main.cwl", TOOL), *((name, b"x") for name in names)])
    try:
        bundle = read_upload("b.zip", content, folder=tmp_path)
    except (InvalidDocument, TooLarge):
        return
    root = Path("/root-of-bundle")
    for path in bundle.files:
        assert not Path(path).is_absolute()
        assert (root / path).resolve().is_relative_to(root)
        assert path.isprintable()


@given(st.binary(max_size=300))
def test_upload_when_any_bytes_then_read_or_refused(content):
    for filename, start in (("x.cwl", b""), ("x.zip", b"PK\x03\x04")):
        try:
            read_upload(filename, start + content)
        except (InvalidDocument, TooLarge):
            continue
