"""Accepting what an incident found as the new normal, in one transaction.

What moved is no longer drift, so what it is compared with must move: live signals get a
generation of the reference made of the records since the onset, perplexity is registered
anew. The incident ends at once; until the generation is ready the old one stays in force
as provisional.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import IncidentId, Interval, Mark, Reference, Version
from monitor.outbox.marking import Hearers, Held, NotMarkable, Word, hold, mark
from monitor.policy import Memory
from monitor.reference.calibrate import SMALLEST_BASELINE
from monitor.reference.freeze import open_generation
from monitor.store import baselines, perplexity, references
from monitor.store.references import ReferenceSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Anew:
    """What a version is compared with from now on.

    reference
        The generation that is being built; None: nothing of the live signals had moved.
    records
        How many records since the onset it is made of.
    perplexity
        Whether the next probe registers the version anew.
    """

    version: Version
    reference: Reference | None
    records: int
    perplexity: bool


def accept(
    tx: Connection, incident_id: IncidentId, word: Word, *, hearers: Hearers
) -> Sequence[Anew]:
    """End an open incident of drift because what it found is the new normal.

    Nothing is changed where it was accepted before. ``word`` is one of ``Mark.ACCEPTED``.

    Raises
    ------
    NotMarkable
        It is over, or no drift; other weights than the version's answer; thresholds of the
        preset classic are all that was passed; or a version has fewer than 300 records since
        the onset to make a reference of.
    LookupError
        There is no such incident.
    """
    held = hold(tx, incident_id)
    if held.row.marked is Mark.ACCEPTED:
        return ()
    if held.row.closed_at is not None and held.row.marked is None:
        raise NotMarkable(
            f"Incident {held.row.id} is over: what is compared now no longer differs."
            " To compare with other records, freeze a reference."
        )
    plans = [_plan(tx, version, held, word.at) for version in held.versions]
    if not mark(tx, incident_id, word, hearers=hearers):
        return ()
    moved = [plan.version.id for plan in plans if plan.perplexity]
    if moved:
        fleet = held.row.base_model is not None
        perplexity.register_anew(tx, moved, bases=fleet, because=word.text, at=word.at)
    return [_begun(tx, plan, word) for plan in plans]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What accepting takes for one version; ``window`` None: no reference."""

    version: Version
    window: Interval | None
    records: int
    perplexity: bool


def _plan(tx: Connection, version: Version, held: Held, now: datetime) -> _Plan:
    judged = held.judged[version.id]
    memory = Memory.from_json(judged.memory) if judged and judged.memory else Memory()
    if memory.identity is not None and memory.misidentified:
        raise NotMarkable(
            f"Other weights answer as {version.label}, which is no new normal:"
            f" {memory.identity.reason}. Repair it, or register what answers as a version."
        )
    probed = memory.perplexity is not None and memory.perplexity.moved
    alone = held.row.base_model is None
    if alone and memory.classic.opened and not (memory.crossings or probed):
        raise NotMarkable(
            f"{version.label} is past thresholds of the preset classic alone, which say nothing of"
            " when the change began: freeze a reference of what is normal, or mark it as false."
        )
    if not memory.crossings:
        return _Plan(version=version, window=None, records=0, perplexity=probed)
    start = min(crossing.onset.start for crossing in memory.crossings)
    found = baselines.gathered(
        tx, version_id=version.id, adapter_id=version.adapter_id, since=start, now=now
    )
    if found.records < SMALLEST_BASELINE:
        raise NotMarkable(
            f"{version.label} has {found.records} records since {start:%Y-%m-%d %H:%M} UTC,"
            f" when the change began; a reference takes {SMALLEST_BASELINE}."
        )
    return _Plan(
        version=version,
        window=Interval(start=start, end=now),
        records=found.records,
        perplexity=probed,
    )


def _begun(tx: Connection, plan: _Plan, word: Word) -> Anew:
    made = None
    if plan.window is not None:
        made = open_generation(
            tx,
            version=plan.version,
            window=plan.window,
            cause=word.text,
            created_by=word.by,
            source=ReferenceSource.ACCEPT,
            append=references.current_index(tx, plan.version.id) is not None,
        )
    return Anew(
        version=plan.version, reference=made, records=plan.records, perplexity=plan.perplexity
    )
