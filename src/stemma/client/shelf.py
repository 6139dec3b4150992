"""Where a token is kept from one use to the next: in memory, or in a file that several processes share."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class KeptToken:
    """What a token endpoint gave."""

    access_token: str = field(repr=False)
    renew_at: float
    """Seconds since 1970; somewhat before its end."""
    refresh_token: str | None = field(default=None, repr=False)


class TokenShelf(Protocol):
    """Keeps a token from one use to the next."""

    def load(self) -> KeptToken | None:
        """What was kept; None where there is nothing."""

    def keep(self, token: KeptToken | None) -> None:
        """Keep ``token``; None forgets."""

    def locked(self) -> AbstractContextManager[None]:
        """Whoever is inside is alone there, among all who share the shelf."""


class MemoryShelf:
    """Keeps a token as long as this process lives."""

    def __init__(self) -> None:
        self._token: KeptToken | None = None

    def load(self) -> KeptToken | None:
        """What was kept."""
        return self._token

    def keep(self, token: KeptToken | None) -> None:
        """Keep ``token``."""
        self._token = token

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else has this one: who shares it shares the lock of its owner."""
        yield


class FileShelf:
    """Keeps the token of one login in a file that its owner alone can read.

    ``login`` is a name for the login: what was kept under another one is not seen, so that a token never goes to
    another service than the one that it was got for.
    """

    def __init__(self, path: Path, login: str = "") -> None:
        self._path, self._login = path, login

    def load(self) -> KeptToken | None:
        """What was kept; None where there is nothing, or nothing that can be read."""
        try:
            told = json.loads(self._path.read_text())
            is_ours = told.pop("login") == self._login
            return KeptToken(**told) if is_ours else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def keep(self, token: KeptToken | None) -> None:
        """Keep ``token``; None forgets."""
        if token is None:
            self._path.unlink(missing_ok=True)
        else:
            write_private(self._path, {**asdict(token), "login": self._login})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all processes that use this file; the lock ends with its process at the latest."""
        with locked(self._path.with_name(f".{self._path.name}.lock")):
            yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that is the file at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_private(path: Path, content: Any) -> None:
    """Write ``content`` as JSON into a file that only its owner can read, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
    fresh.replace(path)
