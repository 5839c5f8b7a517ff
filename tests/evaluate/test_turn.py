"""A turn of the verdict is a function of what was read, remembered and found."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from alerts.types import VerdictKind as Kind
from detectors.types import Effect, Process, Score, State, Window
from monitor.domain import AdapterId, Interval, Recent, Version, VersionId
from monitor.evaluate import commit, evaluator
from monitor.evaluate.coverage import Requests
from monitor.evaluate.findings import Finding
from monitor.evaluate.reading import Reading
from monitor.evaluate.turn import Turn, turn
from monitor.policy import DetectorFact, Facts, Memory, PolicySettings, ReferenceStage
from monitor.policy.budget import ShareStanding
from monitor.replay import running
from monitor.strata import Strata

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
WINDOW = Interval(start=NOON - timedelta(minutes=15), end=NOON)


def reading(memory: Memory) -> Reading:
    empty = np.empty(0)
    return Reading(
        version=Version(
            id=VersionId(1),
            adapter_id=AdapterId(1),
            adapter="support",
            name="v7",
            model="support@v7",
            registered_at=NOON,
        ),
        interval=WINDOW,
        calibrated=None,
        memory=memory,
        states={},
        window=Window(start=0.0, end=1.0, at=empty, signals={}),
        requests=Requests(signals={}, strata=Strata.of([])),
        recent=Recent(compared=0, last_at=None),
        standing=ShareStanding.among("support", of=1),
    )


def crossed(*, units: int = 40) -> Finding:
    """Answers that are less certain, beyond the notice line."""
    effect = Effect(value=0.5, lo=0.3, hi=0.7, n=200)
    return Finding(
        detector="logit_ks",
        score=Score(
            value=0.5,
            evidence_notice=0.4,
            evidence_page=-1.0,
            winner="mean_nll:up",
            effect=0.5,
            interval=(0.3, 0.7),
            n_reference=4_000,
            n_window=units,
            minimum_detectable=0.1,
            increments={Process.NOTICE: np.ones((2, 3))},
            details={},
        ),
        state=State(),
        fact=DetectorFact(
            detector="logit_ks",
            hard=False,
            model_side=True,
            margin=0.2,
            evidence_notice=0.4,
            evidence_page=-1.0,
            winner="mean_nll:up",
            onset=WINDOW,
            effect=effect,
        ),
    )


def taken(*findings: Finding, memory: Memory | None = None, at: datetime = NOON) -> Turn:
    memory = memory or Memory()
    facts = Facts(
        at=at,
        reference=ReferenceStage.APPROVED,
        detectors=tuple(finding.fact for finding in findings),
        n_day=4_000,
    )
    settings = PolicySettings()
    return turn(reading(memory), memory, facts, findings=findings, settings=settings)


def test_the_same_three_give_the_same_turn() -> None:
    found = crossed()
    one, two = taken(found), taken(found)
    assert one.judgement == two.judgement
    assert one.transition == two.transition
    assert one.states == two.states
    assert one.before == Memory(), "what was remembered stays as it was"


def test_a_turn_says_what_changes_and_what_is_remembered_of_the_window() -> None:
    quiet = taken()
    assert quiet.transition is not None
    assert (quiet.transition.before, quiet.transition.after.kind) == (Kind.LEARNING, Kind.STABLE)
    drifts = taken(crossed(), memory=quiet.judgement.memory)
    assert drifts.transition is not None
    assert (drifts.transition.before, drifts.transition.at) == (Kind.STABLE, NOON)
    assert [crossing.detector for crossing in drifts.crossed] == ["logit_ks"]
    kept = drifts.increments["logit_ks"]
    assert (kept.window_start, kept.at, kept.n_units) == (WINDOW.start, WINDOW.end, 40)
    again = taken(crossed(units=0), memory=drifts.judgement.memory)
    assert again.transition is None
    assert (again.crossed, again.increments) == ((), {})
    assert set(again.states) == {"logit_ks"}, "an empty window has its time"


def test_the_service_and_a_replay_take_the_same_turn() -> None:
    told: Any = commit
    replayed: Any = running
    service: Any = evaluator
    assert told.turn is replayed.turn is service.turn is turn
    assert replayed.score is service.score


def test_a_turn_loads_no_database() -> None:
    asked = (
        "import sys; import monitor.evaluate.turn;"
        " print([name for name in sys.modules if name == 'monitor.store'"
        " or name.split('.')[0] in {'sqlalchemy', 'psycopg'}])"
    )
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True, text=True)
    assert said.stdout.strip() == "[]"
