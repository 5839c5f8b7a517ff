"""Keys of the HTTP API: shown once, stored as a digest.

A key is ``dl_<id>_<secret>``: the id (12 hex digits) finds the row, the secret is 256
random bits in base64url. A plain SHA-256 of the secret is enough: there is no dictionary
of 256-bit random numbers to try, so a slow password hash would only slow each request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from monitor.domain import Adapter, Scope
from monitor.store import teams
from monitor.store.registry import adapters
from monitor.store.rows import shaped
from monitor.store.tables.people import keys

_TEXT: Final = re.compile(r"dl_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_TOUCHED_EVERY: Final = timedelta(minutes=1)
_FORGOTTEN_AFTER: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key, without its secret.

    ``match`` restricts it to a team's adapters, those it sends for, sees and changes: for each fact
    named, the adapter's value must be listed.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    match: Mapping[str, Sequence[str]] = field(default_factory=dict)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    """When the service saw it; what a gateway sees is not told."""
    per_minute: int | None = None
    """Requests that a gateway passes on in a minute; None: all."""
    person: str | None = None
    """Issuer and subject of the person whose login it is; None: it is no login's."""

    def alive(self, now: datetime) -> bool:
        """True if neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsKey:
    """A key as gateways know it; ``adapters`` None: it is for every model."""

    id: str
    digest: bytes
    asks: bool
    """It asks adapters."""
    reads: bool
    """It reads the gateway's metrics."""
    adapters: Sequence[str] | None
    per_minute: int | None
    expires_at: datetime | None


def permits(key: Key, scope: Scope) -> bool:
    """True if the key has this scope; ``admin`` includes all."""
    return scope in key.scopes or Scope.ADMIN in key.scopes


def may_send_for(match: Mapping[str, Sequence[str]], facts: Mapping[str, str]) -> bool:
    """True if a key's ``match`` accepts an adapter with these facts; an empty one accepts all.

    >>> may_send_for({"adapter": ["support", "tax"]}, {"adapter": "tax", "tier": "gold"})
    True
    """
    return all(facts.get(name) in values for name, values in match.items())


def create(
    connection: Connection,
    *,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None = None,
    match: Mapping[str, Sequence[str]] | None = None,
    per_minute: int | None = None,
) -> tuple[Key, str]:
    """Create a key; the returned text is the only copy there will ever be.

    Raises ``ValueError`` if no scope is given, since such a key could do nothing; if a key that may
    administer is bound to adapters, since keys and clocks are of no adapter; and if one that may
    not ask is limited in what it asks.
    """
    text = f"dl_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
    key = _insert(
        connection,
        text,
        name=name,
        scopes=scopes,
        expires_at=expires_at,
        match=match or {},
        per_minute=per_minute,
    )
    return key, text


def log_in(
    connection: Connection,
    *,
    person: str,
    name: str,
    scopes: Iterable[Scope],
    match: Mapping[str, Sequence[str]],
    now: datetime,
    until: datetime,
) -> Key:
    """Create the key of a login, whose secret nobody knows; raise as :func:`create`.

    Logins that ended a month ago are forgotten.
    """
    old = keys.c.person.is_not(None) & (keys.c.expires_at < now - _FORGOTTEN_AFTER)
    connection.execute(keys.delete().where(old))
    made, _ = create(connection, name=name, scopes=scopes, match=match, expires_at=until)
    mine = keys.update().where(keys.c.id == made.id).values(person=person).returning(keys)
    return _key(connection.execute(mine).mappings().one())


def adopt(
    connection: Connection,
    text: str,
    *,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None = None,
    match: Mapping[str, Sequence[str]] | None = None,
    per_minute: int | None = None,
    now: datetime,
) -> tuple[Key, bool]:
    """Take over a key that was made elsewhere; True if it was not known yet.

    Raises ``ValueError`` as :func:`create` does; if the text is no key's; and if the key is known
    with another secret, other scopes, adapters or limit, or no longer works.
    """
    key_id, secret = _taken_apart(text)
    row = _stored(connection, key_id)
    if row is None:
        key = _insert(
            connection,
            text,
            name=name,
            scopes=scopes,
            expires_at=expires_at,
            match=match or {},
            per_minute=per_minute,
        )
        return key, True
    key = _key(row)
    same = hmac.compare_digest(_digest(secret), bytes(row["digest"]))
    like = (key.scopes, key.match, key.per_minute)
    if not same or like != (frozenset(scopes), match or {}, per_minute):
        raise ValueError(f"key {key_id} is another one, or has other scopes, adapters or limit")
    if not key.alive(now):
        raise ValueError(f"key {key_id} was revoked, or has expired")
    return key, False


def _insert(
    connection: Connection,
    text: str,
    *,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None,
    match: Mapping[str, Sequence[str]],
    per_minute: int | None,
) -> Key:
    wanted = frozenset(scopes)
    if not wanted:
        raise ValueError("a key needs at least one scope")
    if match and Scope.ADMIN in wanted:
        raise ValueError("a key that may administer cannot be bound to adapters")
    if per_minute is not None and (Scope.ASK not in wanted or per_minute < 1):
        raise ValueError("only a key that may ask can be limited, to one request a minute or more")
    if match and not wanted <= {Scope.INGEST, Scope.ASK} and not teams.ready(connection):
        raise ValueError(
            "this database has no views for teams: its owner needs the right CREATE on it, and"
            " then `driftline migrate` makes them"
        )
    key_id, secret = _taken_apart(text)
    statement = (
        keys.insert()
        .values(
            id=key_id,
            name=name,
            digest=_digest(secret),
            scopes=sorted(wanted),
            match={name: list(values) for name, values in match.items()},
            expires_at=expires_at,
            per_minute=per_minute,
        )
        .returning(keys)
    )
    return _key(connection.execute(statement).mappings().one())


def verify(connection: Connection, text: str, *, now: datetime) -> Key | None:
    """Find the key of this text; None if unknown, revoked or expired.

    The digest is compared in constant time. The use is noted at most once a minute, so that a busy
    key does not turn each read into a write.
    """
    if not _TEXT.fullmatch(text):
        return None
    key_id, secret = _taken_apart(text)
    row = _stored(connection, key_id)
    stored = bytes(row["digest"]) if row else b""
    if not hmac.compare_digest(_digest(secret), stored) or row is None:
        return None
    key = _key(row)
    if not key.alive(now):
        return None
    _touch(connection, key, now=now)
    return key


def fetch(connection: Connection, key_id: str) -> Key | None:
    """Return a key, also one that works no more."""
    row = _stored(connection, key_id)
    return None if row is None else _key(row)


def fetch_all(connection: Connection) -> list[Key]:
    """Return every key ever made, newest first."""
    query = sa.select(keys).order_by(keys.c.created_at.desc(), keys.c.id)
    return [_key(row) for row in connection.execute(query).mappings()]


def of_clients(connection: Connection, *, now: datetime) -> list[ClientsKey]:
    """Return the keys that a gateway admits, by id, with the adapters that match them now.

    These are the keys that work, that may ask or read, and whose secret somebody has: no login's.
    """
    of_use = keys.c.scopes.overlap([Scope.ASK.value, Scope.READ.value, Scope.ADMIN.value])
    chosen = (of_use, keys.c.revoked_at.is_(None), keys.c.person.is_(None))
    rows = list(connection.execute(sa.select(keys).where(*chosen).order_by(keys.c.id)).mappings())
    bound = any(row["match"] for row in rows)
    fleet = adapters.fetch_all(connection) if bound else []
    return [
        shaped(
            ClientsKey,
            row,
            digest=bytes(row["digest"]),
            asks=Scope.ASK in key.scopes,
            reads=permits(key, Scope.READ),
            adapters=_matching(key.match, fleet) if key.match else None,
        )
        for row in rows
        if (key := _key(row)).alive(now)
    ]


def _matching(match: Mapping[str, Sequence[str]], fleet: Iterable[Adapter]) -> list[str]:
    return [one.name for one in fleet if may_send_for(match, one.facts)]


def revoke(connection: Connection, key_id: str, *, now: datetime) -> bool:
    """Revoke a key for good; False if there is no such key or it was revoked before."""
    statement = (
        keys.update()
        .where(keys.c.id == key_id, keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(keys.c.id)
    )
    return connection.execute(statement).one_or_none() is not None


def _taken_apart(text: str) -> tuple[str, str]:
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError("a key is dl_, 12 hex digits, _, and 43 letters, digits, - or _")
    key_id, secret = match.groups()
    return key_id, secret


def _stored(connection: Connection, key_id: str) -> RowMapping | None:
    found = connection.execute(sa.select(keys).where(keys.c.id == key_id))
    return found.mappings().one_or_none()


def _touch(connection: Connection, key: Key, *, now: datetime) -> None:
    if key.last_used_at is not None and now - key.last_used_at < _TOUCHED_EVERY:
        return
    connection.execute(keys.update().where(keys.c.id == key.id).values(last_used_at=now))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _key(row: RowMapping) -> Key:
    return shaped(Key, row, scopes=frozenset(map(Scope, row["scopes"])))
