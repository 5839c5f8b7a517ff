"""The keys that a gateway admits: which are known, what each is for, and how often it may ask.

Keys are made and revoked at the service (``driftline keys create --scope ask``; with the scope
``read`` for the gateway's metrics). The gateway asks for them every few seconds and caches them on
disk, so that it admits clients also while the service is away. It knows digests of secrets, never a
secret.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import structlog

from monitor.gateway import headers
from monitor.gateway.cached import read_cached, replace_cached
from monitor.gateway.headers import RawHeaders
from monitor.gateway.refusals import (
    NO_KEY,
    NO_KEYS_KNOWN,
    NO_READER,
    GatewayRefusal,
    too_often,
)
from monitor.gateway.service import ServiceClient
from monitor.throttle import Allowance, Throttle

_LOG: Final = structlog.get_logger(__name__)

EVERY: Final = 5.0
"""Seconds between two questions; a revoked key works for so much longer."""

_TEXT: Final = re.compile(rb"(?i:bearer) +dl_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_PATIENCE: Final = aiohttp.ClientTimeout(total=15, sock_connect=5)
_OK, _NOT_MODIFIED = 200, 304


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKey:
    """A key as the service tells it.

    digest
        SHA-256 of its secret, in hex.
    asks, reads
        Whether it asks adapters, and whether it reads the gateway's metrics.
    adapters
        What it asks for and reads of, by name; None: every model that the engines serve.
    """

    key: str
    digest: str
    asks: bool = True
    """A service of an earlier release tells of no others."""
    reads: bool = False
    adapters: frozenset[str] | None = None
    per_minute: int | None = None
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for what no service has made: a cache may be spoilt."""
        bytes.fromhex(self.digest)
        if self.per_minute is not None and self.per_minute < 1:
            raise ValueError("per_minute: at least 1")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise ValueError("expires_at: a time needs its zone")

    def may_ask(self, model: str | None) -> bool:
        """True if it may ask for what a body names."""
        return self.adapters is None or model in self.adapters


class _Page(msgspec.Struct):
    items: tuple[ClientKey, ...]


_KEYS: Final = msgspec.json.Decoder(tuple[ClientKey, ...])


@dataclass(slots=True)
class _Held:
    key: ClientKey
    secret: bytes
    throttle: Throttle | None = None


@dataclass(slots=True)
class KeyRing:
    """The keys in force. ``time`` gives the time by which they expire."""

    time: Callable[[], datetime]
    cache: Path | None = None
    known: bool = False
    """True once there are keys of the service, or of an earlier run."""
    _held: dict[bytes, _Held] = field(default_factory=dict)

    def load(self) -> None:
        """Load the cached keys of an earlier run; an unusable file is ignored."""
        kept = read_cached(self.cache, _KEYS.decode, what="keys")
        if kept is not None:
            self._take(kept)

    def update(self, keys: Iterable[ClientKey]) -> None:
        """Take and cache the service's keys; all others are refused from now on."""
        told = tuple(keys)
        self._take(told)
        replace_cached(self.cache, told, what="keys")

    def admit(self, sent: RawHeaders) -> ClientKey | GatewayRefusal:
        """Return the key of a client's request, one of its requests spent, or the refusal."""
        if not self.known:
            return NO_KEYS_KNOWN
        held = self._found(sent)
        if held is None or not held.key.asks:
            return NO_KEY
        wait = held.throttle.take(held.key.key) if held.throttle else 0.0
        return too_often(math.ceil(wait)) if wait else held.key

    def reader(self, sent: RawHeaders) -> ClientKey | GatewayRefusal:
        """Return the key of who reads the metrics, or the refusal."""
        if not self.known:
            return NO_KEYS_KNOWN
        held = self._found(sent)
        return held.key if held is not None and held.key.reads else NO_READER

    def _found(self, sent: RawHeaders) -> _Held | None:
        """Find the key that a request has, if it works."""
        found = _TEXT.fullmatch(headers.find(sent, b"authorization") or b"")
        held = self._held.get(found[1]) if found else None
        given = hashlib.sha256(found[2]).digest() if found else b""
        if held is None or not hmac.compare_digest(given, held.secret):
            return None
        ended = held.key.expires_at is not None and held.key.expires_at <= self.time()
        return None if ended else held

    def _take(self, keys: Iterable[ClientKey]) -> None:
        self._held = {one.key.encode(): self._kept(one) for one in keys}
        self.known = True

    def _kept(self, key: ClientKey) -> _Held:
        before = self._held.get(key.key.encode())
        if before is not None and before.key.per_minute == key.per_minute:
            throttle = before.throttle  # what it has spent stays spent
        else:
            throttle = None if key.per_minute is None else Throttle(_allowance(key.per_minute))
        return _Held(key, bytes.fromhex(key.digest), throttle)


def _allowance(per_minute: int) -> Allowance:
    return Allowance(per_second=per_minute / 60.0, burst=float(per_minute))


class KeyKeeper:
    """Asks the service for the keys, for ever."""

    def __init__(self, service: ServiceClient, *, ring: KeyRing) -> None:
        self._service = service
        self._ring = ring
        self._tag: str | None = None

    async def run(self) -> None:
        """Ask until cancelled; log each new failure once."""
        told: str | None = None
        while True:
            failed = await self._ask()
            if failed and failed != told:
                _LOG.warning("keys_not_told", error=failed, known=self._ring.known)
            told = failed
            await asyncio.sleep(EVERY)

    async def _ask(self) -> str | None:
        known: Mapping[str, str] = {} if self._tag is None else {"If-None-Match": self._tag}
        try:
            async with self._service.request(
                "GET", "/v1/keys/clients?readers=true", headers=dict(known), timeout=_PATIENCE
            ) as answer:
                body = await answer.read()
                if answer.status == _OK:
                    self._ring.update(msgspec.json.decode(body, type=_Page).items)
                    self._tag = answer.headers.get("ETag")
                    return None
                return None if answer.status == _NOT_MODIFIED else f"status {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return type(error).__name__
