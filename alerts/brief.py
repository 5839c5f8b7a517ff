"""Put a message into words: title, impact, likely cause, action taken, and next steps.

Every channel takes its words from here. The statistics that support the message come last, as
details.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from alerts.incident import Closing
from alerts.message import (
    PERPLEXITY,
    ActionLine,
    Alert,
    Done,
    Retraining,
    ScoreLine,
    Unlike,
    leading,
)
from alerts.steps import misapplied, steps
from alerts.types import Blame, Kind, Reason, Severity, Status, VerdictKind
from alerts.words import (
    CLOSINGS,
    clock_time,
    duration,
    finding_words,
    new_words,
    percent,
    rate_words,
    share_words,
    size_words,
)

LONGEST_TITLE: Final = 80
LONGEST_SUBJECT: Final = 34
LONGEST_DETAILS: Final = 400
LONGEST_ID: Final = 40
SHOWN_IDS: Final = 3
SHOWN_CHANGES: Final = 3
MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """A message in parts of a few sentences each; an empty part is left out.

    title
        At most 80 characters: which adapter, what happened, what was done.
    impact
        How users are affected, as a share beside the normal one.
    cause
        Where the change lies, how sure that is, and which changes were declared.
    done
        Driftline's action on traffic, or why it took none.
    steps
        The next steps, in order.
    details
        The numbers behind it.
    """

    title: str
    impact: str
    cause: str
    done: str
    steps: tuple[str, ...]
    details: str


def brief(alert: Alert) -> Brief:
    """Put a message into words."""
    return Brief(
        title=_title(alert),
        impact=_impact(alert),
        cause=_cause(alert),
        done=_done(alert),
        steps=steps(alert),
        details=_details(alert),
    )


def headline(alert: Alert) -> str:
    """Say in one sentence what the title says: what happened, since when, where traffic went.

    For places that name the adapter themselves.
    """
    return _sentence(f"{_stands(alert)}{_since(alert)}{_moved(alert)}")


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


_QUIET: Final = MappingProxyType(
    {
        VerdictKind.STABLE: "Healthy: requests and answers are as they were when it was approved.",
        VerdictKind.LEARNING: "Learning what is normal: nothing can be judged yet.",
        VerdictKind.INSUFFICIENT: "Too few requests to judge it; nothing is known to be wrong.",
        VerdictKind.BLIND: "Not fully monitored: too few of its requests can be compared.",
        VerdictKind.ERROR: "Its checks fail, so its state is unknown.",
    }
)


_NEWS: Final = MappingProxyType(
    {
        Kind.NO_DATA: "no requests recorded, though some were expected",
        Kind.BLIND: "not fully monitored",
        Kind.ERROR: "its checks fail, so its state is unknown",
        Kind.CANARY: "its canary needs a look",
        Kind.ROUTING: "a route change is not confirmed",
        Kind.RETRAIN: "retrain it",
    }
)


def numbered(steps: Sequence[str]) -> str:
    """Write the steps on one line.

    >>> numbered(("Look.", "Fix it."))
    '1) Look. 2) Fix it.'
    """
    if len(steps) == 1:
        return steps[0]
    return " ".join(f"{number}) {step}" for number, step in enumerate(steps, start=1))


def written(said: Brief) -> dict[str, str]:
    """Return the non-empty parts under the names that people read."""
    parts = {
        "title": said.title,
        "impact": said.impact,
        "likely_cause": said.cause,
        "driftline": said.done,
        "you": numbered(said.steps),
        "details": said.details,
    }
    return {name: text for name, text in parts.items() if text}


def _title(alert: Alert) -> str:
    """Fit the title: where it is too long the time goes first, then the traffic."""
    tag = f"[{_tag(alert)}]"
    if alert.test:
        return _cut(f"{tag} {_subject(alert)}: a test of this channel, all is well")
    news, since, traffic = _news(alert), _since(alert), _moved(alert)
    if not alert.firing:
        news, since, traffic = _end(alert), "", _served(alert)
    title = _cut(f"{tag} {_subject(alert)}{news}")
    further = (f"{since}{traffic}", traffic, since)
    return title + next((one for one in further if len(title) + len(one) <= LONGEST_TITLE), "")


def _tag(alert: Alert) -> str:
    if alert.test:
        return "TEST"
    if not alert.firing:
        return "MERGED" if alert.closing is Closing.PART_OF_FLEET else "RESOLVED"
    if alert.kind is Kind.RETRAIN:
        return "TASK"
    return f"{alert.severity.upper()}{_again(alert)}"


_STATUSES: Final = MappingProxyType(
    {
        Status.WORSENED: ", was a ticket",
        Status.REOPENED: " again",
        Status.UPDATED: " update",
        Status.ACKNOWLEDGED: ", acknowledged",
    }
)


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
        return (
            f"Retrain {_cut(alert.adapter, longest)} from {_cut(alert.retraining.parent, longest)}"
        )
    if together is None:
        return _cut(f"{alert.adapter}@{alert.version}", longest)
    named, count = _cut(together.base, longest), len(together.members)
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
        return _unlike(alert.retraining) or _why_retrain(alert.retraining)
    if alert.kind is Kind.CANARY and alert.reason:
        return _headline(alert)
    if alert.unseen is not None:
        return f"{_NEWS[Kind.BLIND]}, {alert.unseen.cause}"
    return _NEWS[alert.kind]


def _headline(alert: Alert) -> str:
    """Return what happened to a canary; its numbers come after the first colon."""
    return alert.reason.partition(": ")[0]


def _unlike(asked: Retraining) -> str:
    if not asked.unlike or not asked.compared:
        return ""
    return f"{percent(asked.unlike / asked.compared)} of requests are unlike training"


def _why_retrain(asked: Retraining) -> str:
    return RETRAINED.get(asked.cause, asked.cause)


RETRAINED: Final = MappingProxyType(
    {
        "input": "users ask new things",
        "max_age": "it was trained long ago",
        "person": "somebody asks for it",
    }
)
"""Why an adapter should be retrained, by the request's cause."""


def _since(alert: Alert) -> str:
    return f" since {_clock(alert)}" if alert.kind is Kind.DRIFT else ""


def _clock(alert: Alert) -> str:
    return clock_time(_began(alert), now=alert.at)


def _began(alert: Alert) -> datetime:
    return alert.onset.best if alert.onset is not None else alert.started_at


def _moved(alert: Alert) -> str:
    if alert.action is not None and alert.action.short:
        return f"; {alert.action.short}"
    kept = alert.kind is Kind.DRIFT and alert.together is None and alert.severity is Severity.PAGE
    return "; traffic not moved" if kept else ""


def _end(alert: Alert) -> str:
    lasted = duration((alert.recovered_at or alert.at) - _began(alert))
    if alert.closing is None and alert.kind is Kind.CANARY:
        goes = alert.action is not None and alert.action.kind == "canary"
        return f": its canary {'goes on by itself' if goes else 'is over'} after {lasted}"
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


def _impact(alert: Alert) -> str:
    if not alert.firing:
        over = clock_time(alert.recovered_at or alert.at, now=alert.at)
        return f"It lasted from {_clock(alert)} to {over}."
    parts = [*_affected(alert), _whose(alert)]
    return " ".join(part for part in parts if part)


def _affected(alert: Alert) -> list[str]:
    if alert.retraining is not None:
        return [_to_learn(alert.retraining, now=alert.at)]
    if alert.unseen is not None:
        return [_sentence(alert.reason), _sentence(alert.unseen.cause)]
    if alert.kind is Kind.CANARY:
        return [_sentence(alert.reason.removeprefix(f"{_headline(alert)}: "))]
    if alert.kind is not Kind.DRIFT:
        return [_sentence(alert.reason or _NEWS[alert.kind])]
    lead = leading(alert.scores)
    if alert.together is not None:
        return [_of_fleet(alert, lead)]
    found = [_scale(lead, since=_clock(alert)), lead.gloss] if lead else [headline(alert)]
    if alert.alone_on:
        found.append(f"No other adapter on {_cut(alert.alone_on, LONGEST_SUBJECT)} is affected.")
    if alert.unlike is not None:
        one = alert.unlike
        found.append(
            f"{one.count:,} of {one.of:,} requests are unlike training"
            f" (normally {percent(one.usual)})."
        )
    if alert.new is not None:
        found.append(_sentence(new_words(alert.new)))
    return found


def _of_fleet(alert: Alert, lead: ScoreLine | None) -> str:
    """Name the members and when they changed; the numbers are one member's."""
    members = alert.together.members if alert.together else ()
    shown = ", ".join(members[:SHOWN_CHANGES])
    more = len(members) - SHOWN_CHANGES
    onset = alert.onset
    give = f" ± {duration(onset.half_width)}" if onset and onset.half_width >= MINUTE else ""
    said = f"{shown}{f' and {more} more' if more > 0 else ''} changed since {_clock(alert)}{give}."
    if alert.together and alert.together.base_moved:
        said += " The base itself changed too."
    if lead is None:
        return said
    if lead.detector == PERPLEXITY and lead.value is not None:
        return f"{said} Perplexity of fixed texts {100 * lead.value:+.0f} %."
    return f"{said} The strongest sign: {finding_words(lead)}."


def _to_learn(asked: Retraining, *, now: datetime) -> str:
    since = clock_time(asked.since, now=now)
    if not asked.compared:
        return f"{_sentence(_why_retrain(asked))} Its requests since {since} are listed."
    counts = f"{asked.unlike:,} of {asked.compared:,} requests since {since} are unlike training"
    themes = len(asked.groups)
    return f"{counts}{f', in {themes} themes' if themes > 1 else ''}."


def _scale(lead: ScoreLine, *, since: str) -> str:
    """Say how many answers are affected; if they are not counted, how strongly one is."""
    if lead.count is not None and lead.of and share_words(lead):
        return _sentence(
            f"{lead.clause} since {since}: {lead.count:,} of the newest {lead.of:,}"
            f" ({percent(lead.count / lead.of)}, normally {percent(lead.usual or 0.0)})"
        )
    news = finding_words(lead)
    if lead.detector == PERPLEXITY and lead.value is not None:
        return _sentence(
            f"{news} since {since}: perplexity of fixed texts {100 * lead.value:+.0f} %"
        )
    if lead.effect is not None and not lead.clause and lead.n:
        often = f"{50.0 + 50.0 * abs(lead.effect):.0f} of 100"
        return f"{_than_normal(news, often, since=since)} (normally 50)."
    return _sentence(f"{news} since {since}")


def _than_normal(news: str, often: str, *, since: str) -> str:
    """Compare new requests with a normal one, each picked at random, in a finding's own words.

    >>> _than_normal("answers less certain", "69 of 100", since="11:10 UTC")
    '69 of 100 answers since 11:10 UTC are less certain than a normal one'
    >>> _than_normal("answers collapsed", "69 of 100", since="11:10 UTC")
    'Answers collapsed since 11:10 UTC: 69 of 100 requests show it more than a normal one'
    """
    who, _, how = news.partition(" ")
    compares = how.startswith(("less ", "more ")) or (how.endswith("er") and " " not in how)
    if who in {"answers", "requests"} and compares:
        return f"{often} {who} since {since} are {how} than a normal one"
    shown = f"{news} since {since}: {often} requests show it more than a normal one"
    return f"{shown[0].upper()}{shown[1:]}"


def _whose(alert: Alert) -> str:
    if alert.together is not None:
        return ""
    tier = f"{alert.tier} tier" if alert.tier != "standard" else ""
    owner = f"owner {alert.owner}" if alert.owner else ""
    silent = alert.kind is Kind.NO_DATA
    rate = rate_words(alert.per_second) if alert.per_second and not silent else ""
    said = ", ".join(part for part in (rate, tier, owner) if part)
    return _sentence(said) if said else ""


def _cause(alert: Alert) -> str:
    if not alert.firing or alert.kind is not Kind.DRIFT:
        return ""
    where = _WRONG_WEIGHTS if misapplied(alert) else _WHERE.get(alert.blame)
    if where is None:
        said = [_sentence(alert.cause or "not known yet")]
    else:
        named = alert.cause.startswith(alert.blame)  # "input (likely)"
        sure = alert.cause.removeprefix(alert.blame) if named else ""
        said = [_sentence(f"{where}{sure}{_unless_shared(alert)}")]
    said += [f"Declared: {_sentence(one.text)}" for one in alert.changes[-SHOWN_CHANGES:]]
    return " ".join(said)


def _unless_shared(alert: Alert) -> str:
    shared = alert.blame is Blame.ADAPTER and alert.action is not None and alert.action.shared
    return ", unless the base model or the engine is at fault" if shared else ""


_WRONG_WEIGHTS: Final = "the engine answers with other weights than this version's"
_WHERE: Mapping[Blame, str] = MappingProxyType(
    {
        Blame.INPUT: "users ask other things; no change of the model was found",
        Blame.ADAPTER: "the adapter's weights",
        Blame.BASE: "the base model or the engine",
        Blame.SERVING: "the engine or its settings, not the weights",
    }
)


def _done(alert: Alert) -> str:
    if not alert.firing:
        taken = alert.action is not None and alert.action.done is Done.TAKEN
        return _sentence(alert.action.text) if alert.action and taken else ""
    if alert.together is not None:
        return "Automatic moves on this base are paused."
    if alert.action is not None:
        return _acted(alert, alert.action)
    if alert.kind in {Kind.NO_DATA, Kind.BLIND, Kind.ERROR}:
        return f"{_stays(alert)}."
    return _left_alone(alert) if alert.kind is Kind.DRIFT else ""


def _acted(alert: Alert, action: ActionLine) -> str:
    if action.done is Done.BLOCKED:
        said = f"{'Waits' if action.unconfirmed else _stays(alert)}: {action.text}"
    else:
        said = _DONE[action.done].replace("{}", action.text)
    return f"{_sentence(said)} {_sentence(action.then)}".rstrip()


def _left_alone(alert: Alert) -> str:
    if alert.blame in _ELSEWHERE:
        return f"{_stays(alert)}: {_ELSEWHERE[alert.blame]}."
    if alert.severity is Severity.TICKET:
        return f"{_stays(alert)}: this is not sure enough, or too small, to act on."
    return f"{_stays(alert)}."


def _stays(alert: Alert) -> str:
    return f"{alert.version} keeps its traffic"


_ELSEWHERE: Final = MappingProxyType(
    {
        Blame.INPUT: "another version would get the same requests",
        Blame.BASE: "other versions answer on the same base and engine",
        Blame.SERVING: "the same engine would answer for another version",
    }
)
_DONE: Final = MappingProxyType(
    {
        Done.TAKEN: "{}",
        Done.RECOMMENDED: "Recommends, and waits for you: {}",
    }
)


def _details(alert: Alert) -> str:
    said = [alert.reason if alert.kind is Kind.DRIFT else "", size_words(alert.scores)]
    said += [_least_similar(alert.unlike)] if alert.unlike else []
    return _cut("; ".join(part for part in said if part), LONGEST_DETAILS)


def _least_similar(unlike: Unlike) -> str:
    ids = [one for one in unlike.ids if len(one) <= LONGEST_ID][:SHOWN_IDS]
    return f"least similar: {', '.join(ids)}" if ids else ""


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    first, _, _ = text.partition(" ")
    named = not first.strip(",:;").isalpha()  # v6, 50 %, adapter-0@v1
    text = text if named else f"{text[0].upper()}{text[1:]}"
    return f"{text}{'' if text.endswith(('.', '!', '?')) else '.'}"


def _cut(text: str, longest: int | None = LONGEST_TITLE) -> str:
    if longest is None or len(text) <= longest:
        return text
    return f"{text[: longest - 1].rstrip()}…"
