"""Places that rclone reaches (SFTP, WebDAV, FTP, SMB, Swift, Google Drive, …), through the one rclone of this process.

Bytes come as rclone serves the files of its remotes, over the same socket, by ranges; they go there under a name
aside, and get their own when all have arrived.
"""

import contextlib
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

import httpcore

from stemma.errors import (
    AddressRefused,
    SourceChanged,
    SourceNotFound,
    SourceUnavailable,
    SourceUnusable,
    StemmaError,
    TooLarge,
)
from stemma.records import Json
from stemma.storages import haste
from stemma.storages.outgoing import telling
from stemma.storages.pace import Pace
from stemma.storages.paths import checked_path, exactly, is_path, last_part, windowed
from stemma.storages.protocol import Listed, RemoteSettings, SourceInfo
from stemma.storages.rclone_daemon import CALL_SECONDS, RcloneDaemon, TooLong
from stemma.storages.rclone_remotes import ReachedRemote, refusal_of
from stemma.storages.settling import settled

_PART, _WHOLE = 206, 200
_BYTES_A_FILE: Final = 6000
"""At most, in a listing."""
_HASHED: Final = {"drive": ["md5"], "swift": ["md5"]}
"""Types that tell digests without reading the files, and which."""


class RcloneStorage:
    """One remote of rclone."""

    def __init__(
        self, remote: RemoteSettings, daemon: RcloneDaemon, *, silence_seconds: float, answer_seconds: float
    ) -> None:
        self._remote = remote
        self._daemon = daemon
        self._silence_seconds = silence_seconds
        self._answer_seconds = answer_seconds
        self._reached = ReachedRemote(remote, daemon)
        self._hashes = _HASHED.get(remote.settings["type"], [])

    def info(self, address: str) -> SourceInfo:
        """See :class:`~stemma.storages.protocol.Storage`."""
        path, what = self._path(address), _what(address)
        options = {"showHash": True, "hashTypes": self._hashes} if self._hashes else {}
        found = self._call("operations/stat", {"remote": path, "opt": options}, what, seconds=self._answer_seconds).get(
            "item"
        )
        if not isinstance(found, dict):
            raise SourceNotFound(what)
        if found.get("IsDir"):
            raise SourceUnusable(what, "it is a folder")
        return self._info(address, found, what)

    @contextmanager
    def read(
        self, address: str, *, version: str, offset: int = 0, length: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        """See :class:`~stemma.storages.protocol.Storage`."""
        path, what = self._path(address), _what(address)
        if length == 0:
            yield iter(())
            return
        last = "" if length is None else str(offset + length - 1)
        headers = {"Range": f"bytes={offset}-{last}"} if offset or length is not None else {}
        served = f"/{quote(f'[{self._reached.name()}]', safe='')}/{quote(path)}"
        with self._daemon.asked("GET", served, headers, seconds=3 * self._silence_seconds) as answer:
            if answer.status not in {_PART, _WHOLE}:
                self._refuse_unless_at_end(answer, address, version, offset)
                yield iter(())
                return
            size = _whole_size(answer)
            if version and _version(_modified(answer), size) != version:
                raise SourceChanged(what)
            chunks = self._paced(answer, what)
            skip = offset if answer.status == _WHOLE else 0
            yield _all_of(windowed(chunks, skip, length), _count(size, offset, length), what)

    def list(self, address: str, *, limit: int) -> Iterator[Listed]:
        """See :class:`~stemma.storages.protocol.Storage`."""
        folder, what = self._path(address, is_folder=True), _what(address)
        options: dict[str, Json] = {"recurse": True, "filesOnly": True}
        if self._hashes:
            options |= {"showHash": True, "hashTypes": self._hashes}
        try:
            most = 1024 * 1024 + limit * _BYTES_A_FILE
            told = self._call("operations/list", {"remote": folder, "opt": options}, what, most_bytes=most)
        except TooLong as error:
            raise TooLarge(what, limit, "files") from error
        found = told.get("list")
        if not isinstance(found, list) or not found:
            raise SourceNotFound(what)
        if len(found) > limit:
            raise TooLarge(what, limit, "files")
        for one in found:
            path = str(one.get("Path", "")) if isinstance(one, dict) else ""
            path = checked_path(path.removeprefix(f"{folder}/") if folder else path, what)
            yield Listed(path, self._info(f"{address.rstrip('/')}/{path}", one, what))

    def write(self, address: str, chunks: Iterable[bytes], size_bytes: int) -> SourceInfo:
        """See :class:`~stemma.storages.protocol.Storage`."""
        path, what = self._path(address), _what(address)
        folder = path.rpartition("/")[0]
        aside = f".{secrets.token_hex(8)}.part"
        there = f"{folder}/{aside}" if folder else aside
        try:
            self._send(folder, aside, chunks, size_bytes, what)
            settled(lambda: self._arrived(there, size_bytes, what))
            fs = self._reached.name()
            moved = {"srcFs": fs, "srcRemote": there, "dstFs": fs, "dstRemote": path}
            # A server may not find for a moment what it has just taken.
            settled(lambda: self._call("operations/movefile", moved, what))
        except BaseException:
            with contextlib.suppress(StemmaError):  # the first error says why; this would say so again
                self._call("operations/deletefile", {"remote": there}, what)
            raise
        return settled(lambda: self.info(address))

    def _send(self, folder: str, name: str, chunks: Iterable[bytes], size_bytes: int, what: str) -> None:
        """Upload all of it. Rclone then looks for it, and some servers show it a moment after they have taken it."""
        is_sent = False

        def counted() -> Iterator[bytes]:
            nonlocal is_sent
            yield from exactly(chunks, size_bytes, what)
            is_sent = True

        try:
            self._upload(folder, name, counted(), size_bytes, what)
        except SourceNotFound:
            if not is_sent:  # it is what the bytes come from that is gone
                raise

    def _arrived(self, path: str, size_bytes: int, what: str) -> None:
        found = self._call("operations/stat", {"remote": path}, what).get("item")
        if found is None:
            raise SourceNotFound(what)
        if not isinstance(found, dict) or found.get("Size") not in {size_bytes, -1}:
            raise SourceUnavailable(what, "not all of it has arrived")

    def delete(self, address: str) -> None:
        """See :class:`~stemma.storages.protocol.Storage`."""
        try:
            self._call("operations/deletefile", {"remote": self._path(address)}, _what(address))
        except SourceNotFound:
            return

    def signed(self, address: str, seconds: int) -> str | None:  # noqa: ARG002 - as the protocol has it
        """There are none."""
        return None

    def close(self) -> None:
        """See :class:`~stemma.storages.protocol.Storage`."""
        self._reached.close()

    def _path(self, address: str, *, is_folder: bool = False) -> str:
        """The path below the remote's root that ``address`` names."""
        name, _, path = address.removeprefix("rclone:").partition("/")
        path = path.rstrip("/") if is_folder else path
        is_named = address.startswith("rclone:") and name == self._remote.name
        if not is_named or (path and not is_path(path)) or not (path or is_folder):
            raise AddressRefused(_what(address))
        return path

    def _call(
        self,
        command: str,
        parameters: Mapping[str, Json],
        what: str,
        *,
        most_bytes: int = 1024 * 1024,
        seconds: float = CALL_SECONDS,
    ) -> dict[str, Any]:
        filled = parameters if "srcFs" in parameters else {"fs": self._reached.name(), **parameters}
        seconds = haste.within(seconds)
        if seconds <= 0:
            raise SourceUnavailable(what, "it takes too long")
        told = self._daemon.call(command, filled, most_bytes=most_bytes, seconds=seconds)
        if told.error is not None:
            raise refusal_of(told.error, what)
        if not isinstance(told.value, dict):
            raise SourceUnavailable(what, "rclone does not answer as it should")
        return told.value

    def _upload(self, folder: str, name: str, chunks: Iterable[bytes], size_bytes: int, what: str) -> None:
        """Put the bytes there, as the one file of a form."""
        mark = secrets.token_hex(16)
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="file0"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{mark}--\r\n".encode()

        def form() -> Iterator[bytes]:
            yield head
            yield from chunks
            yield tail

        path = f"/operations/uploadfile?fs={quote(self._reached.name(), safe='')}&remote={quote(folder, safe='')}"
        headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        length = len(head) + size_bytes + len(tail)
        with self._daemon.asked("POST", path, headers, form(), length=length) as answer:
            if answer.status != _WHOLE:
                self._refuse(answer, what)
            for _ in answer.iter_stream():
                pass

    def _refuse_unless_at_end(self, answer: httpcore.Response, address: str, version: str, offset: int) -> None:
        """Rclone says in many ways that a part begins at the end of the file, or behind it."""
        if offset:
            found = self.info(address)
            if version and found.version != version:
                raise SourceChanged(_what(address))
            if found.size_bytes == offset:
                return
        self._refuse(answer, _what(address))

    @staticmethod
    def _refuse(answer: httpcore.Response, what: str) -> None:
        text = bytearray()
        with telling(what):
            for part in answer.iter_stream():
                text += part
                if len(text) > 64 * 1024:
                    break
        try:
            said = str(json.loads(text).get("error", ""))
        except (ValueError, AttributeError):
            said = ""
        raise refusal_of(said, what)

    def _paced(self, answer: httpcore.Response, what: str) -> Iterator[bytes]:
        pace = Pace(self._silence_seconds)
        with telling(what):
            stream = iter(answer.iter_stream())
            while True:
                started = time.monotonic()
                chunk = next(stream, None)
                if chunk is None:
                    return
                pace.came(len(chunk), time.monotonic() - started)
                yield chunk

    def _info(self, address: str, item: Mapping[str, Any], what: str) -> SourceInfo:
        size = item.get("Size")
        if not isinstance(size, int) or isinstance(size, bool):
            raise SourceUnavailable(what, "rclone does not answer as it should")
        known = size if size >= 0 else None
        modified = _moment(item.get("ModTime"))
        hashes = item.get("Hashes") or {}
        return SourceInfo(
            address=address,
            basename=last_part(address),
            size_bytes=known,
            version=_version(modified, known),
            md5=hashes.get("md5") or None,
            takes_ranges=known is not None,
            told={} if modified is None else {"last_modified": modified.isoformat()},
        )


def _what(address: str) -> str:
    return address[:200]


def _moment(text: Any) -> datetime | None:
    """A time that rclone tells, to the second; None where it tells one because it has to."""
    try:
        read = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return read.astimezone(UTC).replace(microsecond=0) if read.year > 1970 else None  # noqa: PLR2004 - see above


def _modified(answer: httpcore.Response) -> datetime | None:
    told = _header(answer, b"last-modified")
    try:
        return _moment(parsedate_to_datetime(told).isoformat()) if told else None
    except ValueError:
        return None


def _version(modified: datetime | None, size: int | None) -> str:
    return "" if modified is None else f"{modified.isoformat()} {size}"


def _header(answer: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in answer.headers if key.lower() == name), "")


def _whole_size(answer: httpcore.Response) -> int | None:
    told = _header(answer, b"content-range").rpartition("/")[2] or _header(answer, b"content-length")
    return int(told) if told.isascii() and told.isdigit() else None


def _count(size: int | None, offset: int, length: int | None) -> int | None:
    """How many bytes have to come."""
    if size is None:
        return None
    left = max(0, size - offset)
    return left if length is None else min(left, length)


def _all_of(chunks: Iterable[bytes], count: int | None, what: str) -> Iterator[bytes]:
    came = 0
    for chunk in chunks:
        came += len(chunk)
        yield chunk
    if count is not None and came != count:
        raise SourceUnavailable(what, "it breaks off")
