"""The first fortnight of three adapters, from an empty database, through the real evaluator.

Time is simulated: records lie in the past and arrive when they are made, and each claim is told
when it is. Days differ by .2 sd and hours by a rhythm of .3 sd; each adapter turns bad once.
"""

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from scipy import stats
from sqlalchemy import Connection

from monitor.capture.intake import Intake, Settings
from monitor.capture.queue import QueueBounds
from monitor.domain import EvaluationKind, Version
from monitor.evaluate.evaluator import Evaluator
from monitor.evaluate.message import Messages
from monitor.evaluate.settings import EvaluateSettings
from monitor.outbox.channels import ConfiguredChannel
from monitor.reference.build import build_next
from monitor.reference.index import Indexes
from monitor.reference.learned import LearnedSettings, freeze_learned
from monitor.reference.other_settings import SettingsLearner
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.evaluation import tasks
from monitor.store.incidents import deliveries
from monitor.store.registry import adapters, versions
from monitor.windows import Cadence
from tests.evaluate.conftest import NoEncoder
from tests.evaluate.test_fleet_incident import Nowhere

SEED = 1_205
STEP = timedelta(minutes=15)
DAY = timedelta(days=1)
DAYS = 14
PER_STEP = 20
"""Requests of each adapter in a window: 1,920 a day."""
TOKENS = 12
SD = 0.2
"""Of a request's mean NLL, in nats."""
DAY_EFFECT, RHYTHM = 0.2, 0.3
TURNS = {"billing": 2, "support": 5, "travel": 12}
"""The day on which each turns bad."""
BAD = 1.5
"""How far, in sd, until it is told; repaired then."""
REPAIRED_AFTER = timedelta(hours=2)


@dataclass
class Fortnight:
    """Three versions and what moves them through time."""

    database: Database
    indexes: Indexes
    now: datetime
    versions: dict[str, Version] = field(default_factory=dict)
    sent: int = 0

    def __post_init__(self) -> None:
        self.begin = self.now
        self.rng = np.random.default_rng(SEED)
        self.versions = self.database.run(self._register)
        self.effects = {name: DAY_EFFECT * self.rng.normal(size=DAYS + 1) for name in self.versions}
        self.told_at: dict[str, datetime] = {}
        self.seen: set[object] = set()
        self.false: Counter[str] = Counter()
        self.bad_since: dict[str, datetime] = {}
        self.intake = Intake(
            self.database,
            subject_key=b"k" * 32,
            settings=Settings(
                target_per_day=10_000_000, embed_prompts=False, bounds=QueueBounds(linger=0.0)
            ),
            clock=lambda: self.now,
        )
        cadence = Cadence(interval=STEP, lag=timedelta())
        self.evaluator = Evaluator(
            database=self.database,
            settings=EvaluateSettings(),
            cadences=dict.fromkeys(EvaluationKind, cadence),
            tell=Messages(
                channels=[ConfiguredChannel(name="all", channel=Nowhere())],
                preview=lambda *_, **__: None,
                doubts=lambda *_: {},
            ),
            react=lambda *_, **__: None,
            embed=lambda _: None,
            via=None,
        )

    def _register(self, tx: Connection) -> dict[str, Version]:
        days = [(self.now + i * DAY).date() for i in range(-1, DAYS + 2)]
        partitions.ensure(tx, days)
        made = {}
        for name in TURNS:
            adapter = adapters.put(tx, name=name)
            made[name] = versions.put(
                tx, adapter=adapter, name="v1", model=f"{name}@v1", base_model=f"base-of-{name}"
            )
        tasks.ensure(tx, first_due={kind: timedelta() for kind in EvaluationKind})
        return made

    def step(self) -> None:
        """Fifteen minutes of traffic, then what a worker would do at their end."""
        start, self.now = self.now, self.now + STEP
        self._send(start)
        for kind in (EvaluationKind.HARD, EvaluationKind.LIVE):
            self._evaluate(kind, start)
        if self.now.minute == 0:
            self._learn()
        self._listen()

    def _send(self, start: datetime) -> None:
        lines = []
        for name in self.versions:
            for at in sorted(start + STEP * share for share in self.rng.random(PER_STEP)):
                self.sent += 1
                lines.append(json.dumps(self._record(name, at)))
        body = "\n".join(lines).encode()
        outcome = self.intake.records(body, content_type="application/x-ndjson")
        assert outcome.accepted == len(lines)
        query = sa.text("UPDATE records SET received_at = at WHERE at >= :start")
        self.database.run(lambda tx: tx.execute(query, {"start": start}))

    def _record(self, name: str, at: datetime) -> dict[str, Any]:
        hours = (at - self.begin) / timedelta(hours=1)
        shift = float(self.effects[name][int(hours // 24)])
        shift += RHYTHM * float(np.sin(2 * np.pi * hours / 24))
        if name in self.bad_since:
            shift += BAD
        mean = max(0.02, 1.0 + SD * (shift + float(self.rng.normal())))
        return {
            "id": f"r{self.sent}",
            "adapter": name,
            "version": "v1",
            "at": at.isoformat(),
            "token_logprobs": (-mean * self.rng.uniform(0.5, 1.5, TOKENS)).round(4).tolist(),
            "output": "a short and friendly answer to the question",
            "status": 200,
        }

    def _evaluate(self, kind: EvaluationKind, start: datetime) -> None:
        def claim(tx: Connection) -> list[Any]:
            for version in self.versions.values():
                tasks.request(tx, version_id=version.id, kinds=[kind])
            return tasks.claim(
                tx, owner="me", kinds=[kind], lease=timedelta(seconds=60), limit=len(TURNS)
            )

        claimed = self.database.run(claim)
        assert len(claimed) == len(TURNS)
        for one in claimed:
            self.evaluator.evaluate(replace(one, now=self.now, start=start, requested=True))

    def _learn(self) -> None:
        rules = LearnedSettings()
        freeze_learned(self.database, now=self.now, settings=rules)
        while build_next(self.database, NoEncoder(), indexes=self.indexes):
            pass
        SettingsLearner(self.database, rules=rules).turn(now=self.now)
        # a reference's own times are the database's: put them where the simulation is
        query = sa.text(
            'UPDATE "references" SET ready_at = :now, created_at = :now WHERE ready_at > :now'
        )
        self.database.run(lambda tx: tx.execute(query, {"now": self.now}))

    def _listen(self) -> None:
        """Take note of what was told now, and let the weights be repaired once it was."""
        rows = self.database.run(lambda tx: deliveries.newest(tx, limit=50))
        for row in rows:
            if row.id in self.seen:
                continue
            self.seen.add(row.id)
            name, status = row.alert["adapter"], row.alert["status"]
            if status not in {"started", "worsened", "reopened"}:
                continue
            if name in self.bad_since:
                self.told_at.setdefault(name, self.now)
            elif self.now - self.told_at.get(name, self.begin) > DAY or name not in self.told_at:
                self.false[row.alert["severity"]] += 1
        for name, day in TURNS.items():
            turned = self.begin + day * DAY
            if self.now >= turned and name not in self.told_at:
                self.bad_since.setdefault(name, turned)
            told = self.told_at.get(name)
            if told is not None and self.now - told >= REPAIRED_AFTER:
                self.bad_since.pop(name, None)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_three_new_adapters_keep_the_budget_for_a_fortnight_and_each_bad_turn_is_told(
    database: Database, tmp_path: Path
) -> None:
    """At most the 99 % point of a Poisson law at the budget: 1 notice an adapter in 30 days,
    1 page of the fleet; a fortnight of three adapters has 1.4 and .47.
    """
    today = datetime.now(tz=UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    world = Fortnight(database, Indexes(tmp_path / "indexes"), today - (DAYS + 1) * DAY)
    world.intake.start()
    for _ in range(DAYS * (DAY // STEP)):
        world.step()
    assert world.intake.close()
    assert set(world.told_at) == set(TURNS)
    delays = {name: world.told_at[name] - (world.begin + day * DAY) for name, day in TURNS.items()}
    print("told after", {name: str(delay) for name, delay in delays.items()}, dict(world.false))
    assert all(delay <= timedelta(hours=24) for delay in delays.values())
    share = DAYS / 30
    assert world.false["ticket"] <= stats.poisson.ppf(0.99, len(TURNS) * share)
    assert world.false["page"] <= stats.poisson.ppf(0.99, share)
