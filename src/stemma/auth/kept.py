"""Secrets that an installation makes itself, each in a file that its owner alone may read."""

import os
from collections.abc import Callable
from pathlib import Path

from stemma import clock


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """What is in the file at ``path``; the first who asks makes it.

    It is written aside and linked into place, so that of several processes one wins and none reads half a secret.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = path.parent / f".{clock.new_uuid()}"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(make())
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(aside)
        except FileExistsError:
            pass  # another process was quicker: its secret is ours
        finally:
            aside.unlink(missing_ok=True)
    return path.read_bytes()
