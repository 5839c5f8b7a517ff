"""Login sessions: a signed cookie that names a key, never the key itself.

The key is looked up again at each request, so revoking it ends its sessions. A cookie
that was logged out is refused by the process that saw the logout until it expires.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

COOKIE: Final = "driftline_session"
REMEMBERED_LOGOUTS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A viewer's session on the dashboard."""

    id: str
    key_id: str
    expires: datetime


class Sessions:
    """Writes and reads session cookies."""

    def __init__(self, secret: bytes, *, lasts: timedelta) -> None:
        if len(secret) < hashlib.sha256().digest_size:
            raise ValueError("the session secret needs at least 32 bytes")
        self._secret = secret
        self._lasts = lasts
        self._ended: OrderedDict[str, None] = OrderedDict()

    def begin(self, key_id: str, *, now: datetime) -> str:
        """Return the cookie of a new session."""
        expires = int((now + self._lasts).timestamp())
        body = json.dumps([secrets.token_hex(16), key_id, expires]).encode()
        packed = base64.urlsafe_b64encode(body).decode()
        return f"{packed}.{self._sign(packed)}"

    def read(self, cookie: str, *, now: datetime) -> Session | None:
        """Return the session of a cookie; None for a forged, expired or ended one."""
        packed, _, signature = cookie.partition(".")
        if not hmac.compare_digest(self._sign(packed).encode(), signature.encode()):
            return None
        session = _unpack(packed)
        if session is None or session.expires <= now or session.id in self._ended:
            return None
        return session

    def end(self, session: Session) -> None:
        """Refuse the session's cookie from now on."""
        self._ended[session.id] = None
        if len(self._ended) > REMEMBERED_LOGOUTS:
            self._ended.popitem(last=False)

    def _sign(self, packed: str) -> str:
        return hmac.new(self._secret, packed.encode(), hashlib.sha256).hexdigest()


def _unpack(packed: str) -> Session | None:
    try:
        session_id, key_id, expires = json.loads(base64.urlsafe_b64decode(packed))
    except (ValueError, binascii.Error):
        return None
    return Session(id=session_id, key_id=key_id, expires=datetime.fromtimestamp(expires, tz=UTC))
