"""Access control: bearer keys, scopes, teams, and a limit on floods of wrong keys.

A key is looked up once and remembered for ``REMEMBERED`` seconds, so a revoked key works at
most that much longer. Each failed attempt takes from a bucket of the caller's address.
While the bucket is empty, this process refuses unknown keys without a look-up. Keys that it
has seen valid still work, so one client cannot lock out another behind the same address.

A key that is bound to a team's adapters reads as :mod:`monitor.store.teams` lets it. It changes
only what the path names, if that is the team's, or what the handler has found to be the team's.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.concurrency import run_in_threadpool

from monitor.api.owning import check_path, of_the_whole
from monitor.api.problems import Problem
from monitor.connections import client_network
from monitor.domain import Scope
from monitor.store import teams
from monitor.store.database import Database
from monitor.store.people import keys
from monitor.store.people.keys import Key
from monitor.throttle import Allowance, Throttle

REMEMBERED: Final = 5.0
SEEN: Final = 4096
LONGEST_KEY: Final = 256

PER_KEY: Final = Allowance(per_second=1000.0, burst=2000.0)
PER_ADDRESS: Final = Allowance(per_second=0.2, burst=20.0)

_FOUND: Final = "driftline.key"

BEARER: Final = HTTPBearer(auto_error=False, description="A key made by `driftline keys create`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Rate limits of a key and of an address; each daemon counts for itself."""

    per_key: Allowance = PER_KEY
    failures_per_address: Allowance = PER_ADDRESS


@dataclass(frozen=True, slots=True)
class _Seen:
    key: Key
    until: float


class KeyGate:
    """Verifies keys for this process; one per application.

    Thread-safe. ``told`` gives the time by which keys expire; ``clock`` is monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        *,
        told: Callable[[], datetime],
        settings: AccessSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        settings = settings or AccessSettings()
        self._database = database
        self._told = told
        self._clock = clock
        self._per_key = Throttle(settings.per_key, clock=clock)
        self._failures = Throttle(settings.failures_per_address, clock=clock)
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, text: str, *, address: str) -> Key:
        """Return the key behind ``text``, one token of its bucket spent.

        Raises
        ------
        Problem
            401 for a wrong key, 429 with Retry-After for too many of either kind.
        """
        return self.recall(text) or self._spend(self._look_up(text, address=address))

    def recall(self, text: str) -> Key | None:
        """As :meth:`admit`, without a look-up: None for a key not seen in the last seconds."""
        with self._lock:
            seen = self._seen.get(_digest(text))
        if seen is None or seen.until <= self._clock():
            return None
        return self._spend(seen.key)

    def _spend(self, key: Key) -> Key:
        wait = self._per_key.take(key.id)
        if wait:
            raise _too_many(f"Key {key.name!r} makes too many requests.", wait)
        return key

    def _look_up(self, text: str, *, address: str) -> Key:
        digest = _digest(text)
        with self._lock:
            known = digest in self._seen
        wait = self._failures.wait(client_network(address))
        if wait and not known:
            raise _too_many("Too many wrong keys from this address.", wait)
        key = self._verify(text)
        if key is None:
            self._forget(digest)
            self._failures.take(client_network(address))
            raise _unauthorized("The key is unknown, revoked or expired.")
        self._remember(digest, key)
        return key

    def _verify(self, text: str) -> Key | None:
        if len(text) > LONGEST_KEY:
            return None
        now = self._told()
        return self._database.run(lambda tx: keys.verify(tx, text, now=now))

    def _remember(self, digest: bytes, key: Key) -> None:
        with self._lock:
            self._seen[digest] = _Seen(key, self._clock() + REMEMBERED)
            self._seen.move_to_end(digest)
            if len(self._seen) > SEEN:
                self._seen.popitem(last=False)

    def _forget(self, digest: bytes) -> None:
        with self._lock:
            self._seen.pop(digest, None)


def address_of(request: Request) -> str:
    """Return the peer's address; behind a proxy uvicorn has already replaced it by the client's."""
    return request.client.host if request.client else "local"


def key_of(scope: MutableMapping[str, Any]) -> Key | None:
    """Return the key that was found for a request."""
    found: Key | None = scope.get(_FOUND)
    return found


async def identify(request: Request, credentials: HTTPAuthorizationCredentials | None) -> Key:
    """Return the caller's key, or raise the 401 or 429 that says why there is none.

    The key is found once for each request: the reader of the body asks before the handler
    does.
    """
    known = key_of(request.scope)
    if known is None:
        known = request.scope[_FOUND] = await _found(request, credentials)
    return known


async def _found(request: Request, credentials: HTTPAuthorizationCredentials | None) -> Key:
    if credentials is None:
        raise _unauthorized("This needs a key: send `Authorization: Bearer dl_…`.")
    gate: KeyGate = request.app.state.gate
    text = credentials.credentials
    key = gate.recall(text)
    if key is None:
        key = await run_in_threadpool(gate.admit, text, address=address_of(request))
    return key


class TeamReach(StrEnum):
    """What a key that is bound to a team's adapters may do at an endpoint."""

    READS = "reads"
    """It reads what is the team's."""
    CHANGES = "changes"
    """It changes what the path names, if that is the team's."""
    LOOKED_UP = "looked up"
    """The handler looks up what it may."""
    NONE = "none"


def needs(*scopes: Scope, reach: TeamReach) -> Callable[..., object]:
    """Return the dependency that admits only keys with one of ``scopes``, and yields the key."""

    async def admitted(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
    ) -> Key:
        key = await identify(request, credentials)
        structlog.contextvars.bind_contextvars(key=key.name[:64])
        if not any(keys.permits(key, scope) for scope in scopes):
            raise scope_missing(key, *scopes)
        if key.match:
            await _restrict(request, key, reach)
        return key

    return admitted


async def _restrict(request: Request, key: Key, reach: TeamReach) -> None:
    match reach:
        case TeamReach.READS:
            teams.see(key.match)
        case TeamReach.CHANGES:
            database: Database = request.app.state.parts.database
            await run_in_threadpool(check_path, database, key, request.path_params)
        case TeamReach.NONE:
            raise of_the_whole(key)
        case TeamReach.LOOKED_UP:
            pass


def scope_missing(key: Key, *scopes: Scope, why: str = "This") -> Problem:
    """Return the 403 that names the scopes, one of which ``why`` needs."""
    return Problem(
        403,
        f"{why} needs the scope {' or '.join(repr(scope.value) for scope in scopes)};"
        f" key {key.name!r} has {', '.join(sorted(key.scopes)) or 'none'}.",
        kind="scope-missing",
    )


Ingester = Annotated[Key, Depends(needs(Scope.INGEST, reach=TeamReach.LOOKED_UP))]
FleetIngester = Annotated[Key, Depends(needs(Scope.INGEST, reach=TeamReach.NONE))]
Reader = Annotated[Key, Depends(needs(Scope.READ, reach=TeamReach.READS))]
FleetReader = Annotated[Key, Depends(needs(Scope.READ, reach=TeamReach.NONE))]
Declarer = Annotated[Key, Depends(needs(Scope.INGEST, Scope.OPERATE, reach=TeamReach.LOOKED_UP))]
Operator = Annotated[Key, Depends(needs(Scope.OPERATE, reach=TeamReach.CHANGES))]
FleetOperator = Annotated[Key, Depends(needs(Scope.OPERATE, reach=TeamReach.NONE))]
CheckedOperator = Annotated[Key, Depends(needs(Scope.OPERATE, reach=TeamReach.LOOKED_UP))]
Admin = Annotated[Key, Depends(needs(Scope.ADMIN, reach=TeamReach.NONE))]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, kind="key-missing-or-wrong", headers={"WWW-Authenticate": "Bearer"})


def _too_many(detail: str, wait: float) -> Problem:
    return Problem(
        429, detail, kind="too-many-requests", headers={"Retry-After": str(math.ceil(wait))}
    )
