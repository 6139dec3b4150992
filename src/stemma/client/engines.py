"""What runs the workflows, seen from a client."""

from urllib.parse import quote

from stemma.client.connection import Connection, shaped
from stemma.client.models import Engine

_ROOT = "/engines"


class Engines:
    """The engines of a service, and what the caller shows them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> tuple[Engine, ...]:
        """The engines, by name."""
        return shaped(lambda told: tuple(map(Engine.of, told)), self._connection.get(_ROOT))

    def login(self, engine: str, token: str, *, group: str | None = None) -> None:
        """Give ``token`` to be shown to the engine for the caller's runs, or for those of ``group``.

        Raises:
            EngineNotFound: there is no such engine.
            Forbidden: the caller may not do that for the group.
            InvalidRequest: the engine takes no credentials, or that is no token.
        """
        given = {"token": token, **_place(group)}
        self._connection.send("PUT", _credential(engine), document=given)

    def logout(self, engine: str, *, group: str | None = None) -> None:
        """Take it back.

        Raises:
            CredentialNotFound: there is none.
            Forbidden: the caller may not do that for the group.
        """
        self._connection.send("DELETE", _credential(engine), _place(group))


def _credential(engine: str) -> str:
    return f"{_ROOT}/{quote(engine, safe='')}/credential"


def _place(group: str | None) -> dict[str, str]:
    return {"scope": "person"} if group is None else {"scope": "group", "group": group}
