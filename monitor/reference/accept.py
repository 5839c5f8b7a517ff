"""Accept an incident's finding as normal, in one transaction.

The change is then no longer drift, so the reference must change: live signals get a generation of
the reference made of the records since the onset, perplexity is registered anew. The incident ends
at once; until the generation is ready the old one stays in force as provisional. Feedback that had
not drifted keeps its old reference, since feedback on recent records is incomplete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from detectors.feedback import FEEDBACK
from monitor.domain import IncidentId, Interval, Mark, Reference, Version
from monitor.outbox.marking import Hearers, LockedIncident, NotMarkable, Word, hold, mark
from monitor.policy import Memory
from monitor.reference.calibrate import SMALLEST_BASELINE
from monitor.reference.freeze import open_generation, usable
from monitor.store import audit
from monitor.store.evaluation import perplexity
from monitor.store.references import references
from monitor.store.references.references import ReferenceSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Anew:
    """A version's new reference after acceptance.

    reference
        The generation that is being built; None if no live signal had drifted.
    records
        The number of records since the onset that it is made of.
    perplexity
        True if the next probe registers the version anew.
    left
        Why a drift of live signals is not accepted: then the reference stays, and a lasting drift
        is found again. None if everything was accepted.
    """

    version: Version
    reference: Reference | None
    records: int
    perplexity: bool
    left: str | None = None


def accept(
    tx: Connection, incident_id: IncidentId, word: Word, *, hearers: Hearers
) -> Sequence[Anew]:
    """End an open drift incident because its finding is accepted as normal.

    Nothing changes if it was accepted before. ``word`` is one of ``Mark.ACCEPTED``. Of a fleet
    incident, the members that can be accepted are; the others are ``left``.

    Raises
    ------
    NotMarkable
        It is over, or not about drift; the engine answers with other weights than the version's;
        only thresholds of the preset classic were passed; or the version has fewer than 300 records
        of common settings since the onset. For a fleet incident: one of these holds for every
        member.
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
    refused = [plan.left for plan in plans if plan.left and not plan.accepts]
    if refused and len(refused) == len(plans):
        raise NotMarkable(refused[0])
    if not mark(tx, incident_id, word, hearers=hearers):
        return ()
    moved = [plan.version.id for plan in plans if plan.perplexity]
    if moved:
        fleet = held.row.base_model is not None
        perplexity.register_anew(tx, moved, bases=fleet, because=word.text, at=word.at)
    return [_begun(tx, plan, word) for plan in plans]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The acceptance of one version; ``window`` is None if it needs no reference.

    ``feedback`` is true if feedback is among the drifted signals.
    """

    version: Version
    window: Interval | None = None
    records: int = 0
    perplexity: bool = False
    feedback: bool = False
    left: str | None = None

    @property
    def accepts(self) -> bool:
        """True if any of it is accepted."""
        return self.left is None or self.perplexity


def _plan(tx: Connection, version: Version, held: LockedIncident, now: datetime) -> _Plan:
    judged = held.judged[version.id]
    memory = judged.memory if judged else Memory()
    if memory.identity is not None and memory.misidentified:
        return _Plan(
            version=version,
            left=f"Other weights answer as {version.label}, which is no new normal:"
            f" {memory.identity.reason}. Repair it, or register what answers as a version.",
        )
    probed = memory.perplexity is not None and memory.perplexity.moved
    alone = held.row.base_model is None
    if alone and memory.classic.opened and not (memory.crossings or probed):
        return _Plan(
            version=version,
            left=f"{version.label} is past thresholds of the preset classic alone, which say"
            " nothing of when the change began: freeze a reference of what is normal, or mark it"
            " as false.",
        )
    if not memory.crossings:
        return _Plan(version=version, perplexity=probed)
    start = min(crossing.onset.start for crossing in memory.crossings)
    window = Interval(start=start, end=now)
    found = usable(tx, version, window)
    if found.enough:
        return _Plan(
            version=version,
            window=window,
            records=found.records,
            perplexity=probed,
            feedback=any(crossing.detector == FEEDBACK.name for crossing in memory.crossings),
        )
    return _Plan(
        version=version,
        records=found.records,
        # a member shares its base's weights; the base is registered anew for all members
        perplexity=probed and not alone,
        left=f"{version.label} has {found.text} since {start:%Y-%m-%d %H:%M} UTC,"
        f" when the change began; a reference takes {SMALLEST_BASELINE}.",
    )


def _begun(tx: Connection, plan: _Plan, word: Word) -> Anew:
    made = None
    if plan.window is not None:
        in_force = references.current(tx, plan.version.id)
        made = open_generation(
            tx,
            version=plan.version,
            window=plan.window,
            cause=word.text,
            created_by=word.by,
            source=ReferenceSource.ACCEPT,
            append=references.current_index(tx, plan.version.id) is not None,
            feedback=in_force.id if in_force and not plan.feedback else None,
        )
    return Anew(
        version=plan.version,
        reference=made,
        records=plan.records,
        perplexity=plan.perplexity,
        left=plan.left,
    )


class NotApprovable(ValueError):  # noqa: N818 - it is a fact about the reference, not a fault
    """The reference cannot be approved; the message is a sentence that says why."""


def approve(tx: Connection, of: Version, found: Reference, *, by: str) -> None:
    """Approve a ready generation, and write down who did.

    Raises
    ------
    NotApprovable
        It is not ready, or approved already.
    """
    if not references.approve(tx, found.id, by=by):
        raise NotApprovable(
            f"Generation {found.generation} of {of.label} is {found.state.value}; only a"
            " ready, unapproved one can be approved."
        )
    audit.append(
        tx,
        actor=by,
        act="reference.approve",
        subject=of.label,
        details={"generation": found.generation, "cause": "a person's word"},
    )
