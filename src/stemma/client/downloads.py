"""A file on its way here, over as many connections as it takes."""

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from stemma.client.multipart import CHUNK_BYTES, Progress
from stemma.client.problems import UnexpectedAnswer
from stemma.errors import ContentDamaged

if TYPE_CHECKING:
    from stemma.client.transport import Answer

_RANGE: Final = re.compile(r"bytes (?P<first>\d{1,18})-\d{1,18}/(?P<total>\d{1,18}|\*)")
_DIGEST: Final = re.compile(r'"[0-9a-f]{64}"')
_PARTIAL: Final = 206


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What came in."""

    size_bytes: int
    sha1: str
    sha256: str


class Arrival:
    """Writes what comes into ``target``, takes its digests, and knows how to ask for the rest.

    The rest can be asked for where the service names what it sends (a strong ``ETag``) and gives parts of it. What is
    made while it is sent, such as a zip, has no such name.
    """

    def __init__(self, target: BinaryIO, progress: Progress | None, expected_sha256: str | None) -> None:
        self._target, self._progress, self._expected = target, progress, expected_sha256
        self._size = 0
        self._total: int | None = None
        self._sha1, self._sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
        self._tag: str | None = None

    @property
    def can_go_on(self) -> bool:
        """Whether the rest can be asked for."""
        return self._tag is not None

    @property
    def headers(self) -> dict[str, str]:
        """How to ask for what is not there yet (RFC 9110 §14.2, §13.1.5)."""
        whole = {"Accept-Encoding": "identity"}
        return whole | {"Range": f"bytes={self._size}-", "If-Range": self._tag} if self._tag and self._size else whole

    def take(self, answer: "Answer") -> None:
        """All that ``answer`` has of it.

        Raises:
            ServiceUnreachable: the connection broke before the end.
            UnexpectedAnswer: it is not the rest of what came before.
        """
        known = self._begin(answer)
        for chunk in answer.chunks(CHUNK_BYTES):
            fresh = chunk[known:]
            known -= len(chunk) - len(fresh)
            self._target.write(fresh)
            self._sha1.update(fresh)
            self._sha256.update(fresh)
            self._size += len(fresh)
            if self._progress is not None and fresh:
                self._progress(self._size, self._total)

    def done(self) -> Downloaded:
        """What came, now that all did.

        Raises:
            ContentDamaged: it is not what it was to be.
        """
        found = self._sha256.hexdigest()
        if self._expected is not None and found != self._expected:
            raise ContentDamaged(self._expected, found)
        return Downloaded(self._size, self._sha1.hexdigest(), found)

    def _begin(self, answer: "Answer") -> int:
        """Look at what is coming; how much at its beginning is here already."""
        is_encoded = answer.headers.get("content-encoding", "identity") != "identity"
        tag = None if is_encoded else answer.headers.get("etag")
        if self._tag is None:
            length = answer.headers.get("content-length", "")
            self._total = int(length) if length.isdecimal() and not is_encoded else None
            if tag and tag.startswith('"') and answer.headers.get("accept-ranges") == "bytes":
                self._tag = tag
            if tag and self._expected is None and _DIGEST.fullmatch(tag):
                self._expected = tag.strip('"')  # a stored file's tag is its digest
            return 0
        if tag != self._tag:
            raise UnexpectedAnswer("the file was changed at the service while it came; fetch it again")
        if answer.status != _PARTIAL:
            return self._size
        part = _RANGE.fullmatch(answer.headers.get("content-range", ""))
        if part is None or int(part["first"]) != self._size or part["total"] not in {str(self._total), "*"}:
            raise UnexpectedAnswer("the service sent another part of the file than the one it was asked for")
        return 0
