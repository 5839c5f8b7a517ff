"""A version of whose requests too few are compared: 92 of 100 use another temperature."""

from datetime import datetime, timedelta

from sqlalchemy import Connection

from alerts.types import VerdictKind
from monitor.domain import EvaluationId, EvaluationKind, Interval, Transition, Verdict, Version
from monitor.policy import Memory, PolicySettings
from monitor.policy.coverage import Cause, Coverage, CoveredWindow, Seen, Why
from monitor.policy.words import blind_words
from monitor.store.evaluation import coverage_days, evaluations, verdicts
from monitor.store.evaluation.evaluations import NewEvaluation
from monitor.store.records import capture_counts

WHY = Why(Cause.SETTINGS, "temperature 0.7")
TOLD = "92 use temperature 0.7, which the reference does not cover"
WINDOW = timedelta(minutes=5)
HARD = Coverage(detector="errors", requests=25, compared=25)
LIVE = Coverage(detector="logit_ks", requests=25, compared=2, gaps={WHY: 23})


def blind(tx: Connection, version: Version, *, now: datetime, since: datetime) -> None:
    """Let four windows of 25 requests be evaluated, of which `logit_ks` compared two each."""
    seen = Seen(since={WHY: since})
    for n, end in enumerate(now - WINDOW * i for i in (3, 2, 1, 0)):
        for kind, one in ((EvaluationKind.HARD, HARD), (EvaluationKind.LIVE, LIVE)):
            window = CoveredWindow(end=end, by_detector={one.detector: one})
            seen = seen.then(kind, window, PolicySettings())
            _evaluated(tx, version, kind, one, end=end, epoch=n)
    seen = Seen(windows=seen.windows, since={WHY: since})
    blindness = seen.blindness(PolicySettings())
    assert blindness is not None
    verdict = Verdict(kind=VerdictKind.BLIND, reason=blind_words(blindness), since=since)
    verdicts.claim_row(tx, version_id=version.id, adapter_id=version.adapter_id)
    memory = Memory(verdict=verdict, seen=seen)
    verdicts.put(tx, version_id=version.id, verdict=verdict, memory=memory, size=3.0)
    turned = Transition(version=version, before=VerdictKind.STABLE, after=verdict, at=since)
    verdicts.add_transition(tx, turned, evaluation_id=EvaluationId(1))
    counts = {"accepted": 4_000, "sampled_out": 36_112}
    capture_counts.add(
        tx, {(version.adapter_id, now, outcome): count for outcome, count in counts.items()}
    )


def _evaluated(
    tx: Connection,
    version: Version,
    kind: EvaluationKind,
    one: Coverage,
    *,
    end: datetime,
    epoch: int,
) -> None:
    evaluation = NewEvaluation(
        adapter_id=version.adapter_id,
        version_id=version.id,
        kind=kind,
        window=Interval(start=end - WINDOW, end=end),
        state="done",
        epoch=epoch,
        started_at=end,
        n_records=one.requests,
        coverage=(one,),
    )
    assert evaluations.add(tx, [evaluation])
    coverage_days.add(tx, {(version.id, end.date()): [one]})
