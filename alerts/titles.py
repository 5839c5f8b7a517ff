"""The title of a message: which adapter, what happened, since when, where its traffic went."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from alerts.closing import CLOSINGS, Closing
from alerts.message import Alert, Done, Retraining, leading
from alerts.types import Blame, Kind, Reason, Severity, Status, VerdictKind
from alerts.words import (
    LONGEST_TITLE,
    clock_time,
    cut,
    duration,
    finding_words,
    percent,
    sentence,
    share_words,
)

LONGEST_SUBJECT: Final = 34


def headline(alert: Alert) -> str:
    """Say in one sentence what the title says: what happened, since when, where traffic went.

    For places that name the adapter themselves.
    """
    return sentence(f"{_stands(alert)}{_since(alert)}{_moved(alert)}")


def summary(alert: Alert) -> str:
    """Write the whole title without its tag, for lists that show the severity beside it."""
    subject = _subject(alert, longest=None)
    if not alert.firing:
        return f"{subject}{_end(alert)}{_served(alert)}"
    return f"{subject}{_news(alert)}{_since(alert)}{_moved(alert)}"


def summarised(alert: Alert) -> Alert:
    """Fill in an alert's summary."""
    return replace(alert, summary=summary(alert))


def quiet(verdict: VerdictKind) -> str:
    """Say in one sentence how a version is that people are not told about.

    >>> quiet(VerdictKind.STABLE)
    'Healthy: requests and answers are as they were when it was approved.'
    """
    return _QUIET.get(verdict, f"{verdict.capitalize()}, and nobody has been told yet.")


_QUIET: Final = {
    VerdictKind.STABLE: "Healthy: requests and answers are as they were when it was approved.",
    VerdictKind.LEARNING: "Learning what is normal: nothing can be judged yet.",
    VerdictKind.INSUFFICIENT: "Too few requests to judge it; nothing is known to be wrong.",
    VerdictKind.BLIND: "Not fully monitored: too few of its requests can be compared.",
    VerdictKind.ERROR: "Driftline cannot check it, so its state is unknown.",
}
NEWS: Final = {
    Kind.NO_DATA: "no requests recorded, though some were expected",
    Kind.BLIND: "not fully monitored",
    Kind.ERROR: "Driftline cannot check it, so its state is unknown",
    Kind.CANARY: "its canary needs a look",
    Kind.ROUTING: "a route change is not confirmed",
    Kind.RETRAIN: "retrain it",
}


def title(alert: Alert) -> str:
    """Fit the title: where it is too long the time goes first, then the traffic."""
    tag = f"[{_tag(alert)}]"
    if alert.test:
        return cut(f"{tag} {_subject(alert)}: a test of this channel, all is well")
    news, since, traffic = _news(alert), _since(alert), _moved(alert)
    if not alert.firing:
        news, since, traffic = _end(alert), "", _served(alert)
    further = (f"{since}{traffic}", traffic, since)
    if alert.firing and alert.update is not None and alert.update.blame is not None:
        cause = f"; {_CAUSES[alert.blame]}"
        news = news.partition(" (normally ")[0]
        further = (f"{traffic}{cause}", f"{since}{cause}", cause)
    title = cut(f"{tag} {_subject(alert)}{news}")
    return title + next((one for one in further if len(title) + len(one) <= LONGEST_TITLE), "")


_CAUSES: Final = {
    Blame.UNKNOWN: "cause unknown",
    Blame.INPUT: "cause: requests",
    Blame.ADAPTER: "cause: weights",
    Blame.BASE: "cause: base or engine",
    Blame.SERVING: "cause: engine",
}
"""A cause that is another one now, in the title of an update."""


def _tag(alert: Alert) -> str:
    if alert.test:
        return "TEST"
    if not alert.firing:
        return "RESOLVED" if alert.closing is None else _ENDS.get(alert.closing, "RESOLVED")
    if alert.kind is Kind.RETRAIN:
        return "TASK"
    return f"{alert.severity.upper()}{_again(alert)}"


_ENDS: Final = {
    Closing.PART_OF_FLEET: "MERGED",
    Closing.RULE_CHANGED: "CLOSED",
    Closing.OUT_OF_SERVICE: "CLOSED",
}
"""Ends without a recovery."""
_STATUSES: Final = {
    Status.WORSENED: ", was a ticket",
    Status.REOPENED: " again",
    Status.UPDATED: " update",
    Status.ACKNOWLEDGED: ", acknowledged",
}


def _again(alert: Alert) -> str:
    if alert.notification_reason is Reason.REPEAT:
        return ", still open"
    if alert.notification_reason is Reason.NOT_ACKNOWLEDGED:
        return ", unacknowledged"
    if alert.status is Status.WORSENED and alert.severity is not Severity.PAGE:
        return " update"
    return _STATUSES.get(alert.status, "")


def _subject(alert: Alert, *, longest: int | None = LONGEST_SUBJECT) -> str:
    together = alert.together
    if alert.retraining is not None and alert.firing:
        return f"Retrain {cut(alert.adapter, longest)} from {cut(alert.retraining.parent, longest)}"
    if together is None:
        return cut(f"{alert.adapter}@{alert.version}", longest)
    named, count = cut(together.base, longest), len(together.members)
    base = named or "one base model"
    if count == 1:  # the base was seen to move
        return f"base {named}" if named else base
    of = f" of {max(count, together.of)}" if together.of else ""
    return f"{count}{of} adapters on {base}"


def _news(alert: Alert) -> str:
    if alert.together is not None:
        return " changed" if len(alert.together.members) == 1 else " changed together"
    return f": {_stands(alert)}"


def _found(alert: Alert) -> str:
    lead = leading(alert.scores)
    if lead is None:
        return "its requests or answers changed"
    if alert.blame is Blame.INPUT and alert.unlike is not None:
        share, usual = alert.unlike.count / max(1, alert.unlike.of), alert.unlike.usual
        return f"{percent(share)} of requests are unlike training (normally {percent(usual)})"
    return share_words(lead) or finding_words(lead)


def _stands(alert: Alert) -> str:
    if alert.kind is Kind.DRIFT:
        return _found(alert)
    if alert.retraining is not None:
        return _unlike(alert.retraining) or why_retrain(alert.retraining)
    if alert.kind is Kind.CANARY and alert.reason:
        return canary_headline(alert)
    if alert.unseen is not None:
        return f"{NEWS[Kind.BLIND]}, {alert.unseen.cause}"
    return NEWS[alert.kind]


def canary_headline(alert: Alert) -> str:
    """Return what happened to a canary; its numbers come after the first colon."""
    return alert.reason.partition(": ")[0]


def _unlike(asked: Retraining) -> str:
    if not asked.unlike or not asked.compared:
        return ""
    return f"{percent(asked.unlike / asked.compared)} of requests are unlike training"


def why_retrain(asked: Retraining) -> str:
    """Say why an adapter should be retrained."""
    return RETRAINED.get(asked.cause, asked.cause)


RETRAINED: Final = {
    "input": "users ask new things",
    "max_age": "it was trained long ago",
    "person": "somebody asks for it",
}
"""Why an adapter should be retrained, by the request's cause."""


def _since(alert: Alert) -> str:
    return f" since {began_clock(alert)}" if alert.kind is Kind.DRIFT else ""


def began_clock(alert: Alert) -> str:
    """Write when it began, as a clock shows it."""
    return clock_time(began(alert), now=alert.at)


def began(alert: Alert) -> datetime:
    """Return when it began, as well as that is known."""
    return alert.onset.best if alert.onset is not None else alert.started_at


def _moved(alert: Alert) -> str:
    if alert.action is not None and alert.action.short:
        return f"; {alert.action.short}"
    kept = alert.kind is Kind.DRIFT and alert.together is None and alert.severity is Severity.PAGE
    return "; traffic not moved" if kept else ""


def _end(alert: Alert) -> str:
    lasted = duration((alert.recovered_at or alert.at) - began(alert))
    if alert.closing is None and alert.kind is Kind.CANARY:
        goes = alert.action is not None and alert.action.kind == "canary"
        return (
            f": canary {f'goes on, after a pause of {lasted}' if goes else f'over after {lasted}'}"
        )
    if alert.closing is None:
        return f" {_be(alert)} healthy again after {lasted}"
    return f": {CLOSINGS[alert.closing]} after {lasted}"


def _served(alert: Alert) -> str:
    """Say whether the version has its traffic back, where it had lost it."""
    action = alert.action
    if alert.closing or action is None or action.done is not Done.TAKEN or action.unconfirmed:
        return ""
    if action.kind == "return":
        return " and serves 100 % again"
    return f"; {action.target} still serves" if action.kind == "fallback" and action.target else ""


def _be(alert: Alert) -> str:
    return "are" if alert.together and len(alert.together.members) > 1 else "is"
