"""The findings of other adapters on the base model, read while one version is judged."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import Connection

from alerts.types import Blame
from monitor.domain import AdapterId, EvaluationKind, VerdictSeverity, Version
from monitor.policy import Judgement
from monitor.policy.common_cause import FleetFact, Moved, moves
from monitor.store.evaluation import verdicts
from monitor.store.evaluation.verdicts import VerdictRow
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
        moved=_moved(verdicts.open_on_base(tx, base), version),
        unseen=unseen,
        member=fleet_incidents.membership(tx, version.id) is not None,
    )


def _moved(rows: Iterable[VerdictRow], version: Version) -> tuple[Moved, ...]:
    """Return one version of each other adapter: the one in the worst state."""
    found: dict[AdapterId, Moved] = {}
    for row in rows:
        if row.adapter_id == version.adapter_id or row.verdict.blame is Blame.INPUT:
            continue
        memory = row.memory
        paging = row.verdict.severity is VerdictSeverity.PAGE
        known = found.get(row.adapter_id)
        if not moves(memory) or (known is not None and not (paging and not known.paging)):
            continue
        found[row.adapter_id] = Moved(
            version_id=row.version_id,
            adapter=row.adapter,
            since=row.verdict.since,
            memory=memory,
            paging=paging,
        )
    return tuple(found.values())
