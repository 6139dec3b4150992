"""Object stores: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

obstore moves the bytes. All that it is to know is said to it one by one, and its credentials come from a call of ours:
whatever lies in the environment of this process or at an instance's metadata server is not asked. Its connections go
through the :mod:`gate <stemma.storages.gate>`, which holds them to the rules of the one way out.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import obstore

from stemma.errors import AddressRefused, SourceChanged, SourceNotFound, SourceUnavailable, SourceUnusable, TooLarge
from stemma.records import Json
from stemma.storages.https import HttpsStorage
from stemma.storages.in_time import in_time
from stemma.storages.objects_errors import OBSTORE_ERRORS, RangeBeyond, RangeIgnored, refusal_of
from stemma.storages.outgoing import Outgoing
from stemma.storages.pace import Pace, TooSlow
from stemma.storages.paths import checked_path, exactly, is_path, last_part, sliced, windowed
from stemma.storages.protocol import Listed, SourceInfo
from stemma.storages.settling import settled

if TYPE_CHECKING:
    from obstore import GetResult, ListStream, ObjectMeta

    from stemma.storages.objects_open import Bucket

_ONE_PUT_BYTES: Final = 16 * 1024 * 1024
_PART_BYTES: Final = 8 * 1024 * 1024
_MOST_PARTS: Final = 9000
_LISTED_AT_ONCE: Final = 1000
_SLOW_BATCH: Final = 5
"""So many times as long as an answer may take until it begins, all of one in a listing may take to come."""
_SIGNED_SECONDS: Final = 24 * 3600
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_MD5_CHARACTERS: Final = 32


class ObjectStorage:
    """One bucket, below a prefix."""

    def __init__(self, bucket: "Bucket", outgoing: Outgoing) -> None:
        self._bucket = bucket
        self._store = bucket.store
        self._silence_seconds = outgoing.silence_seconds
        self._answer_seconds = outgoing.answer_seconds
        self._by_url: HttpsStorage | None = None
        """For servers that call a part the whole, which obstore does not take: parts are read by signed URL."""
        self._outgoing = outgoing
        self._takes_ranges = True
        """Until it is seen that it does not."""

    def info(self, address: str) -> SourceInfo:
        """See :class:`~stemma.storages.protocol.Storage`.

        Its first byte is asked for: that tells as much, whether ranges are given, and in errors why not.
        """
        key, what = self._key(address), _what(address)
        if self._takes_ranges and self._by_url is None:
            try:
                with self._told(what):
                    answer = in_time(
                        lambda: obstore.get_async(self._store, key, options={"range": (0, 1)}), self._answer_seconds
                    )
                    return self._info(address, answer.meta)
            except RangeIgnored:
                self._ranges_ignored(address)
            except RangeBeyond:  # it has no first byte
                pass
        with self._told(what):
            return self._info(address, in_time(lambda: obstore.head_async(self._store, key), self._answer_seconds))

    @contextmanager
    def read(
        self, address: str, *, version: str, offset: int = 0, length: int | None = None
    ) -> Iterator[Iterator[bytes]]:
        """See :class:`~stemma.storages.protocol.Storage`."""
        key, what = self._key(address), _what(address)
        if length == 0:
            yield iter(())
            return
        is_part = self._takes_ranges and (offset > 0 or length is not None)
        if is_part and self._by_url is not None:
            with self._read_by_url(self._by_url, address, version, offset, length) as chunks:
                yield chunks
            return
        try:
            answer = self._asked(key, what, version, (offset, length) if is_part else None)
        except RangeIgnored:
            self._ranges_ignored(address)
            answer, is_part = self._asked(key, what, version, None), False
        except RangeBeyond:
            if self.info(address).size_bytes != offset:
                raise SourceChanged(what) from None
            yield iter(())
            return
        if version and _version(answer.meta) != version:
            raise SourceChanged(what)
        first, behind = answer.range
        if not is_part:
            yield windowed(self._all_of(answer, behind, what), offset, length)
            return
        end = answer.meta["size"] if length is None else min(offset + length, answer.meta["size"])
        if (first, behind) != (offset, end):
            raise SourceUnusable(what, "its server sends another part than the one that it was asked for")
        yield self._all_of(answer, end - offset, what)

    def list(self, address: str, *, limit: int) -> Iterator[Listed]:
        """See :class:`~stemma.storages.protocol.Storage`."""
        folder, what = self._key(address, is_folder=True), _what(address)
        base = address.rstrip("/")
        count = 0
        with self._told(what):
            listing = [obstore.list(self._store, folder or None, chunk_size=_LISTED_AT_ONCE)]
            for meta in _each(listing, self._answer_seconds * _SLOW_BATCH):
                path = meta["path"].removeprefix(folder).removeprefix("/")
                if not path:  # what stands for the folder itself
                    continue
                count += 1
                if count > limit:
                    raise TooLarge(what, limit, "files")
                checked_path(path, what)
                yield Listed(path, self._info(f"{base}/{path}", meta))
        if not count:
            raise SourceNotFound(what)

    def write(self, address: str, chunks: Iterable[bytes], size_bytes: int) -> SourceInfo:
        """See :class:`~stemma.storages.protocol.Storage`."""
        key, what = self._key(address), _what(address)
        content = exactly(chunks, size_bytes, what)
        with self._told(what):
            if size_bytes <= _ONE_PUT_BYTES:
                obstore.put(self._store, key, b"".join(content), use_multipart=False)
            else:
                part = max(_PART_BYTES, -(-size_bytes // _MOST_PARTS))
                obstore.put(self._store, key, content, use_multipart=True, chunk_size=part, max_concurrency=4)
        return settled(lambda: self.info(address))

    def delete(self, address: str) -> None:
        """See :class:`~stemma.storages.protocol.Storage`."""
        what = _what(address)
        try:
            with self._told(what):
                in_time(lambda: obstore.delete_async(self._store, self._key(address)), self._answer_seconds)
        except SourceNotFound:
            return

    def signed(self, address: str, seconds: int) -> str | None:
        """See :class:`~stemma.storages.protocol.Storage`."""
        key = self._key(address)
        if self._bucket.public_url is not None:
            return f"{self._bucket.public_url}/{quote(key)}"
        if not self._bucket.can_sign:
            return None
        with self._told(_what(address)):
            return obstore.sign(self._store, "GET", key, timedelta(seconds=seconds))

    def close(self) -> None:
        """See :class:`~stemma.storages.protocol.Storage`."""
        self._bucket.close()
        if self._by_url is not None:
            self._by_url.close()

    def _ranges_ignored(self, address: str) -> None:
        """Find out whether ranges can be had in another way."""
        url = self.signed(address, _SIGNED_SECONDS)
        by_url = None if url is None else HttpsStorage(self._outgoing)
        if url is None or by_url is None or not by_url.info(url).takes_ranges:
            self._takes_ranges = False
        else:
            self._by_url = by_url

    @contextmanager
    def _read_by_url(
        self, by_url: HttpsStorage, address: str, version: str, offset: int, length: int | None
    ) -> Iterator[Iterator[bytes]]:
        url = self.signed(address, _SIGNED_SECONDS) or ""
        with by_url.read(
            url, version=version if version.startswith('"') else "", offset=offset, length=length
        ) as chunks:
            yield chunks

    def _key(self, address: str, *, is_folder: bool = False) -> str:
        """The key that ``address`` names, if it lies in this bucket and below the prefix."""
        beginning = f"{self._bucket.scheme}://{self._bucket.name}"
        place, _, key = address.removeprefix(beginning).partition("/")
        key = key.rstrip("/") if is_folder else key
        if place or not address.startswith(beginning) or (key and not is_path(key)) or not (key or is_folder):
            raise AddressRefused(_what(address))
        prefix = self._bucket.prefix
        if prefix and not f"{key}/".startswith(f"{prefix}/"):
            raise AddressRefused(_what(address))
        return key

    def _asked(self, key: str, what: str, version: str, part: tuple[int, int | None] | None) -> "GetResult":
        options: dict[str, Any] = {"if_match": version} if version.startswith('"') else {}
        if part is not None:
            offset, length = part
            options["range"] = {"offset": offset} if length is None else (offset, offset + length)
        with self._told(what):
            return obstore.get(self._store, key, options=options)  # type: ignore[arg-type]

    def _all_of(self, answer: "GetResult", count: int, what: str) -> Iterator[bytes]:
        """The bytes of ``answer``, which must be so many."""
        pace, left = Pace(self._silence_seconds), count
        with self._told(what):
            stream = iter(answer.stream(min_chunk_size=1))  # as it comes: nobody waits until a few bytes are many
            while True:
                started = time.monotonic()
                chunk = next(stream, None)
                if chunk is None:
                    break
                pace.came(len(chunk), time.monotonic() - started)
                left -= len(chunk)
                if left < 0:
                    raise SourceUnusable(what, "its server sends more than it said")
                yield from sliced(bytes(chunk))
        if left:
            raise SourceUnavailable(what, "it breaks off")

    def _info(self, address: str, meta: Mapping[str, Any]) -> SourceInfo:
        etag = _etag(meta)
        told: dict[str, Json] = {
            "etag": etag,
            "last_modified": meta["last_modified"].isoformat(),
            "version_id": meta.get("version"),
        }
        return SourceInfo(
            address=address,
            basename=last_part(address),
            size_bytes=meta["size"],
            version=_version(meta),
            md5=_md5(etag) if self._bucket.etag_is_md5 else None,
            takes_ranges=self._takes_ranges,
            told={name: value for name, value in told.items() if value is not None},
        )

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Say what went wrong in our own words: obstore's show whole requests."""
        try:
            yield
        except TooSlow as error:
            raise SourceUnavailable(what, "it takes too long") from error
        except OBSTORE_ERRORS as error:
            raise refusal_of(error, what) from None


def _each(held: "list[ListStream[Sequence[ObjectMeta]]]", seconds: float) -> "Iterator[ObjectMeta]":
    """What a listing has, a part of which may take so long. It is let go of at the end, and its connection with it."""
    try:
        while batch := in_time(lambda: _next(held), seconds):
            yield from batch
    finally:
        held.clear()


async def _next(held: "list[ListStream[Sequence[ObjectMeta]]]") -> "Sequence[ObjectMeta]":
    """The next part of a listing; nothing at its end."""
    try:
        # Not anext(it, ()): CPython 3.11 gives a default that is a tuple back with the exception still set.
        return await held[0].__anext__()
    except StopAsyncIteration:
        return ()


def _what(address: str) -> str:
    return address[:200]


def _version(meta: Mapping[str, Any]) -> str:
    """The strong ETag, else time and size."""
    etag = _etag(meta)
    if etag and not etag.startswith("W/"):
        return etag
    return f"{meta['last_modified'].isoformat()} {meta['size']} {etag or ''}".rstrip()


def _etag(meta: Mapping[str, Any]) -> str | None:
    """In quotes, which some servers leave out in listings."""
    etag: str | None = meta.get("e_tag")
    return f'"{etag}"' if etag and '"' not in etag else etag


def _md5(etag: str | None) -> str | None:
    """An ETag that is the MD5 of what was put there in one part."""
    bare = (etag or "").strip('"').lower()
    return bare if len(bare) == _MD5_CHARACTERS and set(bare) <= _HEXADECIMAL else None
