"""Describe what changed between two messages of an incident, as facts and as a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from alerts.message import ActionLine, Alert, Done, ScoreLine, Update, UpdatedFact, leading
from alerts.types import Blame, Severity, Status, VerdictKind
from alerts.updating import KEPT, Fact, Gist
from alerts.words import finding_words

FACT_WORDS: Final = {
    Fact.SEVERITY: "severity",
    Fact.ACTION: "traffic",
    Fact.BLAME: "likely cause",
    Fact.FINDING: "strongest sign",
}
UNTOLD: Final = {
    Fact.SEVERITY: "unknown",
    Fact.ACTION: "not moved",
    Fact.BLAME: "unknown",
    Fact.FINDING: "unknown",
}
"""The assumed earlier value of a fact that people were not told."""
URGENCY: Final = {VerdictKind.CRITICAL: Severity.PAGE, VerdictKind.DRIFTING: Severity.TICKET}


def gist(
    *,
    verdict: VerdictKind,
    blame: Blame,
    scores: Sequence[ScoreLine],
    action: ActionLine | None = None,
) -> Gist:
    """Return the main facts of a drift incident; an unknown fact is an empty string.

    >>> slow = ScoreLine(detector="latency", words="answers slower", evidence=1.2)
    >>> known = gist(verdict=VerdictKind.DRIFTING, blame=Blame.SERVING, scores=[slow])
    >>> [str(said) for said in known.values()]
    ['ticket', 'serving', 'answers slower', '']
    """
    lead = leading(scores)
    return {
        Fact.SEVERITY: str(URGENCY.get(verdict, "")),
        Fact.BLAME: "" if blame is Blame.UNKNOWN else blame.value,
        Fact.FINDING: finding_words(lead) if lead else "",
        Fact.ACTION: _deed(action),
    }


def action_gist(action: ActionLine | None) -> Gist:
    """Return the only fact of an incident that is about traffic alone."""
    return {Fact.ACTION: _deed(action)}


def _deed(action: ActionLine | None) -> str:
    """Return the action's text; a brake's changing reasons are no news."""
    match action:
        case None:
            return ""
        case ActionLine(done=Done.BLOCKED):
            return KEPT
        case ActionLine(done=Done.RECOMMENDED):
            return f"{action.kind} recommended"
        case ActionLine(kind="route"):
            return action.short
        case _:
            return action.text


def update_between(told: Alert, now: Alert) -> Update | None:
    """Return the change between two messages about one open incident; None if there is none.

    A fact that is no longer known is no news. The members of a fleet incident differ in severity,
    so its severity is not compared.
    """
    was, known = _gist_of(told), _gist_of(now)
    turns = {
        fact: UpdatedFact(was=was[fact] or UNTOLD[fact], now=said)
        for fact, said in known.items()
        if said and said != was[fact] and not (now.together and fact is Fact.SEVERITY)
    }
    if not turns:
        return None
    return Update(
        severity=turns.get(Fact.SEVERITY),
        blame=turns.get(Fact.BLAME),
        finding=turns.get(Fact.FINDING),
        action=turns.get(Fact.ACTION),
        text=_sentence(turns),
    )


def updated(told: Alert, now: Alert, *, status: Status = Status.UPDATED) -> Alert | None:
    """Return the update that follows the last message; None if it would say the same.

    It keeps at least the severity that people were told, because receivers identify the incident by
    it.
    """
    update = update_between(told, now)
    if update is None:
        return None
    return replace(
        now,
        status=status,
        severity=max(told.severity, now.severity, key=lambda one: one.rank),
        update=update,
        known_as=told.known_as or told.blame,
    )


def _gist_of(alert: Alert) -> Gist:
    return gist(verdict=alert.verdict, blame=alert.blame, scores=alert.scores, action=alert.action)


def _sentence(turns: Mapping[Fact, UpdatedFact]) -> str:
    parts = (
        f"{FACT_WORDS[fact]} was: {turn.was}, now: {turn.now}"
        for fact, turn in sorted(turns.items(), key=lambda one: list(FACT_WORDS).index(one[0]))
    )
    return "; ".join(parts)
