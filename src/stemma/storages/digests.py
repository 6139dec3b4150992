"""Digests that servers tell of the whole of what they send, in headers (RFC 9530, RFC 3230)."""

import base64
import binascii
import re
from typing import Final

_BYTES: Final = {"sha-256": 32, "md5": 16}
_TOLD: Final = re.compile(r"\s*([A-Za-z0-9-]+)=:?([A-Za-z0-9+/]+={0,2}):?\s*(?:,|$)")


def told_digests(*headers: str | None) -> dict[str, str]:
    """In hexadecimal, by the name of the algorithm; those that are none are left out."""
    found: dict[str, str] = {}
    for header in headers:
        for name, encoded in _TOLD.findall(header or ""):
            try:
                digest = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                continue
            if len(digest) == _BYTES.get(name.lower()):
                found.setdefault(name.lower(), digest.hex())
    return found
