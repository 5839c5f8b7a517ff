"""Twenty adapters break together: rules, incidents, outbox and breaker over one database."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from alerts.types import VerdictKind
from detectors.types import Effect
from monitor.domain import Interval, Transition, Version
from monitor.evaluate.company import others_on_the_base
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.record import record_observation
from monitor.policy import (
    DetectorFact,
    Facts,
    Judgement,
    Memory,
    PolicySettings,
    ReferenceStage,
    judge,
)
from monitor.store.database import Database
from monitor.store.evaluation import verdicts
from monitor.store.incidents import deliveries
from monitor.store.registry import adapters
from tests.evaluate.test_fleet_incident import Nowhere
from tests.fleet import NOW
from tests.traffic.stage import MINUTE, World

CYCLE = timedelta(minutes=15)
ADAPTERS = 20


def broken(at: datetime) -> DetectorFact:
    """The score of answers whose confidences have changed shape since ten minutes ago."""
    effect = Effect(value=0.6, lo=0.45, hi=0.75, n=300)
    onset = Interval(start=NOW - 12 * MINUTE, end=NOW - 8 * MINUTE)
    return DetectorFact(
        detector="logit_ks",
        hard=False,
        model_side=True,
        margin=0.2,
        evidence_notice=1.4,
        evidence_page=0.7 if at >= NOW else -3.0,
        winner="mean_nll:up",
        onset=onset,
        effect=effect,
    )


@dataclass
class Shop:
    """What an evaluation does once it has scored: judge, tell, decide about traffic."""

    world: World

    def evaluate(self, version: Version, *, now: datetime) -> VerdictKind:
        judgement = self.world.database.run(lambda tx: self._judge(tx, version, now=now))
        breaker = self.world.breaker
        if judgement.action.allowed:
            breaker.consider(version, judgement.action, now=now)
        else:
            breaker.consider_return(version, now=now)
        return judgement.verdict.kind

    def _judge(self, tx: sa.Connection, version: Version, *, now: datetime) -> Judgement:
        before = verdicts.claim_row(tx, version_id=version.id, adapter_id=version.adapter_id)
        memory = before.memory if before else Memory()
        facts = Facts(
            at=now, reference=ReferenceStage.APPROVED, detectors=(broken(now),), n_day=4_000
        )
        judgement = judge(memory, facts, PolicySettings())
        fleet = others_on_the_base(tx, version, judgement, cycle=CYCLE)
        if fleet is not None:
            judgement = judge(memory, replace(facts, fleet=fleet), PolicySettings())
        verdicts.put(
            tx,
            version_id=version.id,
            verdict=judgement.verdict,
            memory=judgement.memory,
            size=None,
        )
        self._tell(tx, version, memory, judgement, now=now)
        return judgement

    def _tell(
        self,
        tx: sa.Connection,
        version: Version,
        memory: Memory,
        judgement: Judgement,
        *,
        now: datetime,
    ) -> None:
        channels = [ConfiguredChannel(name="oncall", channel=Nowhere())]
        adapter = adapters.fetch_by_id(tx, version.adapter_id)
        was = memory.verdict.kind if memory.verdict else VerdictKind.STABLE
        if was is judgement.verdict.kind:
            inputs = AlertInputs(adapter=adapter, standing=judgement.standing)
            record_observation(
                tx, version, verdict=judgement.verdict, inputs=inputs, channels=channels, now=now
            )
            return
        transition = Transition(version=version, before=was, after=judgement.verdict, at=now)
        number = verdicts.add_transition(tx, transition, evaluation_id=None)
        inputs = AlertInputs(adapter=adapter, standing=judgement.standing, transition_id=number)
        record_observation(
            tx, version, verdict=judgement.verdict, inputs=inputs, channels=channels, now=now
        )


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Shop:
    return Shop(World(database=database, folder=tmp_path))


def test_twenty_adapters_that_break_together_are_one_page_and_no_action(shop: Shop) -> None:
    fleet = [shop.world.adapter(f"adapter-{number}") for number in range(ADAPTERS)]
    for version in fleet:
        shop.world.looked_at(version, at=NOW - MINUTE)
    for lap in range(4):  # an hour: each is evaluated every fifteen minutes, one after the other
        for place, version in enumerate(fleet):
            now = NOW + lap * CYCLE + place * MINUTE / 2
            assert shop.evaluate(version, now=now) is VerdictKind.CRITICAL
            shop.world.looked_at(version, at=now)
    with shop.world.database.begin() as tx:
        alerts = [row.alert for row in deliveries.newest(tx, limit=500)]
    pages = [alert for alert in alerts if alert["severity"] == "page"]
    assert len(pages) == 1
    # whoever was paged hears that it is the fleet's; nobody hears of each adapter
    (common,) = [alert for alert in alerts if alert["together"]]
    assert len(common["together"]["members"]) >= 2  # known so far
    assert len(alerts) <= 2
    assert set(shop.world.states()) == {"blocked"}
    assert all(shop.world.weights(f"adapter-{number}") == {"v7": 1.0} for number in range(ADAPTERS))
