"""Driftline's own gateways, which follow the table by themselves and report their edition."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from alerts.outgoing import OutgoingError, redacted
from monitor.domain import Arm, Edition, Route, Version
from monitor.store.database import Database
from monitor.store.traffic import epochs, routes
from monitor.traffic.routers.contract import Reach, RouterFailed

METRIC: Final = "driftline_gateway_route_generation"
EPOCH: Final = "driftline_gateway_route_epoch"
ALWAYS: Final = "driftline_gateway_routes_timestamp_seconds"
"""A metric that a gateway exposes even without any route."""
_LOOK: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRouting:
    """Keys of ``[routing.gateway]``.

    addresses
        Every gateway by itself, not behind a balancer; empty: the one of ``[gateway]``.
    key
        Key with ``read`` for gateways that ask for keys; empty: the admin key in the data folder
        if ``addresses`` is empty, too.
    wait
        How long all of them may take to follow a new route; a change needs a fraction of a
        second.
    timeout
        Limit of one request.
    """

    addresses: tuple[str, ...] = ()
    key: str = field(default="", repr=False)
    wait: timedelta = timedelta(seconds=5)
    timeout: timedelta = timedelta(seconds=5)


def problems(settings: GatewayRouting, reach: Reach) -> list[str]:
    """Say what is wrong with the settings, each with its key."""
    found = []
    for address in settings.addresses:
        try:
            reach.inside.check(address)
        except OutgoingError as error:
            found.append(f"addresses: {error}")
    found += [
        f"{key}: must be longer than 0"
        for key in ("wait", "timeout")
        if getattr(settings, key) <= timedelta()
    ]
    return found


class Gateways:
    """Waits until every gateway follows the route, by asking each for its edition."""

    def __init__(self, settings: GatewayRouting, reach: Reach, database: Database) -> None:
        self._addresses = settings.addresses or (reach.gateway,)
        self._key = settings.key
        self._own_key = str if settings.addresses else reach.gateway_key
        self._wait = settings.wait.total_seconds()
        self._timeout = settings.timeout.total_seconds()
        self._client = reach.inside
        self._database = database

    def prepare(self, versions: Sequence[Version]) -> None:
        del versions

    def apply(self, route: Route) -> None:
        until = time.monotonic() + self._wait
        for address in self._addresses:
            while (held := self._held(address, route.adapter) or _NONE) < route.edition:
                if time.monotonic() >= until:
                    raise RouterFailed(
                        f"{_says(address, route.adapter, held)}, not yet by"
                        f" {route.generation} of {route.epoch}"
                    )
                time.sleep(_LOOK)
            if held.epoch > route.epoch:
                raise RouterFailed(f"{_says(address, route.adapter, held)}, a newer table's")

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        """Return the arms that the gateway furthest behind follows."""
        held = {url: self._held(url, adapter) for url in self._addresses}
        if None in held.values():
            return None
        oldest, behind = min((held[url] or _NONE, url) for url in held)
        epoch, newest = self._database.run(
            lambda tx: (
                epochs.in_force(tx),
                routes.history(tx, adapter, before_generation=oldest.generation + 1, limit=1),
            )
        )
        known = oldest.epoch == epoch and newest and newest[0].route.generation
        if known != oldest.generation:
            raise RouterFailed(f"{_says(behind, adapter, oldest)}, which the table does not know")
        return newest[0].route.arms

    def _held(self, address: str, adapter: str) -> Edition | None:
        """Ask one gateway; None where it has no route of the adapter."""
        # the whole page is megabytes with hundreds of adapters
        asked = "&".join(f"name%5B%5D={name}" for name in (METRIC, EPOCH, ALWAYS))
        url = f"{address.rstrip('/')}/metrics?{asked}"
        try:
            reply = self._client.get(url, headers=self._headers(), timeout=self._timeout)
        except OutgoingError as error:
            raise RouterFailed(f"{redacted(address)}: {error}") from None
        if reply.status == HTTPStatus.UNAUTHORIZED:
            raise RouterFailed(f"{redacted(address)} asks for a key with the scope read: {_WAY_IN}")
        if reply.status != HTTPStatus.OK or reply.truncated:
            raise RouterFailed(f"{redacted(address)} answered {reply.status} when asked")
        try:
            return edition_in(reply.body_start, adapter)
        except (ValueError, OverflowError):
            raise RouterFailed(f"{redacted(address)} does not answer as a gateway does") from None

    def _headers(self) -> dict[str, str]:
        key = self._key or self._own_key()
        return {"Authorization": f"Bearer {key}"} if key else {}


_NONE: Final = Edition(0, 0)
_WAY_IN: Final = "name one in [routing.gateway] by key_file or key_env"


def _says(address: str, adapter: str, held: Edition) -> str:
    return (
        f"{redacted(address)} goes by generation {held.generation} of {adapter}"
        f" of epoch {held.epoch}"
    )


def edition_in(metrics: bytes, adapter: str) -> Edition | None:
    """Find the edition of an adapter's route in a gateway's metrics.

    >>> edition_in(b'driftline_gateway_route_generation{adapter="a"} 3.0', "a")
    Edition(epoch=0, generation=3)

    Raises
    ------
    ValueError
        They are not metrics of a gateway.
    """
    lines = metrics.decode().splitlines()
    about = [line for line in lines if line.startswith((METRIC, EPOCH))]
    if not about and not any(ALWAYS in line for line in lines):
        raise ValueError("no gateway")
    found = {
        sample.name: int(sample.value)
        for family in text_string_to_metric_families("\n".join([*about, ""]))
        for sample in family.samples
        if sample.labels.get("adapter") == adapter
    }
    return Edition(found.get(EPOCH, 0), found[METRIC]) if METRIC in found else None
