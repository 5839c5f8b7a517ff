"""Which member's findings a fleet incident is told by: those with the strongest evidence.

Members are evaluated one by one, and each knows its own evidence only. So the incident
remembers whose was the strongest and how strong; that one's evaluations say what is found
of all, until another's are stronger. The others' leave what is told as it is.
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
"""Evidence without end is kept as this much; JSON has no infinity."""


def lead_of(
    before: IncidentState, condition: Condition, member: str, scores: Sequence[ScoreLine]
) -> Lead | None:
    """Say who speaks for all after a look at one member.

    Whoever begins the incident or makes it a page is told of then, so it speaks from then on.
    """
    mine, known = leading(scores), before.lead
    if mine is None:
        return known
    evidence = min(mine.evidence or 0.0, MOST_EVIDENCE)
    raises = condition is Condition.PAGE and before.told is not words.Severity.PAGE
    stronger = known is None or known.member == member or evidence > known.evidence
    return Lead(member=member, evidence=evidence) if raises or stronger else known


def finding_of(lead: Lead | None, member: str, scores: Sequence[ScoreLine]) -> Gist | None:
    """Give what a member's look finds of all; None where another one speaks for them."""
    if lead is None or lead.member != member:
        return None
    known = gist(verdict=words.Verdict.DRIFTING, blame=words.Blame.BASE, scores=scores)
    return {Fact.FINDING: known[Fact.FINDING]}
