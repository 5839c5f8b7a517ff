"""Read ``[routing]`` and the tables of its routers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from alerts.addresses import PRIVATE_NETWORKS
from alerts.outgoing import OutgoingClient
from monitor.config.artifacts import artifacts_of
from monitor.config.reading import build, resolve_secrets
from monitor.probes.perplexity import LARGEST_ANSWER
from monitor.traffic.routers import ROUTERS
from monitor.traffic.routers.contract import Reach
from monitor.traffic.settings import RoutingSettings

if TYPE_CHECKING:
    from monitor.config.sections import Config


def read_routing(value: object, *, environ: Mapping[str, str]) -> RoutingSettings:
    """Read the section; a router's table may name its secrets by ``_env`` and ``_file``."""
    if isinstance(value, Mapping):
        value = {
            key: _resolved(key, own, environ=environ) if key in ROUTERS else own
            for key, own in value.items()
        }
    return build(RoutingSettings, value, where="routing")


def _resolved(name: str, own: object, *, environ: Mapping[str, str]) -> object:
    if not isinstance(own, Mapping):
        return own
    return resolve_secrets(own, where=f"routing.{name}", environ=environ)


def inside_of(config: Config) -> OutgoingClient:
    """Create the client for internal addresses of the config: engines, gateways, a Redis."""
    return OutgoingClient(
        replace(
            config.outgoing,
            allow=(*config.outgoing.allow, *PRIVATE_NETWORKS),
            response_limit=LARGEST_ANSWER,
        )
    )


def engine_headers(config: Config) -> Mapping[str, str]:
    """Return the headers that engines require."""
    key = config.serving.api_key
    return {"authorization": f"Bearer {key}"} if key else {}


def reach_of(config: Config) -> Reach:
    """Return the HTTP clients of routers."""
    artifacts = artifacts_of(config.artifacts, config.outgoing, data_dir=config.service.data_dir)
    return Reach(
        outside=OutgoingClient(config.outgoing),
        inside=inside_of(config),
        engines=config.serving.engines,
        engine_headers=engine_headers(config),
        gateway=f"http://{config.gateway.host}:{config.gateway.port}",
        gateway_key=partial(_own_key, config),
        files=artifacts.fetched,
        at_hand=artifacts.at_hand,
    )


def _own_key(config: Config) -> str:
    """Return the admin key in the data folder if the gateway of this config asks for keys."""
    if not config.gateway.keys:
        return ""
    try:
        return (config.service.data_dir / "admin.key").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def own_settings(routing: RoutingSettings) -> Any:
    """Return the table of the chosen router; None if it has none."""
    return getattr(routing, routing.router, None)


def contradictions(config: Config) -> list[str]:
    """Check that the chosen router exists and accepts its table, and that trials make sense."""
    found = _trial_problems(config.routing)
    name = config.routing.router
    if name not in ROUTERS:
        return [*found, f"routing.router: no router {name!r}; known: {', '.join(ROUTERS)}"]
    wrong = ROUTERS[name].problems(own_settings(config.routing), reach_of(config))
    return [*found, *(f"routing.{name}.{one}" for one in wrong)]


def _trial_problems(routing: RoutingSettings) -> list[str]:
    found = []
    if not 0 < routing.trial_share <= 1:
        found.append("routing.trial_share: must be above 0 and at most 1")
    if routing.trial_limit <= routing.trial_hold:
        found.append("routing.trial_limit: must be longer than routing.trial_hold")
    if routing.return_hold_max < routing.return_hold:
        found.append("routing.return_hold_max: must be at least routing.return_hold")
    return found
