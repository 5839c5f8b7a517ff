"""The engines behind the gateway: which replica to ask, and how."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog
from yarl import URL

from monitor.engine_addresses import LOOK_EVERY, EngineAddresses
from monitor.gateway.dialing import connector
from monitor.gateway.settings import GatewaySettings

_LOG: Final = structlog.get_logger(__name__)

SET_ASIDE: Final = 5.0
"""Seconds during which an unreachable replica is asked only if no other is left."""

_MOST_LACKING: Final = 1_000
_SECOND_TRIES: Final = 60.0
"""Seconds for which a second attempt goes to no replica that lacked its model."""
_KEPT_ALIVE: Final = 4.0
"""Seconds; engines on uvicorn close idle connections after 5."""

_DETOUR: Final = 2
"""Further requests under way at which a replica that holds a model is still preferred."""

_OWN: Final = frozenset({"user-agent", "accept", "accept-encoding", "content-type"})
"""Headers that the client library would add by itself; only the gateway's client may set them."""


class Unreachable(Exception):  # noqa: N818 (named as the outcome)
    """No answer began; ``sent`` is true if the engine may have received the request."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("the engine cannot be reached")
        self.sent = sent


class TooSlow(Exception):  # noqa: N818 (named as the outcome)
    """No answer began in time."""


async def read_most(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Read a whole answer into memory; a larger one counts as broken off."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            raise aiohttp.ClientPayloadError(f"more than {most:,} bytes")
    return b"".join(parts)


@dataclass(slots=True, eq=False, kw_only=True)
class EngineReplica:
    """One replica; ``busy`` counts the requests it is answering for this gateway.

    ``url`` ends without a slash; ``written`` is as it was given; ``name`` is its host and port.
    ``software`` is its name and version: empty if it does not tell, None until it was asked, and
    None again after it was unreachable, since it may return as another one.
    """

    url: str
    name: str = field(init=False)
    written: str = field(init=False)
    software: str | None = None
    places: int = 0
    """The number of adapters that it holds at a time; 0 if it does not tell."""
    busy: int = 0
    away_until: float = 0.0
    lacking: dict[str, float] = field(default_factory=dict, repr=False)
    """Until when it counts as lacking a model: a new replica may not have loaded it yet."""
    last_asked: int = 0
    recent: dict[str, None] = field(default_factory=dict, repr=False)
    """The models that it answered for last, the latest at the end: it holds them."""

    def lacks(self, model: str) -> None:
        """Note that it knows no such model; asked last for a few seconds."""
        if len(self.lacking) >= _MOST_LACKING:
            self.lacking.clear()
        self.lacking[model] = time.monotonic() + SET_ASIDE
        self.dropped(model)

    def holds(self, model: str) -> None:
        """Note that it knows the model."""
        self.lacking.pop(model, None)

    def used(self, model: str, places: int) -> None:
        """Note that it answers for a model; an engine drops what it used longest ago.

        ``places`` count where the engine does not tell its own.
        """
        self.recent.pop(model, None)
        self.recent[model] = None
        while len(self.recent) > (self.places or places):
            del self.recent[next(iter(self.recent))]

    def dropped(self, model: str) -> None:
        """Note that it does not hold a model."""
        self.recent.pop(model, None)

    def next_dropped(self, places: int) -> str | None:
        """Return the model that makes room for another one; None while there is a free place."""
        held = len(self.recent)
        return next(iter(self.recent)) if held >= (self.places or places) else None

    def could_load(self, model: str, now: float) -> bool:
        """True if it knows a model that it does not hold."""
        return model not in self.recent and self.lacking.get(model, 0.0) <= now

    def __post_init__(self) -> None:
        url, self.written = URL(self.url), self.url
        self.url, self.name = str(url).rstrip("/"), f"{url.host}:{url.port}"


class ReplicaGroup:
    """Replicas that serve the same adapters; the least busy one is asked.

    They may come and go; what one that is gone still answers is read to its end.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._addresses = EngineAddresses(settings.upstreams)
        self._unusable: set[str] = set()
        self.all: Sequence[EngineReplica] = []
        self.dear: Collection[str] = frozenset()
        """Models that take a while to load: a replica that holds one is preferred for it."""
        if self._addresses.fixed:
            self._become(self._addresses.now())
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._asked = 0

    def _become(self, urls: Sequence[str]) -> None:
        known = {one.written: one for one in self.all}
        found = []
        for url in urls:
            try:
                found.append(known.get(url) or EngineReplica(url=url))
            except ValueError:  # a client's parser may be stricter than the check of addresses
                if self._addresses.fixed:
                    raise
                if url not in self._unusable:
                    _LOG.warning("engine_address_unusable", host=urlsplit(url).netloc)
                self._unusable.add(url)
        self.all = found

    async def follow(self) -> None:
        """Take in replicas that come, and forget those that go, until cancelled."""
        while not self._addresses.fixed:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await asyncio.to_thread(self._addresses.look)
                self._become(self._addresses.now())
            except Exception:  # noqa: BLE001 (what is known stays; the next look may succeed)
                _LOG.exception("engines_not_followed")

    async def open(self) -> None:
        """Find the replicas and open the session; runs in the event loop that sends requests."""
        if not self._addresses.fixed:
            self._become(await asyncio.to_thread(self._addresses.now))
        limits = self._settings
        self._session = aiohttp.ClientSession(
            connector=connector(limit=0, keepalive_timeout=_KEPT_ALIVE),
            timeout=aiohttp.ClientTimeout(
                total=limits.total_timeout.total_seconds(),
                sock_connect=limits.connect_timeout.total_seconds(),
                sock_read=limits.idle_timeout.total_seconds(),
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def pick(self, model: str = "", avoid: EngineReplica | None = None) -> EngineReplica:
        """Choose the least busy replica that has the model; ``avoid`` only if no other has it.

        For a model that is dear to load, one that holds it counts as less busy by two requests.

        One that lacked the model is tried again after a few seconds, by a first attempt only.

        Raises
        ------
        Unreachable
            No replica is known.
        """
        if not self.all:
            if avoid is not None:
                return avoid
            raise Unreachable(sent=False)
        now = time.monotonic()
        dear = model in self.dear
        known_until = now if avoid is None else now - _SECOND_TRIES
        chosen = min(
            self.all,
            key=lambda one: (
                one.away_until > now or one.lacking.get(model, 0.0) > known_until,
                one is avoid,
                one.busy + (_DETOUR if dear and model not in one.recent else 0),
                one.last_asked,
            ),
        )
        self._asked += 1
        chosen.last_asked = self._asked
        return chosen

    async def ask(
        self,
        engine: EngineReplica,
        method: str,
        target: str,
        *,
        headers: list[tuple[str, str]],
        body: bytes,
    ) -> aiohttp.ClientResponse:
        """Send a request, its headers named in lower case, and return once the answer's head came.

        Raises
        ------
        Unreachable
            No connection, or it ended before the answer began.
        TooSlow
            The engine took longer than the timeouts allow.
        """
        assert self._session is not None, "open() comes first"  # noqa: S101 (invariant)
        unsaid = _OWN.difference(dict(headers))
        try:
            return await self._session.request(
                method,
                URL(engine.url + target, encoded=True),
                headers=headers,
                skip_auto_headers=unsaid
                or None,  # computing this costs even if nothing is left out
                data=body or None,
                allow_redirects=False,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            engine.away_until, engine.software = time.monotonic() + SET_ASIDE, None
            engine.recent = {}
            raise Unreachable(sent=False) from error
        except TimeoutError as error:
            raise TooSlow from error
        except (aiohttp.ClientError, OSError) as error:
            engine.recent = {}  # it may have ended
            raise Unreachable(sent=True) from error
