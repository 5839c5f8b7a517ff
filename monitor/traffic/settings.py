"""The numbers of routing; each field is a key of ``[routing]`` in the config."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from monitor.traffic.routers.gateway import GatewayRouting
from monitor.traffic.routers.redis import RedisRouting
from monitor.traffic.routers.vllm import VllmRouting
from monitor.traffic.routers.webhook import WebhookRouting


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingSettings:
    """Settings of automatic moves of traffic.

    router
        A key of ``monitor.traffic.routers.ROUTERS``.
    resync
        How often a router that must be told is read back.
    gateway, redis, vllm, webhook
        Tables of the routers; only the chosen router's is read.
    cool_down
        Least time between two automatic fallbacks of one adapter.
    adapter_budget, adapter_window
        Most automatic fallbacks of one adapter in a window.
    fleet_budget, fleet_window
        The same for all adapters together.
    blast_share, blast_floor
        When this share of the adapters, and at least so many, turn critical within one
        ``cycle`` of each other, they have a common cause and no traffic moves.
    cycle
        Time in which each adapter is evaluated once: the live interval and its lag.
    evidence_age
        Evidence older than this moves no traffic (two live intervals).
    return_hold, return_hold_max, streak_gap
        How long a version must have recovered before its trial. The time doubles for each
        fallback within ``streak_gap`` of the one before, up to the longest.
    trial_share
        Share of the traffic for a version on trial, in (0, 1]; 1: all returns, untried.
    trial_hold, trial_records
        How long a trial must stay good, and over how many records of the version.
    trial_limit
        Term of a trial's route: after it readers return to the fallback arm by themselves.
        A trial that still needs records then begins anew, and keeps those it has.
    clock_skew
        If this process's clock differs from the database's by more, no traffic moves.
    execution_timeout
        After this an action in execution counts as interrupted and is read back; a router
        that cannot be read by then has not verified it.
    """

    router: str = "none"
    resync: timedelta = timedelta(minutes=1)
    cool_down: timedelta = timedelta(minutes=30)
    adapter_budget: int = 2
    adapter_window: timedelta = timedelta(hours=24)
    fleet_budget: int = 3
    fleet_window: timedelta = timedelta(hours=1)
    blast_share: float = 0.2
    blast_floor: int = 2
    cycle: timedelta = timedelta(minutes=15)
    evidence_age: timedelta = timedelta(minutes=30)
    return_hold: timedelta = timedelta(minutes=30)
    return_hold_max: timedelta = timedelta(hours=24)
    streak_gap: timedelta = timedelta(days=7)
    trial_share: float = 0.1
    trial_hold: timedelta = timedelta(hours=1)
    trial_records: int = 50
    trial_limit: timedelta = timedelta(hours=24)
    clock_skew: timedelta = timedelta(seconds=30)
    execution_timeout: timedelta = timedelta(seconds=30)
    gateway: GatewayRouting = field(default_factory=GatewayRouting)
    redis: RedisRouting = field(default_factory=RedisRouting)
    vllm: VllmRouting = field(default_factory=VllmRouting)
    webhook: WebhookRouting = field(default_factory=WebhookRouting)
