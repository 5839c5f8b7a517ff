"""Sign messages by Standard Webhooks, so that receivers can verify origin and age.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

PREFIX = "whsec_"
SHORTEST_KEY = 24
LONGEST_KEY = 64
MESSAGE_ID = re.compile(r"[A-Za-z0-9_:-]{1,128}")


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """Read one or several ``whsec_…`` secrets separated by white space.

    Several are for a rotation: every message is signed with each, so that receivers may switch at
    their own time; list the new one first.

    Raises
    ------
    ValueError
        None is given, one lacks the prefix, is not base64, or is not 24 to 64 bytes long.
        The message counts secrets and never quotes one.
    """
    secrets = tuple(_key(word, place) for place, word in enumerate(text.split(), start=1))
    if not secrets:
        raise ValueError("a webhook needs a secret to sign with")
    return secrets


def signed_headers(
    secrets: tuple[bytes, ...], message_id: str, *, timestamp: int, body: bytes
) -> dict[str, str]:
    """Build the three Standard Webhooks headers for exactly these bytes.

    Parameters
    ----------
    message_id
        The same over all attempts of one message; letters, digits, ``_``, ``-``, ``:``.
    timestamp
        Epoch seconds of this attempt; receivers refuse messages older than 5 minutes.
    """
    if MESSAGE_ID.fullmatch(message_id) is None:
        raise ValueError("a message id is 1-128 letters, digits, '_', '-' or ':'")
    signed = b".".join((message_id.encode("ascii"), str(timestamp).encode("ascii"), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_sign(secret, signed)}" for secret in secrets),
    }


def _sign(secret: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode("ascii")


def _key(word: str, place: int) -> bytes:
    if not word.startswith(PREFIX):
        raise ValueError(f"webhook secret {place} must start with {PREFIX}")
    encoded = word.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"webhook secret {place} is not base64 after {PREFIX}") from None
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(
            f"webhook secret {place} has {len(key)} bytes; it needs {SHORTEST_KEY} to {LONGEST_KEY}"
        )
    return key
