"""Run the gateway with settings from the other sections of the config."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import structlog

from monitor import tracing
from monitor.config.parts import GatewayPart
from monitor.config.reading import ConfigError
from monitor.daemon import logs
from monitor.gateway.running import OPEN, is_open, serve
from monitor.gateway.settings import GatewaySettings

_LOG = structlog.get_logger(__name__)

TRACES: Final = 2.0
"""Seconds at the end for sending the last spans."""


def run_gateway(config: GatewayPart) -> None:
    """Run until SIGTERM or SIGINT; needs neither the service nor its database to start.

    Raises
    ------
    ConfigError
        There is no engine to ask, or the address cannot be bound.
    TracesMissing
        Traces are to be sent, and the packages for it are not installed.
    """
    logs.configure(config.service.log_level)
    settings = settings_of(config)
    _LOG.info(
        "gateway",
        url=f"http://{settings.host}:{settings.port}",
        engines=len(settings.upstreams),
        service=settings.service,
    )
    if is_open(settings):
        _LOG.warning("gateway_is_open", reason=OPEN, see="docs/gateway.md#keys-of-clients")
    folder = config.service.data_dir
    _trace(config.service.traces)
    try:
        serve(settings, cache=folder / "gateway-routes.json", key_file=folder / "admin.key")
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        raise ConfigError([f"gateway.port: cannot listen at {place}: {error.strerror}"]) from error
    finally:
        tracing.stop(TRACES)


def _trace(url: str) -> None:
    if not url:
        return
    # only here: the client's libraries are megabytes
    from alerts.addresses import PRIVATE_NETWORKS  # noqa: PLC0415
    from alerts.outgoing import OutgoingClient, OutgoingPolicy  # noqa: PLC0415

    client = OutgoingClient(OutgoingPolicy(allow=PRIVATE_NETWORKS))
    tracing.start(url, role="gateway", client=client)


def settings_of(config: GatewayPart) -> GatewaySettings:
    """Fill in defaults from the other sections."""
    section = config.gateway
    upstreams = section.upstreams or config.serving.engines
    if not upstreams:
        raise ConfigError(["gateway.upstreams: name the engines, here or in serving.engines"])
    return replace(
        section,
        upstreams=upstreams,
        service=section.service or f"http://{config.server.host}:{config.server.port}",
    )
