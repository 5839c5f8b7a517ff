"""The gateway router before a real gateway that follows a real service."""

from pathlib import Path

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.domain import ArmKind, Scope
from monitor.gateway.running import assemble
from monitor.gateway.settings import GatewaySettings
from monitor.store.database import Database
from monitor.store.traffic import routes
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from monitor.traffic.routers.contract import Reach
from monitor.traffic.routers.gateway import GatewayRouting, Gateways
from tests.fleet import NOW, register
from tests.gateway.conftest import listening
from tests.gateway.stub_engine import StubEngine
from tests.loopback import LOOPBACK
from tests.serving import serving


def test_a_route_counts_once_every_gateway_goes_by_it(database: Database, tmp_path: Path) -> None:
    with database.begin() as tx:
        register(tx, "support", "v6", "v7")

    def put(generation: int, version: str) -> None:
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

    with (
        serving(database, tmp_path) as service,
        listening(StubEngine(models={"support@v6", "support@v7"}).app()) as engine,
    ):
        settings = GatewaySettings(
            upstreams=(engine,), service=service.url, key=service.keys[Scope.READ]
        )
        with (
            listening(assemble(settings, cache=None)) as one,
            listening(assemble(settings, cache=None)) as other,
        ):
            router = Gateways(
                GatewayRouting(addresses=(one, other)),
                Reach(inside=OutgoingClient(OutgoingPolicy(allow=LOOPBACK))),
                database,
            )
            assert router.read_back("support") is None
            for generation, version in enumerate(("v6", "v7")):
                put(generation, version)
                route = database.run(lambda tx: routes.get(tx, "support"))
                assert route is not None
                router.apply(route)
                assert router.read_back("support") == route.arms
                assert route.arms[0].version == version
