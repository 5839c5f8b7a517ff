"""References as people see them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import Reference, Version
from monitor.reference.coverage import read_seen
from monitor.reference.milestone import MilestoneRules, next_milestone
from monitor.store.references import references
from monitor.views.reference import MilestoneBody, ReferenceBody, ReferencesBody, SeenBody


def read(tx: Connection, of: Version, *, rules: MilestoneRules, now: datetime) -> ReferencesBody:
    """Read every generation of a version's reference."""
    current = references.current(tx, of.id)
    seen = current and read_seen(tx, current.id)
    return ReferencesBody(
        adapter=of.adapter,
        version=of.name,
        current=reference(current, of=of) if current else None,
        seen=SeenBody.of(seen) if seen else None,
        learning=milestone(tx, of, rules=rules, now=now),
        items=[reference(one, of=of) for one in references.of_version(tx, of.id)],
    )


def reference(found: Reference, *, of: Version) -> ReferenceBody:
    """Write one generation."""
    return ReferenceBody.of(found, adapter=of.adapter, version=of.name)


def milestone(
    tx: Connection, of: Version, *, rules: MilestoneRules, now: datetime
) -> MilestoneBody | None:
    """Read what a version's reference waits for; None: it is approved, or being built."""
    found = next_milestone(tx, of, rules=rules, now=now)
    return MilestoneBody.of(found) if found else None
