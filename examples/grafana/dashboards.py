"""Four Grafana dashboards as code: fleet, adapter, service, gateway.

What is marked *fleet* in ``docs/metrics.md`` is the same in every API process, so queries take
``max by (…)`` of it and never a sum.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from string import ascii_uppercase
from types import MappingProxyType
from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    VizLegendOptions,
)
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)

Panel = timeseries.Panel | stat.Panel | bargauge.Panel | statetimeline.Panel
Query = tuple[str, str]
"""PromQL, and how a series is named."""

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT: Final = 8
HALF: Final = 12
THIRD: Final = 8
ALL: Final = 24
VERDICTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "insufficient": "light-blue",
        "learning": "blue",
        "stable": "green",
        "blind": "purple",
        "drifting": "orange",
        "critical": "red",
        "error": "dark-red",
    }
)
"""Colour of each verdict; its place is its number in the timeline."""
STATES: Final = ("healthy", "degraded", "fallback", "half_open")
_ADAPTER: Final = 'adapter="$adapter"'
_VERSION: Final = f'{_ADAPTER}, version=~"$version"'


def dashboards() -> dict[str, Dashboard]:
    """Return the dashboards by the name of their file."""
    return {"fleet": _fleet(), "adapter": _adapter(), "service": _service(), "gateway": _gateway()}


def written(dashboard: Dashboard) -> str:
    """Write a dashboard as Grafana imports it, one panel a line."""
    body = json.loads(json.dumps(dashboard.build(), cls=JSONEncoder, sort_keys=True))
    panels = ",\n".join(f"  {json.dumps(panel)}" for panel in body.pop("panels"))
    head = "".join(f" {json.dumps(name)}: {json.dumps(value)},\n" for name, value in body.items())
    return f'{{\n{head} "panels": [\n{panels}\n ]\n}}\n'


def expressions(dashboard: Mapping[str, Any]) -> Iterator[str]:
    """Yield the queries of a dashboard as it was written."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]


# --- fleet and adapter ----------------------------------------------------------------------


def _fleet() -> Dashboard:
    name = "adapter, version"
    versions = f"count by (verdict) (max by ({name}, verdict) (driftline_verdict) == 1)"
    worst = f"topk(20, max by ({name}) (driftline_drift_score))"
    to_adapter = (
        DashboardLink("The adapter")
        .type(DashboardLinkType.LINK)
        .url("/d/driftline-adapter?var-adapter=${__field.labels.adapter:percentencode}")
    )
    seen = (
        f"max by ({name}, detector) (driftline_coverage_ratio)"
        f" / max by ({name}, detector) (driftline_coverage_expected_ratio)"
    )
    return _dashboard(
        "fleet",
        "Driftline: fleet",
        "Now",
        _numbers("Versions by verdict", (versions, "{{verdict}}"), width=HALF),
        _bars("Worst first", (worst, "{{adapter}}@{{version}}"), width=HALF)
        .description("Sorts as verdicts do: critical from 80, drifting from 60.")
        .data_links([to_adapter]),
        "Over time",
        _lines("Versions by verdict", (versions, "{{verdict}}")),
        _lines(
            "Detectors that compare less than half of what they could",
            (f"({seen}) < 0.5", "{{adapter}}@{{version}} {{detector}}"),
            unit="percentunit",
        ),
        _lines("Records a second", (_rates("records", "outcome"), "{{outcome}}")),
        _lines("Records not used, a second", (_rates("records_dropped", "reason"), "{{reason}}")),
        "Traffic",
        _lines(
            "Changes of routes in the last hour",
            (
                "max by (adapter) (changes(driftline_route_generation[1h])) > 0",
                "{{adapter}}",
            ),
        ),
        _lines(
            "Breakers that are not healthy, and routers that are behind",
            (
                'max by (adapter, state) (driftline_breaker_state{state!="healthy"}) == 1',
                "{{adapter}} {{state}}",
            ),
            ("max by (adapter) (driftline_route_behind) == 1", "{{adapter}} behind"),
        ),
        _lines(
            "Share of canaries",
            (f"max by ({name}) (driftline_canary_weight)", "{{adapter}}@{{version}}"),
            unit="percentunit",
        ),
        _lines(
            "Versions by their weights' state",
            (
                f"count by (state) (max by ({name}, state) (driftline_weights_state) == 1)",
                "{{state}}",
            ),
        ),
    )


def _adapter() -> Dashboard:
    verdict = " or ".join(
        f'{number} * driftline_verdict{{{_VERSION}, verdict="{verdict}"}}'
        for number, verdict in enumerate(VERDICTS)
    )
    breaker = " or ".join(
        f'{number} * driftline_breaker_state{{{_ADAPTER}, state="{state}"}}'
        for number, state in enumerate(STATES)
    )
    each = "{{version}} {{detector}}"
    made = _dashboard(
        "adapter",
        "Driftline: adapter",
        _states("Verdict", (f"max by (version) ({verdict})", "{{version}}"), states=dict(VERDICTS)),
        "Signals",
        _lines(
            "Evidence for a ticket: 0 is the line",
            (_of("evidence", "version, detector", f'{_VERSION}, process="notice"'), each),
            line=_limits({0.0: "orange"}),
        ),
        _lines(
            "Evidence for a page: 0 is the line",
            (_of("evidence", "version, detector", f'{_VERSION}, process="page"'), each),
            line=_limits({0.0: "red"}),
        ),
        _lines("Effect", (_of("score", "version, detector", _VERSION), each)),
        _lines(
            "Share of requests that are compared",
            (_of("coverage_ratio", "version, detector", _VERSION), each),
            (_of("coverage_expected_ratio", "version, detector", _VERSION), f"{each} possible"),
            unit="percentunit",
        ),
        "Records and probes",
        _lines(
            "Records a second",
            (_of_rate("records_total", "outcome"), "{{outcome}}"),
            (_of_rate("records_dropped_total", "reason"), "not used: {{reason}}"),
        ),
        _lines(
            "Since the last verdict and the last probe",
            (_age("last_evaluation_timestamp_seconds"), "{{version}} verdict"),
            (_age("last_probe_timestamp_seconds"), "{{version}} probe"),
            unit="s",
        ),
        "Traffic",
        _states(
            "Breaker",
            (f"max by (adapter) ({breaker})", "{{adapter}}"),
            states=dict(zip(STATES, ("green", "orange", "red", "yellow"), strict=True)),
        ),
        _lines(
            "Generation of the route",
            (_of("route_generation", "adapter", _ADAPTER), "{{adapter}}"),
        ),
        _lines(
            "Canary",
            (_of("canary_weight", "version", _VERSION), "{{version}} share"),
            (
                f"{_of('canary_phase', 'version, phase', _VERSION)} == 1",
                "{{version}} {{phase}}",
            ),
        ),
    )
    version = _variable("version", f"label_values(driftline_verdict{{{_ADAPTER}}}, version)")
    return made.with_variable(
        _variable("adapter", "label_values(driftline_verdict, adapter)")
    ).with_variable(version.multi(multi=True).include_all(include_all=True))


# --- service and gateway --------------------------------------------------------------------


def _service() -> Dashboard:
    requests = "sum by (status) (rate(driftline_http_requests_total[$__rate_interval]))"
    slow = (
        "histogram_quantile(0.95, sum by (route, le)"
        " (rate(driftline_http_request_seconds_bucket[$__rate_interval])))"
    )
    return _dashboard(
        "service",
        "Driftline: service",
        "Does it work",
        _numbers(
            "Processes that are scraped", ('up{job=~"driftline.*"}', "{{instance}}")
        ).thresholds(_limits({1.0: "green"}, base="red")),
        _numbers(
            "Since any adapter was evaluated",
            ("time() - max(driftline_last_evaluation_timestamp_seconds)", "evaluated"),
            unit="s",
        ).thresholds(_limits({600.0: "red"})),
        _numbers("Disk of the database is full", ("max(driftline_disk_full)", "full")).thresholds(
            _limits({1.0: "red"})
        ),
        _numbers(
            "Records that wait for their version to be registered",
            ("sum(driftline_records_held)", "held"),
        ).thresholds(_limits({1.0: "orange"})),
        "Messages",
        _lines(
            "Oldest message that waits",
            ("max(driftline_outbox_oldest_seconds)", "age"),
            unit="s",
            line=_limits({900.0: "red"}),
        ),
        _lines(
            "Messages that wait for others, and dead ones",
            ("max(driftline_messages_held)", "held"),
            ("max by (channel) (driftline_deliveries_dead)", "{{channel}} dead"),
            ("max by (channel) (driftline_channel_degraded)", "{{channel}} degraded"),
        ),
        "Requests",
        _lines("Requests a second by status", (requests, "{{status}}")),
        _lines("95 of 100 requests are answered within", (slow, "{{route}}"), unit="s"),
        _lines(
            "Memory",
            ('process_resident_memory_bytes{job=~"driftline.*"}', "{{job}} {{instance}}"),
            unit="bytes",
        ),
        _lines(
            "Cores in use",
            (
                'rate(process_cpu_seconds_total{job=~"driftline.*"}[$__rate_interval])',
                "{{job}} {{instance}}",
            ),
        ),
        _lines(
            "Epoch of the routes: a step is a restored database",
            ("max(driftline_route_epoch)", "epoch"),
        ),
    )


def _gateway() -> Dashboard:
    def rate(metric: str, by: str) -> str:
        return f"sum by ({by}) (rate(driftline_gateway_{metric}[$__rate_interval]))"

    def slow(metric: str, by: str) -> str:
        return f"histogram_quantile(0.95, {rate(f'{metric}_seconds_bucket', f'{by}, le')})"

    behind = (
        "max by (adapter) (driftline_route_generation)"
        " - min by (adapter) (driftline_gateway_route_generation) > 0"
    )
    epochs = (
        "min by (adapter) (driftline_gateway_route_epoch)"
        " != on () group_left () max(driftline_route_epoch)"
    )
    return _dashboard(
        "gateway",
        "Driftline: gateway",
        "Requests",
        _lines("Requests a second", (rate("requests_total", "status"), "{{status}}")),
        _lines(
            "Retries and broken answers, a second",
            (rate("retries_total", "adapter, reason"), "{{adapter}} again: {{reason}}"),
            (rate("broken_total", "adapter, by"), "{{adapter}} broken by {{by}}"),
        ),
        _lines(
            "The gateway itself takes, in 95 of 100 requests, up to",
            (slow("overhead", "adapter"), "{{adapter}}"),
            unit="s",
        ),
        _lines(
            "The first byte comes, in 95 of 100 requests, within",
            (slow("first_byte", "adapter, version"), "{{adapter}}@{{version}}"),
            unit="s",
        ),
        "Records and shadows",
        _lines("Sampled requests a second", (rate("records_total", "outcome"), "{{outcome}}")),
        _lines("Records that wait to be sent", ("max(driftline_gateway_queue_records)", "waiting")),
        _lines(
            "Copies for shadows, a second",
            (rate("shadows_total", "adapter, outcome"), "{{adapter}} {{outcome}}"),
        ),
        "Routes",
        _lines(
            "Routes that a gateway does not follow yet",
            (behind, "{{adapter}} generations behind"),
            (f"({epochs}) > bool 0", "{{adapter}} of another epoch"),
            ("max by (adapter) (driftline_gateway_route_refused) == 1", "{{adapter}} refused"),
        ),
        _lines(
            "Since the service confirmed the routes",
            ("time() - min(driftline_gateway_routes_timestamp_seconds)", "longest"),
            unit="s",
        ),
        _lines(
            "Loading an adapter costs",
            (
                "max by (adapter, version) (driftline_gateway_switch_seconds)",
                "{{adapter}}@{{version}}",
            ),
            unit="s",
        ),
        _lines(
            "Requests of one token that load an adapter",
            (
                "sum by (outcome) (rate(driftline_gateway_preloads_total[$__rate_interval]))",
                "{{outcome}}",
            ),
            unit="reqps",
        ),
        _bars(
            "Adapters worth keeping loaded",
            (
                "max by (adapter, version) (driftline_gateway_keep_loaded) == 1",
                "{{adapter}}@{{version}}",
            ),
            width=HALF,
        ),
    )


# --- parts ----------------------------------------------------------------------------------


def _of(metric: str, by: str, matched: str) -> str:
    return f"max by ({by}) (driftline_{metric}{{{matched}}})"


def _of_rate(metric: str, by: str) -> str:
    return f"max by ({by}) (rate(driftline_{metric}{{{_ADAPTER}}}[$__rate_interval]))"


def _rates(metric: str, by: str) -> str:
    each = f"max by (adapter, {by}) (rate(driftline_{metric}_total[$__rate_interval]))"
    return f"sum by ({by}) ({each})"


def _age(metric: str) -> str:
    return f"time() - {_of(metric, 'version', _VERSION)}"


def _dashboard(uid: str, title: str, *parts: str | Panel) -> Dashboard:
    """Lay panels out below each other, and rows where a title stands."""
    made = (
        Dashboard(title)
        .uid(f"driftline-{uid}")
        .tags(["driftline"])
        .editable()
        .refresh("30s")
        .time("now-24h", "now")
        .timezone("browser")
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(
            DashboardLink("Driftline")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["driftline"])
            .as_dropdown(as_dropdown=True)
            .keep_time(keep_time=True)
        )
    )
    for number, part in enumerate(parts, start=1):
        if isinstance(part, str):
            made.with_row(Row(part).id(number))
        else:
            made.with_panel(part.id(number))
    return made


def _variable(name: str, query: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .label(name)
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _lines(
    title: str, *queries: Query, unit: str = "short", line: ThresholdsConfig | None = None
) -> timeseries.Panel:
    """Draw series over time, with a line across them where one is given."""
    panel = timeseries.Panel().title(title).unit(unit).datasource(SOURCE).legend(_legend())
    for place, query in enumerate(queries):
        panel.with_target(_asked(query, place).range())
    if line is not None:
        drawn = GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.LINE)
        panel.thresholds(line).thresholds_style(drawn)
    return panel.fill_opacity(0).height(HEIGHT).span(HALF)


def _asked(query: Query, place: int = 0) -> Dataquery:
    expr, name = query
    return Dataquery().expr(expr).legend_format(name).ref_id(ascii_uppercase[place])


def _legend() -> VizLegendOptions:
    return (
        VizLegendOptions()
        .show_legend(show_legend=True)
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
    )


def _numbers(title: str, query: Query, *, unit: str = "short", width: int = THIRD) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .unit(unit)
        .datasource(SOURCE)
        .with_target(_asked(query).instant())
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_limits({}, base="text"))
        .height(HEIGHT)
        .span(width)
    )


def _bars(title: str, query: Query, *, width: int) -> bargauge.Panel:
    return (
        bargauge.Panel()
        .title(title)
        .datasource(SOURCE)
        .with_target(_asked(query).instant())
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_limits({60.0: "orange", 80.0: "red"}))
        .min(0)
        .height(HEIGHT)
        .span(width)
    )


def _states(title: str, query: Query, *, states: Mapping[str, str]) -> statetimeline.Panel:
    shown = {
        str(number): ValueMappingResult(text=state, color=color, index=number)
        for number, (state, color) in enumerate(states.items())
    }
    return (
        statetimeline.Panel()
        .title(title)
        .datasource(SOURCE)
        .legend(_legend())
        .with_target(_asked(query).range())
        .mappings([ValueMap(options=shown)])
        .height(HEIGHT)
        .span(ALL)
    )


def _limits(steps: Mapping[float, str], *, base: str = "green") -> ThresholdsConfig:
    above = [Threshold(value=value, color=color) for value, color in steps.items()]
    below = Threshold(value=None, color=base)
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([below, *above])
