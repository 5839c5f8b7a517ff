"""The next steps that a message names, by what happened and by its cause."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Final

from alerts.closing import Closing
from alerts.message import ActionLine, Alert, Done, Unseen, leading
from alerts.types import Blame, Kind, Severity
from alerts.words import percent


def steps(alert: Alert) -> tuple[str, ...]:
    """Return the next steps of the person on call, in order."""
    if alert.test:
        return ("Nothing: this is a test of the channel.",)
    if not alert.firing:
        return (*_send_back(alert.action), *_afterwards(alert))
    if alert.retraining is not None:
        share = percent(alert.retraining.replay_share)
        return (
            f"Fetch the list of examples: {alert.retraining.manifest}",
            f"Retrain from {alert.retraining.parent}; mix in {share} of what it was trained on.",
        )
    if alert.kind is not Kind.DRIFT:
        return _by_kind(alert)
    return (*_approve(alert), *_by_cause(alert))


def misapplied(alert: Alert) -> bool:
    """True if a probe found that the engine answers with the base or with another adapter."""
    signals = {(score.winner or "").partition(":")[0] for score in alert.scores}
    return alert.blame is Blame.SERVING and bool(signals & {"not_applied", "mixed_up"})


def stands_in(action: ActionLine | None) -> bool:
    """True if another version answers in this one's place, and the router has confirmed it."""
    return (
        action is not None
        and (action.kind, action.done) == ("fallback", Done.TAKEN)
        and bool(action.target)
        and not (action.unconfirmed or action.under_way)
    )


def _covered_again(unseen: Unseen) -> tuple[str, ...]:
    if not unseen.mend:
        return _BY_KIND[Kind.BLIND]
    return (
        "In the morning: is that intended? If not, correct the senders.",
        f"Intended, and its answers are good? `{unseen.mend}`.",
    )


def _send_back(action: ActionLine | None) -> tuple[str, ...]:
    if action is None or not stands_in(action) or action.then:
        return ()
    return (f"Traffic stays on {action.target} until you send it back on the incident.",)


def _afterwards(alert: Alert) -> tuple[str, ...]:
    match alert.closing:
        case Closing.PART_OF_FLEET:
            goes_on = f" #{alert.part_of}" if alert.part_of is not None else ""
            return (f"Go on with the open fleet incident{goes_on} of its base model.",)
        case Closing.FALSE_PAGE | Closing.RULE_CHANGED:
            return ("Nothing tonight. If it goes on, a new incident opens.",)
        case _:
            return ("Nothing tonight. Was the alarm wrong? Then mark it as a false alarm.",)


def _approve(alert: Alert) -> tuple[str, ...]:
    action = alert.action
    if action is None or action.done is not Done.RECOMMENDED:
        return ()
    to = f" to {action.target}" if action.target else ""
    return (f"Approve the move{to} on the incident; {alert.version} answers until then.",)


def _by_cause(alert: Alert) -> tuple[str, ...]:
    then = _RELOAD if misapplied(alert) else _BY_BLAME[alert.blame]
    if alert.blame is Blame.BASE and alert.changes:
        change = alert.changes[-1].text
        then = (
            "Send a few known prompts and compare the answers.",
            f"Bad? Undo it, even if it was planned: {change}.",
        )
    elif alert.blame is not Blame.INPUT and not misapplied(alert):
        then = (*_rule_out(alert), *then)
    if alert.action is not None and alert.action.shared:
        return (_ENGINE_FIRST, *then)
    if alert.action is not None and alert.action.unconfirmed:
        return (_who_answers(alert), *then)
    if misapplied(alert):
        return then
    if alert.blame is Blame.UNKNOWN and "probe due" in alert.cause:
        then = (*then, _AWAIT)
    if alert.together is None and alert.action is not None and stands_in(alert.action):
        to = alert.action.target
        if alert.blame in _SHARED:
            return (f"{to} {_SHARED[alert.blame]}: route back if it does no better.", *then)
        return (f"Check that {to} answers well: it has every request now.", *then)
    way_out = _way_out(alert)
    return (way_out, *then) if way_out else then


def _who_answers(alert: Alert) -> str:
    if not alert.adapter:
        return f"{_WHO_ANSWERS}."
    return f"{_WHO_ANSWERS}; `driftline route show {quote(alert.adapter)}` says which it should."


def _rule_out(alert: Alert) -> tuple[str, ...]:
    """Name the last change that was declared before it began, unless the cause is confirmed."""
    if alert.cause == alert.blame:
        return ()
    before = [one for one in alert.changes if one.begun_at <= alert.started_at]
    return (f"Rule out what changed just before: {before[-1].text}.",) if before else ()


def _way_out(alert: Alert) -> str:
    """Say what helps the users now, where Driftline has not moved them; empty: not known."""
    if alert.action is not None and alert.action.instead:
        return alert.action.instead
    target = _spare(alert)
    return f"On the incident, send traffic to {target}." if target else ""


def _spare(alert: Alert) -> str:
    """Name the version to which a person may send the traffic; empty: none is known to help."""
    if alert.blame not in {Blame.ADAPTER, Blame.UNKNOWN}:
        return ""
    if alert.action is None:
        lead = leading(alert.scores)
        hurts = lead is not None and _felt(lead.clause)
        told = alert.severity is Severity.PAGE and (hurts or alert.blame is Blame.ADAPTER)
        return "another version, if there is one" if told else ""
    return alert.action.target if alert.action.done is Done.BLOCKED else ""


def _felt(clause: str) -> bool:
    """True if users notice what a share of requests shows: no log-probabilities they do not."""
    return clause.startswith(("answers ", "requests fail")) and "log-probabilities" not in clause


_SHARED: Final = {
    Blame.INPUT: "gets the same requests",
    Blame.BASE: "answers on the same base and engine",
}
"""Why another version does no better, by cause."""
_WHO_ANSWERS: Final = "Read in the router which version it serves"
_ENGINE_FIRST: Final = "Look at the engine and the other adapters on its base first."
_AWAIT: Final = "Wait for Driftline's test on fixed texts: it tells weights from traffic."
_RELOAD: Final = (
    "Load this version's weights into the engine again.",
    "Check with `driftline discover` that it answers with them.",
)


_BY_BLAME: Mapping[Blame, tuple[str, ...]] = {
    Blame.UNKNOWN: (
        "Open the incident: which signals changed, and what was deployed just before.",
        "Send the adapter a few known prompts and compare the answers.",
    ),
    Blame.INPUT: (
        "Did you expect these requests? Accept them as normal on the incident.",
        "If not, find the caller.",
        "Should the adapter handle these? Request retraining.",
    ),
    Blame.ADAPTER: (
        "Compare the version's files with what was approved: `driftline inspect FOLDER`.",
        "Fix it and register it as a new version.",
    ),
    Blame.BASE: (
        "Was the engine or the base model changed? Unplanned, or answers bad: undo it.",
        "Planned, and answers good: declare it, `driftline change add engine TITLE`.",
        "No change known? Compare known prompts, and call the engine's owner.",
    ),
    Blame.SERVING: (
        "Look at the engine's log, load and replicas.",
        "If one replica is faulty, drain or restart it.",
    ),
}

_BY_KIND: Mapping[Kind, tuple[str, ...]] = {
    Kind.NO_DATA: (
        "Send the adapter a prompt. No answer? Treat it as an outage.",
        "An answer? Find out why its gateway or engine sends no records.",
    ),
    Kind.BLIND: ("See on the incident what is not compared, and why.",),
    Kind.ERROR: ("Nothing tonight unless it lasts: Driftline tries again by itself.",),
    Kind.CANARY: ("Nothing tonight. In the morning: extend it or roll it back on its page.",),
    Kind.RETRAIN: ("Not urgent: fetch the manifest, and retrain from the version in it.",),
}


def _by_kind(alert: Alert) -> tuple[str, ...]:
    if alert.unseen is not None:
        return _covered_again(alert.unseen)
    if alert.mend:
        return (
            "In the morning: read some of its answers.",
            f"Good? `{alert.mend}`. Bad? Send traffic to another version.",
        )
    if alert.kind is Kind.ROUTING:
        return (
            _who_answers(alert),
            "Does it serve another one? Mend the router, or set the route in it.",
        )
    if alert.kind is Kind.CANARY and alert.action and alert.action.kind == "rollback":
        return _BY_ROLLBACK[alert.action.done]
    return _BY_KIND[alert.kind]


_WORSE: Final = ("Roll it back on the canary's page; look for the cause afterwards.",)
_BY_ROLLBACK: Final = {
    Done.RECOMMENDED: _WORSE,
    Done.BLOCKED: _WORSE,
    Done.TAKEN: ("Nothing tonight. Register the fix as a new version.",),
}
