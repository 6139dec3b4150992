"""Files on servers of the web: by https, and by http where the settings allow it.

A file is looked at by asking for its first byte: that tells its size, its version and whether ranges are given, also
where only ``GET`` is signed, and the same headers come with every part that is read later.
"""

import base64
import contextlib
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from stemma.errors import AddressRefused, SourceChanged, SourceUnavailable, SourceUnusable, StemmaError
from stemma.records import Json
from stemma.storages.addresses import Policy, Target
from stemma.storages.autoindex import HtmlListing
from stemma.storages.digests import told_digests
from stemma.storages.outgoing import Answer, Outgoing
from stemma.storages.paths import exactly, windowed
from stemma.storages.platform import basename_of
from stemma.storages.protocol import Listed, SourceInfo
from stemma.storages.sessions import Session
from stemma.storages.settling import settled

CONNECTIONS: Final = 64
_PART, _BEYOND = 206, 416
_NO_OPTIONS: Final = frozenset({400, 404, 405, 410, 501})
_SMALL_BYTES: Final = 64 * 1024
_SMALL_SECONDS: Final = 2.0
_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_NO_RANGE: Final = re.compile(r"bytes \*/([0-9]{1,18})")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_MAX_HEADER_CHARACTERS: Final = 500


class HttpsStorage:
    """Any server of the web; or one, from an address on, where a credential goes along."""

    def __init__(self, outgoing: Outgoing, *, url: str | None = None, login: Mapping[str, str] | None = None) -> None:
        self._policy: Policy = outgoing.policy
        self._header = _credential(login or {})
        self._base = None if url is None else self._based(url)
        self._session = Session(outgoing, connections=CONNECTIONS, credential=self._credential)
        self._moves: bool | None = None
        self._listing = HtmlListing(self._session, self.info)

    def _based(self, url: str) -> Target:
        target = self._policy.checked(url if url.endswith("/") else f"{url}/", "the remote")
        if target.scheme == "http" and self._header and not self._policy.is_private(target.host, target.port):
            raise AddressRefused(target.shown)  # anybody on the way could read the credential
        return target

    def _credential(self, target: Target) -> Mapping[str, str]:
        """Only for what lies at the remote: not for where it redirects to."""
        return self._header if self._base is not None and target.url.startswith(self._base.url) else {}

    def _target(self, address: str) -> Target:
        target = self._policy.checked(address, _without_query(address))
        if self._base is not None and not f"{target.url}/".startswith(self._base.url):
            raise AddressRefused(target.shown)
        return target

    def info(self, address: str) -> SourceInfo:
        """See :class:`~stemma.storages.protocol.Storage`."""
        target = self._target(address)
        what = target.shown
        headers = {"Range": "bytes=0-0"}
        with self._session.asked("GET", target, what, headers=headers, accepted=frozenset({_BEYOND})) as answer:
            if answer.status == _BEYOND and _size(answer) != 0:
                raise SourceUnusable(what, "its server does not say how large it is")
            if _is_part(answer):
                _part_at(answer, 0, what)
            found = _info(address, answer)
            # A part has the byte that was asked for, however large the whole is.
            if _is_part(answer) or (found.size_bytes is not None and found.size_bytes <= _SMALL_BYTES):
                _drain(answer)
            return found

    @contextmanager
    def read(
        self, address: str, *, version: str, offset: int = 0, length: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        """See :class:`~stemma.storages.protocol.Storage`."""
        target = self._target(address)
        what = target.shown
        if length == 0:
            yield iter(())
            return
        last = "" if length is None else str(offset + length - 1)
        headers = {"Range": f"bytes={offset}-{last}", **_condition(version)}
        with self._session.asked("GET", target, what, headers=headers, accepted=frozenset({_BEYOND})) as answer:
            if answer.status == _BEYOND:
                self._at_end(address, version, offset, what)
                yield iter(())
            elif version and _version(answer) != version:
                raise SourceChanged(what)
            elif _is_part(answer):
                yield _part(answer, offset, length, what)
            else:
                yield windowed(_body(answer), offset, length)

    def _at_end(self, address: str, version: str, offset: int, what: str) -> None:
        found = self.info(address)
        if found.size_bytes != offset or (version and found.version != version):
            raise SourceChanged(what)

    def list(self, address: str, *, limit: int) -> Iterator[Listed]:
        """See :class:`~stemma.storages.protocol.Storage`: as the pages say that servers make of folders."""
        return self._listing.files(self._target(address), limit)

    def write(self, address: str, chunks: Iterable[bytes], size_bytes: int) -> SourceInfo:
        """See :class:`~stemma.storages.protocol.Storage`."""
        target = self._own(address)
        content = exactly(chunks, size_bytes, target.shown)
        if self._can_move(target):
            self._put_aside(target, content, size_bytes)
        else:
            self._do("PUT", target, target.shown, _sized(size_bytes), content)
        return settled(lambda: self.info(address))

    def _put_aside(self, target: Target, content: Iterable[bytes], size_bytes: int) -> None:
        """Put it under another name first, since many servers keep what has come of a transfer that broke off."""
        what = target.shown
        aside = self._policy.checked(f"{target.url.partition('?')[0]}.{secrets.token_hex(8)}.part", what)
        try:
            self._do("PUT", aside, what, _sized(size_bytes), content)
            self._do("MOVE", aside, what, {"Destination": target.url, "Overwrite": "T"})
        except BaseException:
            with contextlib.suppress(StemmaError):  # the first error says why; this would say so again
                self._do("DELETE", aside, what, {})
            raise

    def _can_move(self, target: Target) -> bool:
        """Whether the server speaks WebDAV enough to give a file another name."""
        if self._moves is None:
            with self._session.asked("OPTIONS", target, target.shown, accepted=_NO_OPTIONS) as answer:
                self._moves = answer.status not in _NO_OPTIONS and answer.header("dav") is not None
        return self._moves

    def _do(
        self, method: str, target: Target, what: str, headers: Mapping[str, str], content: Iterable[bytes] | None = None
    ) -> None:
        with self._session.asked(method, target, what, headers=headers, content=content) as answer:
            for _ in windowed(_body(answer), 0, _SMALL_BYTES):
                pass

    def delete(self, address: str) -> None:
        """See :class:`~stemma.storages.protocol.Storage`."""
        target = self._own(address)
        with self._session.asked("DELETE", target, target.shown, accepted=frozenset({404, 410})) as answer:
            for _ in windowed(_body(answer), 0, _SMALL_BYTES):
                pass

    def signed(self, address: str, seconds: int) -> str | None:  # noqa: ARG002 - as the protocol has it
        """The address itself, where it needs no credential."""
        return None if self._header else self._target(address).url

    def close(self) -> None:
        """See :class:`~stemma.storages.protocol.Storage`."""
        self._session.close()

    def _own(self, address: str) -> Target:
        """An address at which something may be changed: at the remote, not anywhere in the web."""
        target = self._target(address)
        if self._base is None:
            raise SourceUnusable(target.shown, "files are changed at registered remotes only")
        return target


def _credential(login: Mapping[str, str]) -> dict[str, str]:
    if "token" in login:
        return {"Authorization": f"Bearer {login['token']}"}
    if "username" in login:
        shown = f"{login['username']}:{login.get('password', '')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(shown).decode('ascii')}"}
    return {}


def _sized(size_bytes: int) -> dict[str, str]:
    return {"Content-Length": str(size_bytes), "Content-Type": "application/octet-stream"}


def _without_query(address: str) -> str:
    """``address`` for messages: no query, which may be a key, and nothing before an ``@``."""
    return re.sub(r"//[^/?#]*@", "//", address)[:200].partition("?")[0].partition("#")[0]


def _body(answer: Answer) -> Iterator[bytes]:
    return iter(answer.read, b"")


def _drain(answer: Answer) -> None:
    """Take what is left of a small answer, so that the connection can be used again; not where it comes slowly, or is
    not small after all."""
    end = time.monotonic() + _SMALL_SECONDS
    taken = 0
    for chunk in _body(answer):
        taken += len(chunk)
        if taken > _SMALL_BYTES or time.monotonic() > end:
            return


def _part(answer: Answer, offset: int, length: int | None, what: str) -> Iterator[bytes]:
    """The part that was asked for, when it is that one, and all of it."""
    found = _part_at(answer, offset, what)
    promised = int(found[2]) - offset + 1
    at_end = found[3] != "*" and int(found[2]) + 1 == int(found[3])
    if not at_end and (length is None or promised < length):
        raise SourceUnusable(what, "its server sends less than it was asked for")
    return _all_of(answer, promised if length is None else min(promised, length), what)


def _part_at(answer: Answer, offset: int, what: str) -> re.Match[str]:
    """What the server says of the part that it sends: its first byte, its last, and the size of the whole or ``*``.

    Raises:
        SourceUnusable: it does not say which part that is, or it is not one that begins at ``offset``.
    """
    told = answer.header("content-range")
    if told is None:
        raise SourceUnusable(what, "its server sends a part of it (206) and does not say which, nor of how much")
    found = _RANGE.fullmatch(told)
    if found is None or int(found[1]) != offset or int(found[2]) < offset:
        raise SourceUnusable(what, "its server sends another part than the one that it was asked for")
    if found[3] != "*" and int(found[2]) >= int(found[3]):
        raise SourceUnusable(what, "its server says that a part of it ends behind its end")
    return found


def _all_of(answer: Answer, count: int, what: str) -> Iterator[bytes]:
    left = count
    for chunk in windowed(_body(answer), 0, count):
        left -= len(chunk)
        if not left and answer.header("content-length") == str(count):
            answer.read()  # the end of it, so that the connection can be used again
        yield chunk
    if left:
        raise SourceUnavailable(what, "it breaks off")


def _is_part(answer: Answer) -> bool:
    """Whether it is a part of the file: there are servers that say so in a header alone."""
    return answer.status == _PART or _RANGE.fullmatch(answer.header("content-range") or "") is not None


def _size(answer: Answer) -> int | None:
    """How large the whole is, as the answer says."""
    if answer.status == _BEYOND or _is_part(answer):
        told = answer.header("content-range") or ""
        found = _RANGE.fullmatch(told)
        size = found[3] if found else (none[1] if (none := _NO_RANGE.fullmatch(told)) else "*")
        return None if size == "*" else int(size)
    length = answer.header("content-length") or ""
    return int(length) if _NUMBER.fullmatch(length) else None


def _told(answer: Answer, name: str) -> str | None:
    value = (answer.header(name) or "")[:_MAX_HEADER_CHARACTERS]
    return value if value.isprintable() and value else None


def _version(answer: Answer) -> str:
    """A strong ETag; else all that the server says of time and size. A weak ETag alone does not tell bytes apart."""
    etag, modified = _told(answer, "etag"), _told(answer, "last-modified")
    if etag is not None and not etag.startswith("W/"):
        return etag
    return f"{modified} {_size(answer)} {etag or ''}".rstrip() if modified else ""


def _condition(version: str) -> dict[str, str]:
    """What makes the server say itself that it has another version, where the version is a strong ETag."""
    return {"If-Match": version} if version.startswith('"') and version.endswith('"') else {}


def _info(address: str, answer: Answer) -> SourceInfo:
    told: dict[str, Json] = {
        "etag": _told(answer, "etag"),
        "last_modified": _told(answer, "last-modified"),
        "served_from": answer.target.shown if answer.target != answer.asked else None,
    }
    digests = told_digests(_told(answer, "repr-digest"), _told(answer, "digest"))
    return SourceInfo(
        address=address,
        basename=basename_of(answer.header("content-disposition") or "", answer.asked.url),
        size_bytes=_size(answer),
        version=_version(answer),
        sha256=digests.get("sha-256"),
        md5=digests.get("md5"),
        takes_ranges=answer.status == _BEYOND or _is_part(answer),
        media_type=_told(answer, "content-type") or "",
        told={name: value for name, value in told.items() if value is not None},
    )
