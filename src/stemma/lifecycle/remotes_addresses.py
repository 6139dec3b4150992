"""Which address lies at which remote, and what a path at a remote is as an address. Nothing is asked here."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from stemma.database.queries.remotes import Remote
from stemma.errors import Finding, InvalidRequest, RemoteNotFound

RCLONE: Final = "rclone:"
MAX_PATH_CHARACTERS: Final = 1024
_PLACES: Final = {"s3": "bucket", "gs": "bucket", "az": "container"}
"""The setting that has what stands behind ``//`` in addresses of the kind."""
_USUAL_PORTS: Final = {"https": 443, "http": 80}
_DOTS: Final = frozenset({".", ".."})


def serving(known: Iterable[Remote], address: str) -> Remote | None:
    """Of ``known``, the nearest first, the one that ``address`` lies at; None where it lies at none of them.

    A person's own goes before a group's. Of several of one owner, the one that says most of the address is taken, of
    two that say the same the one that stands first. An address with a step upwards in it lies at none: it could lead
    out of the remote, and must not get its credentials.

    Raises:
        RemoteNotFound: the address names a remote, and there is none of that name.
    """
    candidates = list(known)
    if address.startswith(RCLONE):
        name = address.removeprefix(RCLONE).partition("/")[0]
        found = next((one for one in candidates if one.kind == "rclone" and one.name == name), None)
        if found is None:
            raise RemoteNotFound(name)
        return found
    steps = _steps(address)
    if steps is None:
        return None
    best: tuple[Remote, int] | None = None
    for remote in candidates:
        fit = _fit(remote, address, steps)
        if fit is None or (best is not None and (remote.scope, remote.owner) != (best[0].scope, best[0].owner)):
            continue
        if best is None or fit > best[1]:
            best = remote, fit
    return best[0] if best else None


def address_at(remote: Remote, path: str) -> str:
    """The address of ``path`` at ``remote``; of the whole of it where ``path`` is empty.

    Raises:
        InvalidRequest: it is no path below a remote.
    """
    checked = _checked(path)
    settings = remote.settings
    if remote.kind == "rclone":
        return f"{RCLONE}{remote.name}/{checked}"
    if remote.kind == "file":
        return f"file://{quote(_joined(settings.get('path', '/'), checked))}"
    if remote.kind == "https":
        base = settings.get("url", "").partition("?")[0]
        return f"{base.rstrip('/')}/{quote(checked)}"
    place = settings.get(_PLACES[remote.kind], "")
    return f"{remote.kind}://{place}/{_joined(settings.get('prefix', ''), checked).removeprefix('/')}"


def _checked(path: str) -> str:
    parts = path.strip("/").split("/") if path.strip("/") else []
    is_odd = len(path) > MAX_PATH_CHARACTERS or not path.isprintable() or "\\" in path
    if is_odd or any(part in {"", *_DOTS} for part in parts):
        message = (
            f"a path at a remote has at most {MAX_PATH_CHARACTERS} characters, all of which can be printed, / between "
            "its parts, and no part that is empty, '.' or '..'"
        )
        raise InvalidRequest(message, [Finding(message, "remote/path")])
    return "/".join(parts) + ("/" if path.endswith("/") and parts else "")


def _joined(root: str, path: str) -> str:
    return f"{root.rstrip('/')}/{path}" if path else root


def _fit(remote: Remote, address: str, steps: tuple[str, ...]) -> int | None:
    """How many parts of the address the remote says; None where it lies elsewhere."""
    scheme = address.partition(":")[0].lower()
    if remote.kind == "https":
        base = remote.settings.get("url", "")
        if _origin(base) is None or _origin(base) != _origin(address):
            return None
        return _beginning(unquote(urlsplit(base).path), steps)
    if remote.kind != scheme:
        return None
    if remote.kind == "file":
        return _beginning(remote.settings.get("path", ""), steps)
    if address.partition("://")[2].partition("/")[0] != remote.settings.get(_PLACES[remote.kind]):
        return None
    return _beginning(remote.settings.get("prefix", ""), steps)


def _beginning(root: str, steps: tuple[str, ...]) -> int | None:
    """The number of the steps of ``root`` when these are the first of ``steps``."""
    wanted = tuple(part for part in root.split("/") if part)
    return len(wanted) if steps[: len(wanted)] == wanted else None


def _steps(address: str) -> tuple[str, ...] | None:
    """The parts of the path of ``address``; None where it cannot be said what they are."""
    if address.partition(":")[0] in _PLACES:  # keys are as they are written
        steps = tuple(part for part in address.partition("://")[2].partition("/")[2].split("/") if part)
    else:
        try:
            path = urlsplit(address).path
        except ValueError:
            return None
        steps = tuple(unquote(part) for part in path.split("/") if part)
    is_unclear = any(part in _DOTS or "/" in part or "\\" in part for part in steps)
    return None if is_unclear else steps


def _origin(url: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _USUAL_PORTS or not parts.hostname or parts.username is not None:
        return None
    return parts.scheme, parts.hostname.removesuffix("."), port or _USUAL_PORTS[parts.scheme]
