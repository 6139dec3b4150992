"""Starts rclone and ends it, with the process that wants it: also when that one is killed.

Run as a program of its own, with the standard library alone: ``guardian.py FOLDER COMMAND…``. Its standard input is
held open by who wants it; when that ends, or its parent is another one, it is over, and the folder is cleared away.
Whoever kills the guardian kills rclone too.
"""

import ctypes
import os
import select
import shutil
import signal
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 1.0


def main(folder: str, command: list[str]) -> int:
    """Run ``command`` as long as it is wanted, and take ``folder`` away after it."""
    parent = os.getppid()
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execv(command[0], command)  # noqa: S606 - a program with its arguments, no shell

    def over(_signal: int, _frame: FrameType | None) -> None:
        os._exit(1)

    signal.signal(signal.SIGCHLD, over)
    while os.getppid() == parent:
        ready, _, _ = select.select([sys.stdin.buffer], [], [], _LOOK_SECONDS)
        if ready and not os.read(0, 1):
            break
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
