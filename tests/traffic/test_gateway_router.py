"""The gateway router before a real gateway that follows a real service."""

from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.domain import ArmKind, Scope
from monitor.gateway.running import assemble
from monitor.gateway.settings import GatewaySettings
from monitor.store.database import Database
from monitor.store.traffic import routes
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from monitor.traffic.routers.contract import Reach, RouterFailed
from monitor.traffic.routers.gateway import GatewayRouting, Gateways
from tests.fleet import NOW, register
from tests.gateway.conftest import listening
from tests.gateway.stub_engine import StubEngine
from tests.loopback import LOOPBACK
from tests.serving import Serving, serving

SERVED = {"support@v6", "support@v7"}
INSIDE = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))


def _put(database: Database, generation: int, version: str) -> None:
    with database.begin() as tx:
        table.put(
            tx,
            "support",
            arms=[ArmRequest(arm=ArmKind.STABLE, version=version, weight=1.0)],
            expected_generation=generation,
            reason="by hand",
            actor="ann",
            now=NOW,
        )


def _behind(service: Serving, engine: str) -> GatewaySettings:
    return GatewaySettings(upstreams=(engine,), service=service.url, key=service.keys[Scope.READ])


def test_a_route_counts_once_every_gateway_goes_by_it(database: Database, tmp_path: Path) -> None:
    with database.begin() as tx:
        register(tx, "support", "v6", "v7")

    with (
        serving(database, tmp_path) as service,
        listening(StubEngine(models=SERVED).app()) as engine,
    ):
        settings = _behind(service, engine)
        with (
            listening(assemble(settings, cache=None)) as one,
            listening(assemble(settings, cache=None)) as other,
        ):
            router = Gateways(
                GatewayRouting(addresses=(one, other)), Reach(inside=INSIDE), database
            )
            assert router.read_back("support") is None
            for generation, version in enumerate(("v6", "v7")):
                _put(database, generation, version)
                route = database.run(lambda tx: routes.get(tx, "support"))
                assert route is not None
                router.apply(route)
                assert router.read_back("support") == route.arms
                assert route.arms[0].version == version


def test_gateways_that_ask_for_keys_are_asked_with_one(database: Database, tmp_path: Path) -> None:
    with database.begin() as tx:
        register(tx, "support", "v6")
    _put(database, 0, "v6")
    with (
        serving(database, tmp_path) as service,
        listening(StubEngine(models=SERVED).app()) as engine,
    ):
        settings = replace(_behind(service, engine), keys=True)
        with listening(assemble(settings, cache=None)) as url:
            for _ in range(600):
                if httpx2.get(f"{url}/readyz", trust_env=False).is_success:
                    break
            own = Reach(inside=INSIDE, gateway=url, gateway_key=lambda: service.keys[Scope.READ])
            for reach, named in (
                (own, GatewayRouting()),
                (
                    Reach(inside=INSIDE),
                    GatewayRouting(addresses=(url,), key=service.keys[Scope.READ]),
                ),
            ):
                route = database.run(lambda tx: routes.get(tx, "support"))
                assert route is not None
                router = Gateways(named, reach, database)
                router.apply(route)
                assert router.read_back("support") == route.arms
            for given in ("", service.keys[Scope.INGEST]):
                stranger = Gateways(GatewayRouting(addresses=(url,), key=given), own, database)
                with pytest.raises(RouterFailed, match=r"asks for a key .*: name one in"):
                    stranger.read_back("support")
