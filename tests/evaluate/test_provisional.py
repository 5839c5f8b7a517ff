"""What a reference that has seen too little may do: weeks of traffic through the evaluator.

Time is simulated: records lie in the past, and each claim is told when it is.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alerts.types import VerdictKind
from detectors.types import Process, Window
from monitor.domain import EvaluationKind, Scope
from monitor.evaluate.message import Messages
from monitor.outbox.channels import ConfiguredChannel
from monitor.store import audit, partitions
from monitor.store.evaluation import verdicts
from monitor.store.incidents import deliveries
from monitor.store.references import references
from monitor.windows import Cadence
from tests.arrivals import as_made
from tests.evaluate.conftest import STRATUM_SOURCE, answer, baseline, ready_reference
from tests.evaluate.test_fleet_incident import Nowhere
from tests.serving import serving

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STEP = 6 * HOUR
PER_STEP = 60


class Weeks:
    """A world whose windows of six hours follow each other from a Monday on."""

    def __init__(self, world: Any, *, days: int) -> None:
        self.world = world
        today = datetime.now(tz=UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self.now = today - timedelta(days=days + today.weekday())
        dates = [(self.now + timedelta(days=i)).date() for i in range(days + 1)]
        world.database.run(lambda tx: partitions.ensure(tx, dates))
        tell = Messages(
            channels=[ConfiguredChannel(name="all", channel=Nowhere())],
            preview=lambda *_, **__: None,
            doubts=lambda *_: {},
        )
        cadence = Cadence(interval=STEP, lag=timedelta())
        self.evaluator = world.evaluator(tell=tell, cadences=dict.fromkeys(EvaluationKind, cadence))
        self.rng = np.random.default_rng(11)

    def reference(self, window: Window, **how: Any) -> None:
        ready_reference(self.world.database, self.world.version, window, **how)

    def live(self, *, shift: float) -> None:
        """Six hours of records, and their evaluation at the end."""
        start, self.now = self.now, self.now + STEP
        self._send([start + i * STEP / PER_STEP for i in range(PER_STEP)], shift=shift)
        self._evaluate(EvaluationKind.LIVE, start)

    def hard(self, **fields: Any) -> None:
        """The same of hard signals, one hour."""
        start, self.now = self.now, self.now + HOUR
        self._send([start + i * HOUR / 40 for i in range(40)], shift=0.0, **fields)
        self._evaluate(EvaluationKind.HARD, start)

    def _send(self, times: Sequence[datetime], *, shift: float, **fields: Any) -> None:
        lines = []
        for at in times:
            self.world.sent += 1
            record = {
                "id": f"w{self.world.sent}",
                "adapter": self.world.version.adapter,
                "at": at.isoformat(),
                "source": STRATUM_SOURCE,
                "token_logprobs": answer(self.rng, shift).tolist(),
                "output": "a short and friendly answer to the question",
            }
            lines.append(json.dumps(record | fields))
        body = "\n".join(lines).encode()
        outcome = self.world.intake.records(body, content_type="application/x-ndjson")
        assert outcome.accepted == len(times)
        as_made(self.world.database)

    def _evaluate(self, kind: EvaluationKind, start: datetime) -> None:
        self.world.make_due()
        claim = self.world.claim(kind)
        assert claim is not None
        self.evaluator.evaluate(replace(claim, now=self.now, start=start, requested=True))

    def verdict(self) -> VerdictKind:
        return self.judged().verdict.kind

    def judged(self) -> Any:
        version_id = self.world.version.id
        return self.world.database.run(lambda tx: verdicts.current(tx, version_id=version_id))

    def crossed(self) -> set[Process]:
        """Processes of soft signals that are beyond their line now."""
        memory = self.judged().memory
        return {one.process for one in memory.crossings if not one.hard}

    def action(self) -> tuple[bool, str]:
        """Whether traffic might move now, and why."""
        act = self.world.reactions[-1]
        return act.allowed, act.reason

    def told(self) -> list[str]:
        rows = self.world.database.run(lambda tx: deliveries.newest(tx, limit=500))
        return [str(row.alert["severity"]) for row in rows]


def day_effects(weeks: Weeks, *, days: int, sd: float) -> set[Process]:
    """Live through days that differ; return every soft process that ever crossed."""
    crossed: set[Process] = set()
    for _ in range(days):
        effect = sd * float(weeks.rng.normal())
        for _ in range(4):
            weeks.live(shift=effect)
            crossed |= weeks.crossed()
    return crossed


def test_days_that_differ_open_nothing_against_two_days_and_what_no_day_does_pages(
    world: Any, tmp_path: Path
) -> None:
    """Days differ by .2 sd, as is assumed, and the reference's two were both a little lower."""
    weeks = Weeks(world, days=21)
    weeks.reference(
        baseline(days=2.0, count=1_000, seed=3, shift=-0.2), span_days=2.0, approved_by=None
    )
    assert day_effects(weeks, days=10, sd=0.2) == set()

    for _ in range(4):
        weeks.live(shift=2.0)
    assert weeks.verdict() is VerdictKind.CRITICAL
    assert "page" in weeks.told()
    assert weeks.action() == (False, "nobody and nothing has approved the reference")

    # the same evidence moves traffic once a person has approved it, and the audit says who
    with serving(world.database, tmp_path) as service, service.client(Scope.ADMIN) as client:
        path = f"/v1/adapters/{world.version.adapter}/versions/{world.version.name}/reference"
        newest = client.get(path).json()["items"][0]["generation"]
        assert client.post(f"{path}/approve", json={"generation": newest}).status_code == 200
    weeks.live(shift=2.0)
    assert weeks.action()[0]
    acts = [one for one in world.database.run(audit.newest) if one.act == "reference.approve"]
    assert [(one.actor, one.details["cause"]) for one in acts] == [
        ("for admin", "a person's word"),
        ("driftline", "coverage: 4,000 records of 15.0 days"),  # the world's first one
    ]


def test_hard_signals_page_against_a_reference_of_two_days(world: Any) -> None:
    weeks = Weeks(world, days=1)
    weeks.reference(baseline(days=2.0, count=1_000, seed=3), span_days=2.0, approved_by=None)
    weeks.hard(output="", token_logprobs=[])
    assert weeks.verdict() is VerdictKind.CRITICAL
    assert "page" in weeks.told()


def test_hours_that_the_reference_has_not_seen_may_differ(world: Any) -> None:
    """The reference saw 06:00 to 18:00; nights are .4 sd worse, and then days and nights by 1.5."""
    weeks = Weeks(world, days=8)
    whole = baseline(days=14.0, count=3_000, seed=5)
    rng = np.random.default_rng(6)
    first = weeks.now.timestamp() - 15 * 86_400
    at = first + 86_400 * rng.integers(0, 15, len(whole)) + 3_600 * rng.uniform(6, 18, len(whole))
    at.sort()
    weeks.reference(replace(whole, start=float(at[0]), end=float(at[-1]) + 1.0, at=at))
    for _ in range(4):
        for hour in (0, 6, 12, 18):
            assert weeks.now.hour == hour
            weeks.live(shift=0.4 if hour in {0, 18} else 0.0)
            assert not weeks.crossed()
    weeks.live(shift=1.5)
    weeks.live(shift=1.5)
    assert weeks.verdict() is VerdictKind.CRITICAL
    current = world.database.run(lambda tx: references.current(tx, world.version.id))
    assert current is not None
    assert not current.provisional


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_half_a_year_of_lucky_and_unlucky_short_references_sends_no_page(
    world: Any, seed: int
) -> None:
    """Eight references of two days each, and three weeks after each of them."""
    weeks = Weeks(world, days=21)
    effects = np.random.default_rng(seed).normal(size=2) * 0.2
    weeks.reference(
        baseline(days=2.0, count=1_000, seed=seed, shift=float(effects.mean())),
        span_days=2.0,
        approved_by=None,
    )
    weeks.rng = np.random.default_rng(100 + seed)
    day_effects(weeks, days=21, sd=0.2)
    assert "page" not in weeks.told()
