"""Places elsewhere, seen from a client: registered, and their files listed, fetched, put there and copied."""

from collections.abc import Mapping
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from stemma.client.connection import Connection, shaped
from stemma.client.downloads import Downloaded
from stemma.client.events import parse
from stemma.client.multipart import Attachment, Progress
from stemma.client.problems import ServiceUnreachable, problem
from stemma.client.remote_models import Remote, RemoteFiles, RemoteTest, WrittenFile
from stemma.errors import StemmaError

_ROOT: Final = "/remotes"
_PATIENCE_SECONDS: Final = 4 * 3600.0
"""How long a remote may take to keep what was sent."""
_EVENTS: Final = {"Accept": "text/event-stream"}


class Remotes:
    """The remotes of the caller and their groups.

    ``group`` names the group whose remote is meant; without it, the caller's own is, and where files are read or
    written, that of a group where the caller has none of that name.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> tuple[Remote, ...]:
        """The remotes, the caller's own first."""
        return shaped(lambda told: tuple(map(Remote.of, told)), self._connection.get(_ROOT))

    def add(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, str],
        credentials: Mapping[str, str] | None = None,
        *,
        group: str | None = None,
    ) -> Remote:
        """Register a place. The service seals the credentials, and never gives them out.

        Raises:
            RemoteExists: there is one of that name.
            InvalidRequest, AddressRefused: such a place cannot be, or nobody may ask there.
            Forbidden: the caller may not do that for the group.
        """
        given = {"name": name, "kind": kind, "settings": dict(settings), **_owner(group)}
        document = given | {"credentials": dict(credentials or {})}
        return shaped(Remote.of, self._connection.send("POST", _ROOT, document=document))

    def get(self, name: str, *, group: str | None = None) -> Remote:
        """One remote.

        Raises:
            RemoteNotFound: there is none.
        """
        return shaped(Remote.of, self._connection.get(_path(name), group=group))

    def change(
        self,
        name: str,
        *,
        settings: Mapping[str, str] | None = None,
        credentials: Mapping[str, str] | None = None,
        group: str | None = None,
    ) -> Remote:
        """Give it other credentials, or other settings and the credentials anew.

        Raises:
            RemoteNotFound: there is none.
            InvalidRequest: such a place cannot be, or the credentials are missing.
            Forbidden: the caller may not do that for the group.
        """
        given = {"settings": settings, "credentials": credentials}
        document = {key: dict(value) for key, value in given.items() if value is not None} | _owner(group)
        return shaped(Remote.of, self._connection.send("PUT", _path(name), document=document))

    def delete(self, name: str, *, group: str | None = None) -> None:
        """Let the service forget it. What lies there stays.

        Raises:
            RemoteNotFound: there is none.
            Forbidden: the caller may not do that for the group.
        """
        self._connection.send("DELETE", _path(name), _owner(group))

    def test(self, name: str, *, path: str | None = None, group: str | None = None) -> RemoteTest:
        """Whether it answers and gives a file: the one at ``path``, or the first that it lists.

        Raises:
            RemoteNotFound: there is none.
        """
        told = self._connection.send("POST", f"{_path(name)}/test", {"path": path, "group": group})
        return shaped(RemoteTest.of, told)

    def files(self, name: str, path: str = "", *, limit: int | None = None, group: str | None = None) -> RemoteFiles:
        """The files in a folder and below it.

        Raises:
            RemoteNotFound, SourceNotFound: there is no such remote, or no such folder.
        """
        told = self._connection.send(
            "GET", f"{_path(name)}/files", {"path": path or None, "limit": limit, "group": group}
        )
        return shaped(RemoteFiles.of, told)

    def fetch(
        self, name: str, path: str, target: BinaryIO, progress: Progress | None = None, *, group: str | None = None
    ) -> Downloaded:
        """Write a file there into ``target``.

        Raises:
            RemoteNotFound, SourceNotFound: there is no such remote, or no such file.
        """
        parameters = {"path": path, "group": group}
        return self._connection.download(f"{_path(name)}/files/content", target, parameters, progress)

    def put(
        self, name: str, path: str, file: Attachment, progress: Progress | None = None, *, group: str | None = None
    ) -> WrittenFile:
        """Put a file there, in place of what there was.

        Raises:
            RemoteNotFound: there is no such remote.
            TooLarge: it has more bytes than may be uploaded.
        """
        told = self._connection.send(
            "PUT",
            f"{_path(name)}/files/content",
            {"path": path, "group": group},
            content=file,
            progress=progress,
            silence_seconds=_PATIENCE_SECONDS,
        )
        return shaped(WrittenFile.of, told)

    def copy(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        progress: Progress | None = None,
        *,
        source_group: str | None = None,
        target_group: str | None = None,
    ) -> WrittenFile:
        """Copy a file, each place given as remote and path. The bytes go through the service, not through here.

        Raises:
            RemoteNotFound, SourceNotFound: there is no such remote or file.
            ServiceUnreachable: the connection broke; the copy was given up.
        """
        document = {
            "source": {"remote": source[0], "path": source[1], "group": source_group},
            "target": {"remote": target[0], "path": target[1], "group": target_group},
        }
        with self._connection.lines(f"{_ROOT}/copy", {"follow": True}, _EVENTS, document=document) as lines:
            for sent in parse(lines):
                if sent.kind == "end":
                    return shaped(WrittenFile.of, sent.told)
                if sent.kind == "failed":
                    raise shaped(_failure, sent.told)
                if sent.kind == "progress" and progress is not None:
                    progress(*shaped(_progress, sent.told))
        raise ServiceUnreachable(self._connection.url, "the connection broke while the file was being copied")


def _progress(told: Mapping[str, Any]) -> tuple[int, int]:
    return int(told["moved_bytes"]), int(told["size_bytes"])


def _failure(told: Mapping[str, Any]) -> StemmaError:
    return problem(int(told["code"]), told["kind"], told["envelope"])


def _path(name: str) -> str:
    return f"{_ROOT}/{quote(name, safe='')}"


def _owner(group: str | None) -> dict[str, str]:
    return {"scope": "person"} if group is None else {"scope": "group", "group": group}
