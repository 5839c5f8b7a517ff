"""An alert with every field filled, and changes to it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts.message import (
    ActionLine,
    Alert,
    Done,
    Links,
    NearbyChange,
    NewRequests,
    Onset,
    ScoreLine,
    Uncompared,
    Unlike,
    Unseen,
    Update,
    UpdatedFact,
)
from alerts.titles import summarised
from alerts.types import Blame, Kind, Reason, Severity, Status, VerdictKind
from alerts.words import unseen_words
from detectors import profile_of
from detectors.words import gloss_of, name_words, plain_words
from tests.found import found

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def score_line(detector: str, winner: str | None = None, **numbers: Any) -> ScoreLine:
    """A score as the service lays it out, with the detector's own words."""
    return ScoreLine(
        detector=detector,
        winner=winner,
        words=plain_words(detector, winner),
        clause=profile_of(detector).clause,
        gloss=gloss_of(winner),
        **numbers,
    )


FULL = summarised(
    Alert(
        id="driftline:support@v7:drift:3",
        number=3,
        kind=Kind.DRIFT,
        adapter="support",
        version="v7",
        status=Status.STARTED,
        severity=Severity.PAGE,
        verdict=VerdictKind.CRITICAL,
        blame=Blame.ADAPTER,
        cause="adapter",
        summary="",
        reason=found("logit_ks", "mean_nll:up", evidence=1.6, n=412, effect=(0.38, 0.31)),
        at=NOON,
        started_at=NOON,
        onset=Onset(
            earliest=NOON - timedelta(minutes=70),
            latest=NOON - timedelta(minutes=30),
        ),
        scores=(
            score_line(
                detector="logit_ks",
                value=0.41,
                winner="mean_nll:up",
                evidence=1.6,
                effect=0.38,
                interval=(0.31, 0.45),
                minimum_detectable=0.1,
                n=412,
            ),
            score_line(detector="input_similarity", value=0.02, evidence=float("-inf"), n=412),
        ),
        requests=412,
        per_second=12.0,
        unlike=Unlike(
            count=31,
            of=412,
            below=0.62,
            usual=0.01,
            ids=("req-8f2c", "req-91d0", "req-77ab", "req-0c1e"),
        ),
        new=NewRequests(count=24, of=412, subjects=9, words=("parcel", "gift card")),
        action=ActionLine(
            done=Done.TAKEN,
            kind="fallback",
            text="moved 100 % of traffic to v6, confirmed by the router",
            short="traffic moved to v6",
            target="v6",
            then=(
                "v7 is tried again on 10 % of the traffic"
                " once its tests on fixed texts have been normal for 30 min"
            ),
        ),
        changes=(
            NearbyChange(
                kind="engine",
                title="vLLM 0.33",
                begun_at=NOON - timedelta(hours=1),
                ended_at=NOON - timedelta(minutes=50),
                author="deploys",
                text="11:00 UTC engine change: vLLM 0.33 (began 10 min before the onset)",
            ),
        ),
        links=Links(
            incident="https://driftline.example/incidents/3",
            dashboard="https://driftline.example/",
            runbook="https://wiki.example/support",
        ),
        owner="search",
        tier="gold",
        labels={"team": "nlp"},
        examples=("where is my parcel",),
    )
)


CAUSE = "92 % of requests use temperature 0.7, the reference has 0.2"
UNSEEN = Unseen(
    since=NOON - timedelta(minutes=20),
    compared=8,
    requests=100,
    cause=CAUSE,
    mend="driftline reference learn support v7",
    detectors=(
        *(
            Uncompared(detector=one, words=name_words(one), compared=8, requests=100, cause=CAUSE)
            for one in ("logit_ks", "entropy")
        ),
    ),
)
BLIND = summarised(
    replace(
        FULL,
        id="driftline:support@v7:blind:1",
        number=1,
        kind=Kind.BLIND,
        severity=Severity.TICKET,
        verdict=VerdictKind.STABLE,
        blame=Blame.UNKNOWN,
        reason=unseen_words(UNSEEN, now=NOON),
        onset=None,
        scores=(),
        unlike=None,
        new=None,
        unseen=UNSEEN,
        action=None,
        changes=(),
        examples=(),
    )
)
"""Too little of a version's requests can be compared."""


UPDATED = summarised(
    replace(
        FULL,
        status=Status.UPDATED,
        blame=Blame.INPUT,
        known_as=Blame.ADAPTER,
        update=Update(
            text=(
                "likely cause was: adapter, now: input; strongest sign was: answers less certain,"
                " now: requests unlike the training examples"
            ),
            blame=UpdatedFact(was="adapter", now="input"),
            finding=UpdatedFact(
                was="answers less certain", now="requests unlike the training examples"
            ),
        ),
        notification_reason=Reason.UPDATED,
    )
)
"""The same incident as ``FULL``, of which something else is known by now."""


def a_change(text: str) -> NearbyChange:
    """A change all of whose texts are ``text``."""
    return NearbyChange(kind=text[:128], title=text, begun_at=NOON, author=text[:128], text=text)


def an_alert(**changes: Any) -> Alert:
    return replace(FULL, **changes)
