"""What may be said of a remote, kind by kind: nothing that is not named here reaches a library or a program.

What rclone can be told is given type by type, since there is much in it that runs programs, reads files of this
machine, or leads to other remotes: those types and those parameters are not here.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from stemma.errors import Finding, InvalidRequest
from stemma.storages.addresses import parsed
from stemma.storages.paths import is_path
from stemma.storages.protocol import RemoteSettings

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAX_SETTING_CHARACTERS: Final = 1024
_MAX_SECRET_CHARACTERS: Final = 16 * 1024
_LAST_PORT: Final = 65535
_SEVERAL_LINES: Final = frozenset({"key_pem", "service_account_key", "service_account_credentials"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of remote, or a type of rclone, can be told."""

    settings: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    """Of the settings and secrets."""
    together: tuple[frozenset[str], ...] = ()
    """Those of which all are given, or none."""
    fixed: Mapping[str, str] = field(default_factory=dict)
    """For types of rclone: what it is told in any case."""
    port: int | None = None
    """For types of rclone that do not speak as the web does: the usual one."""
    through_gate: bool = True
    """Whether its connections can be led through ours."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OAUTH: Final = _names("token client_id client_secret")
KINDS: Final[Mapping[str, Kind]] = {
    "https": Kind(_names("url"), _names("token username password"), _names("url"), (_names("username password"),)),
    "s3": Kind(
        _names("bucket prefix region endpoint addressing etag"),
        _names("access_key_id secret_access_key session_token"),
        _names("bucket"),
        (_names("access_key_id secret_access_key"),),
    ),
    "gs": Kind(_names("bucket prefix endpoint"), _names("service_account_key"), _names("bucket")),
    "az": Kind(
        _names("container prefix account endpoint"), _names("account_key sas_token"), _names("container account")
    ),
    "file": Kind(_names("path"), required=_names("path")),
    "rclone": Kind(_names("type root"), required=_names("type")),
}
RCLONE_TYPES: Final[Mapping[str, Kind]] = {
    "b2": Kind(secrets=_names("account key"), required=_names("account key")),
    "box": Kind(_names("root_folder_id box_sub_type"), _OAUTH, _names("token")),
    "drive": Kind(
        _names("scope root_folder_id team_drive shared_with_me"),
        _OAUTH | {"service_account_credentials"},
        fixed={"env_auth": "false", "skip_gdocs": "true"},
    ),
    "dropbox": Kind(secrets=_OAUTH, required=_names("token")),
    "ftp": Kind(
        _names("host port tls explicit_tls"), _names("user pass"), _names("host"), port=21,
        fixed={"concurrency": "16", "ask_password": "false"},
    ),
    "hdfs": Kind(_names("namenode username"), required=_names("namenode"), port=8020, through_gate=False),
    "http": Kind(_names("url no_head"), required=_names("url")),
    "onedrive": Kind(_names("region drive_id drive_type"), _OAUTH, _names("token drive_id drive_type")),
    "sftp": Kind(
        _names("host port user host_keys"), _names("pass key_pem key_file_pass"), _names("host user host_keys"),
        port=22,
        fixed={
            "shell_type": "none", "disable_hashcheck": "true", "key_use_agent": "false", "ask_password": "false",
            "pin_host_key": "false", "set_modtime": "false",
        },
    ),
    "smb": Kind(
        _names("host port domain"), _names("user pass"), _names("host"), port=445, through_gate=False,
        fixed={"use_kerberos": "false"},
    ),
    "swift": Kind(
        _names("auth region tenant tenant_id domain tenant_domain auth_version endpoint_type storage_url"),
        _names("user key user_id auth_token application_credential_id application_credential_name"
               " application_credential_secret"),
        _names("auth"),
        fixed={"env_auth": "false"},
    ),
    "webdav": Kind(_names("url vendor"), _names("user pass bearer_token"), _names("url")),
}  # fmt: skip
_CHOICES: Final = {
    "addressing": frozenset({"path", "virtual"}),
    "etag": frozenset({"md5", "opaque"}),
    "tls": frozenset({"true", "false"}),
    "explicit_tls": frozenset({"true", "false"}),
    "no_head": frozenset({"true", "false"}),
    "shared_with_me": frozenset({"true", "false"}),
}


def _is_url(value: str) -> bool:
    target = parsed(value)
    return target is not None and not urlsplit(value).query and not urlsplit(value).fragment


def _is_port(value: str) -> bool:
    return value.isascii() and value.isdigit() and 0 < int(value[:6]) <= _LAST_PORT


_FORMS: Final[tuple[tuple[frozenset[str], Callable[[str], object], str], ...]] = (
    (
        _names("url endpoint auth storage_url"),
        _is_url,
        "is an address such as https://data.example.org/folder, without user and query",
    ),
    (
        _names("bucket container account region type vendor scope drive_type box_sub_type auth_version endpoint_type"),
        re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}").fullmatch,
        "has letters, digits, '.', '_' and '-'",
    ),
    (
        _names("prefix root path"),
        lambda value: not value.strip("/") or is_path(value.strip("/")),
        "is a path, without empty parts, '.' and '..'",
    ),
    (_names("root"), lambda value: "]" not in value and ":" not in value, "has neither ']' nor ':' in it"),
    (_names("path"), lambda value: value.startswith("/"), "begins with /"),
    (
        _names("host"),
        re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?|[0-9A-Fa-f:]{2,39}").fullmatch,
        "is the name or the address of a server",
    ),
    (_names("port"), _is_port, "is a number"),
    (
        _names("namenode"),
        re.compile(r"[A-Za-z0-9_.-]{1,253}:[0-9]{1,5}").fullmatch,
        "is a server and a port, such as namenode.example.org:8020",
    ),
)
"""What settings of these names look like, and how that is said."""


def check_remote(remote: RemoteSettings) -> None:
    """Say what is wrong with what is said of a remote. Nothing is asked, and no secret is told back.

    Raises:
        InvalidRequest: there can be no such remote (findings).
    """
    findings = list(_wrong(remote))
    if findings:
        raise InvalidRequest(f"there can be no such remote: {findings[0].message}", findings)


def kind_of(remote: RemoteSettings) -> Kind | None:
    """What a remote of this kind, and with rclone of this type, can be told; None where there is no such kind."""
    kind = KINDS.get(remote.kind)
    if remote.kind != "rclone" or kind is None:
        return kind
    inner = RCLONE_TYPES.get(remote.settings.get("type", ""))
    if inner is None:
        return None
    return Kind(
        kind.settings | inner.settings, inner.secrets, kind.required | inner.required, inner.together, inner.fixed,
        inner.port, inner.through_gate,
    )  # fmt: skip


def _wrong(remote: RemoteSettings) -> "list[Finding]":
    if not NAME.fullmatch(remote.name):
        return [
            _finding("its name has letters, digits, '.', '_' and '-', and begins with one of the first two", "name")
        ]
    kind = kind_of(remote)
    if kind is None:
        return [_finding(f"it is one of {', '.join(KINDS)}; with rclone, of {', '.join(RCLONE_TYPES)}", "kind")]
    given = {**remote.settings, **remote.secrets}
    found = [_finding(f"it has no setting {name[:60]!a}", "setting") for name in set(remote.settings) - kind.settings]
    found += [_finding(f"it has no secret {name[:60]!a}", "secret") for name in set(remote.secrets) - kind.secrets]
    found += [_finding(f"its {name} is missing", "missing") for name in sorted(kind.required - set(given))]
    for together in kind.together:
        if set(given) & together and not together <= set(given):
            found.append(_finding(f"{' and '.join(sorted(together))} are given together", "missing"))
    if not found:
        found += [wrong for one in remote.settings.items() if (wrong := _wrong_setting(*one))]
        found += [wrong for one in remote.secrets.items() if (wrong := _wrong_secret(*one))]
    return found


def _wrong_setting(name: str, value: str) -> Finding | None:
    if not value or len(value) > _MAX_SETTING_CHARACTERS or not value.isprintable():
        return _finding(f"its {name} is empty, too long, or has characters that cannot be shown", "setting")
    if name in _CHOICES and value not in _CHOICES[name]:
        return _finding(f"its {name} is one of {', '.join(sorted(_CHOICES[name]))}", name)
    for names, is_fit, wanted in _FORMS:
        if name in names and not is_fit(value):
            return _finding(f"its {name} {wanted}", name)
    return None


def _wrong_secret(name: str, value: str) -> Finding | None:
    shown = value.replace("\n", "").replace("\r", "") if name in _SEVERAL_LINES else value
    if not value or len(value) > _MAX_SECRET_CHARACTERS or not shown.isprintable():
        return _finding(f"its {name} is empty, too long, or has characters that no such secret has", "secret")
    if name in {"service_account_key", "service_account_credentials"}:
        try:
            read = json.loads(value)
        except ValueError:
            read = None
        if not isinstance(read, dict) or not all(
            isinstance(read.get(key), str) for key in ("private_key", "client_email")
        ):
            return _finding(f"its {name} is the JSON that Google gives for a service account", "secret")
    return None


def _finding(message: str, what: str) -> Finding:
    return Finding(message, f"remote/{what}")
