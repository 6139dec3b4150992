"""What the log of a job of ours says: which execution it was, how it ended, and what it left.

The wrapper (:mod:`stemma.engines.reana.wrapping`) prints a block of lines once the tool has ended::

    stemma:begin <key>
    stemma:exit <exit code> <start> <end>                epoch seconds
    stemma:file <sha256 or -> <sha1 or -> <size> <path>  path relative to the job's own folder, to the end of the line
    stemma:folder <path>
    stemma:link <path> <target>                          a link that leads out or nowhere
    stemma:end <key>

A log is whatever the tool wrote; only the last block counts, and only when it is whole.
"""

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from stemma.engines.reana.wrapping import JOB_WORD

_BEGIN: Final = "\nstemma:begin "
_FRAME: Final = "job: :\n "
"""What REANA writes before the words of a job."""
_EXIT: Final = re.compile(r"stemma:exit (\d{1,3}) (\d{1,11}(?:\.\d{1,9})?) (\d{1,11}(?:\.\d{1,9})?)")
_FILE: Final = re.compile(r"stemma:file ([0-9a-f]{64}|-) ([0-9a-f]{40}|-) (\d{1,18}) (.+)")
_LINK: Final = "stemma:link "
_FOLDER: Final = "stemma:folder "
_STDERR: Final = "\nstemma:stderr\n"
_JOB: Final = re.compile(rf"^: {re.escape(JOB_WORD)} ", re.MULTILINE)
_SHELL_WORDS: Final = 3


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file that a job left."""

    path: str
    """Relative to the job's own folder."""
    size_bytes: int
    sha256: str | None
    sha1: str | None


@dataclass(frozen=True, slots=True)
class JobLink:
    """A link that leads out of the job's own folder, or nowhere."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended. Whether it was a success is also the engine's word: a pod can be lost after this was said."""

    key: str
    exit_code: int
    """The tool's own, before ``successCodes``; 128 and more where a signal ended it."""
    started_at: datetime
    ended_at: datetime
    files: tuple[JobFile, ...]
    folders: tuple[str, ...]
    links: tuple[JobLink, ...]
    stdout: str
    """The tool's own words where the document does not send them to a file: the last million bytes at most."""
    stderr: str


def parse_log(text: str) -> JobResult | None:
    """What a job's log says; None where the job did not come to its end, or its last block is not whole."""
    start = text.rfind(_BEGIN)
    if start < 0:
        return None
    block: list[str] = []
    for line in text[start + 1 :].split("\n"):
        block.append(line)
        if line.startswith("stemma:end "):
            return _result(block, text[:start])
    return None


def own_words(text: str) -> tuple[str, str]:
    """What stands in a log beside our lines, as standard output and standard error."""
    start = text.rfind(_BEGIN)
    words = text if start < 0 else text[:start]
    return _words(words)


def key_of(command: str) -> str | None:
    """The key of the execution whose job has ``command``, as REANA stores it; None where it is no job of ours."""
    try:
        outer = shlex.split(command)
    except ValueError:
        return None
    if len(outer) != _SHELL_WORDS or outer[:2] != ["/bin/sh", "-c"]:
        return None
    found = _JOB.search(outer[2])
    if found is None:
        return None
    lexer = shlex.shlex(outer[2][found.end() :], posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        key, mark = lexer.get_token(), lexer.get_token()
    except ValueError:
        return None
    return key if key and mark == ";" else None


def _result(block: list[str], words: str) -> JobResult | None:
    key = block[0].removeprefix("stemma:begin ")
    ending = _EXIT.fullmatch(block[1])
    if ending is None or not key or block[-1] != f"stemma:end {key}":
        return None
    files: list[JobFile] = []
    folders: list[str] = []
    links: list[JobLink] = []
    for line in block[2:-1]:
        file = _FILE.fullmatch(line)
        if file is not None:
            files.append(JobFile(file[4], int(file[3]), _known(file[1]), _known(file[2])))
        elif line.startswith(_FOLDER):
            folders.append(line.removeprefix(_FOLDER))
        elif line.startswith(_LINK):
            path, _, target = line.removeprefix(_LINK).partition(" ")
            links.append(JobLink(path, target))
        else:
            return None
    stdout, stderr = _words(words)
    started, ended = (datetime.fromtimestamp(float(moment), UTC) for moment in ending.groups()[1:])
    return JobResult(key, int(ending[1]), started, ended, tuple(files), tuple(folders), tuple(links), stdout, stderr)


def _known(digest: str) -> str | None:
    return None if digest == "-" else digest


def _words(text: str) -> tuple[str, str]:
    text = text.removeprefix(_FRAME)
    stdout, mark, stderr = text.rpartition(_STDERR)
    return (stdout, stderr) if mark else (text, "")
