"""The findings of other adapters on the base model, read while one version is judged."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from monitor.domain import EvaluationKind, VerdictSeverity, Version
from monitor.policy import Judgement
from monitor.policy.common_cause import FleetFact, moves
from monitor.store.evaluation import movements
from monitor.store.incidents import fleet_incidents


def others_on_the_base(
    tx: Connection, version: Version, judgement: Judgement, *, cycle: timedelta, hold: bool = True
) -> FleetFact | None:
    """Read the findings of the others on the version's base; None while it has none of its own.

    The base is locked until the transaction ends: of two evaluations that find a move at
    the same time, the second must see the first one's. Without ``hold`` there is no lock,
    for answers that need not be exact.
    """
    if judgement.verdict.severity is VerdictSeverity.NONE or not moves(judgement.memory):
        return None
    base = fleet_incidents.base_of(version)
    if hold:
        fleet_incidents.lock(tx, base)
    hard = any(c.hard and c.paged for c in judgement.memory.crossings)
    adapters, unseen = fleet_incidents.looked_at(
        tx,
        version,
        cycle=cycle,
        kind=EvaluationKind.HARD if hard else EvaluationKind.LIVE,
        turned=judgement.verdict.since,
    )
    return FleetFact(
        base=base,
        adapters=adapters,
        cycle=cycle,
        moved=movements.on_base(tx, base, but=version.adapter_id),
        unseen=unseen,
        member=fleet_incidents.membership(tx, version.id) is not None,
    )
