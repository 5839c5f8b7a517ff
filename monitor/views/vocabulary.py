"""Words that parts of the service define, so that a reader of answers loads none of these parts."""

from __future__ import annotations

from typing import Annotated, Literal

from alerts.types import VerdictKind
from monitor.views.shape import Words

AdmissionWord = Annotated[str, Words("monitor.store.registry.admissions:AdmissionState")]
ActionWord = Annotated[str, Words("monitor.store.traffic.actions:ActionState")]
AppliedWord = Annotated[str, Words("detectors.identity:IdentityState")]
BreakerWord = Annotated[str, Words("monitor.traffic.fallback.machine:BreakerState")]
CauseWord = Annotated[str, Words("monitor.policy.coverage:Cause")]
CheckWord = Annotated[str, Words("detectors.checks:CheckVerdict")]
DeliveryWord = Annotated[str, Words("monitor.store.incidents.outbox:DeliveryState")]
DriftWord = Annotated[str, Words("detectors.expected_delay:Drift")]
MomentWord = Annotated[str, Words("monitor.incident.timeline:MomentKind")]
MoveState = Annotated[
    str, Words("monitor.store.traffic.actions:ActionState", "monitor.traffic.trial.states:Phase")
]
MoveWord = Annotated[str, Words("monitor.store.traffic.actions:ActionKind", Literal["canary"])]
OriginWord = Annotated[str, Words("detectors.day_effect:Origin")]
ReportWord = Annotated[str, Words("monitor.store.evaluation.reports:ReportState")]
RetrainWord = Annotated[str, Words("monitor.store.traffic.retrainings:RetrainCause")]
RoleWord = Annotated[str, Words("monitor.incident.smoke:ModelRole")]
ScoreVerdict = Annotated[str, Words(VerdictKind, Literal["unmeasured"])]
SelfTestWord = Annotated[str, Words("monitor.store.evaluation.selftests:SelfTestState")]
TrainingStateWord = Annotated[str, Words("monitor.store.traffic.trainings:TrainingState")]
TrainingStepWord = Annotated[str, Words("monitor.store.traffic.trainings:TrainingStep")]
UnitWord = Annotated[str, Words("detectors.faults:Unit")]
WayWord = Annotated[str, Words("monitor.traffic.trial.prospect:WayKind")]
