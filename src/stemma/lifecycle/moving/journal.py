"""What is noted beside a part: which bytes of which version are in it, and how to know them again."""

import hashlib
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    start: int = Field(ge=0)
    end: int = Field(ge=0)
    crc: int = Field(ge=0, lt=2**32)


class _Written(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    source: str
    size_bytes: int
    prefix: int = Field(ge=0)
    sha256: str
    parts: list[_Part]


@dataclass(frozen=True, slots=True)
class Journal:
    """What lies in a part file."""

    source: str
    """Of :func:`source_of`."""
    size_bytes: int
    prefix: int
    """So many bytes from the beginning on,"""
    sha256: str
    """which have this digest,"""
    parts: tuple[tuple[int, int, int], ...] = ()
    """and these: from where to where, with their CRC-32."""

    def encoded(self) -> bytes:
        """As it is written."""
        parts = [_Part(start=start, end=end, crc=crc) for start, end, crc in self.parts]
        written = _Written(
            source=self.source, size_bytes=self.size_bytes, prefix=self.prefix, sha256=self.sha256, parts=parts
        )
        return written.model_dump_json().encode()


def decoded(written: bytes | None) -> Journal | None:
    """What was noted; None where nothing was that can be used."""
    if written is None:
        return None
    try:
        read = _Written.model_validate_json(written)
    except ValidationError:
        return None
    parts = tuple((part.start, part.end, part.crc) for part in read.parts)
    if any(part.start >= part.end for part in read.parts):
        return None
    if max([read.prefix, *(part.end for part in read.parts)]) > read.size_bytes:
        return None
    return Journal(read.source, read.size_bytes, read.prefix, read.sha256, parts)


def source_of(address: str, version: str) -> str:
    """A name for one version of one source. An address may hold a key, so it is not written down as it is."""
    return hashlib.sha256(f"{address}\0{version}".encode()).hexdigest()
