"""Login sessions: a signed cookie that names a key, never the key itself.

The key is looked up again at each request, so revoking it ends its sessions. A cookie
that was logged out is refused by the process that saw the logout until it expires.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

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
        return signed([secrets.token_hex(16), key_id, expires], secret=self._secret)

    def read(self, cookie: str, *, now: datetime) -> Session | None:
        """Return the session of a cookie; None for a forged, expired or ended one."""
        found = read_signed(cookie, secret=self._secret)
        if found is None:
            return None
        session_id, key_id, expires = found
        session = Session(
            id=session_id, key_id=key_id, expires=datetime.fromtimestamp(expires, tz=UTC)
        )
        return None if session.expires <= now or session.id in self._ended else session

    def end(self, session: Session) -> None:
        """Refuse the session's cookie from now on."""
        self._ended[session.id] = None
        if len(self._ended) > REMEMBERED_LOGOUTS:
            self._ended.popitem(last=False)


def signed(values: Sequence[Any], *, secret: bytes, purpose: bytes = b"") -> str:
    """Write a cookie that only this service can have written, for one purpose."""
    packed = base64.urlsafe_b64encode(json.dumps(list(values)).encode()).decode()
    return f"{packed}.{_signature(packed, secret=secret, purpose=purpose)}"


def read_signed(cookie: str, *, secret: bytes, purpose: bytes = b"") -> list[Any] | None:
    """Read such a cookie; None for a forged one, or one of another purpose."""
    packed, _, signature = cookie.partition(".")
    wanted = _signature(packed, secret=secret, purpose=purpose)
    if not hmac.compare_digest(wanted.encode(), signature.encode()):
        return None
    found: list[Any] = json.loads(base64.urlsafe_b64decode(packed))
    return found


def _signature(packed: str, *, secret: bytes, purpose: bytes) -> str:
    return hmac.new(secret + purpose, packed.encode(), hashlib.sha256).hexdigest()
