"""Put a message into words: title, impact, likely cause, action taken, and next steps.

Every channel takes its words from here. The statistics that support the message come last, as
details.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.closing import Closing
from alerts.impact import impact
from alerts.message import ActionLine, Alert, Done, Unlike
from alerts.steps import misapplied, stands_in, steps
from alerts.titles import LONGEST_SUBJECT, title
from alerts.types import Blame, Kind, Severity
from alerts.words import cut, sentence, size_words

LONGEST_DETAILS: Final = 400
LONGEST_ID: Final = 40
SHOWN_IDS: Final = 3
SHOWN_CHANGES: Final = 3


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
    if alert.test:
        return Brief(
            title=title(alert), impact=_TEST, cause="", done="", steps=steps(alert), details=""
        )
    return Brief(
        title=title(alert),
        impact=impact(alert),
        cause=_cause(alert),
        done=_done(alert),
        steps=steps(alert),
        details=_details(alert),
    )


_TEST: Final = "This is only a test: no adapter is affected."


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


def _cause(alert: Alert) -> str:
    if not alert.firing or alert.kind is not Kind.DRIFT:
        return ""
    where = _WRONG_WEIGHTS if misapplied(alert) else _WHERE.get(alert.blame)
    if where is None:
        said = [sentence(alert.cause or "not known yet")]
    else:
        named = alert.cause.startswith(alert.blame)  # "input (likely)"
        sure = alert.cause.removeprefix(alert.blame) if named else ""
        said = [sentence(f"{where}{sure}{_unless_shared(alert)}")]
    if alert.answers_as:
        said.append(f"It answers as {cut(alert.answers_as, LONGEST_SUBJECT)} does.")
    said += [f"Declared nearby: {sentence(one.text)}" for one in alert.changes[-SHOWN_CHANGES:]]
    return " ".join(said)


def _unless_shared(alert: Alert) -> str:
    shared = alert.blame is Blame.ADAPTER and alert.action is not None and alert.action.shared
    return ", unless the base model or the engine is at fault" if shared else ""


_WRONG_WEIGHTS: Final = "the engine answers with other weights than this version's"
_WHERE: Mapping[Blame, str] = {
    Blame.INPUT: "users ask for other things; no change in the model was found",
    Blame.ADAPTER: "the adapter's weights",
    Blame.BASE: "the base model or the engine",
    Blame.SERVING: "the engine or its settings, not the weights",
}


def _done(alert: Alert) -> str:
    if not alert.firing:
        return _done_at_the_end(alert)
    if alert.together is not None:
        return "Automatic moves on this base are paused."
    if alert.action is not None:
        return _acted(alert, alert.action)
    if alert.kind in {Kind.NO_DATA, Kind.BLIND, Kind.ERROR}:
        return f"{_stays(alert)}."
    if alert.kind is Kind.RETRAIN:
        return "Listed the examples; moved no traffic."
    return _left_alone(alert) if alert.kind is Kind.DRIFT else ""


def _done_at_the_end(alert: Alert) -> str:
    action = alert.action
    if action is None or action.done is not Done.TAKEN:
        return ""
    if stands_in(action):
        then = "" if alert.closing is Closing.OUT_OF_SERVICE else sentence(action.then)
        return f"{action.target} still answers every request. {then}".rstrip()
    return sentence(action.text)


def _acted(alert: Alert, action: ActionLine) -> str:
    if action.done is Done.BLOCKED:
        said = f"{'Waits' if action.unconfirmed else _stays(alert)}: {action.text}"
    else:
        said = _DONE[action.done].replace("{}", action.text)
    return f"{sentence(said)} {sentence(action.then)}".rstrip()


def _left_alone(alert: Alert) -> str:
    if alert.blame in _ELSEWHERE:
        return f"{_stays(alert)}: {_ELSEWHERE[alert.blame]}."
    if alert.severity is Severity.TICKET:
        return f"{_stays(alert)}: this is not sure enough, or too small, to act on."
    return f"{_stays(alert)}."


def _stays(alert: Alert) -> str:
    return f"{alert.version} keeps its traffic"


_ELSEWHERE: Final = {
    Blame.INPUT: "another version would get the same requests",
    Blame.BASE: "other versions answer on the same base and engine",
    Blame.SERVING: "the same engine would answer for another version",
}
_DONE: Final = {Done.TAKEN: "{}", Done.RECOMMENDED: "Recommends, and waits for you: {}"}


def _details(alert: Alert) -> str:
    said = [alert.reason if alert.kind is Kind.DRIFT else "", size_words(alert.scores)]
    said += [_least_similar(alert.unlike)] if alert.unlike else []
    return cut("; ".join(part for part in said if part), LONGEST_DETAILS)


def _least_similar(unlike: Unlike) -> str:
    ids = [one for one in unlike.ids if len(one) <= LONGEST_ID][:SHOWN_IDS]
    return f"least similar: {', '.join(ids)}" if ids else ""
