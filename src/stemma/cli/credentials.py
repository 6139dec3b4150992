"""What ``stemma login`` keeps: which service, who, and the tokens; readable by their owner alone."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stemma.client.tokens import KeptToken


@dataclass(frozen=True, slots=True)
class Login:
    """A service and who logged in there."""

    url: str
    username: str
    token_url: str | None = None
    client_id: str = "api"


class FileShelf:
    """Keeps the token of one person at one service in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> KeptToken | None:
        """What was kept; None where there is nothing, or nothing that can be read."""
        try:
            return KeptToken(**json.loads(self._path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, token: KeptToken | None) -> None:
        """Keep ``token``; None forgets."""
        if token is None:
            self._path.unlink(missing_ok=True)
        else:
            write_private(self._path, asdict(token))


def write_private(path: Path, content: Any) -> None:
    """Write ``content`` as JSON into a file that only its owner can read, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
    fresh.replace(path)


def load_login(folder: Path) -> Login | None:
    """Who logged in last, and where; None after a logout."""
    try:
        return Login(**json.loads((folder / "login.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def save_login(folder: Path, login: Login) -> None:
    """Remember ``login``."""
    write_private(folder / "login.json", asdict(login))


def forget_login(folder: Path) -> bool:
    """Forget service, person and token; whether there was something to forget."""
    (folder / "token.json").unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        (folder / "login.json").unlink()
        return True
    return False
