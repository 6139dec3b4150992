"""What ``stemma login`` keeps: which service, who, and the tokens; readable by their owner alone."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal
from uuid import uuid4

from stemma.client.shelf import FileShelf, KeptToken, write_private

__all__ = ["Login", "forget_login", "load_login", "save_login", "shelf_of", "write_private"]

_LOGIN, _TOKEN = "login.json", "token.json"


@dataclass(frozen=True, slots=True)
class Login:
    """A service and who logged in there. What tokens are renewed at is kept too: a service cannot change it later."""

    url: str
    username: str
    token_url: str
    client_id: str
    issuer: str | None = None
    """Who can end the login before its time; None where that is the service itself, which cannot."""
    kind: Literal["person", "program"] = "person"
    id: str = field(default_factory=lambda: uuid4().hex)
    """Ties the token to this login, and so to its service."""


def shelf_of(folder: Path, login: Login) -> FileShelf:
    """Where the tokens of ``login`` are kept."""
    return FileShelf(folder / _TOKEN, login.id)


def load_login(folder: Path) -> Login | None:
    """Who logged in last, and where; None after a logout."""
    try:
        return Login(**json.loads((folder / _LOGIN).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def save_login(folder: Path, login: Login, token: KeptToken | None) -> None:
    """Remember ``login`` and its token, in place of any other."""
    shelf = shelf_of(folder, login)
    with shelf.locked():
        shelf.keep(token)
        write_private(folder / _LOGIN, asdict(login))


def forget_login(folder: Path) -> bool:
    """Forget service, person and token; whether there was something to forget."""
    (folder / _TOKEN).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        (folder / _LOGIN).unlink()
        return True
    return False
