"""Make-believe messages of every kind, on which a configured template is tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from alerts.closing import Closing
from alerts.message import (
    ActionLine,
    Alert,
    Done,
    Links,
    NearbyChange,
    NewGroup,
    NewRequests,
    Onset,
    Retraining,
    ScoreLine,
    Together,
    Uncompared,
    Unlike,
    Unseen,
    Update,
    UpdatedFact,
)
from alerts.types import Blame, Kind, Reason, Severity, Status, VerdictKind

TEXT: Final = 'it\'s "a" \\ <b> & é 漢\n\t{{ x }}'
"""Characters that mean something to JSON, HTML, URLs or Jinja."""
NOON: Final = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)

_UPDATE: Final = Update(text=TEXT, blame=UpdatedFact(was=TEXT, now=TEXT))
_RETRAINING: Final = Retraining(
    request=1,
    cause="person",
    since=NOON - HOUR,
    until=NOON,
    parent="v1",
    replay_share=0.1,
    manifest="https://driftline.example/v1/retraining/1/manifest",
)
_UNSEEN: Final = Unseen(since=NOON - HOUR, compared=8, requests=100, cause=TEXT, mend=TEXT)

_BARE: Final = Alert(
    id=f"driftline:{TEXT}",
    number=1,
    kind=Kind.DRIFT,
    adapter=TEXT,
    version=TEXT,
    status=Status.STARTED,
    severity=Severity.TICKET,
    verdict=VerdictKind.DRIFTING,
    summary=TEXT,
    reason=TEXT,
    at=NOON,
    started_at=NOON - HOUR,
)
"""Has only what every message has."""
_FULL: Final = replace(
    _BARE,
    severity=Severity.PAGE,
    blame=Blame.INPUT,
    cause=TEXT,
    known_as=Blame.ADAPTER,
    onset=Onset(earliest=NOON - HOUR, latest=NOON, estimate=NOON - HOUR / 2),
    scores=(
        ScoreLine(
            detector="errors",
            value=0.5,
            winner=TEXT,
            evidence=1.5,
            effect=0.5,
            interval=(0.25, 0.75),
            minimum_detectable=0.1,
            n=100,
            count=50,
            of=100,
            usual=0.01,
            words=TEXT,
            clause=TEXT,
            gloss=TEXT,
        ),
    ),
    requests=100,
    per_second=1.5,
    alone_on=TEXT,
    answers_as=TEXT,
    unlike=Unlike(
        count=50, of=100, below=0.5, usual=0.01, ids=("req-8f2c", "req-91d0", "req-77ab")
    ),
    new=NewRequests(count=5, of=100, subjects=3, words=(TEXT,)),
    action=ActionLine(done=Done.TAKEN, kind="fallback", text=TEXT, short=TEXT),
    changes=(NearbyChange(kind="engine", title=TEXT, begun_at=NOON, author=TEXT, text=TEXT),),
    links=Links(
        incident="https://driftline.example/incidents/1?a=1&b=2",
        dashboard="https://driftline.example/",
        runbook="https://driftline.example/runbooks/blame-input",
        detector_runbook="https://driftline.example/runbooks/detector-errors",
        chart="https://driftline.example/v1/incidents/1/chart.svg",
    ),
    owner=TEXT,
    labels={TEXT: TEXT},
    examples=(TEXT,),
)
"""Has everything that a message can have."""
_TOGETHER: Final = Together(base=TEXT, members=(f"{TEXT}@v1", f"{TEXT}@v2"), of=3)


def sample_messages() -> Iterator[Sequence[Alert]]:
    """Yield a bare and a full message of every kind and status; of a fleet, a test, a group."""
    for kind in Kind:
        for status in Status:
            if status is not Status.ACKNOWLEDGED:  # only for receivers with their own incidents
                yield from ([_sample(one, kind, status)] for one in (_BARE, _FULL))
    fleet = replace(_FULL, adapter="", version="", together=_TOGETHER)
    for reason in Reason:
        yield [replace(fleet, notification_reason=reason)]
    yield [replace(_BARE, test=True)]
    yield [_FULL, replace(_BARE, status=Status.RECOVERED, recovered_at=NOON), fleet]


def _sample(alert: Alert, kind: Kind, status: Status) -> Alert:
    """Add what a message of this kind and status always has."""
    groups = (NewGroup(count=5, share=0.05, subjects=3, growth=2.0, words=(TEXT,)),)
    by = (Uncompared(detector="errors", compared=8, requests=100, cause=TEXT),)
    full = alert is _FULL
    return replace(
        alert,
        kind=kind,
        status=status,
        update=_UPDATE if status is Status.UPDATED else None,
        recovered_at=NOON if status is Status.RECOVERED else None,
        closing=Closing.FALSE_PAGE if status is Status.RECOVERED and full else None,
        part_of=4 if status is Status.RECOVERED and full else None,
        late=status is Status.RECOVERED and full,
        mend=TEXT if kind is Kind.ERROR and full else "",
        retraining=replace(_RETRAINING, groups=groups if full else ())
        if kind is Kind.RETRAIN
        else None,
        unseen=replace(_UNSEEN, detectors=by if full else ()) if kind is Kind.BLIND else None,
    )
