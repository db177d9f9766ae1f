"""The private file of an export under a passphrase: bytes in, bytes out.

Owns: the encryption. Must never: write a file, or know what is in it.

16 bytes magic, 16 salt (scrypt), 12 nonce, then AES-256-GCM.
"""

from __future__ import annotations

import secrets
from typing import Any

from ..errors import RunError
from ..extras import need

MAGIC = b"blindtune-priv-1"
SALT_BYTES, NONCE_BYTES = 16, 12
SCRYPT = {"length": 32, "n": 2**17, "r": 8, "p": 1}
"""OWASP's first choice: 128 MiB and about half a second for each guess."""


def encrypt(content: bytes, passphrase: str) -> bytes:
    """AES-256-GCM under a key that scrypt makes of the passphrase and a fresh salt."""
    if not passphrase:
        raise RunError("the passphrase is empty")
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    header = MAGIC + salt + nonce
    return header + bytes(_cipher(passphrase, salt).encrypt(nonce, content, header))


def decrypt(content: bytes, passphrase: str, name: str) -> bytes:
    """What `encrypt` was given; `name` is the file's, for the error."""
    magic, salt, nonce, hidden = _cut(content)
    if magic != MAGIC or not hidden:
        raise RunError(f"{name}: not an encrypted private file")
    invalid = need("cryptography.exceptions", "encryption", "an encrypted export").InvalidTag
    try:
        return bytes(_cipher(passphrase, salt).decrypt(nonce, hidden, magic + salt + nonce))
    except invalid:
        raise RunError(f"{name}: wrong passphrase, or the file was changed") from None


def _cut(content: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    salt, nonce = len(MAGIC) + SALT_BYTES, len(MAGIC) + SALT_BYTES + NONCE_BYTES
    return content[: len(MAGIC)], content[len(MAGIC) : salt], content[salt:nonce], content[nonce:]


def _cipher(passphrase: str, salt: bytes) -> Any:
    scrypt = need("cryptography.hazmat.primitives.kdf.scrypt", "encryption", "an encrypted export")
    aead = need("cryptography.hazmat.primitives.ciphers.aead", "encryption", "an encrypted export")
    return aead.AESGCM(scrypt.Scrypt(salt=salt, **SCRYPT).derive(passphrase.encode()))
