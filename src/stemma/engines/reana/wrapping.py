"""The shell that stands around a tool's command line on REANA (``wrapper.sh``).

REANA's CWL engine sends a job as one line of shell: ``… mkdir -p HOME && cd HOME && TOOL; cp -r HOME/* OUT``. HOME is
shared by all jobs of a run, OUT is the job's own, and the line's exit code is that of ``cp``. TOOL is ours (arguments
before the tool's own, one after them), so it defines a function named ``cp``: called by the engine's last words with
OUT, it runs the tool there, says what came of it in a block of lines (see :mod:`stemma.engines.reana.markers`), keeps
the files in the workspace and returns the tool's exit code. The tool's words never stand where our shell would read
them: they are arguments of a function, or a here-document for tools that bring shell of their own.

Before the tool is run, the wrapper waits for late files. What lies in the place of one is a file that names it; the job
looks for such files in all places that its own command line and its own folder have, so that a document is the same
whether its inputs are late or not, and each element of a scatter waits for its own files alone.

POSIX shell only (dash, bash, busybox), and the programs that every image with a shell has: cat, cksum, cp, ln, mkdir,
rm, tr, wc. ``date``, ``readlink``, ``sha1sum``, ``sha256sum`` and ``tail`` are used where they are there; ``sleep`` is
needed where files are late, and so is ``/proc``.
"""

import re
from importlib.resources import files
from typing import Final

SIGN: Final = "stemma:"
"""What every line of ours in a log begins with."""
JOB_WORD: Final = "stemma-job"
FOLDER: Final = "stemma"
"""The folder of the workspace in which the files of each job are kept."""
SCRIPT: Final = f"{FOLDER}/wrapper.sh"
"""Where the functions of all jobs lie in the workspace."""
LATE_FOLDER: Final = f"{FOLDER}/late"
"""The folder of the workspace for late files; :mod:`stemma.engines.reana.late` tells what lies there."""

_CRC: Final = 0x04C11DB7
_FOLDER_NAME_LENGTH: Final = 150
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9._-]")


def folder_of(key: str) -> str:
    """Where below ``stemma/`` the files of the job with ``key`` are kept: what the wrapper computes in the shell."""
    name = _UNSAFE.sub(b"_", key.encode()).decode("ascii")[:_FOLDER_NAME_LENGTH]
    return f"{name}-{_cksum(key.encode())}"


def script() -> bytes:
    """The functions that each job reads from the workspace, at :data:`SCRIPT`."""
    return files("stemma.engines.reana").joinpath("wrapper.sh").read_bytes()


def opening(slash: str, codes: str) -> str:
    """What a job begins with once its key was said, up to where its key is said again."""
    meaning = f"ok() {{ case $1 in {codes} *) return $1;; esac; }}\n" if codes else ""
    return f""";\nG={slash}\n. "${{HOME%/cwl/outdir/*}}/{SCRIPT}"\n{meaning}key() {{ J=$1; }}\nkey"""


def exit_cases(success: list[int], failure: list[int]) -> str:
    """The branches of a ``case`` for codes with a meaning of their own; empty where only 0 is a success."""
    cases = ""
    if success:
        cases += f"{'|'.join(str(code) for code in success)}) return 0;; "
    others = [code for code in failure if code not in success]
    if 0 in others:
        cases += "0) return 1;; "
    return cases


def escaped(text: str) -> str:
    """``text`` so that CWL reads it as itself, in each of its versions."""
    if "$(" not in text and "${" not in text:
        return text
    return text.replace("\\", "\\\\").replace("$(", "\\$(").replace("${", "\\${")


def _cksum(data: bytes) -> int:
    """The CRC of POSIX ``cksum``."""
    register = 0
    length = len(data)
    while length:
        data += bytes((length & 0xFF,))
        length >>= 8
    for byte in data:
        register ^= byte << 24
        for _ in range(8):
            register = ((register << 1) ^ _CRC if register & 0x80000000 else register << 1) & 0xFFFFFFFF
    return register ^ 0xFFFFFFFF
