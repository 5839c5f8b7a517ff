"""Keys of the HTTP API, without their secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from monitor.domain import Scope
from monitor.views.shape import View


class KeyBody(View):
    """A key; its secret was shown once, when it was made."""

    key: str
    name: str
    scopes: Sequence[Scope]
    match: Mapping[str, Sequence[str]]
    """The adapters that it is for, by what is known of them; empty: all."""
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    works: bool
    """Neither revoked nor expired."""
    per_minute: int | None = None
    """Requests of its client that a gateway passes on in a minute; null: all."""
    person: str | None = None
    """Issuer and subject of the person whose login it is; null: it is no login's."""


class ClientKeyBody(View):
    """What a gateway knows of a key."""

    key: str
    digest: str
    """SHA-256 of its secret, in hex."""
    asks: bool
    """It may ask adapters."""
    reads: bool
    """It may read the gateway's metrics."""
    adapters: Sequence[str] | None
    """What it asks for and reads of, by name; null: every model."""
    per_minute: int | None
    expires_at: datetime | None
