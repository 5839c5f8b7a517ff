"""The sections of the config: which table feeds which part's settings."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from alerts.outgoing import OutgoingClient, OutgoingError, OutgoingPolicy
from alerts.retry import RetrySchedule
from detectors import DETECTORS
from detectors.feedback import FEEDBACK, Directions
from monitor.capture import intake
from monitor.capture.refusal import PatternUnfit, refusing
from monitor.capture.wire import MAX_TOP
from monitor.config.channels import ChannelEntry, read_channels
from monitor.config.grouping import GroupingSection
from monitor.config.grouping import contradictions as grouping_contradictions
from monitor.config.probes import ProbesSection
from monitor.config.probes import contradictions as probe_contradictions
from monitor.config.reading import (
    ConfigError,
    build,
    overlay,
    read_toml,
    resolve_secrets,
    unknown,
)
from monitor.config.routing import contradictions as routing_contradictions
from monitor.config.routing import read_routing
from monitor.domain import EvaluationKind, Mode
from monitor.evaluate import EvaluateSettings, Margins
from monitor.evaluate.retraining import RetrainSettings
from monitor.gateway.settings import GatewaySettings
from monitor.policy import PolicySettings, Preset
from monitor.policy.budget import BudgetSettings, TierBudget
from monitor.postgres import ServerSettings
from monitor.reference.learned import LearnedSettings
from monitor.routing.canary.settings import CanarySettings
from monitor.routing.settings import RoutingSettings
from monitor.windows import Cadence

DEFAULT_FILE: Final = Path("config.toml")
POSTGRES: Final = frozenset({"postgresql", "postgres", "postgresql+psycopg"})
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSection:
    """Where the service keeps its files and what it may do by itself."""

    data_dir: Path = Path(".driftline")
    mode: Mode = Mode.OBSERVE
    log_level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSection:
    """Where HTTP is answered; ``public_url`` is how people reach it, for links in messages."""

    host: str = "127.0.0.1"
    port: int = 8440
    public_url: str = ""
    public_metrics: bool = False

    @property
    def url(self) -> str:
        """The address that links begin with."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSection:
    """``url`` empty: the embedded server of the data folder, sized by ``embedded``."""

    url: str = field(default="", repr=False)
    pool_size: int = 12
    embedded: ServerSettings = field(default_factory=ServerSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSection:
    """Engines that serve the adapters, OpenAI-compatible; empty: nothing is asked of serving."""

    engines: tuple[str, ...] = ()
    api_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSection:
    """Whether live records become a reference by themselves, and when."""

    auto: bool = True
    learned: LearnedSettings = field(default_factory=LearnedSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSection:
    """Intervals between windows of each kind, and how long each waits for late records."""

    tick: timedelta = timedelta(seconds=1)
    hard_interval: timedelta = timedelta(minutes=1)
    hard_lag: timedelta = timedelta(seconds=30)
    live_interval: timedelta = timedelta(minutes=15)
    live_lag: timedelta = timedelta(minutes=2)
    perplexity_interval: timedelta = timedelta(hours=6)
    selftest_interval: timedelta = timedelta(days=7)
    lease: timedelta = timedelta(seconds=60)
    renew: timedelta = timedelta(seconds=20)
    workers: int = 2

    @property
    def cadences(self) -> dict[EvaluationKind, Cadence]:
        """The intervals as the evaluator wants them."""
        return {
            EvaluationKind.HARD: Cadence(interval=self.hard_interval, lag=self.hard_lag),
            EvaluationKind.LIVE: Cadence(interval=self.live_interval, lag=self.live_lag),
            EvaluationKind.PERPLEXITY: Cadence(interval=self.perplexity_interval, lag=timedelta()),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSection:
    """One detector: whether it runs."""

    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackSection:
    """The detector of feedback: which names it compares, by where they are better.

    What is said of a live record is taken to be complete ``settles_after`` it was made.
    """

    enabled: bool = True
    higher_is_better: tuple[str, ...] = ()
    lower_is_better: tuple[str, ...] = ()
    settles_after: timedelta = timedelta(days=3)

    @property
    def directions(self) -> Directions:
        """The names as the detector wants them."""
        return Directions(
            higher_is_better=self.higher_is_better, lower_is_better=self.lower_is_better
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySection:
    """How messages are sent; ``retry_after`` has the waits between attempts."""

    workers: int = 4
    lease: timedelta = timedelta(seconds=60)
    poll: timedelta = timedelta(seconds=1)
    escalate_after_failures: int = 3
    escalate_after: timedelta = timedelta(minutes=2)
    retry_after: tuple[timedelta, ...] = ()

    @property
    def retries(self) -> RetrySchedule:
        """The schedule of attempts; the default spreads 12 over about 24 hours."""
        if not self.retry_after:
            return RetrySchedule()
        return RetrySchedule(delays=tuple(wait.total_seconds() for wait in self.retry_after))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSection:
    """The dead man's switch: ``url`` is fetched ``every`` so often while all is well.

    ``oldest`` is how long a message may wait, and how long no evaluation may finish.
    """

    url: str = field(default="", repr=False)
    every: timedelta = timedelta(minutes=1)
    oldest: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertingSection:
    """The budget, and what messages carry.

    ``tiers`` says which adapters get more, or a set number, of the fleet's false pages.
    """

    false_pages_per_30_days: float = 1.0
    notices_per_30_days: float = 1.0
    tiers: dict[str, TierBudget] = field(default_factory=dict)
    silence_records: int = 50
    shown_examples: int = 0
    grouping: GroupingSection = field(default_factory=GroupingSection)
    delivery: DeliverySection = field(default_factory=DeliverySection)
    heartbeat: HeartbeatSection = field(default_factory=HeartbeatSection)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSection:
    """What people say of an adapter; ``[defaults]`` fills in what it leaves out.

    ``corpus`` is a file of texts of the adapter's domain; empty: there is none. Nor is there
    one of ``smoke_prompts`` then, which people put to its models when an incident is open.
    ``notices_per_30_days`` None: as ``[alerting]`` says. ``feedback`` None: the names that
    ``[detectors.feedback]`` has. ``preset`` says which rules find that it drifts.
    """

    owner: str | None = None
    tier: str = "standard"
    labels: dict[str, str] = field(default_factory=dict)
    runbook: str | None = None
    mode: Mode | None = None
    corpus: str = ""
    smoke_prompts: str = ""
    notices_per_30_days: float | None = None
    feedback: Directions | None = None
    preset: Preset = Preset.BUDGET


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything the daemon hands out."""

    source: str = "the defaults"
    service: ServiceSection = field(default_factory=ServiceSection)
    server: ServerSection = field(default_factory=ServerSection)
    database: DatabaseSection = field(default_factory=DatabaseSection)
    capture: intake.Settings = field(default_factory=intake.Settings)
    reference: ReferenceSection = field(default_factory=ReferenceSection)
    probes: ProbesSection = field(default_factory=ProbesSection)
    serving: ServingSection = field(default_factory=ServingSection)
    schedule: ScheduleSection = field(default_factory=ScheduleSection)
    policy: PolicySettings = field(default_factory=PolicySettings)
    margins: Margins = field(default_factory=Margins)
    detectors: dict[str, DetectorSection | FeedbackSection] = field(default_factory=dict)
    alerting: AlertingSection = field(default_factory=AlertingSection)
    channels: tuple[ChannelEntry, ...] = ()
    outgoing: OutgoingPolicy = field(default_factory=OutgoingPolicy)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    canary: CanarySettings = field(default_factory=CanarySettings)
    retrain: RetrainSettings = field(default_factory=RetrainSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    defaults: AdapterSection = field(default_factory=AdapterSection)
    adapters: dict[str, AdapterSection] = field(default_factory=dict)

    @property
    def evaluation(self) -> EvaluateSettings:
        """The evaluator's settings, gathered from the sections that people think in."""
        return EvaluateSettings(
            detectors=tuple(name for name in DETECTORS if self._runs(name)),
            budget=BudgetSettings(
                false_pages_per_30_days=self.alerting.false_pages_per_30_days,
                notices_per_30_days=self.alerting.notices_per_30_days,
                tiers=self.alerting.tiers,
                notices_of={
                    name: own.notices_per_30_days
                    for name, own in self.adapters.items()
                    if own.notices_per_30_days is not None
                },
            ),
            margins=self.margins,
            policy=self.policy,
            silence_records=self.alerting.silence_records,
            shown_examples=self.alerting.shown_examples,
            preset=self.defaults.preset,
            preset_of={name: own.preset for name, own in self.adapters.items()},
            feedback=self._feedback,
            feedback_of={
                name: own.feedback
                for name, own in self.adapters.items()
                if own.feedback is not None
            },
        )

    @property
    def embeds_answers(self) -> bool:
        """Whether answers wait to be embedded; nobody who keeps prompts back expects it."""
        return self.capture.embed_prompts and self.evaluation.embeds_answers

    @property
    def feedback_settles_after(self) -> timedelta:
        """Age from which what is said of a live record may stand in a baseline."""
        section = self.detectors.get(FEEDBACK.name)
        own = section if isinstance(section, FeedbackSection) else FeedbackSection()
        return own.settles_after

    @property
    def _feedback(self) -> Directions:
        section = self.detectors.get(FEEDBACK.name)
        own = section.directions if isinstance(section, FeedbackSection) else Directions()
        return self.defaults.feedback or own

    def _runs(self, detector: str) -> bool:
        """Whether a detector is on; one of feedback that nobody names has nothing to do."""
        on = self.detectors.get(detector, DetectorSection()).enabled
        if detector != FEEDBACK.name:
            return on
        named = [self._feedback, *(own.feedback for own in self.adapters.values())]
        return on and any(one is not None and one.signals for one in named)


def load(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read the config: ``path``, else ``./config.toml`` if there is one, else the defaults.

    Raises
    ------
    ConfigError
        With every problem found, each by its path.
    """
    environ = os.environ if environ is None else environ
    chosen = path or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    table = overlay(read_toml(chosen) if chosen else {}, environ)
    return parse(table, source=str(chosen) if chosen else "the defaults", environ=environ)


def parse(table: Mapping[str, Any], *, source: str, environ: Mapping[str, str]) -> Config:
    """Turn a table into a config; raises ConfigError."""
    kinds = {f.name: f for f in fields(Config) if f.name != "source"}
    problems = [
        f"{key}: {unknown(key, list(kinds))}".replace("key", "section", 1)
        for key in table
        if key not in kinds
    ]
    sections: dict[str, Any] = {}
    for name in kinds:
        if name not in table:
            continue
        try:
            sections[name] = _section(name, table, environ)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    config = Config(source=source, **sections)
    problems = list(_contradictions(config))
    if problems:
        raise ConfigError(problems)
    return config


def _section(name: str, table: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    value = table[name]
    match name:
        case "channels":
            return read_channels(value, environ=environ)
        case "adapters":
            return _adapters(value, table.get("defaults", {}))
        case "detectors":
            return _detectors(value)
        case "routing":
            return read_routing(value, environ=environ)
        case _:
            if isinstance(value, Mapping):
                value = resolve_secrets(value, where=name, environ=environ)
            return build(_KINDS[name], value, where=name)


_KINDS: Final[Mapping[str, type]] = {
    "service": ServiceSection,
    "server": ServerSection,
    "database": DatabaseSection,
    "capture": intake.Settings,
    "reference": ReferenceSection,
    "probes": ProbesSection,
    "serving": ServingSection,
    "schedule": ScheduleSection,
    "policy": PolicySettings,
    "margins": Margins,
    "alerting": AlertingSection,
    "outgoing": OutgoingPolicy,
    "canary": CanarySettings,
    "retrain": RetrainSettings,
    "gateway": GatewaySettings,
    "defaults": AdapterSection,
}


_LONGEST: Final = 128


def _adapters(value: object, defaults: object) -> dict[str, AdapterSection]:
    if not isinstance(value, Mapping) or not isinstance(defaults, Mapping):
        raise ConfigError(["adapters: expected tables [adapters.NAME]"])
    if unfit := [name for name in value if not (name.isprintable() and 0 < len(name) <= _LONGEST)]:
        raise ConfigError(
            [
                f"adapters.{name!r:.60}: a name has 1 to {_LONGEST} printable characters"
                for name in unfit
            ]
        )
    return {
        name: build(
            AdapterSection,
            {**defaults, **own} if isinstance(own, Mapping) else own,
            where=f"adapters.{name}",
        )
        for name, own in value.items()
    }


def _detectors(value: object) -> dict[str, DetectorSection]:
    if not isinstance(value, Mapping):
        raise ConfigError(["detectors: expected tables [detectors.NAME]"])
    known = [*DETECTORS]
    problems = [
        f"detectors.{name}: {unknown(name, known)}".replace("key", "detector", 1)
        for name in value
        if name not in known
    ]
    if problems:
        raise ConfigError(problems)
    return {
        name: build(_DETECTORS.get(name, DetectorSection), own, where=f"detectors.{name}")
        for name, own in value.items()
    }


_DETECTORS: Final[Mapping[str, type[Any]]] = {FEEDBACK.name: FeedbackSection}
"""Sections of detectors that have more keys than whether they run."""


def _heartbeat_contradictions(config: Config) -> list[str]:
    heartbeat = config.alerting.heartbeat
    if not heartbeat.url:
        return []
    found = [
        f"alerting.heartbeat.{name}: must be longer than 0"
        for name in ("every", "oldest")
        if getattr(heartbeat, name) <= timedelta()
    ]
    try:
        OutgoingClient(config.outgoing).check(heartbeat.url)
    except OutgoingError as error:
        found.append(f"alerting.heartbeat.url: {error}")
    return found


def _contradictions(config: Config) -> list[str]:
    """What no single section can see."""
    schedule = config.schedule
    positive = ("tick", "hard_interval", "live_interval", "perplexity_interval", "lease")
    found = [
        f"schedule.{name}: must be longer than 0"
        for name in positive
        if getattr(schedule, name) <= timedelta()
    ]
    if schedule.selftest_interval < timedelta():
        found.append('schedule.selftest_interval: must be 0 or longer; "0s": only when asked')
    if schedule.renew * 2 > schedule.lease:
        found.append("schedule.renew: must be at most half of schedule.lease")
    if config.database.url and not _is_postgres(config.database.url):
        # not quoted: it may hold a password
        found.append("database.url: expected an address such as postgresql://user@host/name")
    if not 1 <= config.server.port <= 65_535:  # noqa: PLR2004 (ports end there)
        found.append(f"server.port: {config.server.port} is no port")
    found += _gateway_contradictions(config.gateway)
    found += probe_contradictions(config.probes.perplexity)
    found += _pattern_problems(config.capture)
    found += grouping_contradictions(config.alerting.grouping)
    found += _heartbeat_contradictions(config)
    found += routing_contradictions(config)
    found += [f"canary.{problem}" for problem in config.canary.problems]
    if config.service.log_level not in LOG_LEVELS:
        known = ", ".join(LOG_LEVELS)
        found.append(f"service.log_level: {config.service.log_level!r} is not one of {known}")
    if not 0 < config.probes.perplexity.budget <= 1:
        found.append("probes.perplexity.budget: must be above 0 and at most 1")
    found += _retrain_contradictions(config)
    if not config.evaluation.detectors:
        found.append("detectors: every detector is switched off")
    found += [
        f"alerting.{key}: must be a number from 0 on"
        for key in ("false_pages_per_30_days", "notices_per_30_days")
        if not 0 <= getattr(config.alerting, key) < math.inf
    ]
    found += _budget_contradictions(config)
    found += _feedback_contradictions(config)
    if config.alerting.shown_examples and not config.capture.store_text:
        found.append("alerting.shown_examples: needs capture.store_text = true")
    return found


def _feedback_contradictions(config: Config) -> list[str]:
    section = config.detectors.get(FEEDBACK.name)
    named = {f"adapters.{name}.feedback": own.feedback for name, own in config.adapters.items()}
    named |= {"defaults.feedback": config.defaults.feedback}
    if isinstance(section, FeedbackSection):
        named |= {"detectors.feedback": section.directions}
    found = []
    for where, directions in named.items():
        names = [] if directions is None else [*directions.higher_is_better]
        names += [] if directions is None else directions.lower_is_better
        found += [
            f"{where}: {name!r:.60} stands twice; it can be better in one direction only"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        found += [
            f"{where}: {name!r:.60}: a name has 1 to {_LONGEST} printable characters, none a colon"
            for name in names
            if not (name.isprintable() and 0 < len(name) <= _LONGEST and ":" not in name)
        ]
    return found


def _retrain_contradictions(config: Config) -> list[str]:
    known = {channel.name for channel in config.channels}
    return [
        f"retrain.channels: no channel {name!r:.60}; known: {', '.join(sorted(known)) or 'none'}"
        for name in config.retrain.channels
        if name not in known
    ]


def _gateway_contradictions(gateway: GatewaySettings) -> list[str]:
    found = [
        f"gateway.{name}: must be longer than 0"
        for name in ("connect_timeout", "idle_timeout", "total_timeout")
        if getattr(gateway, name) <= timedelta()
    ]
    if not 1 <= gateway.port <= 65_535:  # noqa: PLR2004 (ports end there)
        found.append(f"gateway.port: {gateway.port} is no port")
    if not 0 <= gateway.top_logprobs <= MAX_TOP:
        found.append(f"gateway.top_logprobs: must be from 0 to {MAX_TOP}")
    addresses = {"upstreams": gateway.upstreams, "service": filter(None, [gateway.service])}
    found += [
        f"gateway.{name}: expected an address such as http://10.0.3.7:8000, got {url!r}"
        for name, urls in addresses.items()
        for url in urls
        if not url.startswith(("http://", "https://"))
    ]
    return found


def _pattern_problems(capture: intake.Settings) -> list[str]:
    found = []
    for path in capture.refusal_patterns:
        try:
            refusing([path])
        except PatternUnfit as error:
            found.append(f"capture.refusal_patterns: {error}")
    return found


def _budget_contradictions(config: Config) -> list[str]:
    found = [
        f"adapters.{name}.notices_per_30_days: must be a number from 0 on"
        for name, own in config.adapters.items()
        if not 0 <= (own.notices_per_30_days or 0.0) < math.inf
    ]
    together = 0.0
    for name, tier in config.alerting.tiers.items():
        where = f"alerting.tiers.{name}"
        if tier.weight is not None and not 0 < tier.weight < math.inf:
            found.append(f"{where}.weight: must be above 0 and finite")
        if tier.weight is not None and tier.false_pages_per_30_days is not None:
            found.append(f"{where}: weight and false_pages_per_30_days exclude each other")
        if not 0 <= (tier.false_pages_per_30_days or 0.0) < math.inf:
            found.append(f"{where}.false_pages_per_30_days: must be a number from 0 on")
        together += max(0.0, tier.false_pages_per_30_days or 0.0)
    if together > max(0.0, config.alerting.false_pages_per_30_days):
        found.append(
            f"alerting.tiers: {together:g} false pages are set aside for tiers, the fleet accepts"
            f" {config.alerting.false_pages_per_30_days:g}"
        )
    return found


def _is_postgres(url: str) -> bool:
    try:
        return make_url(url).drivername in POSTGRES
    except (ArgumentError, ValueError):
        return False
