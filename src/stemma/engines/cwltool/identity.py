"""Which process it was: a number alone is used again, this is not."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_STATE = 0
_PARENT = 1
_SESSION = 3
_START = 19
"""Places in ``/proc/<pid>/stat`` after the name in brackets (``proc_pid_stat(5)``, fields 3, 4, 6 and 22)."""


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """What the kernel says of a process."""

    parent: int
    session: int
    start_ticks: int
    """Since the machine was started."""
    is_zombie: bool


def process_stat(pid: int) -> ProcessStat | None:
    """What the kernel says of process ``pid``; None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return ProcessStat(
        int(fields[_PARENT]), int(fields[_SESSION]), int(fields[_START]), is_zombie=fields[_STATE] == "Z"
    )


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, told apart from every other one on every machine."""

    host: str
    boot: str
    pid_namespace: str
    pid: int
    start_ticks: int

    @classmethod
    def own(cls) -> Self:
        """This process."""
        stat = process_stat(os.getpid())
        return cls(*_here(), os.getpid(), stat.start_ticks if stat is not None else 0)

    @property
    def is_here(self) -> bool:
        """Whether its number means the same here: same host, same start of it, same namespace."""
        return (self.host, self.boot, self.pid_namespace) == _here()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs, here."""
        stat = process_stat(self.pid) if self.is_here else None
        return stat is not None and stat.start_ticks == self.start_ticks and not stat.is_zombie


def _here() -> tuple[str, str, str]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return platform.node(), boot, str(Path("/proc/self/ns/pid").readlink())
