"""Decide about traffic apart from the evaluations that ask for it.

A decision asks engines and routers, and these may hang. An evaluation therefore only stores
its findings, in the transaction of its verdict, and a loop decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from alerts.message import finite
from monitor.domain import Version
from monitor.policy import ActionEvidence
from monitor.store import clock
from monitor.store.registry import versions
from monitor.store.traffic import pending_decisions
from monitor.store.traffic.pending_decisions import PendingDecision
from monitor.traffic.fallback.breaker import Breaker
from monitor.traffic.fallback.gate_names import Gate

LEASE: Final = timedelta(seconds=90)
"""After this another daemon decides: the first was killed, or still waits for an engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """Passes the findings of evaluations to the breaker; any number of these share a database."""

    breaker: Breaker
    owner: str = "nobody"

    def ask(
        self, tx: Connection, found: Sequence[tuple[Version, ActionEvidence, datetime]]
    ) -> None:
        """Store evaluations' findings for decisions, unless there is nothing to decide."""
        for version, evidence, at in found:
            if evidence.allowed:
                pending_decisions.add(tx, version, _to_json(evidence), now=at)
        others = [(version, at) for version, evidence, at in found if not evidence.allowed]
        if others:
            pending_decisions.add_returns(tx, others)

    def next_due(self) -> timedelta | None:
        """Return the time until a decision can be taken up; None while none waits."""
        return self.breaker.database.run(pending_decisions.next_due)

    def turn(self) -> bool:
        """Decide about one version; False where none is waiting."""
        claimed = self.breaker.database.run(partial(_claim, owner=self.owner))
        if claimed is None:
            return False
        pending, version, now = claimed
        if pending.evidence is None:
            decision = self.breaker.consider_return(version, now=now)
        else:
            decision = self.breaker.consider(version, _evidence(pending.evidence), now=now)
        if decision.gate is Gate.UNFINISHED:
            self.breaker.database.run(lambda tx: pending_decisions.put_off(tx, pending))
        else:
            self.breaker.database.run(
                lambda tx: pending_decisions.finish(tx, pending, owner=self.owner)
            )
        return True


def _claim(tx: Connection, *, owner: str) -> tuple[PendingDecision, Version, datetime] | None:
    pending = pending_decisions.claim(tx, owner=owner, lease=LEASE)
    if pending is None:
        return None
    return pending, versions.fetch_by_id(tx, pending.version_id), clock.now(tx)


def _to_json(evidence: ActionEvidence) -> dict[str, object]:
    known = replace(evidence, effect_low=0.0)
    return {**msgspec.to_builtins(known), "effect_low": finite(evidence.effect_low)}


def _evidence(body: Mapping[str, Any]) -> ActionEvidence:
    known = {name: value for name, value in body.items() if value is not None}
    return msgspec.convert({"effect_low": float("-inf")} | known, ActionEvidence)


# met here once: alerts/message.py says why
msgspec.json.Decoder(ActionEvidence)
