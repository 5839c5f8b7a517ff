"""Users and sessions, kept only as a keyed hash: enough to cluster by, no way back."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

_KEY_BYTES: Final = 32
_DIGEST_BYTES: Final = 8
_PREFIX_BYTES: Final = 3


class KeyUnfit(ValueError):  # noqa: N818 (named as what the file is)
    """A file of ``data_dir`` that is to hold a key holds something else."""


def load_key(path: Path) -> bytes:
    """Read the key, making it (mode 0600) on the first run.

    Without the key the hashes cannot be tied to names; with another key the same user
    becomes another subject. Raises ``KeyUnfit`` when the file is not a key.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != _KEY_BYTES:
            raise KeyUnfit(
                f"{path} has {len(key)} bytes, and a key has {_KEY_BYTES}: restore it from a"
                " backup, or remove it to have a new one made"
            ) from None
        return key
    key = secrets.token_bytes(_KEY_BYTES)
    with os.fdopen(handle, "wb") as file:
        file.write(key)
    return key


def prefix_code(key: bytes, text: str) -> int:
    """24 bits of keyed BLAKE2b of how a request begins: enough to tell usual from other ones.

    Of so few bits no text can be told, and a float4 column holds them exactly.
    """
    named = text.encode("utf-8", "surrogatepass")
    found = hashlib.blake2b(named, key=key, digest_size=_PREFIX_BYTES, person=b"prefix").digest()
    return int.from_bytes(found, "big")


def digest(key: bytes, subject: str) -> bytes:
    """Eight bytes of keyed BLAKE2b: below one collision in a billion at 100,000 subjects."""
    named = subject.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(named, key=key, digest_size=_DIGEST_BYTES).digest()
