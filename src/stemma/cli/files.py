"""Files that the command line writes: all of one, or nothing."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from stemma.cli.outputs import CannotWrite


def written(target: Path, write: Callable[[BinaryIO], Any]) -> Path:
    """``target``, after ``write`` has filled it; ``-`` is standard output. What was there before is replaced.

    Raises:
        CannotWrite: the folder cannot be written to.
    """
    if str(target) == "-":
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return target
    fresh = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("xb") as file:
            write(file)
        fresh.replace(target)
    except OSError as error:
        raise CannotWrite(f"cannot write to {target}: {error.strerror}") from error
    finally:
        fresh.unlink(missing_ok=True)
    return target
