"""Canaries: the parts that judge them, take people's orders, and notify people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from alerts.types import VerdictKind
from monitor.config.sections import Config
from monitor.daemon.parts import kill_switch_of
from monitor.domain import Verdict, VerdictSeverity, Version
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.record import record_canary
from monitor.reference.promotion import freeze_promoted
from monitor.store.database import Database
from monitor.store.evaluation import verdicts
from monitor.store.registry import adapters
from monitor.traffic.proof import Proof
from monitor.traffic.trial.hands import Hands, Teller
from monitor.traffic.trial.news import CanaryNews
from monitor.traffic.trial.orders import Orders


def hands_of(
    config: Config, database: Database, proof: Proof, *, tell: Teller | None = None
) -> Hands:
    """Build the hands that move canaries, with the same switches and proof as fallbacks."""
    return Hands(
        database=database,
        settings=config.canary,
        mode=config.service.mode,
        kill_switch=kill_switch_of(config),
        served=proof.served,
        promoted=freeze_promoted,
        tell=tell,
    )


def orders_of(config: Config, database: Database, proof: Proof) -> Orders:
    """Build the orders that people give; the next look at the canary notifies people."""
    return Orders(hands=hands_of(config, database, proof), feedback=config.evaluation.directions)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryMessages:
    """Notifies people of canaries through the channels, as one incident of a version."""

    channels: Sequence[ConfiguredChannel]
    base_url: str | None = None

    def __call__(
        self,
        tx: Connection,
        version: Version,
        *,
        severity: VerdictSeverity,
        news: CanaryNews,
        over: bool,
        now: datetime,
    ) -> None:
        """Step the version's ``canary`` incident; the messages belong to this transaction."""
        row = verdicts.current(tx, version_id=version.id)
        unknown = Verdict(kind=VerdictKind.LEARNING, reason="", since=now)
        record_canary(
            tx,
            version,
            severity=severity,
            over=over,
            verdict=replace(row.verdict if row else unknown, reason=news.text),
            inputs=AlertInputs(
                adapter=adapters.fetch_by_id(tx, version.adapter_id),
                base_url=self.base_url,
                action=news.action,
            ),
            channels=self.channels,
            now=now,
        )
