"""What the policy remembers of a version, as it is stored and read again."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np

from alerts.types import Blame, Sureness, VerdictKind
from detectors.identity import IdentityState
from detectors.types import Process
from monitor.domain import Interval, ReferenceId, Verdict, VerdictSeverity
from monitor.policy import IdentityMemory, Memory, PerplexityMemory
from monitor.policy.classic import Streaks
from monitor.policy.coverage import Cause, Coverage, CoveredWindow, Seen, Why
from monitor.policy.memory import Crossing, verdict_of

NOW = datetime(2026, 7, 22, 9, 41, tzinfo=UTC)
HOUR = timedelta(hours=1)
SINCE = Interval(start=NOW - 3 * HOUR, end=NOW - HOUR)
OF_SETTINGS = Why(Cause.SETTINGS, "temperature 0.7")

KNOWN = Memory(
    crossings=(
        Crossing(
            detector="logit_ks", process=Process.PAGE, hard=False, model_side=True, at=NOW,
            evidence=9.5, winner="mean_nll:up", onset=SINCE, margin=0.25, n=40, effect=0.5,
            effect_low=0.25, paged=True, looked_at=NOW + HOUR, records=55, again_at=NOW + HOUR,
        ),
    ),
    perplexity=PerplexityMemory(
        at=NOW, changed=True, degraded=True, ratio=1.5, low=1.25, base_moved=False,
        unchanged_streak=2, reason="1.5 times", company_ratio=1.0, corpus="general:1",
        measured_from=NOW - HOUR,
    ),
    identity=IdentityMemory(
        at=NOW, state=IdentityState.WRONG_WEIGHTS, reason="others answer", doubted_since=NOW - HOUR
    ),
    failures={"entropy": 2},
    verdict=Verdict(
        kind=VerdictKind.CRITICAL, severity=VerdictSeverity.PAGE, blame=Blame.ADAPTER,
        sure=Sureness.CONFIRMED, probe_due=NOW + HOUR, reason="answers moved",
        detectors=("logit_ks",), since=NOW, onset=SINCE,
    ),
    reference_id=ReferenceId(3),
    classic=Streaks().then({"logit_ks": 0.25}),
    accompanied=True,
    seen=Seen(
        windows={
            "live": (
                CoveredWindow(
                    end=NOW,
                    by_detector={
                        "logit_ks": Coverage(
                            detector="logit_ks", requests=10, compared=8, gaps={OF_SETTINGS: 2}
                        )
                    },
                ),
            )
        },
        since={OF_SETTINGS: NOW},
        known_blind=frozenset({"entropy"}),
    ),
)  # fmt: skip

WRITTEN_BEFORE = """
{"crossings": [{"detector": "logit_ks", "process": "page", "hard": false, "model_side": true,
  "at": "2026-07-22T09:41:00+00:00", "evidence": 9.5, "winner": "mean_nll:up",
  "onset": ["2026-07-22T06:41:00+00:00", "2026-07-22T08:41:00+00:00"], "margin": 0.25, "n": 40,
  "effect": 0.5, "effect_low": 0.25, "paged": true, "acts": true,
  "looked_at": "2026-07-22T10:41:00+00:00", "records": 55, "alone": false,
  "again_at": "2026-07-22T10:41:00+00:00"}],
 "perplexity": {"at": "2026-07-22T09:41:00+00:00", "changed": true, "degraded": true,
  "ratio": 1.5, "low": 1.25, "base_moved": false, "unchanged_streak": 2, "reason": "1.5 times",
  "forgotten": false, "company_ratio": 1.0, "one_replica": false, "corpus": "general:1",
  "replaced": false, "measured_from": "2026-07-22T08:41:00+00:00"},
 "identity": {"at": "2026-07-22T09:41:00+00:00", "state": "wrong_weights",
  "reason": "others answer", "doubted_since": "2026-07-22T08:41:00+00:00", "numberless": false},
 "failures": {"entropy": 2},
 "verdict": {"kind": "critical", "severity": "page", "blame": "adapter", "sure": "confirmed",
  "probe_due": "2026-07-22T10:41:00+00:00", "reason": "answers moved",
  "detectors": ["logit_ks"], "since": "2026-07-22T09:41:00+00:00",
  "onset": ["2026-07-22T06:41:00+00:00", "2026-07-22T08:41:00+00:00"]},
 "reference_id": 3,
 "classic": {"logit_ks": {"value": 0.25, "past": 0, "within": 1, "open": false}},
 "accompanied": true,
 "seen": {"windows": {"live": [["2026-07-22T09:41:00+00:00",
   [["logit_ks", 10, 8, [["settings", "temperature 0.7", 2]], 1.0]]]]},
  "since": [["settings", "temperature 0.7", "2026-07-22T09:41:00+00:00"]],
  "blind": ["entropy"]}}
"""


def test_what_an_earlier_release_stored_is_read() -> None:
    body = json.loads(WRITTEN_BEFORE)
    assert Memory.from_json(body) == KNOWN
    assert verdict_of(body) == KNOWN.verdict


def test_what_is_stored_is_read_again() -> None:
    body = json.loads(json.dumps(KNOWN.to_json()))
    assert Memory.from_json(body) == KNOWN
    assert verdict_of(body) == KNOWN.verdict


def test_a_version_that_was_never_judged_is_remembered_by_nothing() -> None:
    assert Memory.from_json({}) == Memory()
    assert verdict_of({}) is None


def test_a_number_of_numpy_is_stored_as_a_number() -> None:
    measured = Memory(classic=Streaks().then({"logit_ks": np.float64(0.25)}))
    assert json.loads(json.dumps(measured.to_json()))["classic"]["logit_ks"]["value"] == 0.25


def test_retired_probes_are_forgotten_and_nothing_else() -> None:
    left = KNOWN.without_probes()
    assert (left.perplexity, left.identity) == (None, None)
    assert (left.crossings, left.failures, left.verdict) == (
        KNOWN.crossings,
        KNOWN.failures,
        KNOWN.verdict,
    )
