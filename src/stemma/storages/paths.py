"""Names and paths that come from elsewhere, checked before anybody believes them; what we send, counted."""

from collections.abc import Iterable, Iterator
from typing import Final

from stemma.errors import SourceUnusable
from stemma.storages.protocol import CHUNK_BYTES

MAX_NAME_BYTES: Final = 255
MAX_PATH_BYTES: Final = 4096
MAX_DEPTH: Final = 64
_STEPS: Final = frozenset({"", ".", ".."})


def is_name(name: str) -> bool:
    """Whether ``name`` can be that of a file in a folder: nothing that leads elsewhere or cannot be shown."""
    if name in _STEPS or "/" in name or not name.isprintable():
        return False
    return len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES


def is_path(path: str) -> bool:
    """Whether ``path`` is one of a file below a folder."""
    parts = path.split("/")
    length = len(path.encode("utf-8", "surrogatepass"))
    return length <= MAX_PATH_BYTES and len(parts) <= MAX_DEPTH and all(map(is_name, parts))


def checked_path(path: str, what: str) -> str:
    """``path``, as a listing of the folder ``what`` has it.

    Raises:
        SourceUnusable: no file may be called so.
    """
    if not is_path(path):
        raise SourceUnusable(what, f"it holds a file with a name that cannot be taken: {path[:100]!a}")
    return path


def last_part(path: str) -> str:
    """The name of the file at ``path``."""
    name = path.rstrip("/").rpartition("/")[2]
    return name if is_name(name) else "file"


def sliced(chunk: bytes) -> Iterator[bytes]:
    """``chunk`` in parts that are not too large."""
    if len(chunk) <= CHUNK_BYTES:
        if chunk:
            yield chunk
        return
    for start in range(0, len(chunk), CHUNK_BYTES):
        yield chunk[start : start + CHUNK_BYTES]


def windowed(chunks: Iterable[bytes], skip: int, length: int | None) -> Iterator[bytes]:
    """Of all that comes, what lies behind the first ``skip`` bytes, and no more than ``length``."""
    for whole in chunks:
        chunk = whole
        if skip >= len(chunk):
            skip -= len(chunk)
            continue
        chunk, skip = chunk[skip:], 0
        if length is not None:
            chunk = chunk[:length]
            length -= len(chunk)
        yield from sliced(chunk)
        if length == 0:
            return


def exactly(chunks: Iterable[bytes], size_bytes: int, what: str) -> Iterator[bytes]:
    """``chunks``, which must be ``size_bytes`` long together.

    Raises:
        SourceUnusable: they are not.
    """
    left = size_bytes
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        if chunk:
            yield chunk
    if left:
        raise SourceUnusable(what, f"what is to lie there has not the {size_bytes} bytes that were said")
