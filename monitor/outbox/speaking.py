"""Choose the member that a fleet incident reports: the one with the strongest evidence.

Members are evaluated one by one, and each knows its own evidence only. So the incident remembers
the strongest member and its evidence. Only that member's evaluations change what is told, until
another's evidence is stronger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import alerts.types as words
from alerts.differing import gist
from alerts.incident import Condition, IncidentState, Lead
from alerts.message import ScoreLine, leading
from alerts.updating import Fact, Gist

MOST_EVIDENCE: Final = 1e6
"""Infinite evidence is stored as this value, because JSON has no infinity."""


def lead_of(
    before: IncidentState, condition: Condition, member: str, scores: Sequence[ScoreLine]
) -> Lead | None:
    """Choose the leading member after an evaluation of one member.

    A member that opens the incident or raises it to a page is named in that message, so it leads
    from then on.
    """
    mine, known = leading(scores), before.lead
    if mine is None:
        return known
    evidence = min(mine.evidence or 0.0, MOST_EVIDENCE)
    raises = condition is Condition.PAGE and before.told is not words.Severity.PAGE
    stronger = known is None or known.member == member or evidence > known.evidence
    return Lead(member=member, evidence=evidence) if raises or stronger else known


def finding_of(lead: Lead | None, member: str, scores: Sequence[ScoreLine]) -> Gist | None:
    """Return the member's finding if it leads; None if another member leads."""
    if lead is None or lead.member != member:
        return None
    known = gist(verdict=words.VerdictKind.DRIFTING, blame=words.Blame.BASE, scores=scores)
    return {Fact.FINDING: known[Fact.FINDING]}
