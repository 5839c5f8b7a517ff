"""Keep users and sessions only as a keyed hash: enough to cluster by, but irreversible."""

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
    """A key file of ``data_dir`` does not hold a key."""


def load_key(path: Path) -> bytes:
    """Read the key, creating it (mode 0600) on the first run.

    Without the key, hashes cannot be tied to names; with another key, the same user becomes another
    subject. Raises ``KeyUnfit`` if the file is not a key.
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
    """Hash the beginning of a request to 24 bits of keyed BLAKE2b.

    So few bits reveal no text, and a float4 column holds them exactly.
    """
    named = text.encode("utf-8", "surrogatepass")
    found = hashlib.blake2b(named, key=key, digest_size=_PREFIX_BYTES, person=b"prefix").digest()
    return int.from_bytes(found, "big")


def digest(key: bytes, subject: str) -> bytes:
    """Hash to eight bytes of keyed BLAKE2b: 100,000 subjects collide with chance below 1e-9."""
    named = subject.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(named, key=key, digest_size=_DIGEST_BYTES).digest()
