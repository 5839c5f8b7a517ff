"""The sections of the config: the table for each part's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from alerts.outgoing import OutgoingPolicy
from alerts.retry import RetrySchedule
from detectors import DETECTORS
from detectors.day_effect import ASSUMED_SD, DayEffect
from detectors.feedback import FEEDBACK, Directions
from monitor.admission.settings import AdmissionSettings
from monitor.artifacts.settings import ArtifactSettings
from monitor.capture import intake
from monitor.config.channels import ChannelEntry
from monitor.config.grouping import GroupingSection
from monitor.config.places import ServerSection, ServiceSection, ServingSection
from monitor.config.probes import ProbesSection
from monitor.domain import EvaluationKind, Mode
from monitor.evaluate.retraining import RetrainSettings
from monitor.evaluate.settings import EvaluateSettings, Margins
from monitor.gateway.settings import GatewaySettings
from monitor.oidc.settings import OidcSettings
from monitor.policy import PolicySettings, Preset
from monitor.policy.budget import BudgetSettings, TierBudget
from monitor.postgres import ServerSettings
from monitor.reference.learned import LearnedSettings
from monitor.traffic.settings import RoutingSettings
from monitor.traffic.trial.settings import CanarySettings
from monitor.trainer.settings import TrainerSettings
from monitor.windows import Cadence

LONGEST: Final = 128
"""The most characters of an adapter's or a feedback's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSection:
    """The database; an empty ``url`` means the data folder's embedded server, of size ``embedded``.

    owner_url
        The same database as the role that owns its tables; only migrations use it. Empty:
        ``url`` is the owner's.
    direct_url
        The same database past a pooler in transaction mode, which ``url`` then leads through.
    standby_url
        A standby of it, from which pages are read. Empty: they are read as everything is.
    password_command
        Prints the password of each new connection whose address has none.
    migrates
        False: this process waits until another one has brought the schema to its release.
    """

    url: str = field(default="", repr=False)
    owner_url: str = field(default="", repr=False)
    direct_url: str = field(default="", repr=False)
    standby_url: str = field(default="", repr=False)
    password_command: tuple[str, ...] = ()
    migrates: bool = True
    pool_size: int = 12
    embedded: ServerSettings = field(default_factory=ServerSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSection:
    """Whether and when live records become a reference automatically."""

    auto: bool = True
    learned: LearnedSettings = field(default_factory=LearnedSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSection:
    """Intervals between windows of each kind, and how long after its end each is read."""

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
        """The intervals in the evaluator's form."""
        return {
            EvaluationKind.HARD: Cadence(interval=self.hard_interval, lag=self.hard_lag),
            EvaluationKind.LIVE: Cadence(interval=self.live_interval, lag=self.live_lag),
            EvaluationKind.PERPLEXITY: Cadence(interval=self.perplexity_interval, lag=timedelta()),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSection:
    """One detector, enabled or not."""

    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackSection(DetectorSection):
    """The feedback detector: the names it compares, by which direction is better.

    Feedback on a live record counts as complete ``settles_after`` the record was made.
    """

    higher_is_better: tuple[str, ...] = ()
    lower_is_better: tuple[str, ...] = ()
    settles_after: timedelta = timedelta(days=3)

    @property
    def directions(self) -> Directions:
        """The names in the detector's form."""
        return Directions(
            higher_is_better=self.higher_is_better, lower_is_better=self.lower_is_better
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySection:
    """The settings of delivery; ``retry_after`` lists the waits between attempts."""

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
    """The dead man's switch: ``url`` is fetched ``every`` so often while everything works.

    ``oldest`` is how long a message may wait, and how long no evaluation may finish.
    """

    url: str = field(default="", repr=False)
    every: timedelta = timedelta(minutes=1)
    oldest: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertingSection:
    """The budget, and the contents of messages.

    ``tiers`` says which adapters get a larger part, or a fixed number, of the fleet's false pages.
    """

    false_pages_per_30_days: float = 1.0
    notices_per_30_days: float = 1.0
    tiers: dict[str, TierBudget] = field(default_factory=dict)
    silence_records: int = 50
    out_of_service_after: timedelta = timedelta(minutes=15)
    shown_examples: int = 0
    grouping: GroupingSection = field(default_factory=GroupingSection)
    delivery: DeliverySection = field(default_factory=DeliverySection)
    heartbeat: HeartbeatSection = field(default_factory=HeartbeatSection)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorsSection:
    """``[detectors]``: tables by name, and settings for all of them.

    assumed_day_effect
        The assumed difference between days, and for unseen hours, until a reference or the fleet
        has shown it, in sd of a request's value; 0 assumes none.
    """

    assumed_day_effect: float = ASSUMED_SD
    by_name: dict[str, DetectorSection] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSection:
    """An adapter's settings; ``[defaults]`` fills in omitted ones.

    ``corpus`` is a file of texts of the adapter's domain, ``smoke_prompts`` one of prompts that
    people put to its models during an incident; empty means none. ``notices_per_30_days`` None uses
    ``[alerting]``. ``feedback`` None uses the names of ``[detectors.feedback]``. ``preset`` chooses
    the rules that find drift.
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
    """The whole config, which the daemon hands out by section."""

    source: str = "the defaults"
    service: ServiceSection = field(default_factory=ServiceSection)
    server: ServerSection = field(default_factory=ServerSection)
    database: DatabaseSection = field(default_factory=DatabaseSection)
    capture: intake.Settings = field(default_factory=intake.Settings)
    reference: ReferenceSection = field(default_factory=ReferenceSection)
    probes: ProbesSection = field(default_factory=ProbesSection)
    serving: ServingSection = field(default_factory=ServingSection)
    artifacts: ArtifactSettings = field(default_factory=ArtifactSettings)
    schedule: ScheduleSection = field(default_factory=ScheduleSection)
    policy: PolicySettings = field(default_factory=PolicySettings)
    margins: Margins = field(default_factory=Margins)
    detectors: DetectorsSection = field(default_factory=DetectorsSection)
    alerting: AlertingSection = field(default_factory=AlertingSection)
    channels: tuple[ChannelEntry, ...] = ()
    outgoing: OutgoingPolicy = field(default_factory=OutgoingPolicy)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    canary: CanarySettings = field(default_factory=CanarySettings)
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    retrain: RetrainSettings = field(default_factory=RetrainSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    oidc: OidcSettings = field(default_factory=OidcSettings)
    defaults: AdapterSection = field(default_factory=AdapterSection)
    adapters: dict[str, AdapterSection] = field(default_factory=dict)

    @property
    def evaluation(self) -> EvaluateSettings:
        """The evaluator's settings, gathered from the sections of the config."""
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
            probe_share=self.probes.perplexity.budget,
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
        """True if answers are embedded; never without prompts, which nobody would expect."""
        return self.capture.embed_prompts and self.evaluation.embeds_answers

    @property
    def feedback_settles_after(self) -> timedelta:
        """The age from which feedback on a live record may be part of a baseline."""
        section = self.detectors.by_name.get(FEEDBACK.name)
        own = section if isinstance(section, FeedbackSection) else FeedbackSection()
        return own.settles_after

    @property
    def day_effect(self) -> DayEffect:
        """The day effect that is assumed until something has shown it."""
        assumed = self.detectors.assumed_day_effect
        return DayEffect(sd=assumed, hours=assumed)

    @property
    def _feedback(self) -> Directions:
        section = self.detectors.by_name.get(FEEDBACK.name)
        own = section.directions if isinstance(section, FeedbackSection) else Directions()
        return self.defaults.feedback or own

    def _runs(self, detector: str) -> bool:
        """True if a detector runs; feedback is off unless a metric is configured."""
        on = self.detectors.by_name.get(detector, DetectorSection()).enabled
        if detector != FEEDBACK.name:
            return on
        named = [self._feedback, *(own.feedback for own in self.adapters.values())]
        return on and any(one is not None and one.signals for one in named)
