"""Secrets of others, sealed before they are written down: who reads the database alone cannot use them.

Sealed as a JWE (RFC 7516) with AES-GCM and a key of 256 bits. What a secret is for stands in the protected header,
which the seal covers: a row that is copied to another person or engine cannot be opened there.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from stemma.auth.kept import kept
from stemma.settings import Settings

_FILE: Final = "credentials.key"
_PURPOSE: Final = b"stemma: credentials for engines"
_ALGORITHMS: Final = ["dir", "A256GCM"]
_REGISTRY: Final = jwe.JWERegistry(algorithms=_ALGORITHMS, strict_check_header=False)
_FOR: Final = "for"
_KEY_BYTES: Final = 32


class SealBroken(Exception):
    """What was sealed cannot be opened with this key, or for this purpose."""


class Sealer:
    """Seals and opens with the key of an installation."""

    def __init__(self, settings: Settings) -> None:
        if settings.secret_key is not None:
            given = settings.secret_key.get_secret_value().encode()
        else:
            made = kept(settings.keys_folder / _FILE, lambda: secrets.token_urlsafe(_KEY_BYTES).encode())
            given = made.strip()  # an editor may have added the end of a line
        self._key = OctKey.import_key(derived(given, b"", _PURPOSE))

    def seal(self, secret: str, purpose: Sequence[str]) -> str:
        """``secret``, to be opened for the same ``purpose`` alone."""
        header = {"alg": "dir", "enc": "A256GCM", _FOR: list(purpose)}
        return jwe.encrypt_compact(header, secret.encode(), self._key, registry=_REGISTRY)

    def open(self, sealed: str, purpose: Sequence[str]) -> str:
        """What was sealed.

        Raises:
            SealBroken: it was sealed with another key or for another purpose, or has been changed.
        """
        try:
            opened = jwe.decrypt_compact(sealed, self._key, registry=_REGISTRY)
            if opened.headers().get(_FOR) != list(purpose) or opened.plaintext is None:
                raise SealBroken
            return opened.plaintext.decode()
        except (JoseError, ValueError) as error:
            raise SealBroken from error


def derived(secret: bytes, salt: bytes, purpose: bytes) -> bytes:
    """A key of 256 bits (HKDF with SHA-256, RFC 5869, whose output is one block here)."""
    extracted = hmac.digest(salt or bytes(hashlib.sha256().digest_size), secret, "sha256")
    return hmac.digest(extracted, purpose + b"\x01", "sha256")
