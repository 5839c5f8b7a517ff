"""Write one message about one incident from the machine's state, verdict and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from shlex import quote
from typing import Any, Final, assert_never

import alerts.types as words
from alerts import incident as machine
from alerts.incident import IncidentKey, IncidentState, Tell
from alerts.message import Alert
from alerts.titles import summarised
from alerts.words import cause_words, unseen_words
from monitor.domain import Verdict, VerdictSeverity, Version
from monitor.outbox.inputs import AlertInputs, onset_of
from monitor.store.incidents.incidents import IncidentUpdate

SILENT: Final = "records were expected and none came"
SEEN_AGAIN: Final = "enough of its requests can be compared with the reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """The parts of one message: the event to tell, its verdict, and the state after it."""

    version: Version
    verdict: Verdict
    inputs: AlertInputs
    kind: words.Kind
    tell: Tell
    after: IncidentState

    @property
    def over(self) -> bool:
        """True if the message tells of the incident's end."""
        return self.tell.status is words.Status.RECOVERED

    @property
    def broken(self) -> str | None:
        """The checks that stay off until there is a new reference, if the message is of those."""
        return self.inputs.broken if self.kind is words.Kind.ERROR else None


def update_of(writing: Writing, summary: str) -> IncidentUpdate:
    """Return the incident's fields to store with the message."""
    tell = writing.tell
    return IncidentUpdate(
        number=tell.number,
        phase=writing.after.phase.value,
        state=machine.to_json(writing.after),
        severity=VerdictSeverity(tell.severity.value),
        blame=writing.verdict.blame,
        summary=summary,
        opened_at=tell.since,
        closed_at=tell.at if writing.over else None,
    )


def alert_of(writing: Writing) -> Alert:
    """Write the message without links, which need the incident's number."""
    version, verdict, inputs, tell = (
        writing.version,
        writing.verdict,
        writing.inputs,
        writing.tell,
    )
    key = IncidentKey(adapter=version.adapter, version=version.name, kind=writing.kind)
    cause = said_of_the_cause(verdict, now=tell.at) if writing.kind is words.Kind.DRIFT else ""
    alert = Alert(
        id=key.dedup_key(tell.number),
        number=tell.number,
        kind=writing.kind,
        adapter=version.adapter,
        version=version.name,
        status=tell.status,
        severity=tell.severity,
        verdict=verdict.kind,
        blame=verdict.blame,
        cause=cause,
        summary="",
        reason=_reason(writing),
        at=tell.at,
        started_at=tell.since,
        recovered_at=tell.at if writing.over else None,
        closing=tell.closing,
        part_of=inputs.part_of,
        mend=learn_command(version) if writing.broken else "",
        unseen=inputs.unseen if writing.kind is words.Kind.BLIND else None,
        changes=inputs.changes,
        per_second=inputs.per_second,
        owner=inputs.adapter.owner,
        tier=inputs.adapter.tier,
        labels=dict(inputs.adapter.labels),
        **_facts(writing),
    )
    return summarised(alert)


def learn_command(version: Version) -> str:
    """Return the command that has a version's reference learned anew."""
    return f"driftline reference learn {quote(version.adapter)} {quote(version.name)}"


def said_of_the_cause(verdict: Verdict, *, now: datetime) -> str:
    """Describe the blame, its certainty, and when a probe that can tell is due."""
    return cause_words(verdict.blame, verdict.sure, probe_due=verdict.probe_due, now=now)


def _seen_again(inputs: AlertInputs) -> str:
    if not inputs.own_references:
        return SEEN_AGAIN
    return f"{SEEN_AGAIN}: a reference was learned for {'; '.join(inputs.own_references)}"


def _reason(writing: Writing) -> str:
    if writing.tell.closing is not None:
        return writing.verdict.reason
    match writing.kind:
        case words.Kind.NO_DATA:
            return SILENT
        case words.Kind.BLIND:
            unseen = writing.inputs.unseen
            return (
                unseen_words(unseen, now=writing.tell.at) if unseen else _seen_again(writing.inputs)
            )
        case words.Kind.ERROR:
            return writing.broken or writing.verdict.reason
        case words.Kind.ROUTING:
            return writing.inputs.misrouted or "the route is another one, or was read back"
        case words.Kind.DRIFT | words.Kind.CANARY | words.Kind.RETRAIN:
            return writing.verdict.reason
        case _:
            assert_never(writing.kind)


def _facts(writing: Writing) -> dict[str, Any]:
    """Return the fields that only messages about a drift have, and the one about traffic."""
    verdict, inputs = writing.verdict, writing.inputs
    if writing.kind is words.Kind.CANARY:
        return {"action": inputs.action}
    if writing.kind is not words.Kind.DRIFT:
        return {}
    return {
        "onset": onset_of(verdict),
        "scores": inputs.scores,
        "requests": inputs.requests,
        "unlike": inputs.unlike,
        "alone_on": inputs.standing.alone_on,
        "answers_as": inputs.answers_as,
        "new": inputs.new,
        "action": inputs.action,
        "examples": inputs.examples,
    }
