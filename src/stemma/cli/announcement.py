"""``service.json``: how ``stemma serve`` tells the command line of the same data folder where it listens."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stemma.cli.credentials import write_private

_NAME = "service.json"


@dataclass(frozen=True, slots=True)
class Announced:
    """A service of this data folder."""

    url: str
    pid: int


def announce(home: Path, url: str) -> None:
    """Say that this process serves the data folder at ``url``."""
    write_private(home / _NAME, {"url": url, "pid": os.getpid()})


def withdraw(home: Path) -> None:
    """Take back what this process said; what another said since stays."""
    found = _read(home)
    if found is not None and found.pid == os.getpid():
        (home / _NAME).unlink(missing_ok=True)


def announced(home: Path) -> Announced | None:
    """The service of the data folder; None where there is none, or one that has died and did not say so."""
    found = _read(home)
    return found if found is not None and _is_alive(found.pid) else None


def _read(home: Path) -> Announced | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads((home / _NAME).read_text())
        return Announced(str(told["url"]), int(told["pid"]))
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return pid > 0
