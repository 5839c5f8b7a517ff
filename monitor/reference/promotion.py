"""Freeze a promoted canary's own traffic on trial as its baseline.

The canary was promoted for its answers while on trial; its first reference is made of those, not of
its predecessor's. A shadow's records are its answers to copies: the same sampled prompts that the
version in charge got.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from monitor.domain import ArmKind, Interval, Route
from monitor.reference.refreeze import Refrozen, freeze_version
from monitor.store import audit
from monitor.store.references import references
from monitor.store.references.references import ReferenceSource
from monitor.store.registry import versions
from monitor.store.traffic import routes
from monitor.traffic.arms import stable_arm

ACT: Final = "reference.promotion"
_ON_TRIAL: Final = frozenset({ArmKind.CANARY, ArmKind.SHADOW})
_PAGE: Final = 100


def promoted(before: Route | None, after: Route) -> str | None:
    """Return the version that was on trial and is now the stable one, if any."""
    stable = stable_arm(after).version
    if before is None or stable == stable_arm(before).version:
        return None
    return stable if stable in _on_trial(before) else None


def freeze_promoted(
    tx: Connection, before: Route | None, after: Route, *, by: str, now: datetime
) -> Refrozen | None:
    """Freeze the records of a promoted version's time on trial; None if none was promoted.

    Call this in the transaction that swaps the route. A version with an approved reference keeps
    it. A version with an open finding, with a reference being built, or with fewer than 300 records
    is left alone, and learns automatically. The audit records both cases, with the reason.
    """
    name = promoted(before, after)
    version = None if name is None else versions.fetch(tx, adapter=after.adapter, name=name)
    if version is None:
        return None
    window = Interval(start=_on_trial_since(tx, after, version.name), end=now)
    standing = references.current(tx, version.id)
    if standing is not None and standing.approved_by is not None:
        made = Refrozen(
            adapter=version.adapter,
            version=version.name,
            error=f"generation {standing.generation} is approved and stays in force",
        )
    else:
        made = freeze_version(
            tx,
            version,
            window=window,
            cause=f"promoted in route generation {after.generation}",
            by=by,
            source=ReferenceSource.AUTO,  # replaced once live records cover enough
        )
    audit.append(
        tx,
        actor=by,
        act=ACT,
        subject=version.label,
        details={
            "route_generation": after.generation,
            "start": window.start.isoformat(),
            "records": made.records,
            "generation": made.generation,
            "left_alone": made.error,
        },
    )
    return made


def _on_trial_since(tx: Connection, after: Route, version: str) -> datetime:
    """Return when the version was put on trial, as a shadow or with a share, without a break."""
    since, generation = after.since, after.generation
    while rows := routes.history(tx, after.adapter, before_generation=generation, limit=_PAGE):
        for row in rows:
            if version not in _on_trial(row.route):
                return since
            since, generation = row.route.since, row.route.generation
    return since


def _on_trial(route: Route) -> frozenset[str]:
    return frozenset(arm.version for arm in route.arms if arm.arm in _ON_TRIAL)
