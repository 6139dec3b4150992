"""Secrets of others, sealed before they are written down: who reads the database alone cannot use them.

Sealed as a JWE (RFC 7516) with AES-GCM and a key of 256 bits. What a secret is for stands in the protected header,
which the seal covers: a row that is copied to another person or engine cannot be opened there.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from contextlib import suppress
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
    """Seals with the key of an installation, and opens with that or one that it had before."""

    def __init__(self, settings: Settings) -> None:
        file = settings.keys_folder / _FILE
        if settings.secret_key is not None:
            given = [settings.secret_key.get_secret_value().encode()]
            given += [file.read_bytes().strip()] if file.is_file() else []  # the key from before there was that setting
        else:
            made = kept(file, lambda: secrets.token_urlsafe(_KEY_BYTES).encode())
            given = [made.strip()]  # an editor may have added the end of a line
        given += [key.encode() for key in settings.keys_before]
        self._keys = [OctKey.import_key(derived(key, b"", _PURPOSE)) for key in dict.fromkeys(given)]

    def seal(self, secret: str, purpose: Sequence[str]) -> str:
        """``secret``, to be opened for the same ``purpose`` alone."""
        header = {"alg": "dir", "enc": "A256GCM", _FOR: list(purpose)}
        return jwe.encrypt_compact(header, secret.encode(), self._keys[0], registry=_REGISTRY)

    def open(self, sealed: str, purpose: Sequence[str]) -> str:
        """What was sealed.

        Raises:
            SealBroken: it was sealed with another key or for another purpose, or has been changed.
        """
        for key in self._keys[:-1]:
            with suppress(SealBroken):
                return _opened(sealed, purpose, key)
        return _opened(sealed, purpose, self._keys[-1])

    def is_of_today(self, sealed: str, purpose: Sequence[str]) -> bool:
        """Whether it is sealed with the key that is used for sealing now."""
        try:
            _opened(sealed, purpose, self._keys[0])
        except SealBroken:
            return False
        return True


def _opened(sealed: str, purpose: Sequence[str], key: OctKey) -> str:
    try:
        opened = jwe.decrypt_compact(sealed, key, registry=_REGISTRY)
        if opened.headers().get(_FOR) != list(purpose) or opened.plaintext is None:
            raise SealBroken
        return opened.plaintext.decode()
    except (JoseError, ValueError) as error:
        raise SealBroken from error


def derived(secret: bytes, salt: bytes, purpose: bytes) -> bytes:
    """A key of 256 bits (HKDF with SHA-256, RFC 5869, whose output is one block here)."""
    extracted = hmac.digest(salt or bytes(hashlib.sha256().digest_size), secret, "sha256")
    return hmac.digest(extracted, purpose + b"\x01", "sha256")
