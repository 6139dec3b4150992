"""A multipart body (RFC 7578) that is read from disk while it is sent: memory stays bounded whatever its size."""

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias
from uuid import uuid4

from stemma.errors import InvalidRequest

CHUNK_BYTES: Final = 1 << 18

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes that are through and the bytes in all (None where that is not known)."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to send: where it lies, or its bytes, and the name that it goes by."""

    name: str
    content: Path | bytes

    @classmethod
    def of_path(cls, path: Path | str, name: str | None = None) -> "Attachment":
        """The file at ``path`` under its own name, or under ``name``."""
        path = Path(path)
        return cls(name or path.name, path)

    @property
    def size_bytes(self) -> int:
        """How long it is.

        Raises:
            OSError: it cannot be looked at.
        """
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def open(self) -> BinaryIO:
        """Its bytes, to read.

        Raises:
            OSError: it cannot be read.
        """
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")


class Multipart:
    """The body: iterate over it to send it, once more to send it again. Each file is open only while it is read."""

    def __init__(
        self,
        fields: Mapping[str, str],
        files: Sequence[tuple[str, Attachment]] = (),
        progress: Progress | None = None,
    ) -> None:
        boundary = uuid4().hex
        self._progress = progress
        self._end = f"--{boundary}--\r\n".encode()
        texts = [(_head(boundary, name), Attachment(name, text.encode())) for name, text in fields.items()]
        sent = [(_head(boundary, field, file.name), file) for field, file in files]
        self._parts = [(head, file, file.size_bytes) for head, file in [*texts, *sent]]
        length = sum(len(head) + size + 2 for head, _, size in self._parts) + len(self._end)
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(length),
        }
        self._length = length

    def __iter__(self) -> Iterator[bytes]:
        through = 0
        for chunk in self._chunks():
            yield chunk
            through += len(chunk)
            if self._progress is not None:
                self._progress(through, self._length)

    def _chunks(self) -> Iterator[bytes]:
        for head, file, size in self._parts:
            yield head
            yield from _exactly(file, size)
            yield b"\r\n"
        yield self._end


class Raw:
    """One file as the whole body: iterate over it to send it, once more to send it again."""

    def __init__(self, file: Attachment, progress: Progress | None = None) -> None:
        self._file, self._progress = file, progress
        self._length = file.size_bytes
        self.headers = {"Content-Type": "application/octet-stream", "Content-Length": str(self._length)}

    def __iter__(self) -> Iterator[bytes]:
        through = 0
        for chunk in _exactly(self._file, self._length):
            yield chunk
            through += len(chunk)
            if self._progress is not None:
                self._progress(through, self._length)


def _exactly(file: Attachment, size: int) -> Iterator[bytes]:
    """The ``size`` bytes that were announced.

    Raises:
        InvalidRequest: the file has become shorter or longer meanwhile.
    """
    left = size
    with file.open() as opened:
        while chunk := opened.read(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    if left != 0:
        raise InvalidRequest(f"{os.fspath(file.name)!r} was changed while it was being sent; send it again")


def _head(boundary: str, name: str, filename: str | None = None) -> bytes:
    disposition = f'form-data; name="{_escaped(name)}"'
    kind = ""
    if filename is not None:
        disposition += f'; filename="{_escaped(filename)}"'
        kind = "Content-Type: application/octet-stream\r\n"
    return f"--{boundary}\r\nContent-Disposition: {disposition}\r\n{kind}\r\n".encode()


def _escaped(name: str) -> str:
    """As browsers write it (WHATWG HTML §4.10.21.8)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
