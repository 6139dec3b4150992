"""Files into and out of a workspace of REANA: odd names, cut connections, large ones. On real sockets."""

import io
import json
import os
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from stemma.engines.reana import faults
from stemma.errors import EngineRefused, EngineUnreachable
from support.reana_scripted import RUN, Call, session_with

glob = pytest.importorskip("wcmatch.glob", reason="REANA's own matching of names comes with reana-client")

NAMES = [
    "a.txt",
    "data/1/with space.txt",
    "p q+é#%.txt",
    "100%25.txt",
    "what?.txt",
    "list[1].txt",
    "star*.txt",
    "back\\slash",
    "{a,b}!~;:@&=$,'\".txt",
    "日本語/ü",
]


class Workspace:
    """Files behind two servers, as REANA's: what the first has decoded, it sends on as it is; the second takes a
    fragment off, and a query, and decodes once more. Names in addresses are patterns, by the library that REANA asks."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def __call__(self, call: Call) -> None:
        if call.command == "POST":
            self.files[call.query["file_name"][0]] = call.body()
            call.json({"message": "uploaded"})
        elif call.route.endswith("/workspace"):
            wanted = json.loads(call.query["search"][0])["name"][0] if "search" in call.query else ""
            items = [
                {"name": name, "size": {"raw": len(content)}, "last-modified": "2026-11-21T09:52:54"}
                for name, content in self.files.items()
                if wanted.casefold() in name.casefold()
            ]
            page, size = (int(call.query[name][0]) for name in ("page", "size"))
            call.json({"items": items[(page - 1) * size : page * size]})
        else:
            self.download(call)

    def download(self, call: Call) -> None:
        first = call.route.partition("/workspace/")[2]
        pattern = unquote(urlsplit(f"http://next/{first}").path[1:])
        found = [name for name in self.files if glob.globmatch(name, pattern, flags=glob.GLOBSTAR | glob.DOTGLOB)]
        if not found:
            call.refuse(404, f"{pattern} does not exist.")
        elif len(found) == 1:
            call.give(self.files[found[0]], content_type="application/octet-stream")
        else:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                for name in found:
                    archive.writestr(name, self.files[name])
            call.give(packed.getvalue(), content_type="application/zip")


@pytest.mark.parametrize("name", NAMES)
def test_file_when_its_name_is_odd_then_it_is_that_very_file_that_comes_back(name: str) -> None:
    workspace = Workspace()
    with session_with(workspace) as (session, _):
        session.upload(RUN, name, b"this one", 8)
        for near in ("list1.txt", "starfish.txt", "whatX.txt", "100%.txt", "100A.txt", "p q+é#A.txt", "p q+é%%.txt"):
            workspace.files.setdefault(near, b"another")
        assert workspace.files[name] == b"this one"
        assert b"".join(session.download(RUN, name)) == b"this one"
        found = session.file(RUN, name)
    assert found is not None
    assert found.size_bytes == 8


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\x00b"])
def test_file_when_its_name_leads_elsewhere_then_nothing_is_asked(name: str) -> None:
    with session_with(Workspace()) as (session, script):
        with pytest.raises(EngineRefused, match="no name for a file"):
            session.upload(RUN, name, b"", 0)
        with pytest.raises(EngineRefused, match="no name for a file"):
            list(session.download(RUN, name, 0))
    assert script.calls == []


def test_upload_when_a_file_is_large_then_it_comes_in_pieces_with_its_length(tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(os.urandom(5 << 20))
    lengths: list[str | None] = []
    workspace = Workspace()

    def answer(call: Call) -> None:
        lengths.append(call.headers["Content-Length"])
        assert call.headers["Transfer-Encoding"] is None
        assert call.headers["Content-Type"] == "application/octet-stream"
        workspace(call)

    with session_with(answer) as (session, _):
        session.upload(RUN, "data/0/large", source, 5 << 20)
        session.upload(RUN, "data/1/pieces", iter([b"ab", b"", b"c"]), 3)
        session.upload(RUN, "data/2/empty", b"", 0)
    assert workspace.files["data/0/large"] == source.read_bytes()
    assert (workspace.files["data/1/pieces"], workspace.files["data/2/empty"]) == (b"abc", b"")
    assert lengths == [str(5 << 20), "3", "0"]


@pytest.mark.parametrize(("content", "size"), [(b"abc", 4), (b"abc", 2), (b"", 1)])
def test_upload_when_the_source_has_another_size_then_it_is_refused(content: bytes, size: int) -> None:
    with session_with(Workspace()) as (session, _), pytest.raises(faults.SourceMismatch) as caught:
        session.upload(RUN, "a", iter([content]), size)
    assert caught.value.expected == size


def test_upload_when_the_connection_is_cut_then_what_is_there_shows_that_it_is_not_whole() -> None:
    workspace = Workspace()

    def cut(call: Call) -> None:
        if call.command == "POST":
            workspace.files["a"] = call.rfile.read(100_000)
            call.hang_up()
        else:
            workspace(call)

    size = 50 << 20
    with session_with(cut) as (session, _):
        with pytest.raises(EngineUnreachable, match="the connection broke"):
            session.upload(RUN, "a", (b"x" * (1 << 20) for _ in range(50)), size)
        found = session.file(RUN, "a")
    assert found is not None
    assert found.size_bytes == 100_000


def test_upload_when_the_quota_is_used_up_then_its_sentence_arrives_though_bytes_were_on_their_way() -> None:
    def answer(call: Call) -> None:
        call.refuse(403, "User quota exceeded.", connection="close")
        call.close_connection = True
        call.rfile.read(60 << 20)

    with session_with(answer) as (session, _), pytest.raises(faults.QuotaUsedUp):
        session.upload(RUN, "a", (b"x" * (1 << 20) for _ in range(50)), 50 << 20)


def test_upload_when_it_is_one_request_too_many_then_a_file_is_sent_again(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"hello")
    workspace, refusals = Workspace(), 2

    def answer(call: Call) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            call.body()
            call.refuse(429, "Too many requests", retry_after="0.01")
        else:
            workspace(call)

    with session_with(answer) as (session, _):
        session.upload(RUN, "a", source, 5)
    assert workspace.files == {"a": b"hello"}


def listing(call: Call, size: int) -> bool:
    """Answer a look at the list of files, where it is one."""
    if not call.route.endswith("/workspace"):
        return False
    call.json({"items": [{"name": "a", "size": {"raw": size}, "last-modified": None}]})
    return True


@pytest.mark.parametrize("tells_length", [True, False])
def test_download_when_the_connection_is_cut_then_it_is_not_taken_for_whole(tells_length: bool) -> None:
    def answer(call: Call) -> None:
        if not listing(call, 1000):
            length = {"content_length": "1000"} if tells_length else {"connection": "close"}
            call.begin(content_type="application/octet-stream", **length)
            call.wfile.write(b"x" * 600)
            call.hang_up()

    with session_with(answer) as (session, _), pytest.raises(EngineUnreachable, match=r"connection broke|600 bytes"):
        list(session.download(RUN, "a"))


def test_download_when_more_comes_than_there_is_then_it_ends() -> None:
    def answer(call: Call) -> None:
        if not listing(call, 10):
            call.give(b"x" * 5_000_000, content_type="application/octet-stream")

    with session_with(answer) as (session, _), pytest.raises(EngineUnreachable, match="to be fetched again"):
        list(session.download(RUN, "a"))


def test_download_when_a_zip_comes_instead_then_it_is_not_taken_for_the_file() -> None:
    def answer(call: Call) -> None:
        if not listing(call, 4):
            call.give(b"PK\x03\x04", content_type="application/zip")

    with session_with(answer) as (session, _), pytest.raises(EngineRefused, match="does not tell 'a' from other files"):
        list(session.download(RUN, "a"))


def test_download_when_404_is_said_of_a_file_that_is_listed_then_it_may_be_tried_again() -> None:
    def answer(call: Call) -> None:
        if not listing(call, 4):
            call.refuse(404, "a does not exist.")

    with session_with(answer) as (session, _), pytest.raises(faults.NotFoundThere):
        list(session.download(RUN, "a", 4))


def test_download_when_the_name_has_a_line_break_then_it_is_refused_as_reana_cannot_give_it() -> None:
    with session_with(Workspace()) as (session, script), pytest.raises(EngineRefused, match="line break"):
        list(session.download(RUN, "new\nline", 4))
    assert script.calls == []


def test_download_when_the_file_is_gone_then_it_is_said() -> None:
    with session_with(Workspace()) as (session, _):
        for size in (None, 4):
            with pytest.raises(faults.FileGone):
                list(session.download(RUN, "a", size))


def test_download_when_it_is_large_then_memory_does_not_grow() -> None:
    size = 300 << 20

    def answer(call: Call) -> None:
        call.begin(content_type="application/octet-stream", content_length=str(size))
        for _ in range(300):
            call.wfile.write(bytes(1 << 20))

    with session_with(answer) as (session, _):
        before, largest, received = _resident(), 0, 0
        for chunk in session.download(RUN, "a", size):
            received += len(chunk)
            largest = max(largest, _resident())
    assert received == size
    assert largest - before < 50 << 20


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_download_folder_when_there_are_many_files_then_they_come_together() -> None:
    workspace = Workspace()
    workspace.files = {f"stemma/x[1]/{number}/f#{number}": b"%d" % number for number in range(50)}
    workspace.files["stemma/x1/other"] = b"not this"
    wanted = {name: content for name, content in workspace.files.items() if "x[1]" in name}
    with session_with(workspace) as (session, script):
        found = {file.path: content for file, content in session.download_folder(RUN, "stemma/x[1]")}
        assert found == wanted
        assert len(script.calls) == 2
        workspace.files = dict(list(wanted.items())[:1])
        assert [content for _, content in session.download_folder(RUN, "stemma/x[1]")] == [b"0"]
        with pytest.raises(faults.AnswerTooLarge):
            list(session.download_folder(RUN, "stemma", max_bytes=0))


def test_download_folder_when_the_archive_is_not_what_is_listed_then_it_may_be_tried_again() -> None:
    def answer(call: Call) -> None:
        if call.route.endswith("/workspace"):
            call.json({"items": [{"name": f"d/{name}", "size": {"raw": 3}} for name in "ab"]})
            return
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("d/a", b"abc")
            archive.writestr("d/b", bytes(10 << 20))  # a bomb
        call.give(packed.getvalue(), content_type="application/zip")

    with session_with(answer) as (session, _), pytest.raises(EngineUnreachable, match="is not whole"):
        list(session.download_folder(RUN, "d"))
