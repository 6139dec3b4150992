"""Jobs that wait for late files, in the shells that they may meet."""

import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from stemma.engines.reana.inputs import late_uploads, placeholder
from support.reana_shell import Ran, reana

DOCUMENT = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {files: "File[]", folder: Directory, laid: File}
outputs: {all: {type: "File[]", outputSource: each/made}}
steps:
  each:
    scatter: file
    in: {file: files, folder: folder, laid: laid}
    out: [made]
    run:
      class: CommandLineTool
      requirements:
        InitialWorkDirRequirement:
          listing: [{entry: $(inputs.laid), entryname: laid, writable: true}, {entry: $(inputs.folder), entryname: f}]
      baseCommand: [sh, -c, 'echo more >>laid; cat "$0" "$1/deep/member" laid f/deep/member > made']
      inputs: {file: {type: File, inputBinding: {}}, folder: {type: Directory, inputBinding: {}}, laid: File}
      outputs: {made: {type: File, outputBinding: {glob: made}}}
"""
SHELLS = {
    "busybox": ("busybox:1.36", "sh", "-c"),
    "dash": ("debian:trixie-slim", "bash", "-c"),
    "bash": ("debian:trixie-slim", "bash", "-c", 'ln -sf bash /bin/sh; exec bash -c "$0"'),
    "no-find": ("debian:trixie-slim", "bash", "-c", 'rm /usr/bin/find; exec bash -c "$0"'),
}


class Late:
    """Late files of a run in a folder."""

    def __init__(self, folder: Path, *names: str, limit: float = 30) -> None:
        self.workspace = folder / "workspace"
        self.ids: dict[str, UUID] = {name: uuid4() for name in names}
        for upload in late_uploads({uuid: name for name, uuid in self.ids.items()}, limit):
            assert isinstance(upload.source, bytes)
            self._write(upload.place, upload.source)

    def file(self, name: str) -> dict[str, Any]:
        return {"class": "File", "basename": name, "contents": placeholder(self.ids[name])}

    def folder(self, name: str, member: str) -> dict[str, Any]:
        self._write(f"data/{name}/{member}", placeholder(self.ids[member.rpartition("/")[2]]))
        return {"class": "Directory", "basename": name, "location": f"data/{name}"}

    def come(self, name: str, content: bytes) -> None:
        self._write(f"stemma/late/{self.ids[name]}", content)
        self._write(f"stemma/late/{self.ids[name]}.here", b"%d\n" % len(content))

    def waiting(self) -> list[str]:
        return [path.read_text() for path in self.workspace.glob("stemma/late/waits/*")]

    def _write(self, place: str, content: bytes) -> None:
        path = self.workspace / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _run(late: Late, folder: Path, **more: Any) -> Ran:
    inputs = {
        "files": [{"class": "File", "basename": "0", "contents": b"0\n"}, late.file("1")],
        "folder": late.folder("folder", "deep/member"),
        "laid": late.file("laid"),
    }
    return reana({"main.cwl": DOCUMENT.encode()}, inputs, folder, **more)


def _made(ran: Ran) -> list[bytes]:
    assert ran.status == "finished", ran.logs
    return [one[1] for one in ran.contents()["all"]]


EXPECTED = [b"0\nmember\nlaid\nmore\nmember\n", b"1\nmember\nlaid\nmore\nmember\n"]


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_wrapper_when_late_files_are_there_then_each_shell_puts_them_in_their_places(
    shell: str, tmp_path: Path
) -> None:
    image, *words = SHELLS[shell]
    answered = shutil.which("docker") and subprocess.run(
        ["docker", "run", "--rm", image, "true"], check=False, capture_output=True
    )
    if not answered or answered.returncode:
        pytest.skip(f"no container engine with the image {image} answers here")
    late = Late(tmp_path, "1", "member", "laid")
    for name in late.ids:
        late.come(name, f"{name}\n".encode())
    container = ("docker", "run", "--rm", "-i", "-v", f"{tmp_path}:{tmp_path}", image, *words)
    assert _made(_run(late, tmp_path, shell=container)) == EXPECTED
    assert late.waiting() == []


def test_wrapper_when_a_late_file_comes_while_it_waits_then_it_goes_on_and_has_said_so(tmp_path: Path) -> None:
    late = Late(tmp_path, "1", "member", "laid")
    late.come("member", b"member\n")
    late.come("laid", b"laid\n")
    torn = late.workspace / f"stemma/late/{late.ids['1']}.here"

    def come() -> None:
        while not late.waiting():
            time.sleep(0.05)
        torn.write_bytes(b"2")  # a marker that is being written does not count
        time.sleep(1.5)
        late.come("1", b"1\n")

    bringing = threading.Thread(target=come, daemon=True)
    bringing.start()
    assert _made(_run(late, tmp_path)) == EXPECTED
    assert late.waiting() == [f"each[1]\n {late.ids['1']}\nstemma:end\n"]


def test_wrapper_when_a_late_file_is_refused_then_the_sentence_is_said_and_nothing_else_happens(tmp_path: Path) -> None:
    late = Late(tmp_path, "1", "member", "laid")
    late.come("member", b"member\n")
    late.come("laid", b"laid\n")
    hostile = "$(touch /x) `touch /x` '\"; touch /x\nsecond line\n"
    (late.workspace / f"stemma/late/{late.ids['1']}.refused").write_text(hostile)
    ran = _run(late, tmp_path)
    assert ran.statuses == {"each[0]": "finished", "each[1]": "failed"}
    assert ran.jobs["each[1]"] is None
    assert "stemma: $(touch /x) `touch /x` '\"; touch /x\n" in ran.logs["each[1]"]
    assert "second line" not in ran.logs["each[1]"]


def test_wrapper_when_its_time_is_over_then_it_names_the_file(tmp_path: Path) -> None:
    late = Late(tmp_path, "1", "member", "laid", limit=1)
    late.come("member", b"member\n")
    late.come("laid", b"laid\n")
    ran = _run(late, tmp_path)
    assert ran.statuses == {"each[0]": "finished", "each[1]": "failed"}
    assert f"stemma:overdue {late.ids['1']}\n" in ran.logs["each[1]"]
    assert "the file '1' has not arrived within 1 s" in ran.logs["each[1]"]


def test_wrapper_when_what_came_is_not_as_large_as_was_said_then_the_job_fails(tmp_path: Path) -> None:
    late = Late(tmp_path, "1", "member", "laid")
    for name in late.ids:
        late.come(name, b"whole\n")
    (late.workspace / f"stemma/late/{late.ids['1']}").write_bytes(b"who")
    ran = _run(late, tmp_path)
    assert ran.statuses == {"each[0]": "finished", "each[1]": "failed"}
    assert "arrived in part" in ran.logs["each[1]"]
