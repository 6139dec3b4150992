"""Remotes as rclone is told of them, under names of ours, and what it says went wrong with them."""

import json
import re
import secrets
import threading
from typing import Any, Final

from stemma.errors import (
    AddressRefused,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    StemmaError,
)
from stemma.storages.kinds import Kind, kind_of
from stemma.storages.protocol import RemoteSettings
from stemma.storages.rclone_daemon import RcloneDaemon

_OWN: Final = frozenset({"type", "root"})
_NOT_THERE: Final = re.compile(
    r"(object|directory|file|dir) not found|no such (file|directory)|does not exist|\b404\b|\b550\b", re.IGNORECASE
)
_CLOSED: Final = re.compile(
    r"\b40[13]\b|\b530\b|unauthori[sz]ed|forbidden|permission denied|access denied|unable to authenticate|logon failure"
    r"|login incorrect|authentication fail|invalid_grant|expired token|token expired|no supported methods remain",
    re.IGNORECASE,
)
_HOST_KEY: Final = re.compile(r"host key|knownhosts|known_hosts", re.IGNORECASE)
_CANNOT: Final = re.compile(
    r"not (supported|implemented)|read.?only|can't (set|upload|put|move|delete)|doesn't support|\b405\b|\b501\b"
    r"|is a directory|not a file",
    re.IGNORECASE,
)


def refusal_of(text: str, what: str) -> StemmaError:
    """What ``text`` of rclone means. It is not passed on: it shows what rclone was told."""
    if _HOST_KEY.search(text):
        return SourceUnusable(what, "its server shows another host key than the one that is known of it")
    if _CLOSED.search(text):
        return SourceForbidden(what)
    if _NOT_THERE.search(text):
        return SourceNotFound(what)
    if _CANNOT.search(text):
        return SourceUnusable(what, "its server does not do this")
    return SourceUnavailable(what, "its server does not answer, or breaks off")


class ReachedRemote:
    """A remote that rclone knows, and learns anew when it was started anew."""

    def __init__(self, remote: RemoteSettings, daemon: RcloneDaemon) -> None:
        kind = kind_of(remote)
        if kind is None:
            raise AddressRefused(f"the remote {remote.name!r}")
        self._remote = remote
        self._kind: Kind = kind
        self._daemon = daemon
        self._guard = threading.Lock()
        self._name: str | None = None
        self._generation = -1
        self._may_be_asked()

    def name(self) -> str:
        """What rclone calls the folder that is the remote's root."""
        with self._guard:
            generation = self._daemon.ready()
            if self._name is None or generation != self._generation:
                self._name = self._made()
                self._generation = generation
            root = self._remote.settings.get("root", "").rstrip("/")
            return f"{self._name}:{root}"

    def close(self) -> None:
        """Rclone forgets it."""
        with self._guard:
            name, self._name = self._name, None
            if name is not None and self._daemon.generation == self._generation:
                self._daemon.call("config/delete", {"name": name})

    def _may_be_asked(self) -> None:
        """The rules of the one way out, as far as they can be seen in what is written."""
        policy, settings = self._daemon.policy, self._remote.settings
        what = f"the remote {self._remote.name!r}"
        for name in ("url", "auth", "storage_url"):
            if name in settings:
                target = policy.checked(settings[name], what)
                if target.scheme == "http" and self._remote.secrets and not policy.is_private(target.host, target.port):
                    raise AddressRefused(what)  # anybody on the way could read the secrets
        if self._kind.port is None:
            return
        host, port = self._place(self._kind.port)
        is_allowed = policy.may_go(host, port, self._kind.port)
        if not self._kind.through_gate:  # it connects by itself, so it has to be one that the operators name
            is_allowed = is_allowed and policy.is_named(host, port, self._kind.port)
        if not is_allowed:
            raise AddressRefused(what)

    def _place(self, usual_port: int) -> tuple[str, int]:
        settings = self._remote.settings
        if "namenode" in settings:
            host, _, port = settings["namenode"].partition(":")
            return host.lower(), int(port)
        return settings["host"].lower().removesuffix("."), int(settings.get("port", usual_port))

    def _made(self) -> str:
        name = f"r{secrets.token_hex(8)}"
        parameters = {
            **{key: value for key, value in self._remote.settings.items() if key not in _OWN},
            **{key: _as_told(key, value) for key, value in self._remote.secrets.items()},
            **self._kind.fixed,
        }
        if self._kind.port is not None and self._kind.through_gate:
            parameters["http_proxy"] = self._daemon.way_to(*self._place(self._kind.port), usual_port=self._kind.port)
        asked: dict[str, Any] = {
            "name": name,
            "type": self._remote.settings["type"],
            "parameters": parameters,
            "opt": {"obscure": True, "nonInteractive": True},
        }
        told = self._daemon.call("config/create", asked)
        if told.error is not None:
            raise SourceUnusable(f"the remote {self._remote.name!r}", "rclone does not take what it is told of it")
        return name


def _as_told(key: str, value: str) -> str:
    """A secret in the form that rclone wants."""
    if key == "key_pem":
        return value.replace("\r", "").strip().replace("\n", "\\n")
    if key == "service_account_credentials":  # the key alone: other kinds of it read files and run programs
        read = json.loads(value)
        wanted = ("private_key", "private_key_id", "client_email", "client_id")
        kept = {name: read[name] for name in wanted if name in read}
        return json.dumps({**kept, "type": "service_account", "token_uri": "https://oauth2.googleapis.com/token"})
    return value
