"""Files that come with a request, taken within their limits."""

import os
from collections.abc import Sequence

from fastapi import UploadFile

from stemma.errors import Finding, InvalidRequest, TooLarge
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.validate import Upload
from stemma.records import Content

_NAME_LIMIT = 255
"""As long as the database keeps the name of a document."""


def document(file: UploadFile | None, limit_bytes: int) -> Upload | None:
    """A small file, read into memory; None where there is none.

    Raises:
        TooLarge: it has more than ``limit_bytes``.
        InvalidRequest: its name cannot be kept.
    """
    if file is None:
        return None
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
    if len(name) > _NAME_LIMIT:
        message = f"the name of an uploaded file is longer than {_NAME_LIMIT} characters"
        raise InvalidRequest(message, [Finding(message, "request/file-name")])
    content = file.file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise TooLarge(f"the file {name!r}", limit_bytes)
    return Upload(name or "upload", content)


def keep(installation: Installation, files: Sequence[UploadFile]) -> dict[str, Content]:
    """Bring ``files`` into the store; by the names that they came under.

    Raises:
        TooLarge: one is over the limit.
        InvalidRequest: two different ones have one name, or one has none.
    """
    kept: dict[str, Content] = {}
    for file in files:
        name = file.filename or ""
        limit = installation.settings.max_upload_bytes
        content = installation.store.put_stream(_Rewound(file), limit_bytes=limit, what=f"the file {name!r}")
        if not name or kept.get(name, content) != content:
            message = f"two files are called {name!r}" if name else "a file has no name"
            raise InvalidRequest(message, [Finding(message, "request/file-name")])
        kept[name] = content
    return kept


class _Rewound:
    """An upload from its beginning."""

    def __init__(self, file: UploadFile) -> None:
        self._file = file.file
        self._file.seek(0, os.SEEK_SET)

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; empty at the end."""
        return self._file.read(size)
