"""How users are affected, in a message: a share or a count beside the normal one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from alerts.closing import Closing
from alerts.message import PERPLEXITY, Alert, Retraining, ScoreLine, leading
from alerts.titles import LONGEST_SUBJECT, NEWS, began_clock, canary_headline, headline, why_retrain
from alerts.types import Blame, Kind
from alerts.words import (
    clock_time,
    cut,
    duration,
    finding_words,
    new_words,
    often,
    percent,
    rate_words,
    sentence,
    share_words,
)

MINUTE: Final = timedelta(minutes=1)
SHOWN_MEMBERS: Final = 3


def impact(alert: Alert) -> str:
    """Say how users are affected; after the end, how long it lasted."""
    if not alert.firing:
        return _afterwards(alert)
    parts = [*_affected(alert), _whose(alert)]
    return " ".join(part for part in parts if part)


def _afterwards(alert: Alert) -> str:
    if alert.closing is Closing.PART_OF_FLEET:
        return "It is not over: other adapters on its base changed, too."
    if alert.closing is Closing.OUT_OF_SERVICE:
        return "Nobody gets its answers any more."
    if alert.closing is Closing.RULE_CHANGED:
        return "Whether it is over is unknown: its rules changed."
    over = clock_time(alert.recovered_at or alert.at, now=alert.at)
    lasted = f"from {began_clock(alert)} to {over}"
    if alert.kind is Kind.CANARY:
        return f"The canary waited {lasted}."
    lead = leading(alert.scores)
    return f"It lasted {lasted}{f': {finding_words(lead)}' if lead else ''}."


def _affected(alert: Alert) -> list[str]:
    if alert.retraining is not None:
        return [_to_learn(alert.retraining, now=alert.at)]
    if alert.unseen is not None:
        return [sentence(alert.reason), sentence(alert.unseen.cause)]
    if alert.kind is Kind.CANARY:
        return [sentence(alert.reason.removeprefix(f"{canary_headline(alert)}: "))]
    if alert.kind is not Kind.DRIFT:
        return [sentence(alert.reason or NEWS[alert.kind]), _UNKNOWN.get(alert.kind, "")]
    lead = leading(alert.scores)
    if alert.together is not None:
        return [_of_fleet(alert, lead)]
    answers = [_scale(lead, since=began_clock(alert)), lead.gloss] if lead else [headline(alert)]
    answers += [sentence(also) for also in _also(alert.scores, lead)]
    if alert.alone_on:
        answers.append(f"No other adapter on {cut(alert.alone_on, LONGEST_SUBJECT)} is affected.")
    asked = _unlike_training(alert)
    return [*asked, *answers] if alert.blame is Blame.INPUT else [*answers, *asked]


def _also(scores: Sequence[ScoreLine], lead: ScoreLine | None) -> list[str]:
    """Say what else users see: failures that are counted and sure."""
    sure = [one for one in scores if one is not lead and (one.evidence or -1.0) >= 0.0]
    return [said for one in sure if (said := share_words(one))]


def _unlike_training(alert: Alert) -> list[str]:
    """Say how many requests are unlike training, and what most of them have in common."""
    found = []
    if alert.unlike is not None:
        one = alert.unlike
        usual = f"(normally {percent(one.usual)})"
        found.append(f"{one.count:,} of {one.of:,} requests are unlike training {usual}.")
    if alert.new is not None:
        found.append(sentence(new_words(alert.new)))
    return found


_UNKNOWN: Final = {
    Kind.NO_DATA: "Not known whether users get answers.",
    Kind.ERROR: "Not known whether answers changed.",
    Kind.ROUTING: "Users may get their answers from another version than planned.",
}


_PERPLEXITY: Final = "Perplexity is how unexpected the model finds a text."


def _of_fleet(alert: Alert, lead: ScoreLine | None) -> str:
    """Name the members and when they changed; the numbers are one member's."""
    members = alert.together.members if alert.together else ()
    shown = ", ".join(members[:SHOWN_MEMBERS])
    more = len(members) - SHOWN_MEMBERS
    onset = alert.onset
    give = f" ± {duration(onset.half_width)}" if onset and onset.half_width >= MINUTE else ""
    named = f"{shown} and {more} more" if more > 0 else shown
    told = lead is not None and lead.detector != PERPLEXITY
    what = f": {finding_words(lead)}" if lead is not None and told else " changed"
    said = f"{named}{what} since {began_clock(alert)}{give}."
    if alert.together and alert.together.base_moved:
        said += " The base itself changed too."
    if lead is None:
        return said
    if lead.detector == PERPLEXITY and lead.value is not None:
        return f"{said} Perplexity of fixed texts {100 * lead.value:+.0f} %. {_PERPLEXITY}"
    return said


def _to_learn(asked: Retraining, *, now: datetime) -> str:
    since = clock_time(asked.since, now=now)
    if not asked.compared:
        return f"{sentence(why_retrain(asked))} Its requests since {since} are listed."
    counts = f"{asked.unlike:,} of {asked.compared:,} requests since {since} are unlike training"
    themes = len(asked.groups)
    return f"{counts}{f', in {themes} themes' if themes > 1 else ''}."


def _scale(lead: ScoreLine, *, since: str) -> str:
    """Say how many answers are affected; if they are not counted, how strongly one is."""
    if lead.count is not None and lead.of and share_words(lead):
        share = f"({percent(lead.count / lead.of)}, normally {percent(lead.usual or 0.0)})"
        return sentence(
            f"{lead.count:,} of the newest {lead.of:,} {lead.clause} since {since} {share}"
        )
    news = finding_words(lead)
    if lead.detector == PERPLEXITY and lead.value is not None:
        said = f"{news} since {since}: perplexity of fixed texts {100 * lead.value:+.0f} %"
        return f"{sentence(said)} {_PERPLEXITY}"
    if lead.times is not None:
        times = f"{lead.times:.0f}" if lead.times >= 10 else f"{lead.times:.1f}"  # noqa: PLR2004
        usual = f"the newest take {times} times the usual time for requests of their size (median)"
        return sentence(f"{news} since {since}: {usual}")
    if lead.effect is not None and not lead.clause and lead.n:
        shown = f"in {often(abs(lead.effect)):.0f} of 100 comparisons (50 is normal)"
        return sentence(_than_normal(news, shown, since=since))
    return sentence(f"{news} since {since}")


def _than_normal(news: str, shown: str, *, since: str) -> str:
    """Compare new requests with normal ones, where a finding's own words compare.

    >>> _than_normal("answers less certain", "in 69 of 100 comparisons", since="11:10 UTC")
    'answers since 11:10 UTC are less certain than normal ones in 69 of 100 comparisons'
    >>> _than_normal("the mix of topics changed", "in 69 of 100 comparisons", since="11:10 UTC")
    'the mix of topics changed since 11:10 UTC'
    """
    who, _, how = news.partition(" ")
    compares = how.startswith(("less ", "more ")) or (how.endswith("er") and " " not in how)
    if who in {"answers", "requests"} and compares:
        return f"{who} since {since} are {how} than normal ones {shown}"
    return f"{news} since {since}"


def _whose(alert: Alert) -> str:
    if alert.together is not None:
        return ""
    tier = f"{alert.tier} tier" if alert.tier != "standard" else ""
    owner = f"owner {alert.owner}" if alert.owner else ""
    silent = alert.kind is Kind.NO_DATA
    rate = rate_words(alert.per_second) if alert.per_second and not silent else ""
    said = ", ".join(part for part in (rate, tier, owner) if part)
    return sentence(said) if said else ""
