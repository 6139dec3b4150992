"""Between giving a file out and dropping it: one or the other, whichever process does either."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def giving_out(home: Path) -> Iterator[None]:
    """Meanwhile nothing is dropped from the store of ``home``. Several may do this at a time."""
    with _locked(home / "store.lock", fcntl.LOCK_SH):
        yield


@contextmanager
def dropping(home: Path) -> Iterator[None]:
    """Meanwhile nothing is given out of the store of ``home``."""
    with _locked(home / "store.lock", fcntl.LOCK_EX):
        yield


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("ab") as file:  # the lock goes with the file, and so with the process
        fcntl.flock(file, kind)
        yield
